"""Matrices measured a few at a time: enough for BLAS and LAPACK, few enough for the cache and for bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.kernels.matrices import wide_type

PIECE_BYTES = 4 << 20


def by_pieces(measure: Callable[..., Array], matrices: Array, *beside: Array, **arguments: Any) -> Array:
    """``measure(matrices, *beside, **arguments) -> (rows,)`` over pieces of rows, matrices as complex128 or float64.

    Rows that hold NaN or infinity are not handed on (LAPACK may not end on them): they measure infinity.
    """
    wide = wide_type(matrices.dtype)
    step = max(PIECE_BYTES // max(matrices[:1].size * wide.itemsize, 1), 1)
    result = np.empty(len(matrices), dtype=np.float64)
    for start in range(0, len(matrices), step):
        rows = slice(start, start + step)
        piece = matrices[rows].astype(wide)
        others = [array[rows] for array in beside]
        good = np.isfinite(piece).all(axis=(1, 2))
        if good.all():
            result[rows] = measure(piece, *others, **arguments)
            continue
        part = np.full(len(piece), np.inf)
        if good.any():
            part[good] = measure(piece[good], *(array[good] for array in others), **arguments)
        result[rows] = part
    return result


def norms(matrices: Array) -> Array:
    """Frobenius norms of (rows, …) arrays, float64 (rows,)."""
    flat = np.ascontiguousarray(matrices).reshape(len(matrices), -1)
    real = flat.view(np.float64) if flat.dtype.kind == "c" else flat
    with np.errstate(over="ignore"):
        return np.asarray(np.sqrt(np.vecdot(real, real)))


def relative(part: Array, whole: Array) -> Array:
    """part / whole, 0 where both are 0, infinity where only ``whole`` is."""
    return np.asarray(np.divide(part, whole, out=np.where(part > 0, np.inf, 0.0), where=whole > 0))
