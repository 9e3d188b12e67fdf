"""A block as the compiled loops see it: lines of features, and runs of lines that share a group and a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.folds.layout import Layout
from prep.kernels.matrices import real_view
from prep.kernels.slots import Lines, Runs

_PIECE_VALUES = 1 << 17
# Values of a slot and of a run from which on it pays to have one.
_SLOT_VALUES, _RUN_VALUES = 256, 512
_DENSE = 1 << 20
_SAMPLE = 1024


def whole_columns(field: FieldSpec, mask: FieldSpec | None) -> bool:
    """Whether the mask only ever leaves out whole features of a sample."""
    return mask is None or set(mask.dims[1:]) <= set(field.features)


@dataclass(frozen=True, slots=True)
class Sorted:
    """The lines of a block, their runs, the group of each slot (0 without groups), and the place of each row in the
    block, None where rows are taken as they lie.
    """

    lines: Lines
    runs: Runs
    groups: Array
    order: Array | None


def lines_of(
    layout: Layout, stored: Array, ids: Array | None, mask: Array | None, mask_spec: FieldSpec | None
) -> Sorted:
    """Rows of a field as `Lines` and `Runs`.

    A slot is a distinct pair of a group and, where the mask leaves out whole features, a mask line. Masks that change
    all the time are looked at value by value instead; rows whose slots change all the time are taken slot by slot.
    """
    values, rows = real_view(stored), len(stored)
    per_row = layout.row_values // layout.width
    if ids is None and (mask is None or not whole_columns(layout.field, mask_spec)):
        every_row = Runs(np.asarray([0, rows * per_row]), np.zeros(1, np.int64), np.ones((1, layout.width), bool))
        return _sorted(layout, values, mask, mask_spec, every_row, np.zeros(1, np.int64), None)
    groups = np.zeros(rows, np.int64) if ids is None else ids
    codes = np.zeros(rows, np.int64) if ids is None else _numbered(ids)
    by_value, columns = mask is not None, np.ones((1, layout.width), bool)
    if mask is not None and mask_spec is not None and whole_columns(layout.field, mask_spec):
        every = layout.lines(layout.counted(mask, mask_spec))[::per_row]
        first = _patterns(every[:_SAMPLE])
        by_value = int(first.max(initial=0)) * _SLOT_VALUES > len(first) * layout.row_values
        if not by_value:
            pairs = _numbered(codes * (rows + 1) + _patterns(every))
            by_value = int(pairs.max(initial=0)) * _SLOT_VALUES > rows * layout.row_values
        if not by_value:
            codes, columns = pairs, every
    starts = np.flatnonzero(np.diff(codes)) + 1
    order = None
    if len(starts) * _RUN_VALUES > rows * layout.row_values:
        order = np.argsort(codes.astype(np.uint16) if codes.max() < 1 << 16 else codes, kind="stable")
        codes = codes[order]
        starts = np.flatnonzero(np.diff(codes)) + 1
    bounds = np.concatenate([[0], starts, [rows]]) if rows else np.zeros(1, np.int64)
    some = np.empty(int(codes.max(initial=-1)) + 1, np.int64)
    some[codes[::-1]] = (np.arange(rows) if order is None else order)[::-1]
    runs = Runs(bounds * per_row, codes[bounds[:-1]], np.broadcast_to(columns, (rows, layout.width))[some])
    return _sorted(layout, values, mask if by_value else None, mask_spec, runs, groups[some], order)


def _sorted(
    layout: Layout,
    values: Array,
    mask: Array | None,
    mask_spec: FieldSpec | None,
    runs: Runs,
    groups: Array,
    order: Array | None,
) -> Sorted:
    """Rows in ``order``; a ``mask`` is looked at value by value."""
    rows, per_row = len(values), layout.row_values // layout.width

    def rows_of(array: Array, start: int, stop: int) -> Array:
        chosen = slice(start // per_row, stop // per_row)
        return array[chosen] if order is None else np.take(array, order[chosen], axis=0, mode="clip")

    def piece(start: int, stop: int) -> Array:
        return layout.lines(rows_of(values, start, stop))

    def kept(start: int, stop: int) -> Array:
        assert mask is not None
        assert mask_spec is not None
        part = rows_of(mask, start, stop)
        if part.itemsize == 1 and part.shape[1:] == layout.field.shape and layout.field.dtype.kind != "c":
            return layout.lines(part)
        return layout.lines(layout.counted(part, mask_spec))

    step = max(_PIECE_VALUES // layout.row_values, 1) * per_row
    if mask is None and order is None and layout.trailing and values.dtype in (np.float32, np.float64):
        step = max(rows * per_row, 1)  # nothing is copied or made beside the values
    lines = Lines(rows * per_row, layout.width, step, piece, None if mask is None else kept)
    return Sorted(lines, runs, groups, order)


def _patterns(counted: Array) -> Array:
    """A number for each line of a bool table (rows, width), the same for equal lines."""
    packed = np.packbits(counted, axis=1)
    if packed.shape[1] > 8:
        return np.asarray(np.unique(packed, axis=0, return_inverse=True)[1].reshape(-1))
    wide = np.zeros((len(packed), 8), np.uint8)
    wide[:, : packed.shape[1]] = packed
    return _numbered(wide.view(np.int64)[:, 0])


def _numbered(ids: Array) -> Array:
    """The place of each id among the distinct ones in ascending order; counted, not sorted, where they are dense."""
    low = int(ids.min(initial=0))
    span = int(ids.max(initial=0)) - low + 1
    if span > _DENSE:
        return np.asarray(np.unique(ids, return_inverse=True)[1].reshape(-1))
    present = np.zeros(span, bool)
    present[ids - low] = True
    return np.asarray((np.cumsum(present) - 1)[ids - low])
