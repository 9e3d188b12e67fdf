"""The Frobenius norm of a positive semidefinite matrix of trace N lies between √N (white) and N (rank one)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_matrices
from prep.checks.pieces import by_pieces, norms
from prep.checks.statistics import FIELD, NOT_NEGATIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class NormBounds:
    """√N ≤ ‖R‖ ≤ N up to a relative ``slack``; ``worst`` is the largest relative step outside (negative: inside)."""

    name = "norm_bounds"
    bounds = True
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "slack": NOT_NEGATIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_matrices(spec, statistics["var"], self.name)
        return (Rowwise(self.name, (field.name,), norm_step, float(statistics["slack"]), Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"max(√N / ‖R‖, ‖R‖ / N) − 1 ≤ {fold.limit:g}",
            good="have a norm between √N and N",
            bad="have a norm that no covariance of trace N has",
            remedy="normalise with the transform trace_n, once; the matrices must be Hermitian and semidefinite",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, slack: float) -> Any:
        matrices = memory.values(ds, var)
        size = matrices.shape[1]
        norm = np.array([np.linalg.norm(matrix.astype(np.complex128)) for matrix in matrices])
        return memory.by_sample((norm * (1 + slack) >= np.sqrt(size)) & (norm <= size * (1 + slack)))


def norm_step(arrays: Mapping[str, Array]) -> Array:
    """max(√N / ‖R‖, ‖R‖ / N) − 1 of each matrix, (rows,); infinite for a zero matrix."""
    (matrices,) = arrays.values()
    return by_pieces(_step, matrices)


def _step(matrices: Array) -> Array:
    size, norm = matrices.shape[1], norms(matrices)
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(np.sqrt(size) / norm, norm / size) - 1.0)
