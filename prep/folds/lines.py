"""A block as the compiled loops see it: lines of features, and runs of lines that share a group and a mask."""

from __future__ import annotations

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.folds.layout import Layout
from prep.kernels.matrices import real_view
from prep.kernels.slots import Lines, Runs

_PIECE_VALUES = 1 << 17
_LEAST_RUN = 16


def whole_columns(field: FieldSpec, mask: FieldSpec | None) -> bool:
    """Whether the mask only ever leaves out whole features of a sample."""
    return mask is None or set(mask.dims[1:]) <= set(field.features)


def stretches(ids: Array, mask: Array | None, order: Array | None = None) -> Array:
    """Bounds of the stretches of rows (in ``order``) with equal id and equal mask line."""
    own = ids if order is None else ids[order]
    change = own[1:] != own[:-1]
    if mask is not None:
        lines = (mask if order is None else mask[order]).reshape(len(mask), -1) != 0
        change = change | (lines[1:] != lines[:-1]).any(axis=1)
    return np.concatenate([[0], np.flatnonzero(change) + 1, [len(own)]]) if len(own) else np.zeros(1, np.int64)


def lines_of(
    layout: Layout, stored: Array, ids: Array | None, mask: Array | None, mask_spec: FieldSpec | None
) -> tuple[Lines, Runs, Array]:
    """Rows of a field as `Lines`, their `Runs` and the group of each slot (0 where ``ids`` is None).

    A slot is a distinct pair of a group and, where the mask leaves out whole features, a mask line.
    """
    values, rows = real_view(stored), len(stored)
    per_row = layout.row_values // layout.width
    groups = np.zeros(rows, np.int64) if ids is None else ids
    columns = np.ones((1, layout.width), bool)
    bounds = _bounds(ids, None, rows)
    by_value = mask is not None
    if mask is not None and mask_spec is not None and whole_columns(layout.field, mask_spec):
        finer = _bounds(ids, mask, rows)
        # Masks that change all the time are looked at value by value: a slot for each would take more time.
        by_value = (len(finer) - len(bounds)) * _LEAST_RUN > rows * per_row
        if not by_value:
            bounds = finer
            columns = layout.lines(layout.counted(mask[bounds[:-1]], mask_spec))[::per_row]
    firsts = bounds[:-1]
    some, slots = _distinct(groups[firsts], columns)
    runs = Runs(bounds * per_row, slots, np.broadcast_to(columns, (len(firsts), layout.width))[some])

    def piece(start: int, stop: int) -> Array:
        return layout.lines(values[start // per_row : stop // per_row])

    def kept(start: int, stop: int) -> Array:
        assert mask is not None
        assert mask_spec is not None
        return layout.lines(layout.counted(mask[start // per_row : stop // per_row], mask_spec))

    step = max(_PIECE_VALUES // layout.row_values, 1) * per_row
    if not by_value and layout.trailing and values.dtype in (np.float32, np.float64):
        step = max(rows * per_row, 1)  # nothing is copied or made beside the values
    return Lines(rows * per_row, layout.width, step, piece, kept if by_value else None), runs, groups[firsts[some]]


def _bounds(ids: Array | None, mask: Array | None, rows: int) -> Array:
    if ids is None and mask is None:
        return np.asarray([0, rows] if rows else [0])
    return stretches(np.zeros(rows, np.int64) if ids is None else ids, mask)


def _distinct(ids: Array, columns: Array) -> tuple[Array, Array]:
    """Places of the distinct pairs of an id and a line of ``columns`` (one, or one for each id), and each id's pair."""
    _, codes = np.unique(ids, return_inverse=True)
    if len(columns) > 1:
        patterns, own = np.unique(np.packbits(columns, axis=1), axis=0, return_inverse=True)
        codes = codes * len(patterns) + own.reshape(-1)
    _, some, slots = np.unique(codes, return_index=True, return_inverse=True)
    return some, slots
