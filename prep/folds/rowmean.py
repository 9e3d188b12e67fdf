"""The mean of one number for each sample: what a trivial predictor scores where a score is taken sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block
from prep.folds import Scope


@dataclass(frozen=True, slots=True)
class RowMeanResult:
    """``mean`` of ``rows`` finite numbers, NaN where there are none."""

    rows: int
    mean: float


@dataclass(frozen=True, slots=True)
class RowMeanState:
    """Count and sum of the finite numbers so far."""

    rows: int = 0
    total: float = 0.0


@dataclass(frozen=True)
class RowMean:
    """Mean over the samples of ``scope`` of ``measure(arrays) -> (rows,) float64``, a module-level function; numbers
    that are not finite are left out.
    """

    label: str
    names: tuple[str, ...]
    measure: Callable[[Mapping[str, Array]], Array]
    scope: Scope

    @property
    def key(self) -> str:
        return f"row_mean/{self.label}/{','.join(self.names)}/{self.scope.split}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(self.names)

    def empty(self) -> RowMeanState:
        return RowMeanState()

    def absorb(self, state: RowMeanState, block: Block) -> RowMeanState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        values = np.asarray(self.measure({name: part[name] for name in self.names}), np.float64)
        values = values[np.isfinite(values)]
        return self.merge(state, RowMeanState(len(values), float(values.sum())))

    def merge(self, left: RowMeanState, right: RowMeanState) -> RowMeanState:
        return RowMeanState(left.rows + right.rows, left.total + right.total)

    def finish(self, state: RowMeanState) -> RowMeanResult:
        return RowMeanResult(state.rows, state.total / state.rows if state.rows else float("nan"))
