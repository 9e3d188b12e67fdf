"""Normal equations of a filter: what the last values of a sequence predict of another one, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prep.blocks import Block, FieldSpec
from prep.folds import Scope
from prep.folds.gram import Gram, GramResult, GramState
from prep.folds.layout import group_ids


@dataclass(frozen=True)
class LaggedGram:
    """A `Gram` whose rows are the steps of the samples: ``taps`` values of ``input``, ``spacing`` steps apart and the
    last of them at the present step, and the value of ``target`` at that step.

    Both fields are (sample, step). A sample is a whole sequence: no lag reaches over its border, and its first `reach`
    steps, which have no such past, are left out.
    """

    input: FieldSpec
    target: FieldSpec
    scope: Scope
    taps: int
    spacing: int = 1
    group: str = ""

    @property
    def key(self) -> str:
        return f"lagged/{self.taps}x{self.spacing}/{self._gram.key}"

    @property
    def fields(self) -> frozenset[str]:
        return self._gram.fields

    @property
    def reach(self) -> int:
        """Steps from the first value of the filter to the last."""
        return (self.taps - 1) * self.spacing

    @property
    def row_steps(self) -> int:
        """Steps of one sample that are measured."""
        return max(self.target.shape[0] - self.reach, 0)

    def empty(self) -> GramState:
        return self._gram.empty()

    def absorb(self, state: GramState, block: Block) -> GramState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None or not self.row_steps:
            return state
        groups = group_ids(part, self.group)
        for row, (values, target) in enumerate(zip(part[self.input.name], part[self.target.name], strict=True)):
            start = (part.start + row) * self.row_steps
            # Views only: the probe copies a piece at a time.
            arrays = {
                self.input.name: sliding_window_view(values, self.reach + 1)[:, :: self.spacing],
                self.target.name: target[self.reach :, np.newaxis],
            }
            if self.group:
                arrays[self.group] = np.broadcast_to(groups[row], self.row_steps)
            state = self._gram.absorb(state, Block(start, start + self.row_steps, arrays))
        return state

    def merge(self, left: GramState, right: GramState) -> GramState:
        return self._gram.merge(left, right)

    def finish(self, state: GramState) -> GramResult:
        return self._gram.finish(state)

    @property
    def _gram(self) -> Gram:
        """The probe of single steps, numbered through all samples."""
        steps = Scope(self.scope.split, self.scope.start * self.row_steps, self.scope.stop * self.row_steps)
        return Gram(_single(self.input, "tap", self.taps), _single(self.target, "now", 1), steps, self.group)


def _single(field: FieldSpec, dim: str, size: int) -> FieldSpec:
    return FieldSpec(field.name, field.dtype, ("sample", dim), (size,), "aux")
