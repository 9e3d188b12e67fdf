"""Matrices of N rows have trace N: the scale has been taken out, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_matrices
from prep.checks.statistics import FIELD, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class TraceN:
    """|tr R − N| / N ≤ tolerance, the real trace summed in float64."""

    name = "trace_n"
    bounds = True
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "tolerance": POSITIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_matrices(spec, statistics["var"], self.name)
        return (Rowwise(self.name, (field.name,), trace_gap, float(statistics["tolerance"]), Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"|tr R − N| / N ≤ {fold.limit:g}",
            good="have trace N",
            bad="do not have trace N",
            remedy="normalise with the transform trace_n, once; an all-zero matrix is a failed sample: drop it",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, tolerance: float) -> Any:
        matrices = memory.values(ds, var)
        size = matrices.shape[1]
        traces = np.array([float(np.sum(np.diag(matrix).real, dtype=np.float64)) for matrix in matrices])
        return memory.by_sample(np.abs(traces - size) <= tolerance * size)


def trace_gap(arrays: Mapping[str, Array]) -> Array:
    """|tr R − N| / N of each matrix, (rows,)."""
    (matrices,) = arrays.values()
    size = matrices.shape[1]
    traces = np.diagonal(matrices, axis1=1, axis2=2).real.astype(np.float64).sum(axis=1)
    return np.asarray(np.abs(traces - size) / size)
