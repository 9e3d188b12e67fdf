"""A stored dataset as the engine reads it: segments of rows, every chunk hashed and, where a manifest says,
verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prep.blocks import Array, Block, ChunkKey, DatasetSpec, FieldSpec, row_ranges, segment_rows
from prep.engine.buffers import Buffers
from prep.errors import IntegrityError, Where
from prep.formats import open_container
from prep.formats.digests import ChunkDigests, Digests, digest_chunk
from prep.formats.layout import Container
from prep.formats.reader import ChunkReader

# Small enough that a unit is still in the cache when the folds look at it, large enough that they have work to do.
UNIT_BYTES = 16 << 20
# How many units further on the disk is asked to read.
_AHEAD = 4


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

    def segments(self, names: frozenset[str], least: int = 1) -> list[tuple[int, int]]:
        """Row ranges of the fields ``names`` that are read and measured as one unit; no chunk of theirs lies in two of
        them, nor do ``least`` rows (a power of two) of which somebody makes chunks.
        """
        rows = max(segment_rows(self.spec), least)
        least = max([self.container.layouts[name].chunk_rows for name in names if name in self.spec] + [least])
        row_bytes = sum(spec.row_bytes for spec in self.spec.fields if spec.name in names)
        while rows > 1 and rows // 2 >= least and rows // 2 * row_bytes >= UNIT_BYTES:
            rows //= 2
        return list(row_ranges(self.spec.rows, rows))

    def read(
        self, start: int, stop: int, names: frozenset[str], hashed: bool, buffers: Buffers | None = None
    ) -> tuple[Block, dict[str, ChunkDigests]]:
        """Rows ``start:stop`` of fields ``names`` and, if ``hashed`` or digests are expected, the digests of their
        chunks.

        The rows lie in ``buffers``, where given, until these are used again. The system is asked to read what comes
        next ahead.
        """
        room = buffers or Buffers()
        wanted = [spec for spec in self.spec.fields if spec.name in names]
        unit = stop - start
        self.reader.expect(
            ChunkKey(spec.name, index)
            for spec in wanted
            for index in self._chunks(spec.name, start + _AHEAD * unit, min(stop + _AHEAD * unit, self.spec.rows))
        )
        arrays: dict[str, Array] = {}
        digests: dict[str, ChunkDigests] = {}
        for spec in wanted:
            arrays[spec.name], digests[spec.name] = self._field(spec, start, stop, hashed, room)
        return Block(start, stop, arrays), digests

    def constants(self) -> tuple[dict[str, Array], dict[str, ChunkDigests]]:
        """The arrays that are stored once, with their digests."""
        arrays, digests = {}, {}
        for spec in self.spec.constants:
            rows = self.container.layouts[spec.name].rows
            arrays[spec.name], digests[spec.name] = self._field(spec, 0, rows, True, Buffers())
        return arrays, digests

    def _chunks(self, name: str, start: int, stop: int) -> range:
        rows = self.container.layouts[name].chunk_rows
        return range(start // rows, -(-stop // rows) if stop > start else start // rows)

    def _field(self, spec: FieldSpec, start: int, stop: int, hashed: bool, room: Buffers) -> tuple[Array, ChunkDigests]:
        layout = self.container.layouts[spec.name]
        hashed = hashed or self.expected is not None
        whole = room.rows(spec, stop - start)
        stored_digests: list[bytes] = []
        logical_digests: list[bytes] = []
        for index in self._chunks(spec.name, start, stop):
            key = ChunkKey(spec.name, index)
            first, last = layout.row_range(index)
            if start <= first and last <= stop:
                rows = whole[first - start : last - start]
                stored = self.reader.fill(key, rows, room.scratch)
            else:
                stored = self.reader.stored(key)
                rows = self.reader.decode(key, stored)
                low, high = max(first, start), min(last, stop)
                whole[low - start : high - start] = rows[low - first : high - first]
            if hashed:
                pair = digest_chunk(stored, rows, plain=not layout.codecs)
                self._verify(key, pair)
                stored_digests.append(pair[0])
                logical_digests.append(pair[1])
        return whole, ChunkDigests(Digests.of(stored_digests), Digests.of(logical_digests))

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
