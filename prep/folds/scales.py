"""The scale (trace, root mean square) of every sample: moments of its logarithm, and the samples without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from prep.blocks import Array, Block, FieldSpec, expand_mask
from prep.folds import Scope
from prep.kernels.matrices import row_rms, traces
from prep.kernels.moments import PowerSums, dense_sums, merge

KEEP = 10
ScaleKind = Literal["trace", "rms"]
# At a time, so that what is widened to float64 stays in the cache.
_PIECE_ROWS, _PIECE_VALUES = 256, 1 << 16


@dataclass(frozen=True, slots=True)
class ScalesResult:
    """Moments of ln(scale) over the ``rows`` samples whose scale is positive and finite, and the other samples.

    The moments are NaN if there is no such sample. ``low`` and ``high`` are the smallest and largest scale; ``bad``
    counts the samples without a usable scale, ``samples`` are the first ten of them and ``values`` what they are.
    """

    rows: int
    mean: float
    std: float
    low: float
    high: float
    bad: int
    samples: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(slots=True)
class ScalesState:
    """Sums of ln(scale), and what is known of samples without one."""

    sums: PowerSums = field(default_factory=lambda: PowerSums.zeros((1, 1)))
    bad: int = 0
    samples: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scales:
    """Measures ``kind`` of each sample of ``field``: the real trace of matrices, or the RMS of what ``mask`` counts."""

    field: FieldSpec
    scope: Scope
    kind: ScaleKind
    mask: FieldSpec | None = None

    @property
    def key(self) -> str:
        return f"scales/{self.field.name}/{self.kind}/{self.scope}/{self.mask.name if self.mask else ''}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field.name} | ({self.mask.name} if self.mask else set()))

    def empty(self) -> ScalesState:
        return ScalesState()

    def absorb(self, state: ScalesState, block: Block) -> ScalesState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        mask = part[self.mask.name] if self.mask else None
        scales = sample_scales(self.kind, part[self.field.name], self.field, mask, self.mask)
        good = (scales > 0) & np.isfinite(scales)
        bad = np.flatnonzero(~good)
        seen = ScalesState(
            bad=len(bad),
            samples=tuple((bad[:KEEP] + part.start).tolist()),
            values=tuple(scales[bad[:KEEP]].tolist()),
        )
        if good.any():
            sums = dense_sums(np.log(scales[good])[:, np.newaxis])
            seen.sums = sums if sums is not None else seen.sums
        return self.merge(state, seen)

    def merge(self, left: ScalesState, right: ScalesState) -> ScalesState:
        return ScalesState(
            sums=merge(left.sums, right.sums),
            bad=left.bad + right.bad,
            samples=(left.samples + right.samples)[:KEEP],
            values=(left.values + right.values)[:KEEP],
        )

    def finish(self, state: ScalesState) -> ScalesResult:
        sums = state.sums
        rows = int(sums.finite.item())
        return ScalesResult(
            rows=rows,
            mean=float(sums.mean().item()),
            std=float(np.sqrt(sums.m2.item() / rows)) if rows else np.nan,
            low=float(np.exp(sums.low.item())) if rows else np.nan,
            high=float(np.exp(sums.high.item())) if rows else np.nan,
            bad=state.bad,
            samples=state.samples,
            values=state.values,
        )


def sample_scales(
    kind: ScaleKind, values: Array, spec: FieldSpec, mask: Array | None = None, mask_spec: FieldSpec | None = None
) -> Array:
    """The scale of each row of ``values`` in float64, (rows,); NaN where nothing is counted."""
    if kind == "trace":
        return traces(values)
    parts = []
    step = max(_PIECE_ROWS, _PIECE_VALUES // max(spec.row_values, 1))
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        counted = expand_mask(mask[rows], mask_spec, spec) if mask is not None and mask_spec is not None else None
        parts.append(row_rms(values[rows], counted))
    return np.concatenate(parts) if parts else np.zeros(0)
