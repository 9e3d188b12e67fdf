"""Values within a closed interval; complex values by their magnitude."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import refuse
from prep.checks.statistics import FIELD, NUMBER, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class InBounds:
    """low ≤ x ≤ high for every value (|x| for complex fields); ``worst`` is the largest distance outside. NaN fails."""

    name = "in_bounds"
    bounds = True
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "low": NUMBER, "high": NUMBER}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        var, low, high = statistics["var"], float(statistics["low"]), float(statistics["high"])
        if low > high:
            raise refuse(spec, var, self.name, measured=f"low {low:g} > high {high:g}", allowed="low ≤ high")
        screen = None if spec[var].dtype.kind == "c" else lie_inside
        bounds = {"low": low, "high": high}
        return (Rowwise(self.name, (var,), distance_outside, 0.0, Scope.of(spec), bounds, screen),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        symbol = "|x|" if spec[statistics["var"]].dtype.kind == "c" else "x"
        limit = f"{statistics['low']:g} ≤ {symbol} ≤ {statistics['high']:g}"
        return row_verdict(
            spec,
            fold,
            measured,
            limit=limit,
            good=f"lie within {limit}",
            bad=f"leave {limit} by up to the worst value",
            remedy="see whether these samples are outliers, in other units or not normalised; "
            "widen the bounds in the schema only if such values are right",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, low: float, high: float) -> Any:
        array = memory.flat(ds, var)
        wide = np.abs(array.astype(np.complex128)) if array.dtype.kind == "c" else array.astype(np.float64)
        return memory.by_sample(((wide >= low) & (wide <= high)).all(axis=1))


def distance_outside(arrays: Mapping[str, Array], low: float, high: float) -> Array:
    """How far the values of each row leave [low, high], (rows,) float64; 0 inside, NaN where a value is NaN."""
    (values,) = arrays.values()
    rows = values.reshape(len(values), -1)
    if rows.dtype.kind == "c":
        rows = np.abs(rows.astype(np.complex128))
    # Reduced before it is widened: no temporary as large as the block.
    below = low - rows.min(axis=1).astype(np.float64)
    above = rows.max(axis=1).astype(np.float64) - high
    return np.asarray(np.maximum(np.maximum(below, above), 0.0))


def lie_inside(extremes: tuple[float, float], low: float, high: float) -> bool:
    """Whether the extremes lie in [low, high]."""
    return low <= extremes[0] <= extremes[1] <= high
