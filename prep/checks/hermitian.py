"""Matrices equal their conjugate transpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_matrices
from prep.checks.pieces import by_pieces, norms, relative
from prep.checks.statistics import FIELD, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise
from prep.kernels.compiled import matrix_loops_for


class Hermitian:
    """‖R − Rᴴ‖ / ‖R‖ ≤ tolerance in the Frobenius norm, computed in double precision; a zero matrix passes."""

    name = "hermitian"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "tolerance": POSITIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_matrices(spec, statistics["var"], self.name)
        return (Rowwise(self.name, (field.name,), hermitian_residual, float(statistics["tolerance"]), Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"‖R − Rᴴ‖ / ‖R‖ ≤ {fold.limit:g}",
            good="are Hermitian",
            bad="are not Hermitian",
            remedy="build the matrices as A Aᴴ and Hermitise before storing, (R + Rᴴ) / 2",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, tolerance: float) -> Any:
        ok = []
        for matrix in memory.values(ds, var):
            wide = matrix.astype(np.complex128)
            if not np.isfinite(wide).all():
                ok.append(False)
                continue
            gap, size = np.linalg.norm(wide - wide.conj().T), np.linalg.norm(wide)
            ok.append(bool(gap <= tolerance * size))
        return memory.by_sample(np.array(ok))


def hermitian_residual(arrays: Mapping[str, Array]) -> Array:
    """‖R − Rᴴ‖ / ‖R‖ of each matrix, (rows,)."""
    (matrices,) = arrays.values()
    loops = matrix_loops_for(matrices.nbytes)
    if loops is None:
        return by_pieces(_residual, matrices)
    squares = np.empty((len(matrices), 2))
    loops.square_norms(np.ascontiguousarray(matrices), squares)
    finite = np.isfinite(squares[:, 0]) & np.isfinite(squares[:, 1])
    whole, gap = np.sqrt(np.where(finite[:, np.newaxis], squares, 0.0)).T
    return np.where(finite, relative(gap, whole), np.inf)


def _residual(matrices: Array) -> Array:
    return relative(norms(matrices - np.conj(np.swapaxes(matrices, 1, 2))), norms(matrices))
