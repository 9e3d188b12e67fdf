"""Lines of a CSV file, a block at a time: counted and typed in one reading, their values in the next."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import DataError, IntegrityError, UnfinishedError, Where
from prep.importers.arrow import Kind, kind_of, values_of

BLOCK_BYTES = 8 << 20
_MOST_LINE = 64 << 20
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*|\s*[-+]?(nan|inf)\s*", re.IGNORECASE)


@dataclass(slots=True)
class CsvLines:
    """One CSV file. ``kinds`` are dtype and shape of each column that holds numbers (or text, kind ``U``),
    ``start`` is the byte and the number of the first line of values.

    Not for several threads at once: blocks that were parsed are kept as long as rows of them are still asked for.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str
    start: tuple[int, int]
    rows: int
    kinds: Mapping[str, Kind]
    types: Mapping[str, Any]
    left_out: Mapping[str, str]
    _parsed: list[tuple[int, Any]] = field(default_factory=list)
    _blocks: Iterator[Any] | None = None

    @classmethod
    def of(cls, path: Path) -> CsvLines:
        """Read every line once. `DataError` for lines unlike the first, `IntegrityError` for what is no text."""
        import pyarrow as pa
        from pyarrow import compute

        names, delimiter, begin = _header(path)
        types: dict[str, Any] = dict.fromkeys(names, pa.null())
        nulls: set[str] = set()
        wide: set[str] = set()
        below: set[str] = set()
        why: dict[str, str] = {}
        rows = 0
        for line, block, table in _tables(path, names, delimiter, begin, None):
            rows += len(table)
            for name, column in zip(names, table.columns, strict=True):
                whole = _whole(column, partial(_read, block, names, delimiter, {name: pa.uint64()}))
                if whole != column.type or _beyond(column):
                    wide.add(name)
                if pa.types.is_integer(whole) and whole == column.type and (compute.min(column).as_py() or 0) < 0:
                    below.add(name)
                if pa.types.is_string(whole) and not why.get(name):
                    why[name] = _no_number(column, block, line, known=types[name])
                types[name] = _wider(types[name], whole)
                if column.null_count:
                    nulls.add(name)
        kinds: dict[str, Kind] = {}
        left_out = {}
        for name in names:
            kind = kind_of(types[name], nulls=name in nulls)
            signs = name in below and types[name] == pa.uint64()
            if name in wide and (name in nulls or signs or not pa.types.is_integer(types[name])):
                left_out[name] = "whole numbers beyond 2⁵³ beside gaps, fractions or signs, which float64 would round"
            elif isinstance(kind, str):
                if kind == "text" and why.get(name) and name.lower() != "split":
                    left_out[name] = why[name]
                elif kind == "text":
                    kinds[name] = np.dtype(str), ()
                else:
                    left_out[name] = "empty" if pa.types.is_null(types[name]) else kind
            else:
                kinds[name] = kind
        return cls(path, names, delimiter, begin, rows, kinds, types, left_out)

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
    delimiter = max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", line).count)
    if (
        not line.count(delimiter)
        and "\t" not in line
        and len(line.split()) > 1
        and all(_NUMBER.fullmatch(each) for each in line.split())
    ):
        delimiter = " "
    cells = [cell.strip() for cell in next(csv.reader([line.removeprefix("#")], delimiter=delimiter))]
    headed = not all(_NUMBER.fullmatch(cell) for cell in cells)
    names, seen = [], set[str]()
    for index, cell in enumerate(cells):
        name = (cell if headed else "") or f"column_{index}"
        while name in seen:
            name += "_"
        seen.add(name)
        names.append(name)
    values = after - len(first.removeprefix(_BOM))
    return tuple(names), delimiter, (after, count + 1) if headed else (values, count)


