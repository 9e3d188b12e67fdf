"""Tables: Parquet and CSV files, a column a field; columns ``x0``, ``x1``, … are one field of vectors.

Parquet is parsed in the child process. CSV is text without structure, and is parsed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import UsageError, Where
from prep.importers import IngestOptions, Opened
from prep.importers.aligned import open_columns
from prep.importers.arranged import as_one
from prep.importers.arrow import distinct_values, is_dated, named
from prep.importers.columns import Column, Source
from prep.importers.foreign import TEXT, ForeignParquet
from prep.importers.sources import Inputs, existing, identify, storage_errors

_MAGIC = b"PAR1"
_COUNTED = re.compile(r"(.*?[^\d_.\-\[])[_.\-\[]?(\d+)\]?")
Rows = Callable[[Sequence[Column], int, int], list[Array]]


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table and what reads rows of several of them; ``left_out`` says why others are none.

    ``gaps`` are the places of the first gap in columns of whole numbers, ``texts`` the distinct values of columns of
    text as they are told, ``notes`` other remarks.
    """

    columns: tuple[Column, ...]
    rows: Rows
    left_out: Mapping[str, str]
    gaps: Mapping[str, str]
    texts: Mapping[str, str]
    notes: tuple[str, ...] = ()


class Parquet:
    """A Parquet file of numbers, vectors of one length, times and truth values."""

    name = "parquet"

    def recognises(self, source: str) -> bool:
        """By ending, or by the bytes that every such file begins with."""
        path = Path(source)
        if path.suffix.lower() in (".parquet", ".pq"):
            return not path.is_dir()
        try:
            return path.is_file() and _begins(path) == _MAGIC
        except OSError:
            return False

    def open(self, source: str, options: IngestOptions) -> Opened:
        """See `survey`."""
        found = self.survey(source)
        return open_columns(*(as_one(found, options) or (found, options)))

    def survey(self, source: str) -> Source:
        """All columns by the file's own description; values are read later, a row group at a time."""
        path, inputs = _file(source)
        foreign = ForeignParquet(path)
        with foreign.understood():
            answer = foreign.ask("table columns")
            columns = []
            for each in answer["columns"].list():
                text = each["dtype"].value == TEXT
                dtype = np.dtype(str) if text else each["dtype"].dtype()
                place, shape = each["path"].text(), each["shape"].counts()
                dated = each["dated"].truth()
                read = partial(_parquet_pass, foreign, place, dtype, shape)
                columns.append(Column(place, dtype, shape, read, dated=dated))
            left_out, gaps, texts = (
                {name: each.text() for name, each in answer[part].items()} for part in ("left_out", "gaps", "texts")
            )
        return _source(self.name, path, Table(tuple(columns), foreign.rows, left_out, gaps, texts), inputs)


class Csv:
    """A CSV or TSV file: a header and lines of numbers, in UTF-8."""

    name = "csv"

    def recognises(self, source: str) -> bool:
        """By its ending."""
        return Path(source).suffix.lower() in (".csv", ".tsv") and not Path(source).is_dir()

    def open(self, source: str, options: IngestOptions) -> Opened:
        """See `survey`."""
        found = self.survey(source)
        return open_columns(*(as_one(found, options) or (found, options)))

    def survey(self, source: str) -> Source:
        """Every line is read once for its rows and types; values are read later, a block of lines at a time."""
        path, inputs = _file(source)
        from prep.importers.csv_lines import CsvLines

        with storage_errors(path):
            lines = CsvLines.of(path)
        columns = tuple(
            Column(
                name,
                dtype,
                (lines.rows, *shape),
                partial(_csv_pass, lines, name, dtype),
                dated=is_dated(lines.types[name][0]),
            )
            for name, (dtype, shape) in lines.kinds.items()
        )

        def rows(wanted: Sequence[Column], start: int, stop: int) -> list[Array]:
            return [lines.values(column.path, column.dtype, start, stop) for column in wanted]

        gaps = {name: f"line {each.gap}" for name, each in lines.learned.items() if each.whole_with_gaps()}
        texts = {name: distinct_values(len(lines.learned[name].distinct)) for name in lines.kinds}
        return _source(self.name, path, Table(columns, rows, lines.left_out, gaps, texts, lines.notes()), inputs)


