"""The squares of a field summed for each group: what each weighs in a squared error, however many there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block, FieldSpec, expand_mask
from prep.folds import Scope
from prep.folds.layout import group_ids

MOST = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class EnergiesState:
    """For ascending ``ids``: samples, counted finite values, the sum of their squares, and the largest sample's sum.

    Not ``complete`` where there are more than a million groups, of which the lowest are kept.
    """

    ids: Array
    rows: Array
    values: Array
    squares: Array
    largest: Array
    complete: bool = True


@dataclass(frozen=True)
class Energies:
    """Sums |x|² of ``field`` over ``scope`` for each id of ``group``, of what ``mask`` counts."""

    field: FieldSpec
    group: str
    scope: Scope
    mask: FieldSpec | None = None

    @property
    def key(self) -> str:
        return f"energies/{self.field.name}/{self.group}/{self.scope}/{self.mask.name if self.mask else ''}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field.name, self.group} | ({self.mask.name} if self.mask else set()))

    def empty(self) -> EnergiesState:
        counts = [np.zeros(0, np.int64) for _ in range(3)]
        return EnergiesState(counts[0], counts[1], counts[2], np.zeros(0), np.zeros(0))

    def absorb(self, state: EnergiesState, block: Block) -> EnergiesState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        values = part[self.field.name]
        flat = values.reshape(len(values), -1)
        wide = flat.astype(np.complex128 if flat.dtype.kind == "c" else np.float64)
        squares = wide.real**2 + wide.imag**2 if wide.dtype.kind == "c" else wide**2
        good = np.isfinite(squares)
        if self.mask is not None:
            good &= expand_mask(part[self.mask.name], self.mask, self.field).reshape(flat.shape)
        squares[~good] = 0.0
        ids, index = np.unique(group_ids(part, self.group), return_inverse=True)
        index = index.reshape(-1)
        own = squares.sum(axis=1)
        largest = np.zeros(len(ids))
        np.maximum.at(largest, index, own)
        seen = EnergiesState(
            ids,
            np.bincount(index, minlength=len(ids)).astype(np.int64),
            np.bincount(index, weights=good.sum(axis=1), minlength=len(ids)).astype(np.int64),
            np.bincount(index, weights=own, minlength=len(ids)),
            largest,
        )
        return self.merge(state, seen)

    def merge(self, left: EnergiesState, right: EnergiesState) -> EnergiesState:
        ids = np.union1d(left.ids, right.ids)
        places = np.searchsorted(ids, left.ids), np.searchsorted(ids, right.ids)

        def both(name: str, dtype: type) -> tuple[Array, Array]:
            parts: Array = np.zeros((2, len(ids)), dtype)
            parts[0, places[0]], parts[1, places[1]] = getattr(left, name), getattr(right, name)
            return parts[0], parts[1]

        rows, values = (np.add(*both(name, np.int64)) for name in ("rows", "values"))
        squares, largest = np.add(*both("squares", np.float64)), np.maximum(*both("largest", np.float64))
        complete = left.complete and right.complete and len(ids) <= MOST
        return EnergiesState(ids[:MOST], rows[:MOST], values[:MOST], squares[:MOST], largest[:MOST], complete)

    def finish(self, state: EnergiesState) -> EnergiesState:
        return state
