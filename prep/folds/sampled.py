"""A few samples of a field, evenly spaced: what a judgement needs that cannot be made of sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block, FieldSpec
from prep.kernels.matrices import real_view


@dataclass(frozen=True)
class Sampled:
    """Real values of every ``stride``-th sample at ``places`` of the flat sample; (samples, places) float64."""

    field: FieldSpec
    places: Sequence[int]
    stride: int

    @property
    def key(self) -> str:
        return f"sampled/{self.field.name}/{self.stride}/{','.join(map(str, self.places))}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field.name})

    def empty(self) -> Array:
        return np.zeros((0, len(self.places)))

    def absorb(self, state: Array, block: Block) -> Array:
        values = block[self.field.name][-block.start % self.stride :: self.stride]
        if not len(values):
            return state
        flat = real_view(values) if values.dtype.kind == "c" else values
        return self.merge(state, flat.reshape(len(values), -1)[:, list(self.places)].astype(np.float64))

    def merge(self, left: Array, right: Array) -> Array:
        return np.concatenate([left, right])

    def finish(self, state: Array) -> Array:
        return state
