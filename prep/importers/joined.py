"""Columns made of other columns: one after the other (episodes, splits), side by side (x0, x1, …), or counted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prep.blocks import Array
from prep.importers.columns import Column


def one_after_the_other(path: str, parts: Sequence[tuple[Column, int]]) -> Column:
    """A column of the first so many rows of each of ``parts``, alike in inner shape, in their widest type."""
    first = parts[0][0]
    types = {column.dtype for column, _ in parts}
    dtype = np.result_type(*types) if len(types) > 1 else first.dtype
    ends = np.cumsum([rows for _, rows in parts])
    return replace(
        first,
        path=path,
        dtype=dtype,
        shape=(int(ends[-1]), *first.shape[1:]),
        reader=partial(_in_turn, tuple(column for column, _ in parts), ends, dtype if len(types) > 1 else None),
        chunk_rows=1,
    )


def side_by_side(path: str, parts: Sequence[Column], dtype: np.dtype[Any]) -> Column:
    """A column (rows, n) of ``dtype`` of n columns (rows,)."""
    chunk = max(part.chunk_rows for part in parts)
    return Column(path, dtype, (parts[0].shape[0], len(parts)), partial(_beside, tuple(parts), dtype), chunk)


def numbered(path: str, ends: NDArray[np.int64]) -> Column:
    """A column (rows,) int64 that counts pieces: 0 up to row ``ends[0]``, then 1, and so on."""
    return Column(path, np.dtype(np.int64), (int(ends[-1]),), partial(_counted, ends))


@contextmanager
def _in_turn(
    parts: tuple[Column, ...], ends: NDArray[np.int64], dtype: np.dtype[Any] | None
) -> Iterator[Callable[[int, int], Array]]:
    limits = ends.tolist()
    current = -1
    values: Callable[[int, int], Array]

    def read(start: int, stop: int) -> Array:
        nonlocal current, values
        found = []
        while start < stop:
            index = bisect_right(limits, start)
            first = limits[index - 1] if index else 0
            if index != current:
                stack.close()  # one is open at a time
                values, current = stack.enter_context(parts[index].reader()), index
            end = min(stop, limits[index])
            part = values(start - first, end - first)
            found.append(part if dtype is None else part.astype(dtype))
            start = end
        return found[0] if len(found) == 1 else np.concatenate(found)

    with ExitStack() as stack:
        yield read


@contextmanager
def _beside(parts: tuple[Column, ...], dtype: np.dtype[Any]) -> Iterator[Callable[[int, int], Array]]:
    with ExitStack() as stack:
        readers = [stack.enter_context(part.reader()) for part in parts]

        def read(start: int, stop: int) -> Array:
            rows = np.empty((stop - start, len(readers)), dtype)
            for place, each in enumerate(readers):
                rows[:, place] = each(start, stop)
            return rows

        yield read


@contextmanager
def _counted(ends: NDArray[np.int64]) -> Iterator[Callable[[int, int], Array]]:
    yield lambda start, stop: np.searchsorted(ends, np.arange(start, stop), side="right")


def read_whole(column: Column) -> Array:
    """All its rows at once; for what is known to be small."""
    with column.reader() as read:
        return np.asarray(read(0, column.shape[0]) if column.shape else read(0, 1))
