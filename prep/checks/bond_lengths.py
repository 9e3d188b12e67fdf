"""Bonded atoms are as far apart as bonds are: no broken molecule, no angstrom that is called nanometre."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_positions, refuse
from prep.checks.statistics import FIELD, NOT_NEGATIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise

_BONDS: Mapping[str, Any] = {"type": "array", "items": NOT_NEGATIVE, "minItems": 4}


class BondLengths:
    """low ≤ ‖x_i − x_j‖ ≤ high for each bond of every sample of positions (sample, points, 3).

    ``bonds`` is the flat list i, j, low, high, i, …; points are numbered from 0, lengths are in the field's units.
    """

    name = "bond_lengths"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "bonds": _BONDS}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_positions(spec, statistics["var"], self.name)
        flat = [float(each) for each in statistics["bonds"]]
        for bond in (flat[start : start + 4] for start in range(0, len(flat), 4)):
            ends = set(bond[:2])
            if len(bond) < 4 or not ends <= set(range(field.shape[0])) or len(ends) < 2 or bond[2] > bond[3]:
                allowed = f"i, j, low, high: two different points below {field.shape[0]}, low ≤ high"
                raise refuse(spec, field.name, self.name, measured=f"bond {bond}", allowed=allowed)
        return (Rowwise(self.name, (field.name,), excess, 0.0, Scope.of(spec), {"bonds": flat}),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"0 outside the range of each of {len(statistics['bonds']) // 4} bonds",
            good="have bonds of possible length",
            bad="have a bond outside its range",
            remedy="see that positions are in the units of the ranges (1 nm = 10 angstrom) and in the order of the "
            "topology, and that the simulation did not come apart",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, bonds: list[float]) -> Any:
        positions = memory.values(ds, var).astype(np.float64)
        ok = np.isfinite(positions).all(axis=(1, 2))
        positions[~ok] = 0.0
        for first, second, low, high in zip(*(bonds[part::4] for part in range(4)), strict=True):
            apart = positions[:, int(first)] - positions[:, int(second)]
            length = np.sqrt(np.sum(apart**2, axis=1))
            ok &= (low <= length) & (length <= high)
        return memory.by_sample(ok)


def excess(arrays: Mapping[str, Array], bonds: list[float]) -> Array:
    """By how much the worst bond of each sample is too short or too long, (rows,); infinite unless all is finite."""
    (positions,) = arrays.values()
    finite = np.asarray(np.isfinite(positions).all(axis=(1, 2)))
    table = np.array(bonds).reshape(-1, 4)
    (first, second), (low, high) = table[:, :2].T.astype(np.int64), table[:, 2:].T
    safe = np.where(finite[:, np.newaxis, np.newaxis], positions, 0.0).astype(np.float64)
    lengths = np.sqrt(np.sum((safe[:, first] - safe[:, second]) ** 2, axis=2))
    outside = np.maximum(np.maximum(low - lengths, lengths - high), 0.0).max(axis=1)
    return np.where(finite, outside, np.inf)
