"""Histograms of a field for every pair of a label and a group: exact counts in narrow bins, whatever the values are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prep.blocks import Array, Block
from prep.errors import SchemaError, Where
from prep.folds import Scope
from prep.folds.layout import group_ids

KEEP = 10
MOST_BINS = 1 << 20
LARGEST = 1e15
_LEVELS = 60

Cell = tuple[int, int]


@dataclass(frozen=True, slots=True)
class HistogramsResult:
    """``cells`` maps (place of the label in ``labels``, group) to bin centres and counts; ``first`` to its first row.

    ``width`` is the width of a bin. ``unlabelled`` rows have none of the labels, ``unusable`` ones no finite value
    (or one beyond 1e15); ``samples`` are the first ten of both.
    """

    cells: dict[Cell, tuple[Array, Array]]
    first: dict[Cell, int]
    width: float
    rows: int
    unlabelled: int
    unusable: int
    samples: tuple[int, ...]


@dataclass(slots=True)
class HistogramsState:
    """Bin numbers, ascending, and counts of each cell; bins are 2^level times as wide as asked for."""

    bins: dict[Cell, tuple[Array, Array]] = field(default_factory=dict)
    first: dict[Cell, int] = field(default_factory=dict)
    level: int = 0
    rows: int = 0
    unlabelled: int = 0
    unusable: int = 0
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class Histograms:
    """Counts ``values`` in bins of ``width`` for each of ``labels`` that ``label`` takes and each id of ``group``.

    Beyond a million filled bins all of them are doubled in width until they are fewer, so that memory is bounded and
    the result does not depend on how the rows are cut.
    """

    values: str
    label: str
    labels: tuple[float, ...]
    group: str
    width: float
    scope: Scope

    @property
    def key(self) -> str:
        return f"histograms/{self.values}/{self.label}{self.labels!r}/{self.group}/{self.width!r}/{self.scope}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.values, self.label, self.group})

    def empty(self) -> HistogramsState:
        return HistogramsState()

    def absorb(self, state: HistogramsState, block: Block) -> HistogramsState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        values = part[self.values].astype(np.float64)
        usable = np.abs(np.where(np.isnan(values), np.inf, values)) <= LARGEST
        place = np.full(len(values), -1)
        for index, label in enumerate(self.labels):
            place[part[self.label] == label] = index
        bad = np.flatnonzero(~usable | (place < 0))[:KEEP]
        seen = HistogramsState(
            rows=len(values),
            unlabelled=int((place < 0).sum()),
            unusable=int((~usable).sum()),
            samples=tuple((bad + part.start).tolist()),
        )
        groups = group_ids(part, self.group)
        good = np.flatnonzero(usable & (place >= 0))
        cells, which = np.unique(np.stack([place[good], groups[good]]), axis=1, return_inverse=True)
        for number, cell in enumerate(cells.T.tolist()):
            rows = good[which.reshape(-1) == number]
            bins = np.floor(values[rows] / self.width).astype(np.int64)
            seen.bins[cell[0], cell[1]] = np.unique(bins, return_counts=True)
            seen.first[cell[0], cell[1]] = part.start + int(rows[0])
        return self.merge(state, seen)

    def merge(self, left: HistogramsState, right: HistogramsState) -> HistogramsState:
        level = max(left.level, right.level)
        bins = {cell: _coarser(each, level - left.level) for cell, each in left.bins.items()}
        for cell, each in right.bins.items():
            own = _coarser(each, level - right.level)
            bins[cell] = _summed(*bins[cell], *own) if cell in bins else own
        while sum(len(numbers) for numbers, _ in bins.values()) > MOST_BINS:
            level += 1
            if level > _LEVELS:
                raise SchemaError(
                    "there are too many groups for a histogram of each",
                    where=Where(field=self.values),
                    measured=f"{len(bins)} pairs of {self.label} and {self.group}",
                    allowed=f"{MOST_BINS}",
                    remedy=f"number the groups in {self.group} so that they are fewer",
                )
            bins = {cell: _coarser(each, 1) for cell, each in bins.items()}
        return HistogramsState(
            bins=bins,
            first={**right.first, **left.first},
            level=level,
            rows=left.rows + right.rows,
            unlabelled=left.unlabelled + right.unlabelled,
            unusable=left.unusable + right.unusable,
            samples=(left.samples + right.samples)[:KEEP],
        )

    def finish(self, state: HistogramsState) -> HistogramsResult:
        width = self.width * 2.0**state.level
        return HistogramsResult(
            cells={cell: ((numbers + 0.5) * width, counts) for cell, (numbers, counts) in sorted(state.bins.items())},
            first=dict(sorted(state.first.items())),
            width=width,
            rows=state.rows,
            unlabelled=state.unlabelled,
            unusable=state.unusable,
            samples=state.samples,
        )


def _coarser(bins: tuple[Array, Array], levels: int) -> tuple[Array, Array]:
    if not levels:
        return bins
    return _summed(bins[0] >> levels, bins[1])


def _summed(numbers: Array, counts: Array, *more: Array) -> tuple[Array, Array]:
    if more:
        numbers, counts = np.concatenate([numbers, more[0]]), np.concatenate([counts, more[1]])
    distinct, index = np.unique(numbers, return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, index, counts)
    return distinct, total
