"""A block as the compiled loops see it: lines of features, and runs of lines that share a group and a mask."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.folds.layout import Layout
from prep.kernels.matrices import real_view
from prep.kernels.scratch import Scratch
from prep.kernels.slots import Lines, Runs

_PIECE_VALUES = 1 << 17
# Values of a slot and of a run from which on it pays to have one.
_SLOT_VALUES, _RUN_VALUES = 256, 512
_DENSE = 1 << 20
_SAMPLE = 1024
# Bytes of rows that are sorted together: they stay in the cache while they are gathered.
_SORTED_BYTES = 1 << 19
_ROWS_OF_A_SLOT = 16


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
    loops: ModuleType,
    layout: Layout,
    stored: Array,
    ids: Array | None,
    mask: Array | None,
    mask_spec: FieldSpec | None,
) -> Sorted:
    """Rows of a field as `Lines` and `Runs`.

    A slot is a distinct pair of a group and, where the mask leaves out whole features of long rows, a mask line. Other
    masks, and those that change all the time, are looked at value by value; rows whose slots change all the time are
    gathered slot by slot.
    """
    values, rows = real_view(stored), len(stored)
    per_row = layout.row_values // layout.width
    by_line = whole_columns(layout.field, mask_spec) and layout.row_values >= _RUN_VALUES
    if ids is None and (mask is None or not by_line):
        every_row = Runs(np.asarray([0, rows * per_row]), np.zeros(1, np.int64), np.ones((1, layout.width), bool))
        return _sorted(loops, layout, values, mask, mask_spec, every_row, np.zeros(1, np.int64), None)
    groups = np.zeros(rows, np.int64) if ids is None else ids
    codes = np.zeros(rows, np.int64) if ids is None else _numbered(loops, ids)
    by_value, columns = mask is not None, np.ones((1, layout.width), bool)
    if mask is not None and mask_spec is not None and by_line:
        first = _patterns(loops, layout.lines(layout.counted(mask[:_SAMPLE], mask_spec))[::per_row])
        by_value = int(first.max(initial=0)) * _SLOT_VALUES > len(first) * layout.row_values
        if not by_value:
            every = layout.lines(layout.counted(mask, mask_spec))[::per_row]
            pairs = _numbered(loops, codes * (rows + 1) + _patterns(loops, every))
            by_value = int(pairs.max(initial=0)) * _SLOT_VALUES > rows * layout.row_values
        if not by_value:
            codes, columns = pairs, every
    order, changes = None, codes[1:] != codes[:-1]
    if np.count_nonzero(changes) * _RUN_VALUES > rows * layout.row_values:
        order, bounds, slots = _order(loops, codes, values.nbytes)
    else:
        bounds = np.concatenate([[0], np.flatnonzero(changes) + 1, [rows]]) if rows else np.zeros(1, np.int64)
        slots = codes[bounds[:-1]]
    some = np.empty(int(slots.max(initial=-1)) + 1, np.int64)
    some[slots[::-1]] = (bounds[:-1] if order is None else order[bounds[:-1]])[::-1]
    runs = Runs(bounds * per_row, slots, np.broadcast_to(columns, (rows, layout.width))[some])
    return _sorted(loops, layout, values, mask if by_value else None, mask_spec, runs, groups[some], order)


def _sorted(
    loops: ModuleType,
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

    def rows_of(array: Array, start: int, stop: int, room: Scratch) -> Array:
        chosen = slice(start // per_row, stop // per_row)
        return array[chosen] if order is None else _taken(loops, array, order[chosen], room)

    def piece(start: int, stop: int) -> Array:
        return layout.lines(rows_of(values, start, stop, rooms[0]))

    def kept(start: int, stop: int) -> Array:
        return counted(rows_of(mask, start, stop, rooms[1])) if mask is not None else np.zeros(0, bool)

    def counted(part: Array) -> Array:
        assert mask_spec is not None
        return layout.lines(part if direct else layout.counted(part, mask_spec))

    def some(places: Array) -> Array:
        own = places // per_row if order is None else order[places // per_row]
        pick = np.arange(len(places)) * per_row + places % per_row
        every = own * per_row + places % per_row
        lines = layout.lines(values)[every] if layout.trailing else layout.lines(values[own])[pick]
        found: Array = lines.astype(np.float64)
        if mask is not None:
            found[counted(mask[own])[pick] == 0] = np.nan
        return found

    rooms = Scratch(), Scratch()
    # A mask whose bytes lie as the values do.
    direct = mask is None or (
        mask.itemsize == 1
        and mask_spec is not None
        and mask_spec.dims == layout.field.dims
        and layout.field.dtype.kind != "c"
    )
    step = max(_PIECE_VALUES // layout.row_values, 1) * per_row
    if direct and order is None and layout.trailing and values.dtype in (np.float32, np.float64):
        step = max(rows * per_row, 1)  # nothing is copied or made beside the values
    lines = Lines(rows * per_row, layout.width, step, piece, some, None if mask is None else kept)
    return Sorted(lines, runs, groups, order)


def _order(loops: ModuleType, codes: Array, size: int) -> tuple[Array, Array, Array]:
    """An order of rows, ``size`` bytes together, in which equal codes lie together within stretches that fit the
    cache, or that have some rows of each code; bounds and codes of the runs.
    """
    most = int(codes.max(initial=0)) + 1
    stretch = max(_SORTED_BYTES * len(codes) // max(size, 1), most * _ROWS_OF_A_SLOT)
    room = -(-len(codes) // stretch) * most
    order, bounds, slots = np.empty(len(codes), np.int64), np.empty(room + 1, np.int64), np.empty(room, np.int64)
    runs = loops.sort_stretches(codes, stretch, order, bounds, slots)
    return order, bounds[: runs + 1], slots[:runs]


def _taken(loops: ModuleType, array: Array, order: Array, room: Scratch) -> Array:
    """``array[order]``, whatever the dtype, in ``room``."""
    table = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
    word = next(size for size in (8, 4, 1) if table.shape[1] % size == 0)
    table = table.view(f"u{word}")
    memory = room.take(len(order) * table.shape[1] * word)
    out = np.frombuffer(memory, table.dtype).reshape(len(order), -1)
    loops.take_rows(table.reshape(-1), order, out)
    return out.view(np.uint8).view(array.dtype).reshape(len(order), *array.shape[1:])


def _patterns(loops: ModuleType, counted: Array) -> Array:
    """A number for each line of a bool table (rows, width), the same for equal lines."""
    packed = np.packbits(counted, axis=1)
    if packed.shape[1] > 8:
        return np.asarray(np.unique(packed, axis=0, return_inverse=True)[1].reshape(-1))
    wide = np.zeros((len(packed), 8), np.uint8)
    wide[:, : packed.shape[1]] = packed
    return _numbered(loops, wide.view(np.int64)[:, 0])


def _numbered(loops: ModuleType, ids: Array) -> Array:
    """The place of each id among the distinct ones in ascending order; counted, not sorted, where they are dense."""
    low = int(ids.min(initial=0))
    span = int(ids.max(initial=0)) - low + 1
    if span > _DENSE:
        return np.asarray(np.unique(ids, return_inverse=True)[1].reshape(-1))
    codes = np.empty(len(ids), np.int64)
    loops.number(ids, low, np.zeros(span, np.int64), codes)
    return codes