def _tables(
    path: Path, names: tuple[str, ...], delimiter: str, begin: tuple[int, int], types: Mapping[str, Any] | None
) -> Iterator[tuple[int, bytes, Any]]:
    """Blocks of lines, the number of their first, and as Arrow tables: of ``types``, else of what each looks like."""
    import pyarrow as pa

    offset, line = begin
    for block in _blocks(path, offset):
        try:
            table = _read(block, names, delimiter, types)
        except pa.ArrowInvalid as error:
            row = re.search(r"Row #(\d+): ", str(error))
            raise DataError(
                "a line of this table cannot be read",
                where=Where(path=str(path), line=_line(block, line, int(row[1]) - 1) if row else line),
                measured=str(error).replace(row[0] if row else "\0", "")[:300],
                allowed=f"{len(names)} columns in each line, in one encoding (UTF-8)",
                remedy="mend the lines, from the one named on; numbers need a decimal point, not a comma",
            ) from error
        yield line, block, table
        line += block.count(b"\n")


def _read(block: bytes, names: tuple[str, ...], delimiter: str, types: Mapping[str, Any] | None) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow

    return arrow.read_csv(
        pa.BufferReader(block),
        read_options=arrow.ReadOptions(column_names=list(names), block_size=_MOST_LINE, use_threads=False),
        parse_options=arrow.ParseOptions(delimiter=delimiter),
        convert_options=arrow.ConvertOptions(column_types=dict(types) if types else None),
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


def _whole(column: Any, read: Callable[[], Any]) -> Any:
    """The type of a column of a block; uint64 where Arrow takes whole numbers from 2⁶³ on for fractions, and ``read``
    (the block with uint64 in this place) takes them all.
    """
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_floating(column.type) or column.null_count == len(column):
        return column.type
    least, most = compute.min_max(column).as_py().values()
    if least < 0 or not 2.0**63 <= most < 2.0**64:
        return column.type
    try:
        read()
    except pa.ArrowInvalid:
        return column.type
    return pa.uint64()


def _beyond(column: Any) -> bool:
    """Whether a column holds whole numbers that float64 would round."""
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_integer(column.type) or column.null_count == len(column):
        return False
    least, most = compute.min_max(column).as_py().values()
    return bool(least < -(2**53) or most > 2**53)


def _no_number(column: Any, block: bytes, line: int, *, known: Any) -> str:
    """Which value of a column of text is none of the numbers that it mostly holds; ``""`` where it is text."""
    import pyarrow as pa
    from pyarrow import compute

    numbers = compute.fill_null(
        compute.match_substring_regex(column, rf"^({_NUMBER.pattern})$", ignore_case=True), True
    )
    commas = compute.match_substring_regex(column, r"^\s*[-+]?\d+,\d+\s*$")
    if compute.sum(commas).as_py() * 2 > len(column):
        return "numbers with a decimal comma; write them with a point"
    if pa.types.is_null(known) and compute.sum(numbers).as_py() * 2 <= len(column):
        return ""
    place = compute.index(numbers, False).as_py()
    if place < 0:
        return ""
    return f"text: {column[place].as_py()[:40]!r} in line {_line(block, line, place)} is no number"


def _wider(known: Any, found: Any) -> Any:
    """The type that holds values of both; text where none does."""
    import pyarrow as pa

    types = pa.types
    if types.is_null(known) or known == found:
        return found
    if types.is_null(found):
        return known
    if types.is_integer(known) and types.is_integer(found):
        return pa.uint64()
    numbers = [types.is_integer(each) or types.is_floating(each) for each in (known, found)]
    return pa.float64() if all(numbers) else pa.string()


def _no_text(path: Path) -> IntegrityError:
    return IntegrityError(
        "this is not a table of text lines",
        where=Where(path=str(path)),
        measured="bytes that are no UTF-8 text, or a line of more than 64 MiB",
        allowed="lines of numbers with one delimiter, in UTF-8",
        remedy="save the table as CSV in UTF-8, or as Parquet",
    )
