"""In which order the rows of a split come: arithmetic of seed, epoch, rank and batch alone, so that it can be repeated.

Rows are taken in *units* of consecutive rows that share no chunk with other units, and shuffled in *windows* of units:
the units of an epoch come in random order, and the rows of a window in random order among themselves. Ranks take equal
shares of an epoch's units. Where a split is held whole its rows are shuffled at once, and ranks take shares of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prep.errors import UsageError


@dataclass(frozen=True, slots=True)
class Window:
    """``runs`` of stored rows that are held together, and which of them come in which order: ``index`` counts the rows
    of the runs laid end to end (None: all, as they lie). ``first`` is the place of its first row among the rank's.
    """

    first: int
    runs: tuple[tuple[int, int], ...]
    index: NDArray[np.int64] | None

    @property
    def rows(self) -> int:
        """How many rows come out of it."""
        return len(self.index) if self.index is not None else sum(stop - start for start, stop in self.runs)


@dataclass(frozen=True, slots=True)
class Order:
    """Rows ``start:stop`` as one of ``ranks`` sees them in batches of ``batch_size``: each row once an epoch, in one
    rank. ``unit`` is in rows, ``window`` in units (0: the split is held whole).

    All ranks make the same number of batches, none of them empty: the last may be short, or hold one row more than
    others where the rows of the ranks differ by one; with ``drop_last`` all are full. `UsageError` where there are
    fewer rows than that takes.
    """

    start: int
    stop: int
    batch_size: int
    seed: int = 0
    shuffle: bool = False
    unit: int = 1
    window: int = 0
    rank: int = 0
    ranks: int = 1
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(
                "a batch needs samples", measured=self.batch_size, allowed="1 or more", remedy="raise batch_size"
            )
        if not 0 <= self.rank < self.ranks:
            raise UsageError(
                "there is no such rank",
                measured=f"rank {self.rank} of {self.ranks}",
                allowed="0 ≤ rank < ranks",
                remedy="give every process a rank of its own, from 0",
            )
        if not self.batches:
            raise UsageError(
                "there are too few samples for a batch on every rank",
                measured=f"{self.stop - self.start} samples",
                allowed=f"{self.ranks * (self.batch_size if self.drop_last else 1)} or more",
                remedy="lower batch_size, use fewer ranks, or keep the last batch (drop_last=False)",
            )

    @property
    def rows(self) -> int:
        """Rows of this rank."""
        low, high = self._share
        return high - low

    @property
    def batches(self) -> int:
        """Batches of an epoch, as many on every rank."""
        fewest = (self.stop - self.start) // self.ranks
        return fewest // self.batch_size if self.drop_last else -(-fewest // self.batch_size)

    def bounds(self, batch: int) -> tuple[int, int]:
        """From where to where among the rows of this rank a batch goes."""
        last = batch == self.batches - 1 and not self.drop_last
        return batch * self.batch_size, self.rows if last else (batch + 1) * self.batch_size

    def windows(self, epoch: int, first: int = 0) -> Iterator[Window]:
        """The windows of an epoch, beginning with the one that holds row ``first`` of this rank."""
        low, high = self._share
        if not self.window:
            if not self.shuffle:
                yield Window(0, ((self.start + low, self.start + high),), None)
                return
            index = np.random.default_rng([self.seed, epoch]).permutation(self.stop - self.start)
            yield Window(0, ((self.start, self.stop),), index[low:high])
            return
        place = 0
        for number, runs in enumerate(self._runs(epoch)):
            rows = sum(stop - start for start, stop in runs)
            if place + rows > first:
                random = np.random.default_rng([self.seed, epoch, self.rank, number])
                yield Window(place, runs, random.permutation(rows) if self.shuffle else None)
            place += rows

    def _runs(self, epoch: int) -> Iterator[tuple[tuple[int, int], ...]]:
        begins = np.arange(self.start // self.unit * self.unit, self.stop, self.unit)
        if self.shuffle:
            np.random.default_rng([self.seed, epoch]).shuffle(begins)
        ends = np.minimum(begins + self.unit, self.stop)
        begins = np.maximum(begins, self.start)
        # Places of the units in the epoch, and what of them is this rank's.
        places = np.concatenate([[0], np.cumsum(ends - begins)])
        low, high = self._share
        begins, ends = begins + np.maximum(0, low - places[:-1]), ends - np.maximum(0, places[1:] - high)
        begins, ends = begins[begins < ends], ends[begins < ends]
        for number in range(0, len(begins), self.window):
            chosen = slice(number, number + self.window)
            yield tuple(zip(begins[chosen].tolist(), ends[chosen].tolist(), strict=True))

    @property
    def _share(self) -> tuple[int, int]:
        rows = self.stop - self.start
        return rows * self.rank // self.ranks, rows * (self.rank + 1) // self.ranks
