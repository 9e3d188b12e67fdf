"""Bucket counts of values that belong to slots, by the compiled loops: dense tables, and what has no room in them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prep.kernels.buckets import MANTISSA_BITS, SHIFT, add_counts, codes, pack, unpack
from prep.kernels.slots import LANES, Lines, Runs, loopable

Array = NDArray[Any]
Counts = tuple[Array, Array]
# Codes that have a place in the tables: 32 powers of two, of which 3 lie above the largest value of a sample.
_WINDOW, _ABOVE = 32 << MANTISSA_BITS, 3 << MANTISSA_BITS
_TABLE_BYTES = 32 << 20
_LARGEST = np.finfo(np.float64).max


def fits(features: int, slots: int) -> bool:
    """Whether the tables of so many slots stay small enough to be worth it."""
    return slots * features * 2 * (_WINDOW + 2) * 4 <= _TABLE_BYTES


def bucket_counts(loops: ModuleType, lines: Lines, runs: Runs, pivots: Array) -> list[Counts]:
    """For each slot the distinct `pack` (feature, code) keys, ascending, and how often each occurs.

    ``pivots`` (features,) are subtracted first. Values that are not finite or do not count are left out.
    """
    slots, features = runs.columns.shape
    beside = max(LANES // features, 1)
    lanes = np.tile(pivots, beside)
    with np.errstate(over="ignore"):
        peaks = _peaks(lines.sample() - pivots)
    tops = np.minimum(codes(peaks) + _ABOVE, codes(np.asarray(_LARGEST)))  # beyond lie the codes of infinity and NaN
    room = 2 * (_WINDOW + 2)
    bases = np.tile(np.arange(features) * room, beside)
    tables = np.zeros((slots, features * room + 1), np.int32)
    rest: list[tuple[Array, Array, Array]] = []
    for start, stop in lines.pieces():
        first, last, slot = runs.within(start, stop)
        flat = loopable(lines.values(start, stop))
        keep = lines.keep(start, stop)
        spare = np.empty(len(flat), np.int64)
        bounds = first * features, last * features
        used = loops.count_buckets(
            flat, keep, *bounds, slot, lanes, np.tile(tops, beside), bases, _WINDOW, SHIFT, tables, spare
        )
        if used:
            places = spare[:used]
            owners = slot[np.searchsorted(bounds[1], places, side="right")]
            rest.append((owners, places % features, flat[places].astype(np.float64)))
    shaped = tables[:, :-1].reshape(slots, features, 2, _WINDOW + 2)[..., : _WINDOW + 1]
    return [_of_slot(shaped[slot], tops, pivots, runs.columns[slot], _only(rest, slot)) for slot in range(slots)]


def _peaks(distances: Array) -> Array:
    """The largest finite one of each column of (lines, features), without its sign."""
    return np.asarray(np.abs(np.where(np.isfinite(distances), distances, 0.0)).max(axis=0, initial=0.0))


def _only(rest: list[tuple[Array, Array, Array]], slot: int) -> list[tuple[Array, Array]]:
    return [(features[owners == slot], values[owners == slot]) for owners, features, values in rest]


def _of_slot(table: Array, tops: Array, pivots: Array, columns: Array, rest: list[tuple[Array, Array]]) -> Counts:
    # Ascending: the negative codes from the top of the table down, the code 0, the positive ones from below.
    ordered = np.concatenate([table[:, 1], table[:, 0, ::-1]], axis=1)
    found = np.flatnonzero(ordered)
    feature, place = np.divmod(found, 2 * (_WINDOW + 1))
    below = np.minimum(place, 2 * _WINDOW + 1 - place)
    magnitude = np.where(below == _WINDOW, 0, tops[feature] - below)
    keys = [pack(feature, np.where(place < _WINDOW, -magnitude, magnitude))]
    counts = [ordered.reshape(-1)[found].astype(np.int64)]
    for features, values in rest:
        usable = np.isfinite(values)
        with np.errstate(over="ignore"):
            distance = np.clip(values[usable] - pivots[features[usable]], -_LARGEST, _LARGEST)
        keys.append(pack(features[usable], codes(distance)))
        counts.append(np.ones(len(distance), np.int64))
    every, total = np.concatenate(keys), np.concatenate(counts)
    if not columns.all():
        own = columns[unpack(every)[0]]
        every, total = every[own], total[own]
    return add_counts(every, total) if rest else (every, total)
