"""Bounds for a drafted schema: what was measured with room on either side, and without values that mean "missing"."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array
from prep.folds.moments import MomentsResult
from prep.folds.sentinels import SentinelsResult

_LEAST_BOUND = 10.0
_LARGEST = 1e307


@dataclass(frozen=True, slots=True)
class Bounds:
    """``low`` to ``high``; ``left_out`` and ``included`` name fill values outside and inside of them, with counts."""

    low: float
    high: float
    left_out: str = ""
    included: str = ""


def bounds_of(
    moments: MomentsResult, fills: SentinelsResult | None, fewest: int, *, standardised: bool
) -> Bounds | None:
    """Bounds of a field from its train moments, in units of each feature's mean and deviation where ``standardised``.

    Fill values (``fewest`` or more, see `SentinelsResult.apart`) are no part of what was measured, and a bound that
    would hold one lies halfway to it, where they are farther out than all other values. None where nothing was counted.
    """
    finite, low, high, mean, std, constant = (
        getattr(moments, name).reshape(-1) for name in ("finite", "min", "max", "mean", "std", "constant")
    )
    seen = finite > 0
    if not seen.any():
        return None
    value, counts = _missing(fills, fewest, low, high)
    if fills is not None and counts.any():
        filled = counts.any(axis=0)
        low, high = np.where(filled, fills.low, low), np.where(filled, fills.high, high)
    if standardised:
        scale = np.where(constant | ~(std > 0), 1.0, std)
        low, high, value = (low - mean) / scale, (high - mean) / scale, (value - mean) / scale
    least, most = float(low[seen].min()), float(high[seen].max())
    if standardised:
        bound = _outward(max(_LEAST_BOUND, 2 * max(-least, most)))
        lower, upper = -bound, bound
    else:
        slack = (most - least) or abs(most) or 1.0
        lower, upper = -_outward(slack - least), _outward(most + slack)
    held = value[counts > 0]
    if (below := held[(held < least) & (held >= lower)]).size:
        lower = (float(below.max()) + least) / 2
    if (above := held[(held > most) & (held <= upper)]).size:
        upper = (float(above.min()) + most) / 2
    inside = (value >= lower) & (value <= upper)
    return Bounds(lower, upper, _named(fills, np.where(inside, 0, counts)), _named(fills, np.where(inside, counts, 0)))


def _missing(fills: SentinelsResult | None, fewest: int, low: Array, high: Array) -> tuple[Array, Array]:
    """Fill values and how often they occur, both (values, columns): those that the mask of the field counts."""
    if fills is None or fills.counts.shape[1:] != low.shape:
        return np.zeros((0, len(low))), np.zeros((0, len(low)), np.int64)
    value = np.broadcast_to(fills.values[:, np.newaxis], fills.counts.shape)
    return value, np.where((value >= low) & (value <= high), fills.apart(fewest), 0)


def _named(fills: SentinelsResult | None, counts: Array) -> str:
    if fills is None:
        return ""
    totals = zip(fills.values.tolist(), counts.sum(axis=1).tolist(), strict=False)
    return ", ".join(f"{value:g} ({total:,} times)" for value, total in totals if total)


def _outward(value: float) -> float:
    """The next larger number of two digits, or the largest there is."""
    if value == 0:
        return 0.0
    if abs(value) > _LARGEST:
        return math.copysign(sys.float_info.max, value)
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{math.ceil(value / step) * step:.6g}")
