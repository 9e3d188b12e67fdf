"""Equal bins from the counts of a quantile sketch: a histogram whose range need not be known before the pass."""

from __future__ import annotations

import numpy as np

from prep.blocks import Array
from prep.folds.sketch import QuantilesResult
from prep.kernels.buckets import MANTISSA_BITS

_LEAST, _NARROWEST = np.finfo(np.float64).tiny, 1e-12


def edges_of(low: float, high: float, bins: int, *, whole: bool = False) -> Array:
    """Edges of at most ``bins`` equal bins over ``low`` to ``high``, float64 (bins + 1,); two edges for one value.

    ``whole`` numbers get bins of a whole width around them, so that each lies in the middle of its own where there are
    enough bins. A range close to that of float64 has two edges too.
    """
    if whole and abs(high) < 2.0**53 and abs(low) < 2.0**53:
        width = max(1, -(-int(high - low + 1) // bins))
        return low - 0.5 + width * np.arange(-(-int(high - low + 1) // width) + 1, dtype=np.float64)
    if not low < high or high / 8 - low / 8 > np.finfo(np.float64).max / 64:
        return np.asarray([low, high])
    return np.linspace(low, high, bins + 1)


def binned(found: QuantilesResult, group: int, feature: int, edges: Array, *, whole: bool = False) -> Array:
    """Counts, float64 (bins,), between ``edges`` of the sampled values of one cell (indices along the first axis of
    ``found`` and along the flattened others).

    The values of one bucket of the sketch are spread evenly over its width, which is at most 2⁻⁷ of the distance from
    the pivot; ``whole`` numbers stay where they are. Values beyond the outermost edges count in the outermost bins.
    """
    width = max(int(np.prod(found.shape[1:], dtype=np.int64)), 1)
    ends = np.cumsum(found.count.ravel())
    cell = group * width + feature
    total = np.cumsum(found.counts)
    first, last = np.searchsorted(total, [ends[cell] - found.count.ravel()[cell], ends[cell]], side="right")
    values, counts = found.values[first:last], found.counts[first:last]
    if len(edges) == 2 or not len(values):
        return np.full(len(edges) - 1, counts.sum() if len(edges) == 2 else 0, np.float64)
    if whole:
        return np.histogram(np.clip(np.rint(values), edges[0], edges[-1]), edges, weights=counts)[0].astype(np.float64)
    span = edges[-1] - edges[0]
    pivot = np.broadcast_to(np.asarray(found.pivot or (0.0,), np.float64), (width,))[feature]
    half = np.exp2(np.floor(np.log2(np.maximum(np.abs(values - pivot), _LEAST))) - MANTISSA_BITS - 1)
    order = np.argsort(values, kind="stable")
    # In parts of the whole range, none narrower than what interpolation can divide by.
    half = np.maximum(half / span, _NARROWEST)
    places = (values - edges[0]) / span
    bounds = np.stack([places - half, places + half], 1)[order].ravel()
    steps = np.repeat(np.cumsum(counts[order]), 2).astype(np.float64)
    steps[::2] -= counts[order]
    below = np.interp((edges - edges[0]) / span, np.maximum.accumulate(np.clip(bounds, 0.0, 1.0)), steps)
    below[0], below[-1] = 0.0, steps[-1]
    return np.diff(below)
