"""Lines of a CSV file, a block at a time: counted and typed in one reading, their values in the next."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import DataError, IntegrityError, UnfinishedError, Where
from prep.importers.arrow import Kind, named, values_of
from prep.importers.csv_types import COMMA_NUMBER, NUMBER, Learned

BLOCK_BYTES = 8 << 20
_MOST_LINE = 64 << 20
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"


@dataclass(slots=True)
class CsvLines:
    """One CSV file. ``kinds`` are dtype and shape of each column that holds numbers (or the split, kind ``U``),
    ``types`` the Arrow type and decimal point to read each with, ``start`` is the byte and the number of the first
    line of values, ``learned`` what else was seen of each column.

    Not for several threads at once: blocks that were parsed are kept as long as rows of them are still asked for.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str
    start: tuple[int, int]
    rows: int
    kinds: Mapping[str, Kind]
    types: Mapping[str, tuple[Any, str]]
    left_out: Mapping[str, str]
    learned: Mapping[str, Learned]
    _parsed: list[tuple[int, Any]] = field(default_factory=list)
    _blocks: Iterator[Any] | None = None

    @classmethod
    def of(cls, path: Path) -> CsvLines:
        """Read every line once. `DataError` for lines unlike the first, `IntegrityError` for what is no text."""
        names, delimiter, begin = _header(path)
        learned = {name: Learned(name, decimal=delimiter != ",") for name in names}
        rows = 0
        for line, block, table in _tables(path, names, delimiter, begin, None):
            rows += len(table)
            read = partial(_column, block, names, delimiter)
            for name, column in zip(names, table.columns, strict=True):
                if len(column):
                    learned[name].absorb(column, read, partial(_line, block, line))
        kinds: dict[str, Kind] = {}
        types: dict[str, tuple[Any, str]] = {}
        left_out = {}
        for name, each in learned.items():
            kind, found, point = each.kind()
            types[name] = found, point
            if kind == "text":
                kinds[name] = np.dtype(str), ()
            elif isinstance(kind, str):
                left_out[name] = kind
            else:
                kinds[name] = kind
        return cls(path, names, delimiter, begin, rows, kinds, types, left_out, learned)

    def values(self, name: str, dtype: np.dtype[Any], start: int, stop: int) -> Array:
        """Rows ``start:stop`` of a column; what lies before ``start`` of the block before is forgotten."""
        if self._blocks is None or (self._parsed and start < self._parsed[0][0]):
            tables = _tables(self.path, self.names, self.delimiter, self.start, self.types)
            self._blocks, self._parsed = (table for _, _, table in tables), []
        end = self._parsed[-1][0] + len(self._parsed[-1][1]) if self._parsed else 0
        while end < stop:
            table = next(self._blocks, None)
            if table is None:
                raise IntegrityError(
                    "the source changed while it was being read",
                    where=Where(path=str(self.path)),
                    measured=f"{end} lines",
                    allowed=f"{self.rows} lines",
                    remedy="stop whatever writes to it and start again",
                )
            self._parsed.append((end, table))
            end += len(table)
        while self._parsed and self._parsed[0][0] + len(self._parsed[0][1]) <= start:
            self._parsed.pop(0)
        where = Where(path=str(self.path), key=name)
        parts = []
        for first, table in self._parsed:
            low, high = max(start, first), min(stop, first + len(table))
            if low < high:
                column = table.column(name).slice(low - first, high - low)
                parts.append(
                    np.array([str(value)[:256] for value in column.to_pylist()], object)
                    if dtype.kind == "U"
                    else values_of(column, dtype, (), where)
                )
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def notes(self) -> tuple[str, ...]:
        """What is read as something else than it looks like: decimal commas."""
        commas = {
            name: each for name, each in self.learned.items() if self.types[name][1] == "," and name in self.kinds
        }
        if not commas:
            return ()
        line, text = next(iter(commas.values())).comma_at or (0, "")
        return (f"commas are read as decimal points in {named(commas)} ({text!r} in line {line})",)


def _header(path: Path) -> tuple[tuple[str, ...], str, tuple[int, int]]:
    """Names of the columns, the delimiter, and the byte and number of the first line of values."""
    with path.open("rb") as file:
        first, count = file.readline(_MOST_LINE), 1
        while first and not first.removeprefix(_BOM).strip():
            first, count = file.readline(_MOST_LINE), count + 1
        after = file.tell()
    try:
        line = first.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _no_text(path) from error
    if "\0" in line:
        raise _no_text(path)
    if not line.strip():
        raise UnfinishedError(
            "nothing to read: this table is empty",
            where=Where(path=str(path)),
            measured="no first line",
            allowed="a line of names, and lines of numbers",
            remedy="check that this is the right file",
        )
    delimiter = _delimiter(line)
    cells = [cell.strip() for cell in next(csv.reader([line.removeprefix("#")], delimiter=delimiter))]
    headed = not all(_is_number(cell, delimiter) for cell in cells)
    names, seen = [], set[str]()
    for index, cell in enumerate(cells):
        name = (cell if headed else "") or f"column_{index}"
        while name in seen:
            name += "_"
        seen.add(name)
        names.append(name)
    values = after - len(first.removeprefix(_BOM))
    return tuple(names), delimiter, (after, count + 1) if headed else (values, count)


