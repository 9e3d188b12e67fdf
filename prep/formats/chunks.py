"""Rows in any portions, cut into whole chunks, encoded and hashed while they are in the cache: work for any thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.canonical import blake3_digest
from prep.errors import UsageError, Where
from prep.formats.codecs import encoder
from prep.formats.digests import logical_digest
from prep.formats.layout import ByteRange, Bytes, Codec, flat


@dataclass(frozen=True, slots=True)
class Variable:
    """How one variable is stored: chunks of ``chunk_rows`` rows, encoded by ``codecs``."""

    spec: FieldSpec
    chunk_rows: int
    codecs: tuple[Codec, ...]

    def encode(self, rows: Array, valid: int | None = None) -> Chunk:
        """One chunk of ``rows``, of which the first ``valid`` (all by default) are rows of the dataset."""
        data = encoder(self.codecs)(rows)
        stored = blake3_digest(flat(data))
        logical = logical_digest(flat(data), stored, rows[:valid], plain=not self.codecs)
        return Chunk(len(rows) if valid is None else valid, data, stored, logical)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One encoded chunk: its valid rows, its bytes, BLAKE3 of the bytes and of the valid rows; ``place`` is where an
    interrupted writer left these very bytes in what is now the temporary of this one.
    """

    rows: int
    data: Bytes
    stored: bytes
    logical: bytes
    place: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of a variable from row ``start``: those that complete a chunk begun before, whole chunks, and the rest."""

    start: int
    head: Array
    chunks: tuple[Chunk, ...]
    rest: Array


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts rows as a writer stores them. A plain value without open files, for any thread or process."""

    variables: Mapping[str, Variable]

    def __call__(self, name: str, start: int, array: Array) -> Portion:
        """``array`` (rows, *shape), the rows of variable ``name`` from row ``start`` on; whole chunks are not copied.

        Raises `UsageError` for another shape or dtype than the variable's.
        """
        variable = self.variables[name]
        array = checked(array, variable.spec)
        size = variable.chunk_rows
        first = min(-start % size, len(array))
        last = first + (len(array) - first) // size * size
        chunks = tuple(variable.encode(array[row : row + size]) for row in range(first, last, size))
        return Portion(start, array[:first], chunks, array[last:])


def checked(array: Array, spec: FieldSpec) -> Array:
    """``array`` in C order and the stored byte order; `UsageError` for another shape or dtype than the variable's."""
    array = np.asarray(array)
    little = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    if array.shape[1:] != spec.shape or array.ndim == 0 or little != spec.dtype:
        raise UsageError(
            "rows do not have the shape and dtype of their field",
            where=Where(field=spec.name),
            measured=f"{array.dtype} {array.shape}",
            allowed=f"{spec.dtype} (rows, {', '.join(map(str, spec.shape))})",
            remedy="convert the array, or change the field",
        )
    return np.ascontiguousarray(array, dtype=spec.dtype)
