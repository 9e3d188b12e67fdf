"""Rows of a file that is no dataset of ours, as the engine reads them: one pass, front to back, whoever folds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array, Block, DatasetSpec, row_ranges
from prep.engine.buffers import Buffers
from prep.formats.digests import ChunkDigests
from prep.importers.columns import Column, read_step

# A unit is still in the cache when the folds look at it.
UNIT_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Shipped:
    """What a worker elsewhere has to know of a `ForeignSource`: blocks reach it ready."""

    spec: DatasetSpec
    path: Path

    def block(
        self, segment: Block, names: frozenset[str], hashed: bool, buffers: Buffers
    ) -> tuple[Block, dict[str, ChunkDigests]]:
        """The block itself."""
        return segment, {}


@dataclass(frozen=True, slots=True)
class ForeignSource:
    """Columns of equal length as the fields of ``spec``, by name.

    Columns are read in turn where they were found, in the process that parses them; workers get blocks. With ``codes``
    (uint8, one a row: 0 train, 1 val, 2 test) rows are read once a split, so that each split's lie together. There are
    no digests.
    """

    spec: DatasetSpec
    path: Path
    columns: Mapping[str, Column]
    codes: Array | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Shipped, (self.spec, self.path)

    def constants(self) -> tuple[dict[str, Array], dict[str, ChunkDigests]]:
        """None: what has no rows is left out."""
        return {}, {}

    def segments(self, names: frozenset[str], least: int = 1) -> Iterator[Block]:
        """Blocks of the fields ``names``, about 8 MiB each, of whole chunks where the file has them."""
        wanted = [spec for spec in self.spec.fields if spec.name in names]
        if not wanted:
            return
        columns = [self.columns[spec.name] for spec in wanted]
        step = read_step(columns, sum(spec.row_bytes for spec in wanted), UNIT_BYTES)
        done = 0
        for code in (None,) if self.codes is None else range(3):
            with ExitStack() as stack:
                readers = [stack.enter_context(column.reader()) for column in columns]
                for start, stop in row_ranges(self.spec.rows, step):
                    keep = None
                    if self.codes is not None:
                        keep = np.flatnonzero(self.codes[start:stop] == code)
                        if len(keep) == 0:
                            continue
                    arrays = {}
                    for spec, read in zip(wanted, readers, strict=True):
                        rows = read(start, stop)
                        arrays[spec.name] = np.ascontiguousarray(rows if keep is None else rows[keep], spec.dtype)
                    count = stop - start if keep is None else len(keep)
                    yield Block(done, done + count, arrays)
                    done += count

    def block(
        self, segment: Block, names: frozenset[str], hashed: bool, buffers: Buffers
    ) -> tuple[Block, dict[str, ChunkDigests]]:
        """The block itself."""
        return segment, {}
