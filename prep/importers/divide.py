"""How the rows of columns are divided: by a split column, by a group column, or one by one; reads only what decides."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import SPLITS, Array, row_ranges
from prep.errors import DataError, Where
from prep.importers import IngestOptions
from prep.importers.columns import Column
from prep.importers.splitting import (
    Codes,
    GivenSplit,
    GroupSplit,
    RowSplit,
    Splitter,
    Undivided,
    checked_fractions,
    divide_groups,
    every_split_used,
    given_codes,
    shares,
)


def divide(
    rows: int, options: IngestOptions, split: Column | None, group: Column | None, where: Where, *, step: int
) -> tuple[Splitter, dict[str, Any]]:
    """How ``rows`` rows are divided, with a note on it for provenance: by split column, else group, else row by row."""
    if options.whole:
        return Undivided((0, 0, rows)), {"by": "nothing"}
    fractions = checked_fractions(options.fractions, options.seed)
    drawn = {"fractions": list(fractions), "seed": options.seed}
    where = replace(where, key=split.path if split else group.path if group else "")
    if split:
        return _given(rows, split, group, step, where), {"by": "column", "column": split.path}
    if group is None:
        return RowSplit(shares(rows, fractions, "rows", where), options.seed), {"by": "row", **drawn}
    ids, sizes = _distinct(group, rows, step)
    assigned = divide_groups(len(ids), fractions, options.seed, "groups", where)
    counts = np.bincount(assigned, weights=sizes, minlength=3).astype(np.int64).tolist()
    numbers = np.bincount(assigned, minlength=3).tolist()
    how = {"by": "group", "column": group.path, "groups": dict(zip(SPLITS, numbers, strict=True)), **drawn}
    return GroupSplit(ids, assigned, (counts[0], counts[1], counts[2])), how


def _given(rows: int, split: Column, group: Column | None, step: int, where: Where) -> GivenSplit:
    if split.dtype.kind not in "iuSUTO" or split.shape[1:] not in ((), (1,)):
        raise DataError(
            "the split column does not hold one split for each row",
            where=where,
            measured=f"dtype {split.dtype}, shape {split.shape}",
            allowed="one integer 0, 1, 2 or one name train, val, test a row",
            remedy="correct the column, or leave it out and let the rows be divided anew",
        )
    counts = np.zeros(3, np.int64)
    homes: dict[int, tuple[int, int]] = {}
    with ExitStack() as stack:
        read = stack.enter_context(split.reader())
        ids = stack.enter_context(group.reader()) if group else None
        for start, stop in row_ranges(rows, step):
            codes = given_codes(read(start, stop), start, where)
            counts += np.bincount(codes, minlength=3)
            if ids is not None:
                _one_home_each(ids(start, stop).reshape(-1), codes, start, homes, where)
    return GivenSplit(every_split_used(counts.tolist(), "rows", where))


def _one_home_each(ids: Array, codes: Codes, start: int, homes: dict[int, tuple[int, int]], where: Where) -> None:
    for code, split in enumerate(SPLITS):
        rows = np.flatnonzero(codes == code)
        distinct, first = np.unique(ids[rows], return_index=True)
        for identity, row in zip(distinct.tolist(), rows[first].tolist(), strict=True):
            home, seen = homes.setdefault(identity, (code, start + row))
            if home != code:
                raise DataError(
                    "a group lies in two splits",
                    where=replace(where, samples=(seen, start + row)),
                    measured=f"group {identity} in {SPLITS[home]} and in {split}",
                    allowed="each group in one split",
                    remedy="correct the split column, or leave it out and let whole groups be divided anew",
                )


def _distinct(group: Column, rows: int, step: int) -> tuple[Array, Array]:
    """Distinct ids in ascending order, and how many rows each has."""
    seen: dict[int, int] = {}
    with group.reader() as read:
        for start, stop in row_ranges(rows, step):
            for identity, count in zip(*np.unique(read(start, stop), return_counts=True), strict=True):
                seen[int(identity)] = seen.get(int(identity), 0) + int(count)
    ids = sorted(seen)
    dtype = group.dtype.newbyteorder("=")
    return np.array(ids, dtype), np.array([seen[identity] for identity in ids], np.int64)
