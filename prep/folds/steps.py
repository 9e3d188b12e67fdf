"""Steps of time, within samples or from one sample of a group to the next: back, none, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prep.blocks import Array, Block, FieldSpec
from prep.folds import Scope
from prep.folds.layout import group_ids
from prep.kernels.buckets import RELATIVE_ERROR, add_counts, codes, representatives

KEEP = 10
MOST = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class StepsResult:
    """``steps`` between finite times, of which ``backward`` are below 0 and ``repeated`` 0; the first ten samples after
    (or in) each. ``values`` ascending and ``counts`` are the positive steps in buckets of 1/256. ``lowest`` and
    ``highest`` are the times that steps back lead to; ``longest`` is the largest step and ``after`` its sample.
    """

    steps: int
    backward: int
    repeated: int
    back_samples: tuple[int, ...]
    same_samples: tuple[int, ...]
    values: Array
    counts: Array
    lowest: float
    highest: float
    deepest: float
    longest: float
    after: int

    def quantile(self, q: float) -> float:
        """Of the positive steps; NaN without any."""
        if not len(self.counts):
            return np.nan
        place = int(np.searchsorted(np.cumsum(self.counts), q * self.counts.sum()))
        return float(self.values[min(place, len(self.values) - 1)])

    def beyond(self, limit: float) -> int:
        """How many steps are longer than ``limit``, give or take the width of a bucket."""
        return int(self.counts[self.values * (1 - RELATIVE_ERROR) > limit].sum())


@dataclass(slots=True)
class StepsState:
    """First and last (time, sample) of each group, ascending ids; what the steps between were."""

    ids: Array
    first: Array
    last: Array
    rows: Array
    steps: int = 0
    backward: int = 0
    repeated: int = 0
    back_samples: tuple[int, ...] = ()
    same_samples: tuple[int, ...] = ()
    codes: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    lowest: float = np.inf
    highest: float = -np.inf
    deepest: float = 0.0
    longest: float = -np.inf
    after: int = -1


@dataclass(frozen=True)
class Steps:
    """Steps of ``time``: along its last dimension (sample, step), or between the samples of one ``group`` (sample,).

    Times that are not finite take no part. Of more than a million groups, those with the largest ids are not followed
    from one block to the next.
    """

    time: FieldSpec
    scope: Scope
    group: str = ""

    @property
    def key(self) -> str:
        return f"steps/{self.time.name}/{self.scope}/{self.group}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.time.name, self.group} - {""})

    def empty(self) -> StepsState:
        return StepsState(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))

    def absorb(self, state: StepsState, block: Block) -> StepsState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        times = part[self.time.name].astype(np.float64)
        seen = self.empty()
        if self.time.row_values > 1:
            lines = times.reshape(-1, times.shape[-1])
            each = max(len(lines) // len(times), 1)
            rows = np.repeat(np.arange(part.start, part.stop), each * (times.shape[-1] - 1))
            _count(seen, np.diff(lines, axis=1).reshape(-1), lines[:, 1:].reshape(-1), rows)
            return self.merge(state, seen)
        times = times.reshape(len(times))
        rows = np.flatnonzero(np.isfinite(times))
        ids, times = group_ids(part, self.group)[rows], times[rows]
        order = np.argsort(ids, kind="stable")
        ids, times, rows = ids[order], times[order], rows[order] + part.start
        inner = ids[1:] == ids[:-1]
        _count(seen, np.diff(times)[inner], times[1:][inner], rows[1:][inner])
        starts = np.flatnonzero(np.append(True, ~inner)) if len(ids) else np.zeros(0, np.int64)
        ends = np.append(starts[1:], len(ids)) - 1 if len(ids) else starts
        seen.ids, seen.first, seen.last, seen.rows = ids[starts], times[starts], times[ends], rows[starts]
        return self.merge(state, seen)

    def merge(self, left: StepsState, right: StepsState) -> StepsState:
        place = np.searchsorted(left.ids, right.ids)
        inside = place < len(left.ids)
        known = np.zeros(len(right.ids), bool)
        known[inside] = left.ids[place[inside]] == right.ids[inside]
        between = self.empty()
        own = place[known]
        _count(between, right.first[known] - left.last[own], right.first[known], right.rows[known])
        ids = np.union1d(left.ids, right.ids)
        at_left, at_right = np.searchsorted(ids, left.ids), np.searchsorted(ids, right.ids)
        first, last, rows = np.empty(len(ids)), np.empty(len(ids)), np.empty(len(ids), np.int64)
        first[at_right], rows[at_right] = right.first, right.rows
        first[at_left], rows[at_left] = left.first, left.rows
        last[at_left] = left.last
        last[at_right] = right.last
        merged = StepsState(ids[:MOST], first[:MOST], last[:MOST], rows[:MOST])
        for each in (left, between, right):
            _add(merged, each)
        return merged

    def finish(self, state: StepsState) -> StepsResult:
        return StepsResult(
            state.steps,
            state.backward,
            state.repeated,
            state.back_samples,
            state.same_samples,
            representatives(state.codes),
            state.counts,
            state.lowest,
            state.highest,
            state.deepest,
            state.longest,
            state.after,
        )


def _count(state: StepsState, steps: Array, to: Array, rows: Array) -> None:
    """Count steps that lead to the times ``to`` of the samples ``rows``."""
    good = np.isfinite(steps)
    back, same = good & (steps < 0), good & (steps == 0)
    state.steps, state.backward, state.repeated = int(good.sum()), int(back.sum()), int(same.sum())
    state.back_samples, state.same_samples = _first(rows[back]), _first(rows[same])
    state.lowest, state.highest = float(to[back].min(initial=np.inf)), float(to[back].max(initial=-np.inf))
    state.deepest = float(steps[back].min(initial=0.0))
    forward = good & (steps > 0)
    state.codes, counts = np.unique(codes(steps[forward]), return_counts=True)
    state.counts = counts.astype(np.int64)
    if forward.any():
        state.longest = float(steps[forward].max())
        state.after = int(rows[forward & (steps == state.longest)].min())


def _add(total: StepsState, seen: StepsState) -> None:
    total.steps += seen.steps
    total.backward += seen.backward
    total.repeated += seen.repeated
    total.back_samples = _first(np.asarray([*total.back_samples, *seen.back_samples], np.int64))
    total.same_samples = _first(np.asarray([*total.same_samples, *seen.same_samples], np.int64))
    total.codes, total.counts = add_counts(
        np.concatenate([total.codes, seen.codes]), np.concatenate([total.counts, seen.counts])
    )
    total.lowest, total.highest = min(total.lowest, seen.lowest), max(total.highest, seen.highest)
    total.deepest = min(total.deepest, seen.deepest)
    if seen.longest > total.longest or (seen.longest == total.longest and seen.after < total.after):
        total.longest, total.after = seen.longest, seen.after


def _first(rows: Array) -> tuple[int, ...]:
    return tuple(np.unique(rows)[:KEEP].tolist())
