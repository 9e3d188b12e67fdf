"""Values that stand for "missing" and lie beyond all others of their column: how many, where, and what the rest is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prep.blocks import Array, Block, FieldSpec
from prep.folds import Scope
from prep.folds.layout import Layout

KEEP = 10
# What instruments, formats and programs write: powers of ten less one, the fill value of netCDF, the largest float32.
FILLS = (
    *(sign * value for value in (99.0, 999.0, 9999.0, 99999.0, 999999.0, 1e20, 1e30) for sign in (-1.0, 1.0)),
    9.969209968386869e36,
    float(np.finfo(np.float32).max),
    -float(np.finfo(np.float32).max),
    -32768.0,
    -2147483648.0,
)


@dataclass(frozen=True, slots=True, eq=False)
class SentinelsResult:
    """``counts`` (S, columns) of each of ``values`` (S,) in each column where it lies outside all that is no sentinel,
    ``low`` to ``high`` (columns,); ``samples[s]`` are the first ten that hold it.
    """

    values: Array
    counts: Array
    low: Array
    high: Array
    samples: tuple[tuple[int, ...], ...]

    def apart(self, fewest: int) -> Array:
        """``counts`` of those that are farther from all other values of their column than these are wide, and of which
        the field holds ``fewest`` or more; 0 for the rest. Where a column holds nothing else, they are its values.
        """
        # Of halves: no difference of them overflows.
        low, high, value = self.low / 2, self.high / 2, self.values[:, np.newaxis] / 2
        span = np.where(high >= low, high - low, 0.0)
        least, most = (np.where(np.isfinite(end), end, 0.0) for end in (low, high))
        far = np.maximum(value - most, least - value) > span
        counts = np.where(far & np.isfinite(self.low), self.counts, 0)
        return np.asarray(np.where(counts.sum(axis=1, keepdims=True) >= fewest, counts, 0))


def fewest_fills(field: FieldSpec) -> int:
    """How many equal sentinels a field has to hold before they are taken for fill values."""
    return 2 if field.dtype.kind in "iu" else 1


@dataclass(slots=True)
class SentinelsState:
    """Extremes of each column without outlying sentinels, how often each of these occurs, and where first."""

    low: Array
    high: Array
    counts: Array
    samples: dict[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sentinels:
    """Looks in each column of ``field`` for sentinels at the ends of its range, peeling them off until none is there.

    What lies outside all ordinary values does so in every block, so that the result does not depend on the cut.
    """

    field: FieldSpec
    scope: Scope

    @property
    def key(self) -> str:
        return f"sentinels/{self.field.name}({','.join(self.field.features)})/{self.scope}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset({self.field.name})

    @property
    def values(self) -> Array:
        """The sentinels that the field's type can hold, as it holds them."""
        with np.errstate(all="ignore"):
            stored = np.asarray(FILLS)
            kind = self.field.dtype
            if kind.kind in "iu":
                stored = stored[(stored >= float(np.iinfo(kind).min)) & (stored <= float(np.iinfo(kind).max))]
                return np.unique(stored)
            stored = stored.astype(kind if kind.kind == "f" else np.float64).astype(np.float64)
            return np.unique(stored[np.isfinite(stored)])

    def empty(self) -> SentinelsState:
        width = Layout(self.field).width
        low, high = np.full(width, np.inf), np.full(width, -np.inf)
        return SentinelsState(low, high, np.zeros((len(self.values), width), np.int64))

    def absorb(self, state: SentinelsState, block: Block) -> SentinelsState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None or not part[self.field.name].size:
            return state
        lines, fills = Layout(self.field).values(part[self.field.name]), self.values
        low, high = _extremes(lines)
        seen = self.empty()
        seen.low, seen.high = low, high
        suspects = np.flatnonzero(np.isin(low, fills) | np.isin(high, fills))
        each = max(len(lines) // (part.stop - part.start), 1)
        for column in suspects.tolist():
            own = lines[:, column].astype(np.float64)
            rest = own[np.isfinite(own)]
            while rest.size and (np.isin(rest.min(), fills) or np.isin(rest.max(), fills)):
                for value in np.unique([rest.min(), rest.max()]):
                    place = int(np.searchsorted(fills, value))
                    if place == len(fills) or fills[place] != value:
                        continue
                    rows = np.unique(np.flatnonzero(own == value) // each)[:KEEP] + part.start
                    seen.counts[place, column] += int(np.count_nonzero(own == value))
                    seen.samples[place] = _first(seen.samples.get(place, ()), tuple(rows.tolist()))
                    rest = rest[rest != value]
            seen.low[column], seen.high[column] = rest.min(initial=np.inf), rest.max(initial=-np.inf)
        return self.merge(state, seen)

    def merge(self, left: SentinelsState, right: SentinelsState) -> SentinelsState:
        places = sorted({*left.samples, *right.samples})
        return SentinelsState(
            np.minimum(left.low, right.low),
            np.maximum(left.high, right.high),
            left.counts + right.counts,
            {place: _first(left.samples.get(place, ()), right.samples.get(place, ())) for place in places},
        )

    def finish(self, state: SentinelsState) -> SentinelsResult:
        fills = self.values
        outside = (fills[:, np.newaxis] < state.low) | (fills[:, np.newaxis] > state.high)
        counts = np.where(outside, state.counts, 0)
        # Places of a sentinel that is ordinary in one of its columns depend on the cut.
        telling = (counts > 0).any(axis=1) & ((counts > 0) == (state.counts > 0)).all(axis=1)
        samples = tuple(state.samples.get(place, ()) if telling[place] else () for place in range(len(fills)))
        return SentinelsResult(fills, counts, state.low, state.high, samples)


def _extremes(lines: Array) -> tuple[Array, Array]:
    """Least and greatest finite value of each column, float64."""
    low, high = lines.min(axis=0).astype(np.float64), lines.max(axis=0).astype(np.float64)
    for column in np.flatnonzero(~(np.isfinite(low) & np.isfinite(high))).tolist():
        finite = lines[np.isfinite(lines[:, column]), column].astype(np.float64)
        low[column], high[column] = finite.min(initial=np.inf), finite.max(initial=-np.inf)
    return low, high


def _first(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*left, *right})[:KEEP])
