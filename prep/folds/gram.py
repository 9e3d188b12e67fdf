"""Normal equations of a linear probe: what least squares or ridge can predict, without the rows at hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prep.blocks import Array, Block, FieldSpec
from prep.errors import DataError, SchemaError, Where
from prep.folds import Scope
from prep.folds.layout import Layout, group_ids
from prep.kernels.cross import CrossSums
from prep.kernels.finite import all_finite
from prep.kernels.matrices import real_view

STATE_BYTES = 256 << 20
_PIECE_VALUES = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class GramResult:
    """Sums per group: ``parts[g]`` are pairs (targets, sums), one for each set of targets counted on the same rows.

    ``groups`` are ascending ids, () without groups (then G is 1). ``rows`` were used, ``nonfinite`` left out for a
    NaN or infinity in an input or a counted target. ``inputs`` and ``targets`` are P and T.
    """

    groups: tuple[int, ...]
    parts: tuple[tuple[tuple[Array, CrossSums], ...], ...]
    rows: int
    nonfinite: int
    inputs: int
    targets: int

    @property
    def counts(self) -> Array:
        """Rows that count for each target, int64 (G, T)."""
        return self._table(lambda place, sums: np.full(len(sums.y), sums.n), 0, np.int64)

    def coefficients(self, ridge: float = 0.0) -> tuple[Array, Array]:
        """Weights (G, P, T) and intercepts (G, T); NaN for targets that no row counts."""
        weights = np.full((len(self.parts), self.inputs, self.targets), np.nan)
        intercepts = np.full((len(self.parts), self.targets), np.nan)
        for group, parts in enumerate(self.parts):
            for chosen, sums in parts:
                weights[group][:, chosen], intercepts[group][chosen] = sums.solve(ridge)
        return weights, intercepts

    def r2(self, ridge: float = 0.0, fit: GramResult | None = None) -> Array:
        """1 - residual / spread about the mean, (G, T), of the probe fitted here, or in ``fit`` and scored here.

        NaN for targets that no row counts and for targets without spread.
        """
        solved = self._solved(ridge, fit)

        def score(place: tuple[int, Array], sums: CrossSums) -> Array:
            residual = sums.residual(*_pick(solved, place))
            spread = np.where(sums.yy > 0, sums.yy, np.nan)
            return np.asarray(1 - residual / spread)

        return self._table(score, np.nan, np.float64)

    def nmse(self, ridge: float = 0.0, fit: GramResult | None = None) -> float:
        """Squared errors over squared targets, both summed over all counted entries, so that predicting zero scores 1.

        With ``fit`` (say of the train split) the probe fitted there is scored on these rows. NaN where every target
        is 0.
        """
        with np.errstate(over="ignore"):  # squares of targets beyond 1e154 are infinite
            squares = self._table(lambda place, sums: sums.yy + sums.n * sums.y**2, 0.0, np.float64).sum()
        return self._errors(ridge, fit) / float(squares) if squares > 0 else np.nan

    def nmse_each(self, ridge: float = 0.0, fit: GramResult | None = None) -> Array:
        """`nmse` of each target of each group on its own, (G, T); NaN for targets that no row counts or that are 0."""
        solved = self._solved(ridge, fit)

        def score(place: tuple[int, Array], sums: CrossSums) -> Array:
            squares = sums.yy + sums.n * sums.y**2
            return np.asarray(sums.residual(*_pick(solved, place)) / np.where(squares > 0, squares, np.nan))

        return self._table(score, np.nan, np.float64)

    def mse(self, ridge: float = 0.0, fit: GramResult | None = None) -> float:
        """Mean squared error over all counted entries, otherwise as `nmse`; NaN where nothing is counted."""
        count = int(self.counts.sum())
        return self._errors(ridge, fit) / count if count else np.nan

    def _errors(self, ridge: float, fit: GramResult | None) -> float:
        solved = self._solved(ridge, fit)
        return float(self._table(lambda place, sums: sums.residual(*_pick(solved, place)), 0.0, np.float64).sum())

    def _solved(self, ridge: float, fit: GramResult | None) -> tuple[Array, Array]:
        source = self if fit is None else fit
        strange = sorted(set(self.groups) - set(source.groups))
        if strange or (source.inputs, source.targets) != (self.inputs, self.targets):
            raise DataError(
                "the probe was fitted on other groups or other fields than it is scored on",
                measured=f"groups {strange[:5]} without a fit, {self.inputs} inputs, {self.targets} targets",
                allowed=f"the {len(source.groups)} fitted groups, {source.inputs} inputs, {source.targets} targets",
                remedy="fit and score with the same fields, and have every group in the split that is fitted",
            )
        weights, intercepts = source.coefficients(ridge)
        if self.groups:
            places = [source.groups.index(group) for group in self.groups]
            weights, intercepts = weights[places], intercepts[places]
        return weights, intercepts

    def _table(self, value: Any, empty: float, dtype: type) -> Array:
        table: Array = np.full((len(self.parts), self.targets), empty, dtype)
        for group, parts in enumerate(self.parts):
            for chosen, sums in parts:
                table[group][chosen] = value((group, chosen), sums)
        return table


def _pick(solved: tuple[Array, Array], place: tuple[int, Array]) -> tuple[Array, Array]:
    group, chosen = place
    return solved[0][group][:, chosen], solved[1][group][chosen]


@dataclass(slots=True)
class GramState:
    """Sums by (group, packed bits of the counted targets)."""

    sums: dict[tuple[int, bytes], CrossSums]
    nonfinite: int = 0


@dataclass(frozen=True)
class Gram:
    """Second moments of ``input`` and ``target`` over ``scope``, per group, for a linear probe with intercept.

    Trailing dims are flattened (P inputs, T targets; complex as re, im). ``last`` names dims of which only the last
    index is used, such as the last step of a window. Inputs that ``input_mask`` leaves out count as 0; a target that
    ``target_mask`` leaves out of a row does not take part with that row. At most 256 MiB of sums are kept;
    `SchemaError` beyond. Sums come from BLAS, whose last bits may depend on its number of threads.
    """

    input: FieldSpec
    target: FieldSpec
    scope: Scope
    group: str = ""
    input_mask: FieldSpec | None = None
    target_mask: FieldSpec | None = None
    last: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        masks = ",".join(mask.name if mask else "" for mask in (self.input_mask, self.target_mask))
        return f"gram/{self.input.name}>{self.target.name}/{self.scope}/{self.group}/{masks}/{','.join(self.last)}"

    @property
    def fields(self) -> frozenset[str]:
        masks = {mask.name for mask in (self.input_mask, self.target_mask) if mask}
        return frozenset({self.input.name, self.target.name, self.group, *masks} - {""})

    @property
    def sizes(self) -> tuple[int, int]:
        """P and T."""
        return self._width(self.input), self._width(self.target)

    def empty(self) -> GramState:
        self._require_room(1)
        return GramState({})

    def absorb(self, state: GramState, block: Block) -> GramState:
        part = block.clip(self.scope.start, self.scope.stop)
        if part is None:
            return state
        step = max(_PIECE_VALUES // max(sum(self.sizes), 1), 64)
        for start in range(part.start, part.stop, step):
            piece = part.clip(start, start + step)
            if piece is not None:
                self._add(state, piece)
        return state

    def merge(self, left: GramState, right: GramState) -> GramState:
        sums = dict(left.sums)
        for key, seen in right.sums.items():
            sums[key] = sums[key].merge(seen) if key in sums else seen
        self._require_room(len(sums))
        return GramState(sums, left.nonfinite + right.nonfinite)

    def finish(self, state: GramState) -> GramResult:
        inputs, targets = self.sizes
        groups = sorted({group for group, _ in state.sums}) if self.group else [0]
        parts = tuple(_parts(group, state.sums, targets) for group in groups)
        rows = sum(sums.n for sums in state.sums.values())
        return GramResult(tuple(groups) if self.group else (), parts, rows, state.nonfinite, inputs, targets)

    def _add(self, state: GramState, piece: Block) -> None:
        x, y = self._read(piece, self.input, self.input_mask), self._read(piece, self.target, self.target_mask)
        good = np.ones(len(x), bool)
        if not (all_finite(x) and all_finite(y)):
            good = np.asarray(np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1))
        state.nonfinite += int(np.count_nonzero(~good))
        for key, rows in self._parts(piece):
            chosen = rows[good[rows]]
            if not len(chosen):
                continue
            whole = len(chosen) == len(x)
            seen = CrossSums.of(x, y) if whole else CrossSums.of(x[chosen], y[chosen])
            state.sums[key] = state.sums[key].merge(seen) if key in state.sums else seen
        self._require_room(len(state.sums))

    def _parts(self, piece: Block) -> Iterator[tuple[tuple[int, bytes], Array]]:
        """Rows of each group with the same counted targets, by group and packed bits of these."""
        every = np.packbits(np.ones(self.sizes[1], np.uint8)).tobytes()
        if not self.group and self.target_mask is None:
            yield (0, every), np.arange(piece.stop - piece.start)
            return
        groups = group_ids(piece, self.group)
        _, index = np.unique(groups, return_inverse=True)
        if self.target_mask is not None:
            counted = self._flat(
                self.target, Layout(self.target).counted(piece[self.target_mask.name], self.target_mask)
            )
            patterns = np.packbits(counted, axis=1)
            _, own = np.unique(patterns, axis=0, return_inverse=True)
            index = index * (int(own.max(initial=0)) + 1) + own.reshape(-1)
        order = np.argsort(index, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(index[order])) + 1):
            if len(rows):
                bits = every if self.target_mask is None else patterns[rows[0]].tobytes()
                yield (int(groups[rows[0]]), bits), rows

    def _read(self, piece: Block, spec: FieldSpec, mask: FieldSpec | None) -> Array:
        """(rows, values) float64, 0 where the mask leaves a value out."""
        values = self._flat(spec, real_view(piece[spec.name])).astype(np.float64)
        if mask is not None:
            values[~self._flat(spec, Layout(spec).counted(piece[mask.name], mask))] = 0.0
        return values

    def _flat(self, spec: FieldSpec, real: Array) -> Array:
        """(rows, values) of an array in the shape of `real_view`, only the last index of the dims in ``last``."""
        index = tuple(slice(-1, None) if name in self.last else slice(None) for name in spec.dims)
        taken = real[index]
        return taken.reshape(len(taken), self._width(spec))

    def _width(self, spec: FieldSpec) -> int:
        sizes = [1 if name in self.last else size for name, size in zip(spec.dims[1:], spec.shape, strict=True)]
        return math.prod(sizes) * (2 if spec.dtype.kind == "c" else 1)

    def _require_room(self, count: int) -> None:
        inputs, targets = self.sizes
        size = 8 * count * (inputs + 2) * (inputs + targets)
        if size > STATE_BYTES:
            raise SchemaError(
                "the linear probe is too large",
                where=Where(field=self.input.name),
                measured=f"{inputs} inputs, {targets} targets of {self.target.name}, "
                f"{count} groups and mask patterns: {size >> 20} MiB",
                allowed=f"{STATE_BYTES >> 20} MiB",
                remedy="probe fewer inputs or targets, or without groups",
            )


def _parts(
    group: int, sums: Mapping[tuple[int, bytes], CrossSums], targets: int
) -> tuple[tuple[Array, CrossSums], ...]:
    """Targets of one group that were counted on the same rows, each set with the sums over those rows."""
    patterns = sorted(bits for own, bits in sums if own == group)
    if not patterns:
        return ()
    counted = np.stack([np.unpackbits(np.frombuffer(bits, np.uint8), count=targets) for bits in patterns]) != 0
    columns, index = np.unique(counted, axis=1, return_inverse=True)
    result = []
    for place, column in enumerate(columns.T):
        if not column.any():
            continue
        chosen = np.flatnonzero(index.reshape(-1) == place)
        total: CrossSums | None = None
        for pattern in np.flatnonzero(column).tolist():
            seen = sums[group, patterns[pattern]].targets(chosen)
            total = seen if total is None else total.merge(seen)
        if total is not None:
            result.append((chosen, total))
    return tuple(result)
