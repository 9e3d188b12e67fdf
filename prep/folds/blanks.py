"""Samples that hold nothing: all zero, or all NaN; how many, in what runs, and whether the last ones do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block, FieldSpec, expand_mask
from prep.folds import Scope
from prep.kernels.finite import all_finite

KEEP = 10


@dataclass(frozen=True, slots=True)
class BlanksResult:
    """Of ``rows`` samples with a counted value, ``blank`` hold only 0 or NaN, ``samples`` are the first ten.

    ``trailing`` blank ones are the last of all, from sample ``tail``; ``leading`` the first of all; ``longest`` is the
    longest other run. ``zeros`` of the ``values`` in the other samples are 0.
    """

    rows: int = 0
    blank: int = 0
    samples: tuple[int, ...] = ()
    leading: int = 0
    trailing: int = 0
    tail: int = -1
    longest: int = 0
    zeros: int = 0
    values: int = 0


@dataclass(frozen=True)
class Blanks:
    """Looks at each sample of ``field`` in ``scope``; only values that ``mask`` counts."""

    field: FieldSpec
    scope: Scope
    mask: FieldSpec | None = None

    @property
    def key(self) -> str:
        return f"blanks/{self.field.name}/{self.scope}/{self.mask.name if self.mask else ''}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field.name} | ({self.mask.name} if self.mask else set()))

    def empty(self) -> BlanksResult:
        return BlanksResult()

    def absorb(self, state: BlanksResult, block: Block) -> BlanksResult:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        values = part[self.field.name]
        flat = values.reshape(len(values), -1)
        if self.mask is None:
            counted = np.full(len(flat), flat.shape[1])
            filled = np.count_nonzero(flat, axis=1)
        else:
            flags = expand_mask(part[self.mask.name], self.mask, self.field).reshape(flat.shape)
            counted = np.count_nonzero(flags, axis=1)
            filled = np.count_nonzero((flat != 0) & flags, axis=1)
            flat = np.where(flags, flat, 0)
        blank = filled == 0
        if not all_finite(flat):
            # NaN is not 0; a sample of nothing else has one for each counted value.
            odd = np.flatnonzero((filled == counted) & np.isnan(flat.sum(axis=1)))
            blank[odd] = np.count_nonzero(np.isnan(flat[odd]), axis=1) == counted[odd]
        rows = np.flatnonzero(counted > 0)
        return self.merge(state, _found(blank[rows], rows + part.start, counted[rows], filled[rows]))

    def merge(self, left: BlanksResult, right: BlanksResult) -> BlanksResult:
        if not left.rows or not right.rows:
            return left if not right.rows else right
        whole_left, whole_right = left.blank == left.rows, right.blank == right.rows
        middle = left.trailing + right.leading
        inner = [left.longest, right.longest]
        if not whole_left and not whole_right:
            inner.append(middle)
        return BlanksResult(
            rows=left.rows + right.rows,
            blank=left.blank + right.blank,
            samples=(left.samples + right.samples)[:KEEP],
            leading=left.rows + right.leading if whole_left else left.leading,
            trailing=left.trailing + right.rows if whole_right else right.trailing,
            tail=left.tail if whole_right and left.trailing else right.tail,
            longest=max(inner),
            zeros=left.zeros + right.zeros,
            values=left.values + right.values,
        )

    def finish(self, state: BlanksResult) -> BlanksResult:
        return state


def _found(blank: Array, rows: Array, counted: Array, filled: Array) -> BlanksResult:
    if not len(rows):
        return BlanksResult()
    other = np.flatnonzero(~blank)
    zeros, values = int((counted - filled)[other].sum()), int(counted[other].sum())
    samples = tuple(rows[blank][:KEEP].tolist())
    if not len(other):
        n = len(rows)
        return BlanksResult(n, n, samples, n, n, int(rows[0]), 0, 0, 0)
    leading, trailing = int(other[0]), len(rows) - 1 - int(other[-1])
    return BlanksResult(
        rows=len(rows),
        blank=int(blank.sum()),
        samples=samples,
        leading=leading,
        trailing=trailing,
        tail=int(rows[other[-1] + 1]) if trailing else -1,
        longest=int(np.diff(other).max(initial=1)) - 1,
        zeros=zeros,
        values=values,
    )
