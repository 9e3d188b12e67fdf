"""Unicode blocks: rows of bars, shades of a matrix; plain characters where the output has no blocks."""

from __future__ import annotations

import numpy as np

from prep.blocks import Array

_BARS, _PLAIN_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*%#"
_SHADES, _PLAIN_SHADES = " ░▒▓█", " .+*#"


def bars(values: Array, low: float, high: float, *, height: int = 1, plain: bool = False) -> list[str]:
    """Bars of ``values`` (W,) as ``height`` lines of W characters, upper first: none at ``low``, full at ``high``.

    What is above ``low`` shows at least the lowest bar; NaN is blank.
    """
    span = high - low if high > low else 1.0
    with np.errstate(all="ignore"):
        eighths = np.nan_to_num(np.rint((values - low) / span * 8 * height), nan=0.0, posinf=8.0 * height, neginf=0.0)
    levels = np.maximum(np.clip(eighths, 0, 8 * height), values > low).astype(int)
    signs = _PLAIN_BARS if plain else _BARS
    rows = [np.clip(levels - 8 * row, 0, 8) for row in reversed(range(height))]
    return ["".join(signs[level] for level in row) for row in rows]


def rebinned(counts: Array, width: int) -> Array:
    """Counts (B,) summed into ``width`` bins of equal range, float64."""
    below = np.append(0.0, np.cumsum(counts, dtype=np.float64))
    return np.diff(np.interp(np.linspace(0, len(counts), width + 1), np.arange(len(counts) + 1), below))


def resampled(values: Array, width: int) -> Array:
    """Means of at most ``width`` stretches of ``values``, float64, NaN where a stretch has no number; few values are
    repeated.
    """
    if width >= 2 * len(values):
        return np.repeat(values.astype(np.float64), width // max(len(values), 1))
    pieces = np.array_split(values.astype(np.float64), min(width, len(values)))
    return np.asarray([piece[~np.isnan(piece)].mean() if not np.isnan(piece).all() else np.nan for piece in pieces])


def shades(matrix: Array, rows: int, columns: int, *, plain: bool = False) -> tuple[list[str], float, float]:
    """A real matrix as at most ``rows`` lines of ``columns`` characters, and the least and the largest block mean that
    are blank and darkest; NaN is blank.
    """
    cut = [np.array_split(np.arange(n), min(n, most)) for n, most in zip(matrix.shape, (rows, columns), strict=True)]
    means = np.asarray([[matrix[np.ix_(down, across)].mean() for across in cut[1]] for down in cut[0]])
    finite = means[np.isfinite(means)]
    low, high = float(finite.min(initial=np.inf)), float(finite.max(initial=-np.inf))
    if not low < high:
        return [], low, high
    signs = _PLAIN_SHADES if plain else _SHADES
    levels = np.clip(np.rint(np.nan_to_num((means - low) / (high - low), nan=0.0) * 4), 0, 4).astype(int)
    return ["".join(signs[level] for level in row) for row in levels], low, high
