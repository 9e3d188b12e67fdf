"""The digests of chunks: what is hashed of each, whoever reads or writes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import Buffer

from prep.blocks import Array
from prep.canonical import blake3_digest


@dataclass(frozen=True, slots=True)
class ChunkDigests:
    """Plain BLAKE3 of every chunk of one field, in chunk order: bytes as stored, and values as decoded (valid rows
    only, little-endian, C order). Each element is 32 bytes.
    """

    stored: tuple[bytes, ...]
    logical: tuple[bytes, ...]


def digest_chunk(stored: Buffer, rows: Array, *, plain: bool) -> tuple[bytes, bytes]:
    """BLAKE3 of a chunk's stored bytes and of its decoded valid rows; one hash where the two are the same bytes."""
    first = blake3_digest(stored)
    if plain and rows.nbytes == memoryview(stored).nbytes:
        return first, first
    return first, blake3_digest(np.ascontiguousarray(rows).data.cast("B"))
