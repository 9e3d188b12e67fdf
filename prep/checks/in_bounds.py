"""Values within a closed interval; complex values by their magnitude, integers exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral
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
    """low ≤ x ≤ high for every value (|x| for complex fields); ``worst`` is the largest distance outside. NaN fails.

    Integers and bounds are compared as integers, however large. `SchemaError` for bounds that are not finite in float64
    or the wrong way round.
    """

    name = "in_bounds"
    bounds = True
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "low": NUMBER, "high": NUMBER}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        var, kind = statistics["var"], spec[statistics["var"]].dtype.kind
        try:
            low, high = innermost(kind, statistics["low"], statistics["high"])
        except ValueError as error:
            finite = "bounds that are finite in float64"
            raise refuse(spec, var, self.name, measured=str(error), allowed=finite) from error
        if statistics["low"] > statistics["high"]:
            measured = f"low {_shown(statistics['low'])} > high {_shown(statistics['high'])}"
            raise refuse(spec, var, self.name, measured=measured, allowed="low ≤ high")
        screen = None if kind == "c" else lie_inside
        bounds = {"low": low, "high": high}
        return (Rowwise(self.name, (var,), distance_outside, 0.0, Scope.of(spec), bounds, screen),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        symbol = "|x|" if spec[statistics["var"]].dtype.kind == "c" else "x"
        interval = f"{_shown(statistics['low'])} ≤ {symbol} ≤ {_shown(statistics['high'])}"
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"0 outside {interval}",
            good=f"lie within {interval}",
            bad=f"leave {interval} by up to the worst value, or are NaN",
            remedy="see whether these samples are outliers, in other units or not normalised; "
            "widen the bounds in the schema only if such values are right",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, low: float, high: float) -> Any:
        array = memory.flat(ds, var)
        low, high = innermost(array.dtype.kind, low, high)
        wide = np.abs(array.astype(np.complex128)) if array.dtype.kind == "c" else array
        wide = wide.astype(np.float64) if wide.dtype.kind == "f" else wide
        return memory.by_sample(((wide >= low) & (wide <= high)).all(axis=1))


def innermost(kind: str, low: Any, high: Any) -> tuple[float, float]:
    """The least and the largest number in [low, high] that a field of a dtype kind can be compared with exactly: whole
    numbers (`int`) for integers and bool, else float64. `ValueError` where one is not finite.
    """
    # Python compares its integers and floats as what they are; NumPy's it would round.
    exact = [int(bound) if isinstance(bound, Integral) else float(bound) for bound in (low, high)]
    try:
        least, most = map(float, exact)
    except OverflowError as error:
        raise ValueError("a bound is beyond float64") from error
    least = least if least >= exact[0] else math.nextafter(least, math.inf)
    most = most if most <= exact[1] else math.nextafter(most, -math.inf)
    if not (math.isfinite(least) and math.isfinite(most)):
        raise ValueError(f"low {least:g}, high {most:g}")
    return (math.ceil(exact[0]), math.floor(exact[1])) if kind in "biu" else (least, most)


def distance_outside(arrays: Mapping[str, Array], low: float, high: float) -> Array:
    """How far the values of each row leave [low, high], (rows,) float64; 0 inside, NaN where a value is NaN.

    Integers take whole bounds, which are compared exactly: a row outside is 1 away at least.
    """
    (values,) = arrays.values()
    rows = values.reshape(len(values), -1)
    if rows.dtype.kind == "c":
        rows = np.abs(rows.astype(np.complex128))
    least, most = rows.min(axis=1), rows.max(axis=1)
    if rows.dtype.kind in "biu":
        below, above = _whole_distance(least, low, -1, least < low), _whole_distance(most, high, 1, most > high)
        return np.asarray(np.maximum(below, above))
    # Reduced before it is widened: no temporary as large as the block.
    below = low - least.astype(np.float64)
    above = most.astype(np.float64) - high
    return np.asarray(np.maximum(np.maximum(below, above), 0.0))


def lie_inside(extremes: tuple[float, float], low: float, high: float) -> bool:
    """Whether the extremes lie in [low, high]."""
    return low <= extremes[0] <= extremes[1] <= high


def _whole_distance(values: Array, bound: float, sign: int, outside: Array) -> Array:
    """``sign`` times (value - bound) where ``outside``, else 0: rounded to float64 once, after an exact difference."""
    distance = np.zeros(len(values))
    distance[outside] = sign * (values[outside].astype(object) - bound)
    return distance


def _shown(bound: Any) -> str:
    return str(int(bound)) if isinstance(bound, Integral) else f"{bound:g}"
