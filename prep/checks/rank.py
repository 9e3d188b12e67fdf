"""Matrices have as many significant eigenvalues as the dataset says there are sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_matrices, demand_one_integer
from prep.checks.pieces import by_pieces, norms
from prep.checks.statistics import FIELD, FRACTION, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise

_MARGIN = 1e-6


class Rank:
    """The number of eigenvalues above tolerance·tr R equals ``count``; ``worst`` is by how many it differs.

    K steps of a pivoted Cholesky factorisation give R = LLᴴ + S with L of K columns, so that λ_{K+1}(R) ≤ ‖S‖ and
    λ_K(R) ≥ λ_min(LᴴL) − ‖S‖ (Weyl's inequality): where these bounds decide, no eigenvalue of R is computed.
    """

    name = "rank"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "count": FIELD,
        "tolerance": {**FRACTION, "exclusiveMinimum": 0},
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return statistics["var"], statistics["count"]

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        names = demand_matrices(spec, statistics["var"], self.name).name, statistics["count"]
        demand_one_integer(spec, statistics["count"], self.name)
        arguments = {"tolerance": float(statistics["tolerance"])}
        return (Rowwise(self.name, names, rank_gap, 0.0, Scope.of(spec), arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        count, tolerance = statistics["count"], statistics["tolerance"]
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"0 eigenvalues above {tolerance:g}·tr R more or fewer than {count}",
            good=f"have rank {count}",
            bad=f"do not have rank {count}",
            remedy="see whether the matrices were loaded, averaged over few draws or built from other sources",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, count: str, tolerance: float) -> Any:
        ok = []
        for matrix, wanted in zip(memory.values(ds, var), memory.values(ds, count), strict=True):
            wide = matrix.astype(np.complex128)
            if not np.isfinite(wide).all() or not np.trace(wide).real > 0:
                ok.append(False)
                continue
            eigenvalues = np.linalg.eigvalsh(wide)
            ok.append(bool(np.sum(eigenvalues > tolerance * np.trace(wide).real) == wanted))
        return memory.by_sample(np.array(ok))


def rank_gap(arrays: Mapping[str, Array], tolerance: float) -> Array:
    """|rank − count| of each matrix, (rows,); infinite where the trace is not positive."""
    matrices, count = arrays.values()
    return by_pieces(_gap, matrices, count.astype(np.int64), tolerance=tolerance)


def _gap(matrices: Array, count: Array, tolerance: float) -> Array:
    traces = np.einsum("nii->n", matrices).real
    result = np.zeros(len(matrices))
    positive = traces > 0
    result[~positive] = np.inf
    limit = tolerance * traces
    rest, least = _bounds(matrices, count, traces)
    decided = positive & (rest < (1 - _MARGIN) * limit) & (least - rest > (1 + _MARGIN) * limit)
    if (open_ := np.flatnonzero(positive & ~decided)).size:
        eigenvalues = np.linalg.eigvalsh(matrices[open_])
        found = np.count_nonzero(eigenvalues > limit[open_, np.newaxis], axis=1)
        result[open_] = np.abs(found - count[open_])
    return result


def _bounds(matrices: Array, count: Array, traces: Array) -> tuple[Array, Array]:
    """‖R − LLᴴ‖ (Frobenius) and λ_min(LᴴL) of each matrix, L with ``count`` columns; NaN where there is no L."""
    rows, size, _ = matrices.shape
    steps = int(np.clip(count.max(initial=0), 0, size))
    factor = np.zeros((rows, size, steps), dtype=matrices.dtype)
    diagonal = np.einsum("nii->ni", matrices).real.copy()
    places = np.arange(rows)
    usable = (count > 0) & (count <= steps)
    for step in range(steps):
        pivot = diagonal.argmax(axis=1)
        largest = diagonal[places, pivot]
        going = step < count
        usable &= ~going | (largest > 0)
        going &= usable
        column = matrices[places, :, pivot] - (factor @ np.conj(factor[places, pivot])[..., np.newaxis])[..., 0]
        column *= np.where(going, 1.0 / np.sqrt(np.where(going, largest, 1.0)), 0.0)[:, np.newaxis]
        factor[:, :, step] = column
        diagonal -= (column * np.conj(column)).real
    rest = norms(matrices - factor @ np.conj(np.swapaxes(factor, 1, 2)))
    gram = np.conj(np.swapaxes(factor, 1, 2)) @ factor
    # Columns that a row does not use get an eigenvalue that is larger than those of its own.
    unused = np.arange(steps) >= count[:, np.newaxis]
    gram[:, np.arange(steps), np.arange(steps)] += np.where(unused, traces[:, np.newaxis], 0.0)
    least = np.linalg.eigvalsh(gram)[:, 0] if steps else np.zeros(rows)
    return np.where(usable, rest, np.nan), np.where(usable, least, np.nan)
