"""A stored dataset as the engine reads it: segments of rows, every chunk hashed and, where a manifest says,
verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array, Block, ChunkKey, DatasetSpec, row_ranges, segment_rows
from prep.canonical import blake3_digest
from prep.errors import IntegrityError, Where
from prep.formats import open_container
from prep.formats.layout import Container
from prep.formats.reader import ChunkReader


@dataclass(frozen=True, slots=True)
class ChunkDigests:
    """Plain BLAKE3 of every chunk of one field, in chunk order: bytes as stored, and values as decoded (valid rows
    only, little-endian, C order). Each element is 32 bytes.
    """

    stored: tuple[bytes, ...]
    logical: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A container opened for reading. ``expected`` holds digests that every chunk read must match."""

    container: Container
    reader: ChunkReader
    expected: Mapping[str, ChunkDigests] | None = None

    @classmethod
    def open(cls, path: str | Path, expected: Mapping[str, ChunkDigests] | None = None) -> DatasetSource:
        """Open the dataset at ``path``; close it with `close`."""
        container = open_container(Path(path))
        return cls(container, ChunkReader(container.path, container.layouts), expected)

    @property
    def spec(self) -> DatasetSpec:
        """What the dataset holds."""
        return self.container.spec

    def close(self) -> None:
        """Release the descriptors."""
        self.reader.close()

    def __enter__(self) -> DatasetSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def segments(self) -> list[tuple[int, int]]:
        """Row ranges that are read and measured as one unit."""
        return list(row_ranges(self.spec.rows, segment_rows(self.spec)))

    def read(self, start: int, stop: int, names: frozenset[str], hashed: bool) -> tuple[Block, dict[str, ChunkDigests]]:
        """Rows ``start:stop`` of fields ``names`` and, if ``hashed`` or digests are expected, the digests of their
        chunks.
        """
        arrays: dict[str, Array] = {}
        digests: dict[str, ChunkDigests] = {}
        for spec in self.spec.fields:
            if spec.name in names:
                arrays[spec.name], digests[spec.name] = self._field(spec.name, start, stop, hashed)
        return Block(start, stop, arrays), digests

    def constants(self) -> tuple[dict[str, Array], dict[str, ChunkDigests]]:
        """The arrays that are stored once, with their digests."""
        arrays, digests = {}, {}
        for spec in self.spec.constants:
            arrays[spec.name], digests[spec.name] = self._field(
                spec.name, 0, self.container.layouts[spec.name].rows, hashed=True
            )
        return arrays, digests

    def _field(self, name: str, start: int, stop: int, hashed: bool) -> tuple[Array, ChunkDigests]:
        layout = self.container.layouts[name]
        hashed = hashed or self.expected is not None
        pieces: list[Array] = []
        stored_digests: list[bytes] = []
        logical_digests: list[bytes] = []
        for index in range(start // layout.chunk_rows, -(-stop // layout.chunk_rows)):
            key = ChunkKey(name, index)
            stored = self.reader.stored(key)
            rows = self.reader.decode(key, stored)
            if hashed:
                pair = digest_chunk(stored, rows, plain=not layout.codecs)
                self._verify(key, pair)
                stored_digests.append(pair[0])
                logical_digests.append(pair[1])
            first = index * layout.chunk_rows
            pieces.append(rows[max(start - first, 0) : stop - first])
        array = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return array, ChunkDigests(tuple(stored_digests), tuple(logical_digests))

    def _verify(self, key: ChunkKey, pair: tuple[bytes, bytes]) -> None:
        if self.expected is None:
            return
        known = self.expected[key.field]
        if key.index >= len(known.stored) or known.stored[key.index] != pair[0]:
            rows = self.container.layouts[key.field].chunk_rows
            raise IntegrityError(
                "stored bytes changed since this dataset was written",
                where=Where(
                    path=str(self.container.path), field=key.field, chunk=key.index, samples=(key.index * rows,)
                ),
                measured=f"blake3:{pair[0].hex()[:16]}…",
                allowed=f"blake3:{known.stored[key.index].hex()[:16]}…"
                if key.index < len(known.stored)
                else "no chunk",
                remedy="restore the file or run the stage that wrote it again",
            )


def digest_chunk(stored: Any, rows: Array, *, plain: bool) -> tuple[bytes, bytes]:
    """BLAKE3 of a chunk's stored bytes and of its decoded valid rows; one hash where the two are the same bytes."""
    first = blake3_digest(stored)
    if plain and rows.nbytes == memoryview(stored).nbytes:
        return first, first
    return first, blake3_digest(np.ascontiguousarray(rows).data.cast("B"))
