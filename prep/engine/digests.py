"""The digests of everything a dataset stores: one pass over fields, and its constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from prep.blocks import ChunkKey
from prep.engine.executor import Progress, Workers, ordered, silent
from prep.engine.run import run
from prep.engine.source import UNIT_BYTES, DatasetSource
from prep.errors import IntegrityError, PrepError
from prep.formats.digests import ChunkDigests, Digests, logical_digest
from prep.formats.layout import FieldLayout
from prep.formats.reader import ChunkReader


def all_digests(source: DatasetSource, workers: Workers = None, progress: Progress = silent) -> dict[str, ChunkDigests]:
    """Digests of every chunk of a dataset by field, constants included."""
    return {**run(source, digests=True, workers=workers, progress=progress).digests, **source.constants()[1]}


def swept(
    reader: ChunkReader, *, deep: bool = False, workers: Workers = None, progress: Progress = silent
) -> tuple[list[PrepError], dict[str, ChunkDigests]]:
    """Every chunk of a reader that knows digests, read once more: what changed, and the digests where nothing did.

    An `IntegrityError` says field, first chunk and samples of each run of chunks that changed. ``deep`` also decodes,
    and hashes the values; otherwise the logical digests are empty. `StorageError` where the store refuses.
    """
    parts = list(_parts(reader.layouts))
    total = sum(last - first for _, first, last in parts)
    changed: list[tuple[ChunkKey, IntegrityError]] = []
    found: dict[str, list[ChunkDigests]] = {name: [] for name in reader.layouts}
    done = 0
    progress(0, total)
    for (name, first, last), looked in zip(parts, ordered(_Look(reader, deep), parts, workers), strict=True):
        changed.extend(looked.changed)
        found[name].append(looked.digests)
        done += last - first
        progress(done, total)
    return list(_joined(changed, reader.layouts)), {name: ChunkDigests.joined(each) for name, each in found.items()}


@dataclass(frozen=True, slots=True)
class _Looked:
    changed: tuple[tuple[ChunkKey, IntegrityError], ...]
    digests: ChunkDigests


@dataclass(frozen=True, slots=True)
class _Look:
    reader: ChunkReader
    deep: bool

    def __call__(self, part: tuple[str, int, int]) -> _Looked:
        name, first, last = part
        layout = self.reader.layouts[name]
        buffer = np.empty(int(layout.sizes[first:last].max(initial=0)), np.uint8)
        changed: list[tuple[ChunkKey, IntegrityError]] = []
        stored_digests: list[bytes] = []
        logical_digests: list[bytes] = []
        for index in range(first, last):
            key = ChunkKey(name, index)
            try:
                stored = self.reader.fetch(key, buffer)
                if self.deep:
                    rows = self.reader.decode(key, stored.data)
                    plain = not layout.codecs
                    logical_digests.append(logical_digest(stored.data, stored.digest, rows, plain=plain))
            except IntegrityError as error:
                changed.append((key, error))
            else:
                stored_digests.append(stored.digest)
        return _Looked(tuple(changed), ChunkDigests(Digests.of(stored_digests), Digests.of(logical_digests)))


def _parts(layouts: Mapping[str, FieldLayout]) -> Iterator[tuple[str, int, int]]:
    """Field, first chunk and the one after the last of what is read in one go."""
    for name, layout in layouts.items():
        each = max(1, UNIT_BYTES // max(int(layout.sizes.max(initial=1)), 1))
        for first in range(0, layout.chunks, each):
            yield name, first, min(first + each, layout.chunks)


def _joined(
    changed: list[tuple[ChunkKey, IntegrityError]], layouts: Mapping[str, FieldLayout]
) -> Iterator[IntegrityError]:
    """One error for each run of neighbouring chunks with the same trouble."""
    runs = groupby(enumerate(changed), lambda each: (each[1][0].field, each[1][0].index - each[0], each[1][1].what))
    for (name, _, _), group in runs:
        members = [each for _, each in group]
        key, error = members[0]
        if len(members) > 1:
            stop = layouts[name].row_range(members[-1][0].index)[1]
            rows = (layouts[name].row_range(key.index)[0], stop - 1)
            error.where = replace(error.where, rows=rows)
            error.what = f"{error.what} ({len(members)} chunks from this one on)"
        yield error
