"""Structures are centred and stand as close to a reference as a rotation can bring them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, refuse
from prep.checks.statistics import FIELD, NUMBER, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise
from prep.kernels.alignment import align

_POINTS: Mapping[str, Any] = {"type": "array", "items": NUMBER, "minItems": 9}


class Aligned:
    """No point moves by more than ``tolerance`` when the sample is centred and rotated onto ``reference`` once more.

    The field is (sample, points, 3); ``reference`` is the flat list x, y, z, x, … of the points in the field's
    units. Its own centre is removed first.
    """

    name = "aligned"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "reference": _POINTS, "tolerance": POSITIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_kind(spec, statistics["var"], self.name, "f", "float")
        count = len(statistics["reference"])
        if len(field.shape) != 2 or field.shape[1] != 3 or field.row_values != count:
            allowed = f"({count / 3:g}, 3) for a reference of {count} numbers"
            raise refuse(spec, field.name, self.name, measured=f"sizes {field.shape}", allowed=allowed)
        arguments = {"reference": [float(each) for each in statistics["reference"]]}
        limit = float(statistics["tolerance"])
        return (Rowwise(self.name, (field.name,), displacement, limit, Scope.of(spec), arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"≤ {fold.limit:g}, how far any point moves",
            good="are centred and aligned to the reference",
            bad="are not centred and aligned to the reference",
            remedy="centre and rotate every sample onto the reference (Kabsch) before statistics are taken; "
            "see that nothing moves samples afterwards",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, reference: list[float], tolerance: float) -> Any:
        wanted = np.array(reference, dtype=np.float64).reshape(-1, 3)
        wanted -= wanted.mean(axis=0)
        ok = []
        for row in memory.values(ds, var).astype(np.float64):
            if not np.isfinite(row).all():
                ok.append(False)
                continue
            moved = row - row.mean(axis=0)
            u, _, vt = np.linalg.svd(moved.T @ wanted)
            sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
            ok.append(bool(np.linalg.norm(moved @ u @ sign @ vt - row, axis=1).max() <= tolerance))
        return memory.by_sample(np.array(ok))


def displacement(arrays: Mapping[str, Array], reference: list[float]) -> Array:
    """How far the point that moves most moves when a sample is aligned again, (rows,); infinite unless all is finite.

    0 would also be right for a sample on which every rotation is as good; none is special there, so any may be taken.
    """
    (positions,) = arrays.values()
    finite = np.asarray(np.isfinite(positions).all(axis=(1, 2)))
    safe = np.where(finite[:, np.newaxis, np.newaxis], positions, 0.0).astype(np.float64)
    moved = np.linalg.norm(align(safe, np.array(reference).reshape(-1, 3)) - safe, axis=2).max(axis=1)
    return np.where(finite, moved, np.inf)
