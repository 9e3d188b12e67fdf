"""Where the values of each group lie, split by split: stretches without a gap, however many samples are in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from prep.blocks import Array, Block
from prep.canonical import canonical_json
from prep.errors import SchemaError, Where
from prep.folds.layout import group_ids

KEEP = 10
MOST_STRETCHES = 1 << 20
Cell = tuple[int, int]
# Columns of the rows that go with the ends of a stretch: of its lowest and of its highest value.
_LOW, _HIGH = 0, 1
_NONE = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Disjoint stretches, ascending: ``ends`` (n, 2) float64, lowest and highest value; ``rows`` (n, 2) int64, the
    first samples that have them.
    """

    ends: Array
    rows: Array


@dataclass(frozen=True, slots=True)
class IntervalsResult:
    """``stretches`` of each (group, place of the split in ``splits``); ``samples`` are the first ten of ``nonfinite``
    rows.
    """

    stretches: Mapping[Cell, Stretches]
    rows: int
    nonfinite: int
    samples: tuple[int, ...]


@dataclass(slots=True)
class IntervalsState:
    """What was seen; of a state that was handed on nothing is changed in place."""

    stretches: dict[Cell, Stretches] = field(default_factory=dict)
    rows: int = 0
    nonfinite: int = 0
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class Intervals:
    """Stretches of ``values``, one a sample, in each id of ``group`` and each of ``splits`` (name → row range):
    values of one group and split that are less than ``gap`` apart lie in one stretch.

    They are the single-linkage clusters of the values, which do not depend on the order of rows; memory grows with
    their number. Rows outside all splits form one more split. ``group`` may be empty: one group for all.
    """

    values: str
    group: str
    splits: Mapping[str, tuple[int, int]]
    gap: float

    @property
    def key(self) -> str:
        splits = canonical_json({name: list(bounds) for name, bounds in self.splits.items()}).decode()
        return f"intervals/{self.values}/{self.group}/{self.gap!r}/{splits}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(filter(None, (self.values, self.group)))

    def empty(self) -> IntervalsState:
        return IntervalsState()

    def absorb(self, state: IntervalsState, block: Block) -> IntervalsState:
        values, groups = block[self.values].astype(np.float64), group_ids(block, self.group)
        rows, finite = np.arange(block.start, block.stop), np.isfinite(values)
        place = np.full(len(rows), len(self.splits))
        for number, (start, stop) in enumerate(self.splits.values()):
            place[(start <= rows) & (rows < stop)] = number
        bad, good = np.flatnonzero(~finite), np.flatnonzero(finite)
        seen = IntervalsState(rows=len(values), nonfinite=len(bad), samples=tuple(rows[bad[:KEEP]].tolist()))
        cells, which = np.unique(np.stack([groups[good], place[good]]), axis=1, return_inverse=True)
        which = which.reshape(-1)
        order = good[np.argsort(which, kind="stable")]
        parts = np.split(order, np.cumsum(np.bincount(which, minlength=cells.shape[1]))[:-1])
        for (group, number), part in zip(cells.T.tolist(), parts, strict=False):
            ends, own = (np.repeat(each[part, np.newaxis], 2, axis=1) for each in (values, rows))
            seen.stretches[group, number] = self._joined(ends, own)
        return self.merge(state, seen)

    def merge(self, left: IntervalsState, right: IntervalsState) -> IntervalsState:
        stretches = dict(left.stretches)
        for cell, other in right.stretches.items():
            own = stretches.get(cell)
            stretches[cell] = (
                other
                if own is None
                else self._joined(np.concatenate([own.ends, other.ends]), np.concatenate([own.rows, other.rows]))
            )
        if sum(len(each.rows) for each in stretches.values()) > MOST_STRETCHES:
            raise SchemaError(
                "there are too many stretches of time without a gap to compare those of two splits",
                where=Where(field=self.values),
                measured=f"more than {MOST_STRETCHES}",
                allowed=f"{MOST_STRETCHES}, each of values less than {self.gap:g} apart",
                remedy="state a gap that is longer than the distance of neighbouring samples",
            )
        return IntervalsState(
            stretches,
            left.rows + right.rows,
            left.nonfinite + right.nonfinite,
            (left.samples + right.samples)[:KEEP],
        )

    def finish(self, state: IntervalsState) -> IntervalsResult:
        return IntervalsResult(dict(sorted(state.stretches.items())), state.rows, state.nonfinite, state.samples)

    def _joined(self, ends: Array, rows: Array) -> Stretches:
        """The stretches of stretches: joined where less than the gap lies between them, or none."""
        order = np.lexsort((rows[:, _LOW], ends[:, _LOW]))
        ends, rows = ends[order], rows[order]
        reached = np.maximum.accumulate(ends[:, _HIGH])
        starts = np.flatnonzero(np.append(True, ends[1:, _LOW] - reached[:-1] >= self.gap))
        high = np.maximum.reduceat(ends[:, _HIGH], starts)
        # Of the samples that have the highest value, the first.
        highest = np.where(ends[:, _HIGH] == np.repeat(high, np.diff(starts, append=len(ends))), rows[:, _HIGH], _NONE)
        return Stretches(
            np.stack([ends[starts, _LOW], high], axis=1),
            np.stack([rows[starts, _LOW], np.minimum.reduceat(highest, starts)], axis=1),
        )
