"""What a child process answers about a Parquet file: its columns of numbers, and rows of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from prep.errors import DataError, IntegrityError, Where
from prep.importers.arrow import EXACT, MOST_DISTINCT, distinct_values, is_dated, kind_of, values_of
from prep.isolation.child import Held
from prep.isolation.positioned import PositionedFile

_BATCH_BYTES, _BUFFER_BYTES = 4 << 20, 1 << 20
_MOST_COLUMNS = 1 << 16
_SCANNED, _MOST_SCANNED = 1 << 16, 1 << 20


def columns(held: Held, path: str, arguments: Any) -> tuple[dict[str, Any], list[Any]]:
    """Rows of the file, its columns (path, dtype or ``text``, shape of a row) and those left out, with the reason;
    where the first gap of whole numbers is, and how many distinct values texts have.
    """
    file = _opened(held, path)
    schema, rows = file.schema_arrow, file.metadata.num_rows
    if len(schema) > _MOST_COLUMNS:
        raise DataError(
            "there are too many columns",
            where=Where(path=path),
            measured=len(schema),
            allowed=_MOST_COLUMNS,
            remedy="store vectors as lists of fixed size",
        )
    found: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    gaps: dict[str, str] = {}
    texts: dict[str, str] = {}
    for field in schema:
        sample = None
        if _is_list(field.type):
            batch = next(file.iter_batches(batch_size=1, columns=[field.name], use_threads=False), None)
            sample = batch.column(0) if batch is not None and batch.num_columns == 1 else None
        gap, beyond = _gaps(file, field, path)
        kind = kind_of(field.type, sample, nulls=gap is not None)
        if gap is not None and beyond is not None:
            kind = "whole numbers beyond 2⁵³ with gaps, which float64 would round "
            kind += f"(row {beyond[0]}: {beyond[1]}; a gap in row {gap})"
        if kind == "text":
            texts[field.name] = _distinct(file, field.name, path)
        elif isinstance(kind, str):
            left_out[field.name] = kind
            continue
        elif gap is not None:
            gaps[field.name] = f"row {gap}"
        dtype, shape = ("text", ()) if isinstance(kind, str) else (kind[0].str, kind[1])
        found.append(
            {"path": field.name, "dtype": dtype, "shape": [rows, *shape], "dated": is_dated(field.type)},
        )
    return {"rows": rows, "columns": found, "left_out": left_out, "gaps": gaps, "texts": texts}, []


def read(held: Held, path: str, arguments: Any) -> tuple[None, list[Any]]:
    """Rows ``start:stop`` of the columns ``places``, each of its dtype in ``dtypes`` and shape in ``shapes``."""
    parts = []
    for place, dtype, shape in zip(arguments["places"], arguments["dtypes"], arguments["shapes"], strict=True):
        passing = _pass(held, path, place, arguments["start"], np.dtype(dtype), tuple(shape))
        parts.append(passing.rows(arguments["start"], arguments["stop"]))
    return None, parts


def texts(held: Held, path: str, arguments: Any) -> tuple[list[str], list[Any]]:
    """Rows ``start:stop`` of the texts at ``place``."""
    passing = _pass(held, path, arguments["place"], arguments["start"], None, ())
    return passing.rows(arguments["start"], arguments["stop"]), []


class _Pass:
    """One column, read front to back; what was decoded and is still to be asked for is kept."""

    def __init__(self, file: Any, path: str, place: str, dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> None:
        self.path, self.place, self.dtype, self.shape = path, place, dtype, shape
        row_bytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64)) if dtype is not None else 64
        # Every column has a pass of its own, and keeps a batch.
        size = max(_BATCH_BYTES // max(row_bytes * file.metadata.num_columns, 1), 1 << 10)
        self.batches: Iterator[Any] = file.iter_batches(batch_size=size, columns=[place], use_threads=False)
        self.start, self.kept = 0, self._next()

    def rows(self, start: int, stop: int) -> Any:
        """Rows from ``start``, which is never before that of the last question, to ``stop``."""
        parts = []
        while start < stop:
            end = self.start + len(self.kept)
            if start >= end:
                self.start, self.kept = end, self._next()
                continue
            parts.append(self.kept[start - self.start : stop - self.start])
            start += len(parts[-1])
        if self.dtype is None:
            return [text for part in parts for text in part]
        return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _next(self) -> Any:
        with _damage(self.path, self.place):
            batch = next(self.batches, None)
            if batch is None or len(batch) == 0 or batch.num_columns != 1:
                raise ValueError("it ends before its rows do")
            if self.dtype is None:
                return [str(value)[:256] for value in batch.column(0).to_pylist()]
            return values_of(batch.column(0), self.dtype, self.shape, Where(path=self.path, key=self.place))


def _pass(held: Held, path: str, place: str, start: int, dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> _Pass:
    known: dict[str, _Pass] = held.state.setdefault("passes", {})
    if place not in known or start < known[place].start:
        known[place] = _Pass(_opened(held, path), path, place, dtype, shape)
    return known[place]


@contextmanager
def _damage(path: str, place: str = "") -> Iterator[None]:
    """`IntegrityError` for what pyarrow raises on damaged bytes."""
    try:
        yield
    except (OSError, ValueError, KeyError, NotImplementedError, TypeError) as error:
        raise IntegrityError(
            f"this Parquet file cannot be read: {str(error)[:200]}",
            where=Where(path=path, key=place),
            remedy="the file is truncated, damaged or uses a codec that is not installed; copy or write it again",
        ) from error


def _opened(held: Held, path: str) -> Any:
    if "parquet" not in held.state:
        import pyarrow
        from pyarrow import parquet

        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        with _damage(path):
            source = PositionedFile(held.descriptor)
            held.state["parquet"] = parquet.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    return held.state["parquet"]


def _is_list(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind))


def _gaps(file: Any, field: Any, path: str) -> tuple[int | None, tuple[int, int] | None]:
    """The first row without a value of a column of whole numbers or truth values, and the first (row, value) that
    float64 may not hold; None where there is none. Statistics spare the reading where they say enough.
    """
    import pyarrow as pa

    whole = pa.types.is_integer(field.type)
    if not field.nullable or not (whole or pa.types.is_boolean(field.type)):
        return None, None
    known = _statistics(file, field.name)
    if known and all(each is not None and each.has_null_count and not each.null_count for each in known):
        return None, None
    small = not whole or field.type.bit_width < 64 or (bool(known) and all(map(_small, known)))
    gap, beyond, start = None, None, 0
    with _damage(path, field.name):
        for batch in file.iter_batches(batch_size=_SCANNED, columns=[field.name], use_threads=False):
            column = batch.column(0)
            if gap is None and column.null_count:
                gap = start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            if beyond is None and not small:
                beyond = _beyond(column, start)
            if gap is not None and (small or beyond is not None):
                break
            start += len(column)
    return gap, beyond


def _statistics(file: Any, name: str) -> list[Any]:
    """What a file says of a column in each of its row groups, None where nothing; [] where there is no such column."""
    metadata = file.metadata
    index = next((i for i in range(metadata.num_columns) if metadata.schema.column(i).path == name), None)
    groups = range(metadata.num_row_groups)
    return [] if index is None else [metadata.row_group(group).column(index).statistics for group in groups]


def _small(statistics: Any) -> bool:
    """Whether all values of a row group are known to be whole numbers that float64 holds."""
    if statistics is None or not statistics.has_min_max:
        return False
    return bool(statistics.min >= -EXACT and statistics.max <= EXACT)


def _beyond(column: Any, start: int) -> tuple[int, int] | None:
    held = column.drop_null().to_numpy(zero_copy_only=False)
    outside = np.flatnonzero((held > EXACT) | ((held < -EXACT) if held.dtype.kind == "i" else False))
    if not len(outside):
        return None
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    return start + int(rows[outside[0]]), int(held[outside[0]])


def _distinct(file: Any, name: str, path: str) -> str:
    """How many distinct values a column of text has, of as many rows as are looked at."""
    seen: set[Any] = set()
    rows = 0
    with _damage(path, name):
        for batch in file.iter_batches(batch_size=_SCANNED, columns=[name], use_threads=False):
            seen |= set(batch.column(0).unique().to_pylist())
            rows += len(batch)
            if len(seen) > MOST_DISTINCT or rows >= _MOST_SCANNED:
                break
    return distinct_values(len(seen - {None})) + (
        "" if rows >= file.metadata.num_rows else f" in the first {rows:,} rows"
    )
