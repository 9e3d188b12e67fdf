"""Numbers beside each other as text: with as many digits as tell them apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def told_apart(values: Sequence[float], spread: float = 0.0) -> list[str]:
    """Every value with `digits_apart` significant digits; ``-`` for NaN."""
    digits = digits_apart(values, spread)
    return ["-" if np.isnan(each) else f"{each:.{digits}g}" for each in values]


def fixed(value: float, places: int = 3) -> str:
    """With ``places`` decimals, from a million on with four significant digits; ``-`` for NaN."""
    return "-" if np.isnan(value) else f"{value:.{places}f}" if abs(value) < 1e6 else f"{value:.4g}"


def digits_apart(values: Sequence[float], spread: float = 0.0) -> int:
    """Four significant digits, or more where four do not show the range of ``values`` (or ``spread``, where that is
    larger).
    """
    finite = np.asarray([each for each in values if np.isfinite(each)])
    digits = 4
    if len(finite):
        with np.errstate(over="ignore"):
            span, size = max(float(np.ptp(finite)), spread), float(np.abs(finite).max())
        if 0 < span < size:
            digits = int(np.clip(3 + np.ceil(np.log10(size) - np.log10(span)), 4, 17))
    return digits
