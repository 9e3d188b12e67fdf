"""A stored dataset as the engine reads it: segments of rows, every chunk hashed and, where a manifest says,
verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prep.blocks import Array, Block, ChunkKey, DatasetSpec, FieldSpec, row_ranges, segment_rows
from prep.engine.buffers import Buffers
from prep.formats import open_container
from prep.formats.digests import ChunkDigests, Digests, logical_digest
from prep.formats.layout import Container
from prep.formats.reader import ChunkReader

# Small enough that a unit is still in the cache when the folds look at it, large enough that they have work to do.
UNIT_BYTES = 16 << 20
# How many units further on the disk is asked to read.
_AHEAD = 4


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """A container opened for reading."""

    container: Container
    reader: ChunkReader
    verified: bool = False

    @classmethod
    def open(cls, path: str | Path, expected: Mapping[str, ChunkDigests] | None = None) -> DatasetSource:
        """Open the dataset at ``path``; close it with `close`. Every chunk read must match ``expected``, if given."""
        container = open_container(Path(path))
        return cls(container, ChunkReader(container.path, container.layouts, expected), expected is not None)

    @property
    def spec(self) -> DatasetSpec:
        """What the dataset holds."""
        return self.container.spec

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.container.path

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

    def block(
        self, segment: tuple[int, int], names: frozenset[str], hashed: bool, buffers: Buffers
    ) -> tuple[Block, dict[str, ChunkDigests]]:
        """`read` of one of `segments`."""
        return self.read(*segment, names, hashed, buffers)

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
        hashed = hashed or self.verified
        whole = room.rows(spec, stop - start)
        stored_digests: list[bytes] = []
        logical_digests: list[bytes] = []
        for index in self._chunks(spec.name, start, stop):
            key = ChunkKey(spec.name, index)
            first, last = layout.row_range(index)
            if start <= first and last <= stop:
                rows = whole[first - start : last - start]
                stored = self.reader.fill(key, rows, room.scratch, hashed=hashed)
            else:
                stored = self.reader.fetch(key, hashed=hashed)
                rows = self.reader.decode(key, stored.data)
                low, high = max(first, start), min(last, stop)
                whole[low - start : high - start] = rows[low - first : high - first]
            if hashed:
                stored_digests.append(stored.digest)
                logical_digests.append(logical_digest(stored.data, stored.digest, rows, plain=not layout.codecs))
        return whole, ChunkDigests(Digests.of(stored_digests), Digests.of(logical_digests))
