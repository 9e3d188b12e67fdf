"""Arrow's columns as arrays of numbers: which can be, and their values, with NaN where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import DataError, Where, counted

Kind = tuple[np.dtype[Any], tuple[int, ...]]
EXACT = 2**53  # float64 holds every whole number up to here
MOST_DISTINCT = 256
_NAMED = 5
_TICKS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def kind_of(kind: Any, sample: Any = None, *, nulls: bool = False) -> Kind | str:
    """(dtype, shape of a row) of an Arrow type; ``"text"``, or why it is left out. Truth values become zeros
    and ones, they and whole numbers with ``nulls`` float64; times become float64 seconds;
    a list of one length (that of ``sample``) becomes a vector.
    """
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_fixed_size_list(kind):
        inner = kind_of(kind.value_type)
        return inner if isinstance(inner, str) else (inner[0], (kind.list_size, *inner[1]))
    if types.is_list(kind) or types.is_large_list(kind):
        inner = kind_of(kind.value_type)
        if isinstance(inner, str) or inner[1] or sample is None or not len(sample) or not sample[0].is_valid:
            return "lists of no known length"
        return inner[0], (len(sample[0]),)
    if types.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype()), ()
    if types.is_integer(kind) or types.is_boolean(kind):
        whole = np.dtype(np.uint8) if types.is_boolean(kind) else np.dtype(kind.to_pandas_dtype())
        return (np.dtype(np.float64) if nulls else whole), ()
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_date(kind) or types.is_decimal(kind):
        return np.dtype(np.float64), ()
    return f"{kind}, not numbers"


def is_dated(kind: Any) -> bool:
    """Whether an Arrow type is one of dates or points in time."""
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def distinct_values(distinct: int) -> str:
    """In words, how many distinct values a column of text has: up to `MOST_DISTINCT` they are counted."""
    if distinct > MOST_DISTINCT:
        return f"more than {MOST_DISTINCT} distinct values"
    return counted(distinct, "distinct value")


def named(columns: Iterable[str]) -> str:
    """Some columns by name, and how many more there are."""
    listed = [repr(name) for name in columns]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ("columns " if len(listed) > 1 else "column ") + ", ".join(listed[:_NAMED]) + more


def values_of(column: Any, dtype: np.dtype[Any], shape: tuple[int, ...], where: Where) -> Array:
    """The rows of an Arrow array as (rows, *shape) of ``dtype``; `DataError` where lists differ in length."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    rows = len(column)
    if shape:
        width = int(np.prod(shape, dtype=np.int64))
        flat = column
        while pa.types.is_nested(flat.type):
            flat = flat.flatten()
        if column.null_count or len(flat) != rows * width:
            raise DataError(
                "lists of one column differ in length",
                where=where,
                measured=f"{len(flat)} values in {rows} rows, {column.null_count} of them empty",
                allowed=f"{width} values in each row",
                remedy="pad them to one length, with a mask beside them",
            )
        return _plain(flat, dtype).reshape(rows, *shape)
    return _plain(column, dtype)


def _plain(column: Any, dtype: np.dtype[Any]) -> Array:
    import pyarrow as pa

    types = pa.types
    if types.is_date(column.type):
        column = column.cast(pa.timestamp("s")) if types.is_date32(column.type) else column.cast(pa.timestamp("ms"))
    ticks = 1.0
    if types.is_timestamp(column.type) or types.is_duration(column.type):
        ticks = _TICKS[column.type.unit]
        column = column.cast(pa.int64(), safe=False) if not types.is_timestamp(column.type) else column.view(pa.int64())
    if types.is_decimal(column.type):
        column = column.cast(pa.float64(), safe=False)
    if types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values = np.asarray(column.to_numpy(zero_copy_only=False))
    if dtype.kind in "biu" and values.dtype.kind == "f":
        raise ValueError("a column holds nothing in places where its statistics say that it does not")
    if column.null_count and types.is_integer(column.type) and ticks == 1.0 and (np.abs(values) > EXACT).any():
        raise ValueError("a column holds whole numbers beyond 2⁵³, and gaps, where its statistics say that it does not")
    return (values / ticks).astype(dtype) if ticks != 1.0 else values.astype(dtype, copy=False)