def _source(importer: str, path: Path, table: Table, inputs: Any) -> Source:
    """What both kinds of table become: text is left out, but for the split; numbered columns are put together."""
    kept = [each for each in table.columns if each.dtype.kind != "U" or each.path.lower() == "split"]
    texts = [each.path for each in table.columns if each not in kept]
    warnings = [f"column {name!r} was left out: {why}" for name, why in table.left_out.items()]
    warnings += [
        f"column {name!r} was left out: text, {table.texts[name]}; to keep it, write the number of its value in its "
        "place (pandas: table[name].astype('category').cat.codes)"
        for name in texts
    ]
    if table.gaps:
        first = next(iter(table.gaps))
        warnings.append(
            f"whole numbers with gaps are read as float64, NaN where nothing is: {named(table.gaps)} "
            f"(the first gap of {first!r} is in {table.gaps[first]})"
        )
    left_out = (*table.left_out, *texts)
    return Source(importer, str(path), tuple(_vectors(kept, table.rows)), inputs, (*warnings, *table.notes), left_out)


def _vectors(columns: Sequence[Column], rows: Rows) -> Iterator[Column]:
    """Columns numbered from 0 or 1 without a gap become one of vectors, at the place of the first."""
    found: dict[str, dict[int, Column]] = {}
    for column in columns:
        match = _COUNTED.fullmatch(column.path)
        if match and not column.shape[1:] and column.dtype.kind in "iuf":
            found.setdefault(match[1], {})[int(match[2])] = column
    names = {column.path for column in columns}
    owner: dict[str, str] = {}
    for stem, parts in found.items():
        numbers = sorted(parts)
        if (
            len(parts) > 1
            and stem not in names
            and numbers in (list(range(len(parts))), list(range(1, len(parts) + 1)))
        ):
            owner |= {parts[number].path: stem for number in numbers}
    done: set[str] = set()
    for column in columns:
        stem = owner.get(column.path, "")
        if not stem:
            yield column
        elif stem not in done:
            done.add(stem)
            parts_in_order = [found[stem][number] for number in sorted(found[stem])]
            dtype = np.result_type(*(part.dtype for part in parts_in_order))
            shape = (column.shape[0], len(parts_in_order))
            yield Column(stem, dtype, shape, partial(_stacked, rows, tuple(parts_in_order), dtype))


@contextmanager
def _stacked(rows: Rows, parts: tuple[Column, ...], dtype: np.dtype[Any]) -> Iterator[Callable[[int, int], Array]]:
    def read(start: int, stop: int) -> Array:
        together = np.empty((stop - start, len(parts)), dtype)
        for index, values in enumerate(rows(parts, start, stop)):
            together[:, index] = values
        return together

    yield read


@contextmanager
def _parquet_pass(
    foreign: ForeignParquet, place: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Iterator[Callable[[int, int], Array]]:
    if dtype.kind == "U":
        yield partial(foreign.text, place, shape)
    else:
        yield partial(foreign.numbers, place, dtype, shape)


@contextmanager
def _csv_pass(lines: Any, place: str, dtype: np.dtype[Any]) -> Iterator[Callable[[int, int], Array]]:
    yield partial(lines.values, place, dtype)


def _begins(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_MAGIC))


def _file(source: str) -> tuple[Path, Inputs]:
    """The file of a table, as long as there is a library that reads it."""
    path = existing(Path(source))
    _demand_pyarrow(path)
    return path, identify(path, [path])


def _demand_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "tables need a library that is not installed",
            where=Where(path=str(path)),
            measured=f"no {error.name}",
            allowed="pyarrow, of the extra `tables`",
            remedy="pip install 'prep-certified[tables]'",
        ) from error
