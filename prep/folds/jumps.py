"""What overflow leaves in whole numbers: steps of about 2^k between neighbours, and values heaped at a limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block, FieldSpec
from prep.folds import Scope

KEEP = 10
BITS = (8, 16, 32)
# Within this share of the range of k bits from a full turn; what turns over moves by less.
NEAR = 1 / 16


@dataclass(frozen=True, slots=True, eq=False)
class JumpsResult:
    """Of ``steps`` between neighbours, ``moving`` are not 0; none are counted unless all finite values are ``whole``
    numbers. For each of `BITS`: ``turns`` steps are about 2^k, ``longest`` is the largest other one, ``samples`` the
    first ten with a turn.

    Of ``values``, ``at_limit`` (2,) are at the lowest and highest number of the type, ``near_limit`` (2,) within
    1/256 of its range beside, ``above_samples`` the first ten samples with one beside the highest number, and
    ``limit_samples`` the first ten at a limit.
    """

    steps: int
    moving: int
    whole: bool
    turns: Array
    longest: Array
    samples: tuple[tuple[int, ...], ...]
    at_limit: Array
    near_limit: Array
    limit_samples: tuple[int, ...]
    values: int
    above_samples: tuple[int, ...]


@dataclass(slots=True)
class JumpsState:
    """Sums so far, and the first and last sample (1, …) or nothing (0, …) to take the step between two blocks."""

    first: Array
    last: Array
    turns: Array
    longest: Array
    at_limit: Array
    near_limit: Array
    steps: int = 0
    moving: int = 0
    whole: bool = True
    samples: tuple[tuple[int, ...], ...] = ((),) * len(BITS)
    limit_samples: tuple[int, ...] = ()
    start: int = 0
    values: int = 0
    above_samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class Jumps:
    """Steps of ``field`` along ``axis`` of its dims: 0 from sample to sample, 1 within samples."""

    field: FieldSpec
    scope: Scope
    axis: int = 0

    @property
    def key(self) -> str:
        return f"jumps/{self.field.name}/{self.axis}/{self.scope}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field.name})

    def empty(self) -> JumpsState:
        none = np.zeros((0, *self.field.shape), self.field.dtype)
        return JumpsState(
            none, none, np.zeros(len(BITS), np.int64), np.zeros(len(BITS)), np.zeros(2, np.int64), np.zeros(2, np.int64)
        )

    def absorb(self, state: JumpsState, block: Block) -> JumpsState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None or not part[self.field.name].size:
            return state
        values = part[self.field.name]
        seen = self.empty()
        seen.start = part.start
        seen.first, seen.last = values[:1].copy(), values[-1:].copy()
        seen.whole = _whole(values)
        if seen.whole:
            self._steps(seen, values, np.arange(part.start, part.stop))
            self._limits(seen, values, part.start)
        return self.merge(state, seen)

    def merge(self, left: JumpsState, right: JumpsState) -> JumpsState:
        if not len(left.first) or not len(right.first):
            return right if not len(left.first) else left
        between = self.empty()
        if self.axis == 0 and left.whole and right.whole:
            self._steps(between, np.concatenate([left.last, right.first]), np.asarray([right.start - 1, right.start]))
        parts = (left, between, right)
        return JumpsState(
            left.first,
            right.last,
            np.sum([each.turns for each in parts], axis=0),
            np.maximum.reduce([each.longest for each in parts]),
            left.at_limit + right.at_limit,
            left.near_limit + right.near_limit,
            sum(each.steps for each in parts),
            sum(each.moving for each in parts),
            left.whole and right.whole,
            tuple(_first([row for each in parts for row in each.samples[place]]) for place in range(len(BITS))),
            _first([*left.limit_samples, *right.limit_samples]),
            left.start,
            left.values + right.values,
            _first([*left.above_samples, *right.above_samples]),
        )

    def finish(self, state: JumpsState) -> JumpsResult:
        if not state.whole:
            state = self.empty()
            state.whole = False
        return JumpsResult(
            state.steps,
            state.moving,
            state.whole,
            state.turns,
            state.longest,
            state.samples,
            state.at_limit,
            state.near_limit,
            state.limit_samples,
            state.values,
            state.above_samples,
        )

    def _steps(self, seen: JumpsState, values: Array, rows: Array) -> None:
        if values.shape[self.axis] < 2:
            return
        narrow = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
        steps = np.abs(np.diff(values.astype(np.int32 if narrow else np.float64), axis=self.axis))
        own = rows[1:] if self.axis == 0 else rows
        good = np.isfinite(steps)
        seen.steps, seen.moving = int(good.sum()), int(np.count_nonzero(good & (steps > 0)))
        most = float(steps[good].max(initial=0.0))
        samples = []
        for place, bits in enumerate(BITS):
            turn = good & (np.abs(steps - 2.0**bits) <= NEAR * 2.0**bits) if most > 2.0**bits * (1 - NEAR) else None
            seen.turns[place] = int(turn.sum()) if turn is not None else 0
            seen.longest[place] = most if turn is None else float(steps[good & ~turn].max(initial=0.0))
            samples.append(_first(own[turn.reshape(len(own), -1).any(axis=1)].tolist()) if turn is not None else ())
        seen.samples = tuple(samples)

    def _limits(self, seen: JumpsState, values: Array, start: int) -> None:
        if values.dtype.kind not in "iu":
            return
        limits = np.iinfo(values.dtype)
        margin = (int(limits.max) - int(limits.min)) // 256
        rows: set[int] = set()
        seen.values = values.size
        for place, (limit, inside) in enumerate(
            ((limits.min, values <= limits.min + margin), (limits.max, values >= limits.max - margin))
        ):
            count = int(np.count_nonzero(inside))
            at = int(np.count_nonzero(values == limit)) if count else 0
            seen.at_limit[place], seen.near_limit[place] = at, count - at
            if place and count > at:
                own = inside.reshape(len(values), -1).any(axis=1)
                seen.above_samples = tuple((np.flatnonzero(own)[:KEEP] + start).tolist())
            if at and (place or limits.min < 0):
                hit = (values == limit).reshape(len(values), -1).any(axis=1)
                rows.update((np.flatnonzero(hit)[:KEEP] + start).tolist())
        seen.limit_samples = _first(sorted(rows))


def _whole(values: Array) -> bool:
    """Whether all finite values are whole numbers."""
    if values.dtype.kind in "iu":
        return True
    flat = values.reshape(-1)
    return all(bool(((part == np.rint(part)) | ~np.isfinite(part)).all()) for part in (flat[:4096], flat))


def _first(rows: list[int]) -> tuple[int, ...]:
    return tuple(sorted(set(rows))[:KEEP])
