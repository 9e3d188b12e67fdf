"""Quantiles of one field per feature and group, from integer counts: mergeable in any order, with a stated error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prep.blocks import Array, Block, FieldSpec
from prep.errors import UsageError, Where
from prep.folds import Scope
from prep.folds.jsonable import encode
from prep.folds.layout import Layout, group_ids
from prep.folds.lines import lines_of
from prep.kernels.bucket_tables import bucket_counts, fits
from prep.kernels.buckets import (
    CODE_LIMIT,
    MANTISSA_BITS,
    RELATIVE_ERROR,
    add_counts,
    codes,
    count_codes,
    pack,
    representatives,
    unpack,
)
from prep.kernels.compiled import lanes_for
from prep.kernels.matrices import real_view

QUANTILES = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95, "q99": 0.99}
_PIECE_VALUES = 1 << 18
_LARGEST = np.finfo(np.float64).max


@dataclass(frozen=True, slots=True, eq=False)
class QuantilesResult:
    """Quantiles of the counted finite values in the sampled rows.

    ``groups`` are the ascending group ids, () without groups; ``shape`` is (G, *feature sizes); ``count`` int64 of
    that shape. ``relative_error`` bounds |q − exact| / |exact − pivot| for the quantile that is an order statistic of
    the sampled values (NumPy's ``inverted_cdf``), for distances from the pivot above the smallest normal float64.
    """

    groups: tuple[int, ...]
    shape: tuple[int, ...]
    count: Array
    stride: int
    pivot: tuple[float, ...]
    values: Array
    counts: Array
    own_pivots: tuple[tuple[int, tuple[float, ...]], ...] = ()
    relative_error: float = RELATIVE_ERROR

    def cells(self) -> list[tuple[Array, Array]]:
        """Ascending representatives and counts of each group and feature, row-major."""
        # No bucket is empty, so that the running count alone tells where the buckets of a cell end.
        ends = np.searchsorted(np.cumsum(self.counts), np.cumsum(self.count.ravel()), side="right")
        starts = np.append(0, ends[:-1])
        return [(self.values[a:b], self.counts[a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]

    def only(self, groups: Sequence[int]) -> QuantilesResult:
        """The sketch of some of its groups."""
        places = [self.groups.index(each) for each in groups]
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        cells = self.cells()
        kept = [cells[place * width + feature] for place in places for feature in range(width)]
        values, counts = ([each[side] for each in kept] for side in (0, 1))
        return replace(
            self,
            groups=tuple(groups),
            shape=(len(places), *self.shape[1:]),
            count=self.count[places],
            values=np.concatenate([*values, self.values[:0]]),
            counts=np.concatenate([*counts, self.counts[:0]]),
        )

    def quantile(self, q: float) -> Array:
        """The value at rank max(1, ⌈q·n⌉) for each group and feature, float64 (G, *feature sizes); NaN where n is 0."""
        if not 0 <= q <= 1:
            raise UsageError(
                "a quantile lies between 0 and 1",
                measured=q,
                allowed="0 <= q <= 1",
                remedy="give the quantile as a share, 0.95 for 95 percent",
            )
        total = self.count.ravel()
        rank = np.clip(np.ceil(q * total).astype(np.int64), 1, np.maximum(total, 1))
        # Counts run on from cell to cell, so that one search answers for all of them.
        before = np.cumsum(total) - total
        place = np.searchsorted(np.cumsum(self.counts), before + rank)
        result = np.full(total.shape, np.nan)
        some = total > 0
        result[some] = self.values[place[some]]
        return result.reshape(self.shape)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: seven quantiles, how they were found, over how many values, and how wrong they may be."""
        return {
            "groups": list(self.groups),
            "shape": list(self.shape),
            **{name: encode(self.quantile(q)) for name, q in QUANTILES.items()},
            "count": self.count.tolist(),
            "method": f"log-linear buckets of x - pivot, {MANTISSA_BITS} mantissa bits, every {self.stride}. sample",
            "stride": self.stride,
            "pivot": list(self.pivot),
            "relative_error": self.relative_error,
        }


@dataclass(slots=True)
class QuantilesState:
    """For each group id the ascending packed (feature, code) keys and their counts."""

    tables: dict[int, tuple[Array, Array]]


@dataclass(frozen=True)
class Quantiles:
    """Counts values of ``field`` over ``scope`` in log-linear buckets of their distance from ``pivot``.

    ``mask`` and ``group`` are as in `prep.folds.moments.Moments`. ``pivot`` is () for zero, one float, or one for
    each feature (row-major over the feature sizes); it is an argument and not taken from the data, so that the counts
    do not depend on how the data is cut. Groups that ``own_pivots`` names (ascending) count from those instead, one for
    each feature. Only samples whose index within the scope is a multiple of ``stride`` are
    looked at: a deterministic sample, which a periodic order of samples can defeat. Counts merge in any order. NaN
    and infinity are left out.
    """

    field: FieldSpec
    scope: Scope
    mask: FieldSpec | None = None
    group: str = ""
    pivot: tuple[float, ...] = ()
    stride: int = 1
    own_pivots: tuple[tuple[int, tuple[float, ...]], ...] = ()

    def __post_init__(self) -> None:
        width = self.layout.width
        own = [pivot for _, pivot in self.own_pivots]
        fitting = len(self.pivot) in (0, 1, width) and all(len(each) == width for each in own)
        if self.stride < 1 or not fitting or not np.isfinite([*self.pivot, *sum(own, ())]).all():
            raise UsageError(
                "quantiles need a stride of at least 1 and finite pivots, one for each feature",
                where=Where(field=self.field.name),
                measured=f"stride {self.stride}, {len(self.pivot)} pivots",
                allowed=f"stride >= 1, and 0, 1 or {width} finite pivots",
                remedy="leave out the pivot, or pass the mean of each feature",
            )

    @property
    def layout(self) -> Layout:
        """How the field's values are laid out by feature."""
        return Layout(self.field)

    @property
    def key(self) -> str:
        mask = self.mask.name if self.mask else ""
        field = f"{self.field.name}({','.join(self.field.features)})"
        own = "".join(f"/{group}:{','.join(map(repr, pivot))}" for group, pivot in self.own_pivots)
        pivot = ",".join(map(repr, self.pivot))
        return f"quantiles/{field}/{self.scope}/{mask}/{self.group}/{self.stride}/{pivot}{own}"

    @property
    def fields(self) -> frozenset[str]:
        names = {self.field.name, self.group} | ({self.mask.name} if self.mask else set())
        return frozenset(names - {""})

    def empty(self) -> QuantilesState:
        return QuantilesState({} if self.group else {0: _NOTHING})

    def absorb(self, state: QuantilesState, block: Block) -> QuantilesState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        first = -(part.start - self.scope.start) % self.stride
        sampled = slice(first, None, self.stride)
        values = part[self.field.name][sampled]
        mask = part[self.mask.name][sampled] if self.mask else None
        ids = group_ids(part, self.group)[sampled]
        if self.own_pivots:
            values = self._distances(values, ids)
        loops = lanes_for(part[self.field.name].nbytes)
        if loops is not None:
            found = lines_of(loops, self.layout, values, ids if self.group else None, mask, self.mask)
            if fits(*found.runs.columns.shape[::-1]):
                pivots = np.zeros(self.layout.width) if self.own_pivots else self._common
                tables = bucket_counts(loops, found.lines, found.runs, pivots)
                for group, table in zip(found.groups.tolist(), tables, strict=True):
                    state.tables[group] = _join(state.tables.get(group, _NOTHING), table)
                return state
        step = max(_PIECE_VALUES // max(self.field.row_values, 1), 1)
        for start in range(0, len(values), step):
            rows = slice(start, start + step)
            self._count(state, values[rows], None if mask is None else mask[rows], ids[rows])
        return state

    def merge(self, left: QuantilesState, right: QuantilesState) -> QuantilesState:
        tables = dict(left.tables)
        for group, table in right.tables.items():
            tables[group] = _join(tables.get(group, _NOTHING), table)
        return QuantilesState(tables)

    def finish(self, state: QuantilesState) -> QuantilesResult:
        layout = self.layout
        groups = sorted(state.tables)
        shape = (len(groups), *layout.feature_sizes)
        own = dict(self.own_pivots)
        values, totals = [np.zeros(0)], [np.zeros(0, np.int64)]
        count = np.zeros((len(groups), layout.width), np.int64)
        for index, group in enumerate(groups):
            keys, counts = state.tables[group]
            cells, code = unpack(keys)
            np.add.at(count[index], cells, counts)
            pivot = np.asarray(own[group]) if group in own else self._common
            values.append(representatives(code) + pivot[cells])
            totals.append(counts)
        return QuantilesResult(
            groups=tuple(groups) if self.group else (),
            shape=shape,
            count=count.reshape(shape),
            stride=self.stride,
            pivot=tuple(float(value) for value in self.pivot),
            values=np.concatenate(values),
            counts=np.concatenate(totals),
            own_pivots=self.own_pivots,
        )

    @property
    def _common(self) -> Array:
        return np.broadcast_to(np.asarray(self.pivot or (0.0,), np.float64), (self.layout.width,)).copy()

    def _distances(self, values: Array, ids: Array) -> Array:
        """Values as distances from the pivot of their group, float64 or complex128."""
        known, index = np.unique(ids, return_inverse=True)
        own = dict(self.own_pivots)
        table = np.stack([np.asarray(own[each]) if each in own else self._common for each in known.tolist()])
        sizes = zip(self.field.dims[1:], self.field.shape, strict=True)
        kept = [size if name in self.field.features else 1 for name, size in sizes]
        stored = real_view(values)
        with np.errstate(over="ignore"):
            found: Array = stored - table.reshape(len(known), *kept, *stored.shape[len(kept) + 1 :])[index.reshape(-1)]
        np.copyto(found, np.copysign(_LARGEST, found), where=np.isinf(found) & np.isfinite(stored))
        if values.dtype.kind == "c":
            found = found.view(np.complex128)[..., 0]
        return found

    def _count(self, state: QuantilesState, values: Array, mask: Array | None, ids: Array) -> None:
        layout = self.layout
        lines = layout.values(values)
        counted = np.isfinite(lines)
        if mask is not None and self.mask is not None:
            counted &= layout.lines(layout.counted(mask, self.mask))
        distance = lines.astype(np.float64)
        if self.pivot and not self.own_pivots:
            with np.errstate(over="ignore", invalid="ignore"):
                distance -= np.asarray(self.pivot)
            np.clip(distance, -_LARGEST, _LARGEST, out=distance)
        known, index = np.unique(ids, return_inverse=True)
        cells = np.repeat(index, len(lines) // len(ids))[:, np.newaxis] * layout.width + np.arange(layout.width)
        if not counted.all():
            cells, distance = cells[counted], distance[counted]
        keys, counts = count_codes(cells.ravel(), codes(distance.ravel()))
        bounds = np.searchsorted(keys, pack(np.arange(len(known) + 1) * layout.width, np.asarray(-CODE_LIMIT)))
        for place, group in enumerate(known.tolist()):
            own = slice(bounds[place], bounds[place + 1])
            cell, code = unpack(keys[own])
            found = pack(cell - place * layout.width, code), counts[own]
            state.tables[group] = _join(state.tables.get(group, _NOTHING), found)


_NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def _join(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
    if not len(left[0]):
        return right
    return add_counts(np.concatenate([left[0], right[0]]), np.concatenate([left[1], right[1]]))
