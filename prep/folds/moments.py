"""Moments to the fourth order of one field per feature and group, mask-aware: what normalisation rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from prep.blocks import Array, Block, FieldSpec
from prep.folds import Scope
from prep.folds.jsonable import decode, encode
from prep.folds.layout import Layout, group_ids
from prep.folds.lines import lines_of, whole_columns
from prep.kernels.compiled import lanes_for
from prep.kernels.matrices import real_view
from prep.kernels.moments import PIECE_VALUES, PowerSums, dense_sums, masked_sums, merge
from prep.kernels.slots import slot_sums

KEEP = 10
_RUN_VALUES = 8192


@dataclass(frozen=True, slots=True, eq=False)
class MomentsResult:
    """Moments of the values that the mask counts, arrays of shape (G, *feature sizes), G = 1 without groups.

    ``groups`` are the group ids in ascending order, () without groups. ``count`` = ``finite`` + ``nan`` + ``inf``
    (int64). The rest is float64 over the finite values only: population ``std`` (ddof 0), ``skewness`` m3/m2^1.5,
    excess ``kurtosis`` m4/m2² − 3; NaN where there is no finite value, and for the last two where all values are
    equal. ``constant`` is True where values exist and all finite ones are equal. ``nonfinite_samples`` are the first
    ten of the ``nonfinite_rows`` samples with a counted NaN or infinity; `to_dict` does not keep how many there are.
    """

    groups: tuple[int, ...]
    count: Array
    finite: Array
    nan: Array
    inf: Array
    mean: Array
    std: Array
    min: Array
    max: Array
    skewness: Array
    kurtosis: Array
    constant: Array
    nonfinite_samples: tuple[int, ...] = ()
    nonfinite_rows: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, exact both ways with `from_dict`; NaN becomes None, infinity ``"inf"`` or ``"-inf"``."""
        arrays = {name: encode(getattr(self, name)) for name in _ARRAYS}
        head = {"groups": list(self.groups), "shape": list(self.count.shape)}
        return {**head, **arrays, "nonfinite_samples": list(self.nonfinite_samples)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> MomentsResult:
        """The result that `to_dict` wrote."""
        shape = tuple(value["shape"])
        arrays = {name: decode(value[name], shape, _DTYPES.get(name, np.float64)) for name in _ARRAYS}
        first = tuple(value["nonfinite_samples"])
        return cls(tuple(value["groups"]), **arrays, nonfinite_samples=first, nonfinite_rows=len(first))


_ARRAYS = tuple(
    item.name for item in fields(MomentsResult) if item.name not in ("groups", "nonfinite_samples", "nonfinite_rows")
)
_DTYPES: dict[str, type] = dict.fromkeys(("count", "finite", "nan", "inf"), np.int64) | {"constant": np.bool_}


@dataclass(slots=True)
class MomentsState:
    """Sums of shape (G, features) for the ascending group ids seen so far; the first of ``bad`` non-finite samples."""

    ids: Array
    sums: PowerSums
    nonfinite: tuple[int, ...] = field(default=())
    bad: int = 0


@dataclass(frozen=True)
class Moments:
    """Moments of ``field`` over ``scope`` for each feature: ``field.features``, and re/im of a complex field.

    ``mask`` is the spec of the field that says which entries count (`prep.blocks.expand_mask`); ``group`` names an
    integer id field of shape (rows,). Masked-out entries are never counted, whatever they hold. NaN and infinity are
    counted and located, never averaged. 64-bit integers beyond 2⁵³ lose their last bits on the way to float64.
    Distances from the mean beyond 1e75 overflow the kurtosis, beyond 1e150 the standard deviation: infinite or NaN.
    """

    first: ClassVar[bool] = True

    field: FieldSpec
    scope: Scope
    mask: FieldSpec | None = None
    group: str = ""

    @property
    def key(self) -> str:
        mask = self.mask.name if self.mask else ""
        return f"moments/{self.field.name}({','.join(self.field.features)})/{self.scope}/{mask}/{self.group}"

    @property
    def fields(self) -> frozenset[str]:
        names = {self.field.name, self.group} | ({self.mask.name} if self.mask else set())
        return frozenset(names - {""})

    @property
    def layout(self) -> Layout:
        """How the field's values lie by feature."""
        return Layout(self.field)

    def empty(self) -> MomentsState:
        ids = np.zeros(0 if self.group else 1, np.int64)
        return MomentsState(ids, PowerSums.zeros((len(ids), self.layout.width)))

    def absorb(self, state: MomentsState, block: Block) -> MomentsState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        loops = lanes_for(part[self.field.name].nbytes)
        pieces = self._pieces(part, state) if loops is None else self._compiled(loops, part, state)
        for ids, sums in pieces:
            _include(state, ids, sums)
        return state

    def merge(self, left: MomentsState, right: MomentsState) -> MomentsState:
        first = (left.nonfinite + right.nonfinite)[:KEEP]
        merged = MomentsState(left.ids, left.sums, first, left.bad + right.bad)
        _include(merged, right.ids, right.sums)
        return merged

    def finish(self, state: MomentsState) -> MomentsResult:
        sums, shape = state.sums, (len(state.ids), *self.layout.feature_sizes)
        n = sums.finite.astype(np.float64)
        some = n > 0
        with np.errstate(all="ignore"):
            variance = np.where(some, sums.m2 / n, np.nan)
            arrays = {
                "count": sums.finite + sums.nan + sums.inf,
                "finite": sums.finite,
                "nan": sums.nan,
                "inf": sums.inf,
                "mean": sums.mean(),
                "std": np.sqrt(variance),
                "min": np.where(some, sums.low, np.nan),
                "max": np.where(some, sums.high, np.nan),
                "skewness": sums.m3 / n / variance**1.5,
                "kurtosis": sums.m4 / n / variance**2 - 3,
                "constant": some & (sums.low == sums.high),
            }
        for array in arrays.values():
            if array.dtype.kind == "f":
                # One NaN, not the two signs that 0/0 has on different machines.
                array[np.isnan(array)] = np.nan
        shaped = {name: array.reshape(shape) for name, array in arrays.items()}
        groups = tuple(int(value) for value in state.ids) if self.group else ()
        return MomentsResult(groups, **shaped, nonfinite_samples=state.nonfinite, nonfinite_rows=state.bad)

    def _compiled(self, loops: ModuleType, part: Block, state: MomentsState) -> Iterator[tuple[Array, PowerSums]]:
        """Sums by group, of the compiled loops."""
        found = lines_of(
            loops,
            self.layout,
            part[self.field.name],
            group_ids(part, self.group) if self.group else None,
            part[self.mask.name] if self.mask else None,
            self.mask,
        )
        sums, bad = slot_sums(loops, found.lines, found.runs)
        if self.mask is None and not len(bad) and self.field.dtype.kind in "fc":
            part.shared[self.field.name] = float(sums.low.min()), float(sums.high.max())
        bad = bad * (part.stop - part.start) // max(found.lines.count, 1)
        places = np.unique(bad if found.order is None else found.order[bad])
        state.nonfinite = (*state.nonfinite, *(places[:KEEP] + part.start).tolist())[:KEEP]
        state.bad += len(places)
        # Slots of one group are pairs of it and a mask line: one of each group a turn.
        rank = np.zeros(len(found.groups), np.int64)
        order = np.argsort(found.groups, kind="stable")
        _, starts = np.unique(found.groups[order], return_index=True)
        rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
        for turn in range(int(rank.max(initial=-1)) + 1):
            own = order[rank[order] == turn]
            yield found.groups[own], sums.take(own)

    def _pieces(self, part: Block, state: MomentsState) -> Iterator[tuple[Array, PowerSums]]:
        """Sums by group: by column over long stretches of rows that share group and mask, else value by value."""
        values = part[self.field.name]
        mask = part[self.mask.name] if self.mask else None
        ids = group_ids(part, self.group)
        order = _grouping(ids)
        step = max(PIECE_VALUES // self.layout.row_values, 1)
        bounds = _stretches(ids, mask, order) if whole_columns(self.field, self.mask) else np.zeros(0, np.int64)
        dense = len(values) * self.layout.row_values >= _RUN_VALUES * (len(bounds) - 1) > 0
        if not dense:
            bounds = np.asarray([0, len(values)])
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            pieces = [_rows(order, low, min(low + step, stop)) for low in range(start, stop, step)]
            if dense and order is None and self.layout.trailing:
                pieces = [slice(start, stop)]
            sums = self._dense(values, mask, pieces) if dense else None
            if sums is not None:
                yield ids[pieces[0]][:1], sums
                continue
            for low in range(start, stop, step):
                yield self._mixed(part, mask, ids, _rows(order, low, min(low + step, stop)), state)

    def _dense(self, values: Array, mask: Array | None, pieces: list[Any]) -> PowerSums | None:
        """Sums over rows of one group and one mask line; None where a counted value is not finite."""
        keep = None
        if mask is not None and self.mask is not None:
            keep = self.layout.lines(self.layout.counted(mask[pieces[0]][:1], self.mask))[0]
            keep = None if keep.all() else keep
        total: PowerSums | None = None
        for rows in pieces:
            sums = dense_sums(self.layout.values(values[rows]), keep)
            if sums is None:
                return None
            total = sums if total is None else merge(total, sums)
        return total

    def _mixed(
        self, part: Block, mask: Array | None, ids: Array, rows: Any, state: MomentsState
    ) -> tuple[Array, PowerSums]:
        """Sums over rows in which equal ids lie together, whatever the mask and the values are."""
        table = real_view(part[self.field.name][rows])
        counted = np.broadcast_to(np.True_, table.shape)
        if mask is not None and self.mask is not None:
            counted = self.layout.counted(mask[rows], self.mask)
        bad = np.flatnonzero((counted & ~np.isfinite(table)).reshape(len(table), -1).any(axis=1))
        if len(bad):
            places = np.arange(part.start, part.stop)[rows][bad]
            state.nonfinite = tuple(sorted({*state.nonfinite, *places.tolist()})[:KEEP])
            state.bad += len(places)
        own = ids[rows]
        starts = np.flatnonzero(np.diff(own, prepend=own[0] - 1))
        lines = self.layout.lines(table)
        return own[starts], masked_sums(lines, self.layout.lines(counted), starts * (len(lines) // len(table)))


def _grouping(ids: Array) -> Array | None:
    """The stable order that puts equal ids together, None where they already lie together."""
    starts = np.flatnonzero(np.diff(ids)) + 1
    firsts = ids[np.append(0, starts)] if len(ids) else ids
    return None if len(np.unique(firsts)) == len(firsts) else np.argsort(ids, kind="stable")


def _stretches(ids: Array, mask: Array | None, order: Array | None) -> Array:
    """Bounds of the stretches of rows (in ``order``) with equal id and equal mask line."""
    own = ids if order is None else ids[order]
    change = own[1:] != own[:-1]
    if mask is not None:
        lines = (mask if order is None else mask[order]).reshape(len(mask), -1) != 0
        change = change | (lines[1:] != lines[:-1]).any(axis=1)
    return np.concatenate([[0], np.flatnonzero(change) + 1, [len(own)]])


def _rows(order: Array | None, start: int, stop: int) -> Any:
    return slice(start, stop) if order is None else order[start:stop]


def _include(state: MomentsState, ids: Array, sums: PowerSums) -> None:
    """Merge ``sums`` of the distinct ``ids`` into the state, whose arrays stay as they were."""
    if np.array_equal(ids, state.ids):
        state.sums = merge(state.sums, sums)
        return
    known = np.union1d(state.ids, ids)
    grown = PowerSums.zeros((len(known), sums.m2.shape[1]))
    grown.put(np.searchsorted(known, state.ids), state.sums)
    index = np.searchsorted(known, ids)
    grown.put(index, merge(grown.take(index), sums))
    state.ids, state.sums = known, grown
