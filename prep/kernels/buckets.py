"""Log-linear codes of floats: sign, exponent and the leading bits of the mantissa, in the order of the values.

A float64 read as an integer is already log-linear, since its exponent stands before its mantissa; dropping the last
mantissa bits leaves buckets whose width is a fixed share of their distance from zero, as in HDR histograms and
DDSketch (C. Masson, J. E. Rim, H. K. Lee, VLDB 2019), without a logarithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MANTISSA_BITS = 7
RELATIVE_ERROR = 2.0 ** -(MANTISSA_BITS + 1)
SHIFT = 52 - MANTISSA_BITS
_MAGNITUDE = (1 << 63) - 1
CODE_LIMIT = 1 << (11 + MANTISSA_BITS)


def codes(values: Array) -> Array:
    """int64 codes of finite float64 ``values``, in their order; |code| < 2^18, 0 for the smallest subnormals."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    magnitude = (bits & _MAGNITUDE) >> SHIFT
    return np.where(bits < 0, -magnitude, magnitude)


def representatives(code: Array) -> Array:
    """The middle of each code's bucket in float64, within `RELATIVE_ERROR` of its values (normal numbers)."""
    magnitude = np.abs(code.astype(np.int64))
    low = (magnitude << SHIFT).view(np.float64)
    # The last bucket ends where infinity begins.
    high = np.minimum(((magnitude + 1) << SHIFT).view(np.float64), np.finfo(np.float64).max)
    middle = low + (high - low) / 2
    return np.where(code == 0, 0.0, np.sign(code) * middle)


def count_codes(cells: Array, code: Array) -> tuple[Array, Array]:
    """Distinct (cell, code) pairs as ascending int64 keys of `pack`, and how often each occurs."""
    if not len(code):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    low, high = int(code.min()), int(code.max())
    width = high - low + 1
    count = int(cells.max()) + 1
    if count * width > max(1 << 20, 4 * len(code)):
        keys, counts = np.unique(pack(cells, code), return_counts=True)
        return keys, counts.astype(np.int64)
    table = np.bincount(cells * width + (code - low), minlength=count * width)
    found = np.flatnonzero(table)
    return pack(found // width, found % width + low), table[found].astype(np.int64)


def pack(cells: Array, code: Array) -> Array:
    """One int64 key, ordered by cell, then by code."""
    keys: Array = cells.astype(np.int64) * (2 * CODE_LIMIT) + (code + CODE_LIMIT)
    return keys


def unpack(keys: Array) -> tuple[Array, Array]:
    """Cells and codes of `pack`."""
    return keys // (2 * CODE_LIMIT), keys % (2 * CODE_LIMIT) - CODE_LIMIT


def add_counts(keys: Array, counts: Array) -> tuple[Array, Array]:
    """Ascending distinct ``keys`` with the sums of their ``counts``."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
    if not len(starts):
        return keys, counts
    return keys[starts], np.add.reduceat(counts, starts)
