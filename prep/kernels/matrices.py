"""Scales of single samples and what removes them: Hermitian part, trace, trace normalisation, root mean square.

All arithmetic is float64 or complex128, whatever the stored dtype, and no absolute epsilon is ever added: raw traces
span 1e-11 to 1e-4, so that even 1e-9 would distort the small ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def wide_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """complex128 for complex dtypes, float64 for all others."""
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def real_view(array: Array) -> Array:
    """Complex arrays as real ones with a trailing axis of 2 (re, im), without a copy where they are contiguous."""
    if array.dtype.kind != "c":
        return array
    array = np.ascontiguousarray(array)
    return array.view(array.real.dtype).reshape(*array.shape, 2)


def divide_rows(values: Array, divisors: Array) -> None:
    """Divide row i of contiguous float64 or complex128 ``values`` (rows, …) by the real ``divisors`` (rows,), in place.

    Real and imaginary parts are divided as the reals they are, at several times the speed of a complex division.
    """
    parts = real_view(values)
    parts /= divisors.reshape(-1, *([1] * (parts.ndim - 1)))


def hermitian(matrices: Array) -> Array:
    """(A + Aᴴ) / 2 of (…, N, N) matrices, complex128 or float64."""
    result: Array = matrices.astype(wide_type(matrices.dtype), order="C")
    result += np.conj(np.swapaxes(matrices, -1, -2))
    result *= 0.5
    return result


def traces(matrices: Array) -> Array:
    """Real part of the trace of (…, N, N) matrices in float64, which is the trace of the Hermitian part."""
    diagonal = np.diagonal(matrices, axis1=-2, axis2=-1).real
    return np.add.reduce(diagonal.astype(np.float64), axis=-1)  # type: ignore[no-any-return]


def square_norms(values: Array) -> Array:
    """Sum of |x|² over everything but the first axis of (rows, …) arrays, real or complex, in float64 as (rows,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        flat = real_view(values).reshape(len(values), -1).astype(np.float64, copy=False)
        return np.vecdot(flat, flat)  # type: ignore[no-any-return]


def asymmetry(matrices: Array, part: Array) -> Array:
    """‖A − Aᴴ‖ / ‖A‖ (Frobenius) of (rows, N, N) matrices whose `hermitian` ``part`` is at hand; 0 for a zero matrix.

    ‖A‖² = ‖H‖² + ‖(A − Aᴴ)/2‖², so that the norms alone tell, down to about 1e-7.
    """
    whole, kept = square_norms(matrices), square_norms(part)
    with np.errstate(invalid="ignore"):
        return np.where(whole > 0, 2 * np.sqrt(np.maximum(1 - kept / np.where(whole > 0, whole, 1.0), 0.0)), 0.0)


def trace_normalise(matrices: Array, loading: float = 0.0) -> Array:
    """Hermitise, divide by the own trace, times N; with ``loading`` λ then (R + λI) / (1 + λ), whose trace is N again.

    ``matrices`` are (…, N, N), complex or real; the result is complex128 or float64. A trace that is not positive
    gives what floating point gives (infinity, NaN): callers test `traces` first.
    """
    result = hermitian(matrices)
    scale_to_trace(result, traces(result), loading)
    return result


def scale_to_trace(matrices: Array, trace: Array, loading: float = 0.0) -> None:
    """The scaling of `trace_normalise` alone, in place, of contiguous float64 or complex128 matrices."""
    size = matrices.shape[-1]
    with np.errstate(all="ignore"):
        divide_rows(matrices.reshape(-1, size * size), trace.reshape(-1) / size)
    if loading:
        matrices[..., np.arange(size), np.arange(size)] += loading
        matrices /= 1.0 + loading


def trace_restore(normalised: Array, trace: Array, loading: float = 0.0) -> Array:
    """The inverse of `trace_normalise` on Hermitian matrices: (…, N, N) and the (…,) traces that were removed."""
    size = normalised.shape[-1]
    result = normalised.astype(wide_type(normalised.dtype))
    if loading:
        result *= 1.0 + loading
        result[..., np.arange(size), np.arange(size)] -= loading
    result *= trace[..., np.newaxis, np.newaxis] / size
    return result


def row_rms(values: Array, counted: Array | None = None) -> Array:
    """Root mean square of each row of (rows, …), real or complex (√ of the mean of |x|²), in float64 as (rows,).

    ``counted`` is a bool array of the same shape; a row without counted entries gives NaN.
    """
    rows = len(values)
    if counted is not None:
        values = np.where(counted, values, np.zeros((), values.dtype))
        count = np.count_nonzero(counted.reshape(rows, -1), axis=1)
    else:
        count = np.full(rows, values[:1].size)
    squares = square_norms(values)
    scale = np.ones(rows)
    # Squares of float64 values can overflow or vanish where the values themselves do not.
    odd = np.flatnonzero(~((squares > 1e-280) & (squares < np.inf)))
    if len(odd):
        flat = np.abs(real_view(values[odd]).reshape(len(odd), -1).astype(np.float64))
        peak = np.max(flat, axis=1, initial=0.0)
        scale[odd] = np.where((peak > 0) & np.isfinite(peak), peak, 1.0)
        squares[odd] = square_norms(flat / scale[odd, np.newaxis])
    return np.where(count > 0, np.sqrt(squares / np.maximum(count, 1)) * scale, np.nan)
