"""Molecules have the hand they should have: distances, and so bonds and energies, are the same in a mirror."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_positions, refuse
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise

_CENTRES: Mapping[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 4}


class Chirality:
    """(x_i − x_c) × (x_j − x_c) · (x_k − x_c) > 0 for each centre c of every sample of positions (sample, points, 3).

    ``centres`` is the flat list i, j, k, c, i, …: three neighbours of a centre, in the order that makes this volume
    positive, and the centre; points are numbered from 0. An L-amino acid is N, C, CB, CA. ``worst`` counts the centres
    of one sample that have the other hand, or none.
    """

    name = "chirality"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "centres": _CENTRES}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_positions(spec, statistics["var"], self.name)
        flat = [int(each) for each in statistics["centres"]]
        for centre in (flat[start : start + 4] for start in range(0, len(flat), 4)):
            if len(set(centre)) < 4 or max(centre) >= field.shape[0]:
                allowed = f"i, j, k, c: four different points below {field.shape[0]}"
                raise refuse(spec, field.name, self.name, measured=f"centre {centre}", allowed=allowed)
        return (Rowwise(self.name, (field.name,), mirrored, 0.0, Scope.of(spec), {"centres": flat}),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"0 of {len(statistics['centres']) // 4} centres without a positive volume",
            good="have the hand they should have",
            bad="have a centre of the other hand",
            remedy="see that no coordinate changed its sign, that axes are right-handed, that alignment never mirrors, "
            "and that atoms are in the order of the topology",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, centres: list[int]) -> Any:
        positions = memory.values(ds, var).astype(np.float64)
        ok = np.isfinite(positions).all(axis=(1, 2))
        positions[~ok] = 0.0
        for i, j, k, c in zip(*(centres[part::4] for part in range(4)), strict=True):
            a, b, d = (positions[:, each] - positions[:, c] for each in (i, j, k))
            ok &= np.einsum("ni,ni->n", np.cross(a, b), d) > 0
        return memory.by_sample(ok)


def mirrored(arrays: Mapping[str, Array], centres: list[int]) -> Array:
    """How many centres of each sample have no positive volume, (rows,); infinite unless all is finite."""
    (positions,) = arrays.values()
    finite = np.asarray(np.isfinite(positions).all(axis=(1, 2)))
    safe = np.where(finite[:, np.newaxis, np.newaxis], positions, 0.0).astype(np.float64)
    table = np.array(centres).reshape(-1, 4)
    (x, y, z), (u, v, w), (p, q, r) = np.moveaxis(safe[:, table[:, :3]] - safe[:, table[:, 3:]], (2, 3), (0, 1))
    volumes = x * (v * r - w * q) + y * (w * p - u * r) + z * (u * q - v * p)
    return np.where(finite, np.count_nonzero(~(volumes > 0), axis=1), np.inf)