def _delimiter(line: str) -> str:
    """What cuts the first line: a comma only where it does not look like the decimal point of numbers cut elsewhere."""
    bare = re.sub(r'"[^"]*"', "", line)
    for other in _DELIMITERS.replace(",", ""):
        if other in bare and all(_is_number(cell, other) for cell in bare.split(other)):
            return other
    delimiter = max(_DELIMITERS, key=bare.count)
    cells = line.split()
    if not line.count(delimiter) and "\t" not in line and len(cells) > 1 and all(map(NUMBER.fullmatch, cells)):
        return " "
    return delimiter


def _is_number(cell: str, delimiter: str) -> bool:
    return bool(NUMBER.fullmatch(cell) or (delimiter != "," and COMMA_NUMBER.fullmatch(cell)))


def _tables(
    path: Path,
    names: tuple[str, ...],
    delimiter: str,
    begin: tuple[int, int],
    types: Mapping[str, tuple[Any, str]] | None,
) -> Iterator[tuple[int, bytes, Any]]:
    """Blocks of lines, the number of their first, and as Arrow tables: of ``types``, else of what each looks like."""
    import pyarrow as pa

    offset, line = begin
    for block in _blocks(path, offset):
        try:
            table = _table(block, names, delimiter, types)
        except pa.ArrowInvalid as error:
            row = re.search(r"Row #(\d+): ", str(error))
            raise DataError(
                "a line of this table cannot be read",
                where=Where(path=str(path), line=_line(block, line, int(row[1]) - 1) if row else line),
                measured=str(error).replace(row[0] if row else "\0", "")[:300],
                allowed=f"{len(names)} columns in each line, in one encoding (UTF-8)",
                remedy="mend the lines, from the one named on; where commas are decimal, cut columns at semicolons",
            ) from error
        yield line, block, table
        line += block.count(b"\n")


def _table(block: bytes, names: tuple[str, ...], delimiter: str, types: Mapping[str, tuple[Any, str]] | None) -> Any:
    """A block as an Arrow table. Arrow knows one decimal point a reading, so columns with another are read again."""
    import pyarrow as pa

    if types is None:
        return _read(block, names, delimiter, {}, names)
    commas = [name for name, (_, point) in types.items() if point == ","]
    plain = {name: pa.string() if name in commas else found for name, (found, _) in types.items()}
    table = _read(block, names, delimiter, plain, names)
    if commas:
        again = _read(block, names, delimiter, {name: types[name][0] for name in commas}, commas, ",")
        for name in commas:
            table = table.set_column(names.index(name), name, again.column(name))
    return table


def _column(block: bytes, names: tuple[str, ...], delimiter: str, name: str, found: Any, point: str) -> Any:
    """One column of a block as the Arrow type ``found`` (None: as it looks), with a decimal point."""
    types = {} if found is None else {name: found}
    return _read(block, names, delimiter, types, [name], point).column(name).combine_chunks()


def _read(
    block: bytes,
    names: Sequence[str],
    delimiter: str,
    types: Mapping[str, Any],
    wanted: Sequence[str],
    point: str = ".",
) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow

    return arrow.read_csv(
        pa.BufferReader(block),
        read_options=arrow.ReadOptions(column_names=list(names), block_size=_MOST_LINE, use_threads=False),
        parse_options=arrow.ParseOptions(delimiter=delimiter),
        convert_options=arrow.ConvertOptions(
            column_types=dict(types), include_columns=list(wanted), decimal_point=point
        ),
    )


def _line(block: bytes, first: int, row: int) -> int:
    """The number of the line that holds a row of a block, whose first line has the number ``first``."""
    filled = (number for number, text in enumerate(block.split(b"\n"), first) if text.strip(b"\r"))
    return next((number for place, number in enumerate(filled) if place == row), first)


def _blocks(path: Path, offset: int) -> Iterator[bytes]:
    """The lines of a file from byte ``offset`` on, in pieces of about `BLOCK_BYTES`."""
    with path.open("rb") as file:
        file.seek(offset)
        rest = b""
        while part := file.read(BLOCK_BYTES):
            if b"\0" in part:
                raise _no_text(path)
            cut = part.rfind(b"\n") + 1
            if not cut:
                rest += part
                if len(rest) > _MOST_LINE:
                    raise _no_text(path)
                continue
            yield rest + part[:cut]
            rest = part[cut:]
        if rest.strip():
            yield rest


def _no_text(path: Path) -> IntegrityError:
    return IntegrityError(
        "this is not a table of text lines",
        where=Where(path=str(path)),
        measured="bytes that are no UTF-8 text, or a line of more than 64 MiB",
        allowed="lines of numbers with one delimiter, in UTF-8",
        remedy="save the table as CSV in UTF-8, or as Parquet",
    )
