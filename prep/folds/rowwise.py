"""Per-sample measurements against a limit: how many samples fail, which first, and the worst value with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prep.blocks import Array, Block
from prep.canonical import canonical_json
from prep.folds import Scope
from prep.kernels.finite import extremes
from prep.kernels.matrices import real_view

KEEP = 10
Measure = Callable[..., Array]
Screen = Callable[..., bool]


@dataclass(slots=True)
class RowwiseResult:
    """What a `Rowwise` fold found. ``samples`` are the first failing ones; ``worst`` is the largest measured value
    (NaN is larger than any), ``values`` how many array elements of the first field were looked at.
    """

    rows: int = 0
    values: int = 0
    failing: int = 0
    samples: tuple[int, ...] = ()
    worst: float = -np.inf
    worst_sample: int | None = None


@dataclass(frozen=True)
class Rowwise:
    """Applies ``measure(arrays, **arguments) -> (rows,) float`` to each block; a sample fails where the value exceeds
    ``limit``.

    ``measure`` is a module-level function (so that it can be sent to a worker); ``names`` are the fields it reads, the
    first being the one whose values are counted; ``arguments`` are JSON-ready.

    ``screen((least, most), **arguments)``, where given, is told the extremes of all values of that first field (of re
    and im of a complex one; NaN where a value is) and says whether they alone show that every row measures 0.
    """

    label: str
    names: tuple[str, ...]
    measure: Measure
    limit: float
    scope: Scope
    arguments: Mapping[str, Any] = field(default_factory=dict)
    screen: Screen | None = None

    @property
    def key(self) -> str:
        arguments = canonical_json(dict(self.arguments)).decode()
        return f"rowwise/{self.label}/{','.join(self.names)}/{self.limit!r}/{self.scope.split}/{arguments}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(self.names)

    def empty(self) -> RowwiseResult:
        return RowwiseResult()

    def absorb(self, state: RowwiseResult, block: Block) -> RowwiseResult:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        arrays = {name: part[name] for name in self.names}
        if self._screened(part):
            rows, values = part.stop - part.start, arrays[self.names[0]].size
            return self.merge(state, RowwiseResult(rows, values, worst=0.0, worst_sample=part.start))
        measured = np.asarray(self.measure(arrays, **self.arguments), dtype=np.float64)
        bad = np.flatnonzero(~(measured <= self.limit))
        worst = int(np.argmax(measured))  # the first NaN where there is one
        seen = RowwiseResult(
            rows=len(measured),
            values=arrays[self.names[0]].size,
            failing=len(bad),
            samples=tuple(int(index) + part.start for index in bad[:KEEP]),
            worst=float(measured[worst]),
            worst_sample=worst + part.start,
        )
        return self.merge(state, seen)

    def _screened(self, part: Block) -> bool:
        """Whether the extremes of the block show that there is nothing to see."""
        name = self.names[0]
        if self.screen is None or not part[name].size:
            return False
        if name not in part.shared:
            part.shared[name] = extremes(real_view(part[name]))
        return self.screen(part.shared[name], **self.arguments)

    def merge(self, left: RowwiseResult, right: RowwiseResult) -> RowwiseResult:
        larger = right if right.worst > left.worst or (np.isnan(right.worst) > np.isnan(left.worst)) else left
        return RowwiseResult(
            rows=left.rows + right.rows,
            values=left.values + right.values,
            failing=left.failing + right.failing,
            samples=(left.samples + right.samples)[:KEEP],
            worst=larger.worst,
            worst_sample=larger.worst_sample,
        )

    def finish(self, state: RowwiseResult) -> RowwiseResult:
        return state
