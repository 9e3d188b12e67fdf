"""Which ids a field takes and in how many samples, exactly, up to a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block
from prep.folds import Scope
from prep.folds.layout import group_ids
from prep.kernels.buckets import add_counts

MOST = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class IdsState:
    """Ascending distinct ``ids`` (int64) and their ``counts`` (int64); not ``complete`` where there are more than a
    million, of which the lowest are kept.
    """

    ids: Array
    counts: Array
    complete: bool = True


@dataclass(frozen=True)
class Ids:
    """Counts the samples of each id of ``field``, one integer a sample, over ``scope``; the result is an `IdsState`."""

    field: str
    scope: Scope

    @property
    def key(self) -> str:
        return f"ids/{self.field}/{self.scope}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field})

    def empty(self) -> IdsState:
        return IdsState(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def absorb(self, state: IdsState, block: Block) -> IdsState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        ids, counts = np.unique(group_ids(part, self.field), return_counts=True)
        return self.merge(state, IdsState(ids, counts.astype(np.int64)))

    def merge(self, left: IdsState, right: IdsState) -> IdsState:
        ids, counts = add_counts(np.concatenate([left.ids, right.ids]), np.concatenate([left.counts, right.counts]))
        complete = left.complete and right.complete and len(ids) <= MOST
        return IdsState(ids[:MOST], counts[:MOST], complete)

    def finish(self, state: IdsState) -> IdsState:
        return state
