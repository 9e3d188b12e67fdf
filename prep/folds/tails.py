"""Runs of samples that are equal one after another, and whether the last of all are one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block, FieldSpec, expand_mask
from prep.folds import Scope

# Samples that are kept before a run, and the most values of them.
KEEP, _MOST_VALUES = 8, 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class TailsResult:
    """Of ``rows`` samples with a counted value, ``equal`` are the same as the one before.

    ``trailing`` equal ones are the last of all, from sample ``tail``; ``leading`` the first of all; ``longest`` is the
    longest other run. ``first`` is the first sample, flat, (1, values), or (0, values) where there is none; ``recent``
    are the last ones and ``before`` those before the trailing run, in stored order, (8 or fewer, values).
    """

    rows: int
    equal: int
    leading: int
    trailing: int
    tail: int
    longest: int
    first: Array
    recent: Array
    before: Array

    @property
    def last(self) -> Array:
        """The last sample, (1, values) or (0, values)."""
        return self.recent[-1:]


@dataclass(frozen=True)
class Tails:
    """Compares each sample of ``field`` in ``scope`` with the one before; only values that ``mask`` counts, the others
    being taken for 0. NaN equals nothing.
    """

    field: FieldSpec
    scope: Scope
    mask: FieldSpec | None = None

    @property
    def key(self) -> str:
        return f"tails/{self.field.name}/{self.scope}/{self.mask.name if self.mask else ''}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field.name} | ({self.mask.name} if self.mask else set()))

    @property
    def _kept(self) -> int:
        return max(1, min(KEEP, _MOST_VALUES // max(self.field.row_values, 1)))

    def empty(self) -> TailsResult:
        none = np.zeros((0, self.field.row_values), self.field.dtype)
        return TailsResult(0, 0, 0, 0, -1, 0, none, none, none)

    def absorb(self, state: TailsResult, block: Block) -> TailsResult:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        values = part[self.field.name]
        flat = values.reshape(len(values), -1)
        samples = np.arange(part.start, part.stop)
        if self.mask is not None:
            flags = expand_mask(part[self.mask.name], self.mask, self.field).reshape(flat.shape)
            some = flags.any(axis=1)
            flat, samples = np.where(flags, flat, 0)[some], samples[some]
        return self.merge(state, self._found(flat, samples))

    def merge(self, left: TailsResult, right: TailsResult) -> TailsResult:
        if not left.rows or not right.rows:
            return left if not right.rows else right
        same = bool((left.last == right.first).all())
        whole_left, whole_right = left.leading == left.rows, right.leading == right.rows
        inner = [left.longest, right.longest]
        # A run that ends in the middle is one of the others, unless it is the first of all.
        if same and not whole_left and not whole_right:
            inner.append(left.trailing + right.leading)
        if not same:
            inner += [0 if whole_left else left.trailing, 0 if whole_right else right.leading]
        joined = same and whole_right
        return TailsResult(
            rows=left.rows + right.rows,
            equal=left.equal + right.equal + same,
            leading=left.rows + right.leading if same and whole_left else left.leading,
            trailing=left.trailing + right.trailing if joined else right.trailing,
            tail=left.tail if joined else right.tail,
            longest=max(inner),
            first=left.first,
            recent=np.concatenate([left.recent, right.recent])[-self._kept :],
            before=left.before if joined else np.concatenate([left.recent, right.before])[-self._kept :],
        )

    def finish(self, state: TailsResult) -> TailsResult:
        return state

    def _found(self, flat: Array, samples: Array) -> TailsResult:
        if not len(flat):
            return self.empty()
        # Most samples differ in their first value.
        same = flat[1:, 0] == flat[:-1, 0]
        places = np.flatnonzero(same)
        if flat.shape[1] > 1 and len(places):
            same[places] = (flat[places + 1] == flat[places]).all(axis=1)
        starts = np.append(0, np.flatnonzero(~same) + 1)
        runs = np.diff(starts, append=len(flat))
        start = int(starts[-1])
        return TailsResult(
            rows=len(flat),
            equal=int(np.count_nonzero(same)),
            leading=int(runs[0]),
            trailing=int(runs[-1]),
            tail=int(samples[start]),
            longest=int(runs[1:-1].max(initial=0)),
            first=flat[:1].copy(),
            recent=flat[-self._kept :].copy(),
            before=flat[max(start - self._kept, 0) : start].copy(),
        )
