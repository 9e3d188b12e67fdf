"""What trivial predictors score where a loss is relative to each sample: zero, the train mean, the unit matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prep.blocks import Array, Block, FieldSpec
from prep.folds import Scope
from prep.kernels.matrices import traces, wide_type

_PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class RelativeResult:
    """NMSE of predicting zero, the mean of the scope, and the unit matrix, over ``rows`` samples; NaN where it has no
    meaning.
    """

    rows: int
    zero: float
    mean: float
    identity: float


@dataclass(frozen=True, slots=True)
class RelativeState:
    """Over the samples R whose ‖R‖² is finite and positive: how many, (Σ R, Σ R/‖R‖²) (2, values), Σ 1/‖R‖² and
    Σ ‖I − R‖²/‖R‖².
    """

    rows: int
    sums: NDArray[Any]
    inverses: float
    identity: float


@dataclass(frozen=True)
class RelativeScores:
    """Mean over the samples of ``scope`` of ‖P − R‖² / ‖R‖² for the trivial predictions P of ``field``, in one pass.

    With R̄ = Σ R/n, the mean of ‖R̄ − R‖² / ‖R‖² is 1 − 2 Re⟨R̄, Σ R/‖R‖²⟩/n + ‖R̄‖² Σ(1/‖R‖²)/n. Samples without a
    finite, positive ‖R‖² have no score and are left out.
    """

    field: FieldSpec
    scope: Scope

    @property
    def key(self) -> str:
        return f"relative_scores/{self.field.name}/{self.scope.split}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset([self.field.name])

    @property
    def square(self) -> bool:
        """Whether the samples are square matrices."""
        return len(self.field.shape) == 2 and self.field.shape[0] == self.field.shape[1]

    def empty(self) -> RelativeState:
        return RelativeState(0, np.zeros((2, self.field.row_values), wide_type(self.field.dtype)), 0.0, 0.0)

    def absorb(self, state: RelativeState, block: Block) -> RelativeState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        return reduce(self.merge, (self._sums(piece) for piece in _pieces(part[self.field.name])), state)

    def merge(self, left: RelativeState, right: RelativeState) -> RelativeState:
        return RelativeState(
            left.rows + right.rows,
            left.sums + right.sums,
            left.inverses + right.inverses,
            left.identity + right.identity,
        )

    def finish(self, state: RelativeState) -> RelativeResult:
        rows = state.rows
        if not rows:
            return RelativeResult(0, np.nan, np.nan, np.nan)
        mean = state.sums[0] / rows
        shared, energy = np.vdot(mean, state.sums[1]).real, np.vdot(mean, mean).real
        score = 1.0 - 2.0 * shared / rows + energy * state.inverses / rows
        return RelativeResult(rows, 1.0, float(score), state.identity / rows if self.square else np.nan)

    def _sums(self, values: Array) -> RelativeState:
        flat = values.reshape(len(values), -1)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            squares = np.sum(flat.real**2 + flat.imag**2 if flat.dtype.kind == "c" else flat**2, axis=1)
            inverses = 1.0 / squares
        good = np.isfinite(squares) & np.isfinite(inverses) & (squares > 0)
        values, flat, squares, inverses = values[good], flat[good], squares[good], inverses[good]
        sums = np.stack([flat.sum(axis=0), inverses @ flat]) if len(flat) else self.empty().sums
        identity = 0.0
        if self.square:
            identity = float(np.sum((self.field.shape[0] - 2.0 * traces(values)) * inverses + 1.0))
        return RelativeState(len(flat), sums, float(inverses.sum()), identity)


def _pieces(values: Array) -> Iterator[Array]:
    """Some rows after the other, as complex128 or float64."""
    wide = wide_type(values.dtype)
    step = max(_PIECE_BYTES // max(values[:1].size * wide.itemsize, 1), 1)
    for start in range(0, len(values), step):
        yield values[start : start + step].astype(wide)
