"""Chunks that lie inside their file and apart from one another, and what lies between them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prep.formats.layout import ByteRange, damaged

Extents = tuple[NDArray[np.uint64], NDArray[np.uint64]]  # offsets and sizes of the chunks of a field


def check_inside(path: Path, name: str, extents: Extents, size: int, whole: int | None) -> None:
    """`IntegrityError` where a chunk ends after the file of ``size`` bytes, or is not of ``whole`` bytes."""
    offsets, sizes = extents
    end = np.uint64(size)
    wrong = (sizes > end) | (offsets > end - np.minimum(sizes, end))
    if whole is not None:
        wrong |= sizes != whole
    if wrong.any():
        index = int(np.argmax(wrong))
        raise damaged(
            path,
            "a chunk has the wrong size or ends after the file",
            field=name,
            chunk=index,
            measured=f"bytes {int(offsets[index])} to {int(offsets[index]) + int(sizes[index])}",
            allowed=f"within {size} bytes" if whole is None else f"{whole} bytes, within {size} bytes",
        )


def gaps(path: Path, chunks: Iterable[Extents], size: int) -> tuple[ByteRange, ...]:
    """What lies between the chunks, in order of offset: with them it covers the file exactly once."""
    parts = list(chunks)
    empty = [np.array([], np.uint64)]
    starts = np.concatenate([offsets for offsets, _ in parts] or empty).astype(np.int64)
    sizes = np.concatenate([each for _, each in parts] or empty).astype(np.int64)
    order = np.argsort(starts, kind="stable")
    starts, stops = starts[order], starts[order] + sizes[order]
    low, high = np.concatenate([[0], stops]), np.concatenate([starts, [size]])
    if np.any(high < low):
        place = int(np.argmax(high < low))
        raise damaged(path, "two chunks overlap in the file", measured=f"at byte {int(high[place])}")
    between = np.flatnonzero(high > low)
    return tuple(
        ByteRange("", begin, end - begin)
        for begin, end in zip(low[between].tolist(), high[between].tolist(), strict=True)
    )
