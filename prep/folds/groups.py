"""Groups (trajectory, session, system) that occur in more than one split, which they must never do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, Block
from prep.canonical import canonical_json
from prep.errors import SchemaError, Where
from prep.folds.duplicates import split_numbers

KEEP = 10
_COMPACT_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class GroupsResult:
    """``groups`` counts the distinct groups of each split, ``shared_count`` those that occur in two or more splits.

    ``shared`` are ten of them as (group id, sample in one split, sample in a later one), each the first sample of the
    group in that split: those whose later sample comes first, in that order.
    """

    groups: Mapping[str, int]
    shared_count: int
    shared: tuple[tuple[tuple[int, ...], int, int], ...]


@dataclass(frozen=True, slots=True)
class GroupsState:
    """Distinct lines (ids…, split, first row) int64: ``known`` are compact, ``recent`` not yet."""

    known: Array | None = None
    recent: tuple[Array, ...] = ()


@dataclass(frozen=True)
class GroupRanges:
    """Collects the distinct ids of each split; the integer fields ``names`` together identify a group.

    A field with further dims contributes each of its values. Memory: 8 bytes for each id, and 16, for every group of
    every split.
    """

    names: tuple[str, ...]
    splits: Mapping[str, tuple[int, int]]

    @property
    def key(self) -> str:
        splits = canonical_json({name: list(bounds) for name, bounds in self.splits.items()}).decode()
        return f"group_ranges/{','.join(self.names)}/{splits}"

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(self.names)

    def empty(self) -> GroupsState:
        return GroupsState()

    def absorb(self, state: GroupsState, block: Block) -> GroupsState:
        rows = np.arange(block.start, block.stop)
        columns = [_columns(block[name], name) for name in self.names]
        lines = np.concatenate([*columns, split_numbers(self.splits, rows)[:, np.newaxis], rows[:, np.newaxis]], axis=1)
        # Rows of one group mostly follow each other: without sorting, only its border lines remain.
        border = np.append(True, (lines[1:, :-1] != lines[:-1, :-1]).any(axis=1))[: len(lines)]
        return self.merge(state, GroupsState(recent=(_distinct(lines[border]),)))

    def merge(self, left: GroupsState, right: GroupsState) -> GroupsState:
        known, more = left.known, right.known
        recent = left.recent + (() if more is None else (more,)) + right.recent
        # Compacting only when as much has come in as is known keeps the whole linear (times a logarithm).
        if sum(map(len, recent)) > max(_COMPACT_ROWS, 0 if known is None else len(known)):
            return GroupsState(_distinct(np.concatenate(recent if known is None else (known, *recent))))
        return GroupsState(known, recent)

    def finish(self, state: GroupsState) -> GroupsResult:
        parts = ((state.known,) if state.known is not None else ()) + state.recent
        if not parts:
            return GroupsResult(dict.fromkeys(self.splits, 0), 0, ())
        lines = _distinct(np.concatenate(parts))
        groups = {name: int((lines[:, -2] == number).sum()) for number, name in enumerate(self.splits)}
        again = np.flatnonzero((lines[1:, :-2] == lines[:-1, :-2]).all(axis=1)) + 1
        twice = again[~np.isin(again - 1, again)]
        ordered = twice[np.argsort(lines[twice, -1], kind="stable")]
        shared = tuple(
            (tuple(lines[place, :-2].tolist()), int(lines[place - 1, -1]), int(lines[place, -1]))
            for place in ordered[:KEEP]
        )
        return GroupsResult(groups, len(twice), shared)


def _columns(values: Array, name: str) -> Array:
    if values.dtype.kind not in "biu":
        raise SchemaError(
            "a group is identified by integers",
            where=Where(field=name),
            measured=f"dtype {values.dtype}",
            allowed="bool or integer",
            remedy="name integer id fields as the group",
        )
    return values.reshape(len(values), -1).astype(np.int64)


def _distinct(lines: Array) -> Array:
    """Lines in ascending order, the first row of each (ids…, split)."""
    lines = lines[np.lexsort(lines.T[::-1])]
    keep = np.append(True, (lines[1:, :-1] != lines[:-1, :-1]).any(axis=1))[: len(lines)]
    distinct: Array = lines[keep]
    return distinct
