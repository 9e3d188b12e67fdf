"""The digests of chunks: what is hashed of each, whoever reads or writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from typing_extensions import Buffer

from prep.blocks import Array
from prep.canonical import blake3_digest

DIGEST_BYTES = 32


class Digests(Sequence[bytes]):
    """Digests of 32 bytes, end to end in one piece of memory: a million are at hand as soon as their bytes are."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes) -> None:
        self.packed = packed

    @classmethod
    def of(cls, digests: Iterable[bytes]) -> Digests:
        """Digests one by one."""
        return cls(b"".join(digests))

    def __len__(self) -> int:
        return len(self.packed) // DIGEST_BYTES

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Digests: ...

    def __getitem__(self, index: int | slice) -> bytes | Digests:
        if isinstance(index, slice):
            return Digests.of([self[place] for place in range(len(self))[index]])
        place = range(len(self))[index] * DIGEST_BYTES
        return self.packed[place : place + DIGEST_BYTES]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digests) and self.packed == other.packed

    def __hash__(self) -> int:
        return hash(self.packed)

    def __repr__(self) -> str:
        return f"Digests({len(self)} of 32 bytes)"


@dataclass(frozen=True, slots=True)
class ChunkDigests:
    """Plain BLAKE3 of every chunk of one field, in chunk order: bytes as stored, and values as decoded (valid rows
    only, little-endian, C order).
    """

    stored: Digests
    logical: Digests

    @classmethod
    def joined(cls, parts: Iterable[ChunkDigests]) -> ChunkDigests:
        """The digests of parts that follow each other."""
        every = tuple(parts)
        return cls(
            Digests(b"".join(part.stored.packed for part in every)),
            Digests(b"".join(part.logical.packed for part in every)),
        )


def logical_digest(stored: Buffer, digest: bytes, rows: Array, *, plain: bool) -> bytes:
    """BLAKE3 of a chunk's decoded valid rows: ``digest``, that of its ``stored`` bytes, where the two are the same."""
    if plain and rows.nbytes == memoryview(stored).nbytes:
        return digest
    return blake3_digest(np.ascontiguousarray(rows).data.cast("B"))
