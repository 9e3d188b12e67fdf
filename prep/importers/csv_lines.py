"""Lines of a CSV file, a block at a time: counted and typed in one reading, their values in the next."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import DataError, IntegrityError, UnfinishedError, Where
from prep.importers.arrow import Kind, kind_of, values_of

BLOCK_BYTES = 8 << 20
_MOST_LINE = 64 << 20
_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*|\s*[-+]?(nan|inf)\s*", re.IGNORECASE)


@dataclass(slots=True)
class CsvLines:
    """One CSV file. ``kinds`` are dtype and shape of each column that holds numbers (or text, kind ``U``).

    Not for several threads at once: blocks that were parsed are kept as long as rows of them are still asked for.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str
    headed: bool
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

        names, delimiter, headed = _header(path)
        types: dict[str, Any] = dict.fromkeys(names, pa.null())
        nulls: set[str] = set()
        rows = 0
        for table in _tables(path, names, delimiter, headed, None):
            rows += len(table)
            for name, column in zip(names, table.columns, strict=True):
                types[name] = _wider(types[name], column.type)
                if column.null_count:
                    nulls.add(name)
        kinds: dict[str, Kind] = {}
        left_out = {}
        for name in names:
            kind = kind_of(types[name], nulls=name in nulls)
            if isinstance(kind, str):
                if kind == "text":
                    kinds[name] = np.dtype(str), ()
                else:
                    left_out[name] = "empty" if pa.types.is_null(types[name]) else kind
            else:
                kinds[name] = kind
        return cls(path, names, delimiter, headed, rows, kinds, types, left_out)

    def values(self, name: str, dtype: np.dtype[Any], start: int, stop: int) -> Array:
        """Rows ``start:stop`` of a column; what lies before ``start`` of the block before is forgotten."""
        if self._blocks is None or (self._parsed and start < self._parsed[0][0]):
            self._blocks, self._parsed = _tables(self.path, self.names, self.delimiter, self.headed, self.types), []
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


def _header(path: Path) -> tuple[tuple[str, ...], str, bool]:
    """Names of the columns, the delimiter, and whether the first line holds names rather than numbers."""
    with path.open("rb") as file:
        first = file.readline(_MOST_LINE)
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
    delimiter = max(_DELIMITERS, key=line.count)
    if (
        not line.count(delimiter)
        and "\t" not in line
        and len(line.split()) > 1
        and all(_NUMBER.fullmatch(each) for each in line.split())
    ):
        delimiter = " "
    cells = [cell.strip().strip('"').strip() for cell in line.removeprefix("#").split(delimiter)]
    headed = not all(_NUMBER.fullmatch(cell) for cell in cells)
    names, seen = [], set[str]()
    for index, cell in enumerate(cells):
        name = (cell if headed else "") or f"column_{index}"
        while name in seen:
            name += "_"
        seen.add(name)
        names.append(name)
    return tuple(names), delimiter, headed


def _tables(
    path: Path, names: tuple[str, ...], delimiter: str, headed: bool, types: Mapping[str, Any] | None
) -> Iterator[Any]:
    """Blocks of lines as Arrow tables: of ``types``, else of what each block looks like."""
    import pyarrow as pa
    from pyarrow import csv

    read = csv.ReadOptions(column_names=list(names), block_size=_MOST_LINE)
    parse = csv.ParseOptions(delimiter=delimiter)
    convert = csv.ConvertOptions(column_types=dict(types) if types else None)
    line = 1 + headed
    for block in _blocks(path, headed):
        try:
            table = csv.read_csv(
                pa.BufferReader(block), read_options=read, parse_options=parse, convert_options=convert
            )
        except pa.ArrowInvalid as error:
            raise DataError(
                "a line of this table cannot be read",
                where=Where(path=str(path), line=line),
                measured=str(error)[:300],
                allowed=f"{len(names)} columns in each line, in one encoding (UTF-8)",
                remedy="mend the lines, from the one named on; numbers need a decimal point, not a comma",
            ) from error
        line += len(table)
        yield table


def _blocks(path: Path, headed: bool) -> Iterator[bytes]:
    """The lines of a file in pieces of about `BLOCK_BYTES`, without the header."""
    with path.open("rb") as file:
        if headed:
            file.readline(_MOST_LINE)
        elif file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
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


def _wider(known: Any, found: Any) -> Any:
    """The type that holds values of both; text where none does."""
    import pyarrow as pa

    types = pa.types
    if types.is_null(known) or known == found:
        return found
    if types.is_null(found):
        return known
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
