"""Hermitian matrices have no negative eigenvalue beyond a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_matrices
from prep.checks.pieces import by_pieces
from prep.checks.statistics import FIELD, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise
from prep.kernels.compiled import matrix_loops_for
from prep.kernels.matrices import wide_type


class Psd:
    """λ_min ≥ −tolerance·N for (sample, N, N) fields, in double precision; the lower triangle is read, as LAPACK does.

    A matrix whose R + tolerance·N·I has a Cholesky factor passes without further work (and measures 0); eigenvalues are
    computed only where some matrix of a piece has none. ``worst`` is λ_min / N, as far as it is negative.
    """

    name = "psd"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "tolerance": POSITIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_matrices(spec, statistics["var"], self.name)
        limit = float(statistics["tolerance"])
        return (Rowwise(self.name, (field.name,), negativity, limit, Scope.of(spec), {"tolerance": limit}),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"λ_min / N ≥ −{fold.limit:g}",
            good="are positive semidefinite",
            bad="have a negative eigenvalue, here over N",
            sign=-1.0,
            remedy="build the matrices as A Aᴴ; a mean-centred or edited covariance is none",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, tolerance: float) -> Any:
        ok = []
        for matrix in memory.values(ds, var):
            wide = matrix.astype(np.complex128)
            finite = bool(np.isfinite(wide).all())
            ok.append(finite and bool(np.linalg.eigvalsh(wide).min() >= -tolerance * len(wide)))
        return memory.by_sample(np.array(ok))


def negativity(arrays: Mapping[str, Array], tolerance: float) -> Array:
    """−λ_min / N of each matrix, or 0 where Cholesky already shows that it is below ``tolerance``; (rows,)."""
    (matrices,) = arrays.values()
    loops = matrix_loops_for(matrices.nbytes)
    if loops is None:
        return by_pieces(_negativity, matrices, tolerance=tolerance)
    size = matrices.shape[1]
    good = np.empty(len(matrices), bool)
    scratch = np.empty((size, size), wide_type(matrices.dtype), order="F")
    loops.definite(np.ascontiguousarray(matrices), tolerance * size, scratch, good)
    measured = np.zeros(len(matrices))
    if not good.all():
        measured[~good] = by_pieces(_negativity, matrices[~good], tolerance=tolerance)
    return measured


def _negativity(matrices: Array, tolerance: float) -> Array:
    size = matrices.shape[1]
    diagonal = np.einsum("nii->ni", matrices)
    diagonal += tolerance * size
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        return np.asarray(tolerance - np.linalg.eigvalsh(matrices)[:, 0] / size)
    return np.zeros(len(matrices))
