"""Compiled loops (numba, with LAPACK from scipy) over matrices that stay in the cache while they are looked at.

Only `prep.kernels.compiled` imports this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_jit: Any = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


@_jit
def square_norms(matrices, out):  # type: ignore[no-untyped-def]
    """‖R‖² and ‖R − Rᴴ‖² (Frobenius) of each of (rows, N, N) into ``out`` (rows, 2) float64."""
    size = matrices.shape[1]
    for row in range(len(matrices)):
        matrix, whole, gap = matrices[row], 0.0, 0.0
        for i in range(size):
            for j in range(i):
                a, b = np.complex128(matrix[i, j]), np.complex128(matrix[j, i])
                real, imaginary = a.real - b.real, a.imag + b.imag
                gap += 2.0 * (real * real + imaginary * imaginary)
                whole += (a.real * a.real + a.imag * a.imag) + (b.real * b.real + b.imag * b.imag)
            d = np.complex128(matrix[i, i])
            whole += d.real * d.real + d.imag * d.imag
            gap += 4.0 * d.imag * d.imag
        out[row, 0] = whole
        out[row, 1] = gap


@_jit
def definite(matrices, shift, scratch, out):  # type: ignore[no-untyped-def]
    """Whether R + shift·I has a Cholesky factor, of each of (rows, N, N), into ``out`` (rows,) bool.

    ``scratch`` (N, N) is complex128 or float64 in Fortran order: the precision it is done in. The lower triangle of R
    is read; a matrix with NaN or infinity anywhere has no factor.
    """
    size = matrices.shape[1]
    for row in range(len(matrices)):
        matrix, odd = matrices[row], 0.0
        for i in range(size):
            for j in range(size):
                value = np.complex128(matrix[i, j])
                odd += (value.real - value.real) + (value.imag - value.imag)
                scratch[i, j] = matrix[i, j]
            scratch[i, i] = matrix[i, i].real + shift
        out[row] = False
        if odd == 0.0:
            try:
                np.linalg.cholesky(scratch)
                out[row] = True
            except Exception:
                out[row] = False
