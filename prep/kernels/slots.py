"""Moments of values that belong to slots (a group, a mask line), by the compiled loops: pivots, lanes, second looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prep.kernels.moments import PowerSums, centre

Array = NDArray[Any]
LANES = 256
# A pivot further from the mean than this many deviations costs digits of the fourth moment: measure about the mean.
_FAR = 16.0
_LOOKS = 4
_TABLE_VALUES = 1 << 19
_SAMPLE_VALUES = 1 << 12


@dataclass(frozen=True, slots=True)
class Runs:
    """Stretches that cover all lines: run r is lines ``bounds[r]:bounds[r + 1]`` and belongs to slot ``slots[r]``.

    ``columns`` (slots, features) bool says which features of a slot count at all.
    """

    bounds: Array
    slots: Array
    columns: Array

    def within(self, start: int, stop: int) -> tuple[Array, Array, Array]:
        """Starts, stops (counted from ``start``) and slots of the parts inside lines ``start:stop``."""
        first = int(np.searchsorted(self.bounds, start, side="right")) - 1
        last = int(np.searchsorted(self.bounds, stop, side="left"))
        bounds = np.clip(self.bounds[first : last + 1], start, stop) - start
        return bounds[:-1], bounds[1:], self.slots[first:last]


@dataclass(frozen=True, slots=True)
class Lines:
    """Values to measure: ``values(start, stop)`` gives (lines, features) of any real dtype.

    ``kept(start, stop)`` says which of them count (bool, or a byte that is not 0), None where all do; ``step`` lines
    are taken at a time. ``some(places)`` gives single lines as float64, NaN for what does not count.
    """

    count: int
    features: int
    step: int
    values: Callable[[int, int], Array]
    some: Callable[[Array], Array]
    kept: Callable[[int, int], Array] | None = None

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Line ranges that are walked over one after the other."""
        for start in range(0, self.count, self.step):
            yield start, min(start + self.step, self.count)

    def sample(self) -> Array:
        """Some lines from all over, as `some` gives them."""
        number = min(self.count, max(_SAMPLE_VALUES // self.features, 64))
        return self.some(np.arange(number) * self.count // max(number, 1))

    def keep(self, start: int, stop: int) -> Array:
        """``kept`` of these lines in a row as uint8; empty where every value counts."""
        if self.kept is None:
            return np.zeros(0, np.uint8)
        return np.ascontiguousarray(self.kept(start, stop)).reshape(-1).view(np.uint8)


def slot_sums(loops: ModuleType, lines: Lines, runs: Runs) -> tuple[PowerSums, Array]:
    """`PowerSums` of shape (slots, features), and the ascending lines with a counted value that is not finite.

    Those values are counted apart. The pivot of a slot is some finite value of its feature, not always one of its own;
    where the mean turns out to be far from it, the slots are measured again about the mean.
    """
    pivots = _pivots(lines, runs)
    clean = True
    sums, counts = _walk(loops, lines, runs, pivots, clean)
    bad = np.zeros(0, np.int64)
    nan = inf = np.zeros(pivots.shape, np.int64)
    if not np.isfinite(sums[:, 0][runs.columns]).all():
        bad, nan, inf = _nonfinite(lines, runs)
        clean = False
        sums, counts = _walk(loops, lines, runs, pivots, clean)
    for _ in range(_LOOKS):
        better = _better_pivots(pivots, sums, counts, runs.columns)
        if better is None:
            break
        pivots = better
        sums, counts = _walk(loops, lines, runs, pivots, clean)
    low, high = sums[:, 4], sums[:, 5]
    counts = np.where(runs.columns, counts, 0)
    some = counts > 0
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        powers = tuple(np.where(some, sums[:, power], 0.0) for power in range(4))
        found = centre(counts, pivots, powers, np.where(some, low, np.inf), np.where(some, high, -np.inf))
    found.nan, found.inf = nan, inf
    return found, bad


def _better_pivots(pivots: Array, sums: Array, counts: Array, columns: Array) -> Array | None:
    """Pivots (slots, features) nearer to the means; None where all are near enough."""
    low, high, n = sums[:, 4], sums[:, 5], np.maximum(counts, 1)
    with np.errstate(all="ignore"):
        shift = sums[:, 0] / n
        spread = np.sqrt(np.maximum(sums[:, 1] / n - shift * shift, 0.0))
        # Where not even the sums are finite, the pivot was that of another slot.
        far = columns & (low < high) & ~(np.abs(shift) <= _FAR * spread)
        middle = low / 2 + high / 2
        mean = np.clip(np.where(np.isfinite(shift), pivots + shift, middle), low, high)
    return np.where(far, mean, pivots) if (far & (mean != pivots)).any() else None


def _walk(loops: ModuleType, lines: Lines, runs: Runs, pivots: Array, clean: bool) -> tuple[Array, Array]:
    """Sums about the pivots (slots, 6, features) and counts (slots, features).

    ``clean`` where no counted value is NaN or infinite.
    """
    whole = clean and lines.kept is None
    slots, features = pivots.shape
    beside = max(min(LANES // features, _TABLE_VALUES // (6 * features * slots)), 1)
    sums = np.zeros((slots, 6, beside * features))
    sums[:, 4], sums[:, 5] = np.inf, -np.inf
    counts = np.zeros((slots, beside * features))
    lanes = np.ascontiguousarray(np.tile(pivots, beside))
    for start, stop in lines.pieces():
        first, last, slot = runs.within(start, stop)
        flat = loopable(lines.values(start, stop))
        if whole:
            loops.plain_sums(flat, first * features, last * features, slot, lanes, sums)
            continue
        keep = lines.keep(start, stop) if clean else np.isfinite(flat).view(np.uint8)
        if not clean and lines.kept is not None:
            keep &= lines.keep(start, stop) != 0
        loops.masked_sums(flat, keep, first * features, last * features, slot, lanes, sums, counts)
    folded = sums.reshape(slots, 6, beside, features)
    with np.errstate(invalid="ignore", over="ignore"):
        together = np.add.reduce(folded, axis=2)
    together[:, 4], together[:, 5] = folded[:, 4].min(axis=1), folded[:, 5].max(axis=1)
    if whole:
        length = np.bincount(runs.slots, np.diff(runs.bounds), slots)
        counts = np.repeat(length[:, np.newaxis], features, axis=1)
    else:
        counts = np.add.reduce(counts.reshape(slots, beside, features), axis=1)
    return together, counts.astype(np.int64)


def loopable(values: Array) -> Array:
    """All values in a row as the loops take them: float32 and float64 as they are, anything else as float64."""
    kept = values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
    row: Array = np.ascontiguousarray(kept).reshape(-1)
    return row


def _pivots(lines: Lines, runs: Runs) -> Array:
    """A finite value of each slot and feature (slots, features) from the first line of its first run; where there is
    none, one of the feature from elsewhere, or 0.
    """
    sample = lines.sample()
    finite = np.isfinite(sample)
    first = np.argmax(finite, axis=0) if len(sample) else np.zeros(0, np.int64)
    usual = np.zeros(lines.features)
    for column in range(len(first)):
        usual[column] = sample[first[column], column] if finite[first[column], column] else 0.0
    slots, place = np.unique(runs.slots, return_index=True)
    found = np.broadcast_to(usual, runs.columns.shape).copy()
    if len(slots) > 1:
        own = lines.some(runs.bounds[place])
        found[slots] = np.where(np.isfinite(own), own, usual)
    return found


def _nonfinite(lines: Lines, runs: Runs) -> tuple[Array, Array, Array]:
    """Lines with a counted NaN or infinity, and how many there are of either, (slots, features)."""
    nan, inf = (np.zeros(runs.columns.shape, np.int64) for _ in range(2))
    slot_of = np.repeat(runs.slots, np.diff(runs.bounds))
    found = [np.zeros(0, np.int64)]
    for start, stop in lines.pieces():
        values = lines.values(start, stop)
        bad = ~np.isfinite(values)
        if lines.kept is not None:
            bad &= lines.kept(start, stop) != 0
        rows, features = np.nonzero(bad)
        slots = slot_of[start:stop][rows]
        counts = runs.columns[slots, features]
        rows, features, slots = rows[counts], features[counts], slots[counts]
        is_nan = np.isnan(values[rows, features])
        np.add.at(nan, (slots[is_nan], features[is_nan]), 1)
        np.add.at(inf, (slots[~is_nan], features[~is_nan]), 1)
        found.append(np.unique(rows) + start)
    return np.concatenate(found), nan, inf
