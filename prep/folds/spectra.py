"""Eigenvalues of a stated sample of Hermitian matrices: negative ones, and how ill-conditioned the others are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Block, FieldSpec
from prep.folds import Scope
from prep.kernels.matrices import wide_type

KEEP = 10
_PIECE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class SpectraResult:
    """Of ``rows`` matrices, ``negative`` have λ_min < −tolerance·Σ|λ|, ``samples`` the first ten; ``worst`` is the
    least λ_min / Σ|λ| and ``worst_sample`` where. ``singular`` have λ_min ≤ tolerance·Σ|λ| in magnitude;
    ``condition`` is the largest λ_max/λ_min of the others.
    """

    rows: int = 0
    negative: int = 0
    samples: tuple[int, ...] = ()
    worst: float = np.inf
    worst_sample: int = -1
    singular: int = 0
    condition: float = 0.0


@dataclass(frozen=True)
class Spectra:
    """Looks at every ``stride``-th sample of ``field`` (sample, N, N); the lower triangle is read. Matrices with NaN or
    infinity, and zero ones, are left out.
    """

    field: FieldSpec
    scope: Scope
    tolerance: float
    stride: int = 1

    @property
    def key(self) -> str:
        return f"spectra/{self.field.name}/{self.scope}/{self.tolerance!r}/{self.stride}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field.name})

    def empty(self) -> SpectraResult:
        return SpectraResult()

    def absorb(self, state: SpectraResult, block: Block) -> SpectraResult:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        rows = np.arange(part.start, part.stop)
        rows = rows[(rows - self.scope.start) % self.stride == 0]
        step = max(_PIECE_BYTES // max(self.field.row_values * 16, 1), 1)
        for start in range(0, len(rows), step):
            state = self.merge(state, self._seen(part, rows[start : start + step]))
        return state

    def merge(self, left: SpectraResult, right: SpectraResult) -> SpectraResult:
        lower = right if right.worst < left.worst else left
        return SpectraResult(
            left.rows + right.rows,
            left.negative + right.negative,
            (left.samples + right.samples)[:KEEP],
            lower.worst,
            lower.worst_sample,
            left.singular + right.singular,
            max(left.condition, right.condition),
        )

    def finish(self, state: SpectraResult) -> SpectraResult:
        return state

    def _seen(self, part: Block, rows: np.ndarray) -> SpectraResult:
        matrices = part[self.field.name][rows - part.start].astype(wide_type(self.field.dtype))
        size = np.abs(matrices).reshape(len(rows), -1).sum(axis=1)
        usable = np.isfinite(size) & (size > 0)
        if not usable.any():
            return SpectraResult()
        own = rows[usable]
        values = np.linalg.eigvalsh(matrices[usable])
        total = np.abs(values).sum(axis=1)
        least = values[:, 0] / np.where(total > 0, total, 1.0)
        negative = np.flatnonzero(least < -self.tolerance)
        definite = least > self.tolerance
        worst = int(np.argmin(least))
        with np.errstate(all="ignore"):
            condition = float((values[definite, -1] / values[definite, 0]).max(initial=0.0))
        return SpectraResult(
            len(own),
            len(negative),
            tuple(own[negative][:KEEP].tolist()),
            float(least[worst]),
            int(own[worst]),
            int(np.count_nonzero(np.abs(least) <= self.tolerance)),
            condition,
        )
