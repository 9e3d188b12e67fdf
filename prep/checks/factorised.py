"""A stored factor F reproduces its matrix: R = N·F Fᴴ, so that training on the cheap factor is training on R."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_matrices, refuse
from prep.checks.pieces import by_pieces, norms, relative
from prep.checks.statistics import FIELD, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class Factorised:
    """‖R − N·F Fᴴ‖ / ‖R‖ ≤ tolerance for R (sample, N, N) of trace N and F (sample, N, K) of unit Frobenius norm."""

    name = "factorised"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "factor": FIELD, "tolerance": POSITIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return statistics["var"], statistics["factor"]

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_matrices(spec, statistics["var"], self.name)
        factor = demand_kind(spec, statistics["factor"], self.name, "fc", "float or complex")
        if len(factor.shape) != 2 or factor.shape[0] != field.shape[0]:
            raise refuse(
                spec, factor.name, self.name, measured=f"sizes {factor.shape}", allowed=f"({field.shape[0]}, K)"
            )
        limit = float(statistics["tolerance"])
        return (Rowwise(self.name, (field.name, factor.name), factor_residual, limit, Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"‖R − N·F Fᴴ‖ / ‖R‖ ≤ {fold.limit:g}",
            good=f"are N·F Fᴴ of {statistics['factor']}",
            bad=f"are not what {statistics['factor']} gives",
            remedy="store the sample's own factor with unit norm; normalise the matrix with trace_n, without loading",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, factor: str, tolerance: float) -> Any:
        ok = []
        for matrix, part in zip(memory.values(ds, var), memory.values(ds, factor), strict=True):
            wide, thin = matrix.astype(np.complex128), part.astype(np.complex128)
            if not (np.isfinite(wide).all() and np.isfinite(thin).all()):
                ok.append(False)
                continue
            gap = np.linalg.norm(wide - len(wide) * (thin @ thin.conj().T))
            ok.append(bool(gap <= tolerance * np.linalg.norm(wide)))
        return memory.by_sample(np.array(ok))


def factor_residual(arrays: Mapping[str, Array]) -> Array:
    """‖R − N·F Fᴴ‖ / ‖R‖ of each matrix, (rows,)."""
    matrices, factors = arrays.values()
    return by_pieces(_residual, matrices, factors)


def _residual(matrices: Array, factors: Array) -> Array:
    wide = factors.astype(np.result_type(factors.dtype, np.float64))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = matrices - matrices.shape[1] * (wide @ np.conj(np.swapaxes(wide, 1, 2)))
        return relative(norms(gap), norms(matrices))
