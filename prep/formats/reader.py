"""Chunks straight from their store: one read by offset into a private buffer, its digest, then a bounded decode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from prep.blocks import Array, ChunkKey
from prep.canonical import blake3_digest
from prep.errors import IntegrityError, PrepError, UsageError, Where
from prep.formats.codecs import decode
from prep.formats.commit import storage_errors
from prep.formats.digests import ChunkDigests
from prep.formats.files import Files, open_files
from prep.formats.layout import Bytes, FieldLayout, damaged, flat
from prep.kernels.scratch import Scratch


class Stored(NamedTuple):
    """The bytes of a chunk as they are stored, and their BLAKE3 digest; empty where nobody asked for it."""

    data: memoryview
    digest: bytes


class ChunkReader:
    """Reads the chunks that ``layouts`` (those of a `Container` or a manifest) describe; no h5py, no zarr.

    ``place`` is the dataset's path, URL or opened `Files`; it is opened once and stays the same one if the path is
    replaced. With ``digests`` every chunk is hashed in the buffer that is handed on, and what has another digest is an
    `IntegrityError` before anything decodes it. Threads may share a reader; pickled, it opens the same dataset again in
    the process where it arrives. A context manager. Raises `StorageError` where the store refuses.
    """

    def __init__(
        self,
        place: Path | str | Files,
        layouts: Mapping[str, FieldLayout],
        digests: Mapping[str, ChunkDigests] | None = None,
    ) -> None:
        self.layouts = layouts
        self._files = open_files(place)
        self._digests = digests

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkReader, (self._files, self.layouts, self._digests)

    def __enter__(self) -> ChunkReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the dataset; the arrays read so far stay valid."""
        self._files.close()

    def stored(self, key: ChunkKey, into: Bytes | None = None) -> memoryview:
        """The stored bytes of a chunk, in a buffer of their own or at the start of ``into`` (large enough).

        Raises `IntegrityError` where the file is shorter (or, in a Zarr, longer) than the layout says, or where the
        bytes do not have the digest that is known of them.
        """
        return self.fetch(key, into).data

    def fetch(self, key: ChunkKey, into: Bytes | None = None, *, hashed: bool = False) -> Stored:
        """As `stored`, with the digest of the bytes where it is known or they are to be ``hashed``."""
        layout = self._layout(key)
        size = int(layout.sizes[key.index])
        buffer = flat(np.empty(size, np.uint8) if into is None else into)[:size]
        if len(buffer) < size:
            raise UsageError(
                "the buffer is smaller than the chunk",
                where=Where(path=self._files.address, field=key.field, chunk=key.index),
                measured=f"{len(buffer)} bytes",
                allowed=f"at least {size} bytes",
                remedy="offer a buffer of the largest stored size of the layout",
            )
        name = layout.file_of(key.index)
        try:
            with storage_errors(self._files.address):
                whole = layout.file_bytes(key.index) if name else None
                done = self._files.read(name, buffer, int(layout.offsets[key.index]), whole)
        except PrepError as error:
            raise self._about(key, error) from error
        if done < size:
            raise self._odd(
                key,
                "a chunk is truncated or was changed after the dataset was opened",
                measured=f"{done} bytes",
                allowed=f"{size} bytes",
            )
        digest = blake3_digest(buffer) if hashed or self._digests is not None else b""
        if self._digests is not None:
            self._demand(key, digest, self._digests)
        return Stored(buffer, digest)

    def fill(self, key: ChunkKey, out: Array, scratch: Scratch | None = None, *, hashed: bool = False) -> Stored:
        """Read the valid rows of a chunk into ``out``; returns the stored bytes, as `fetch` does.

        ``out`` is C-contiguous, writable, of the field's dtype and of shape (valid rows, *shape). A chunk that is
        stored as exactly those bytes is read straight into ``out``, and the returned view is ``out``'s memory; nothing
        is allocated. Otherwise the stored bytes are in ``scratch`` until it is used again (in memory of their own
        without one). Raises what `stored` and `decode` raise; ``out`` then holds anything.
        """
        layout = self._layout(key)
        target, size = self._target(key, layout, out), int(layout.sizes[key.index])
        if not layout.codecs and size == len(target) == layout.chunk_bytes:
            stored = self.fetch(key, target, hashed=hashed)
            self._decoded(key, layout, stored.data)
            return stored
        stored = self.fetch(key, None if scratch is None else scratch.take(size), hashed=hashed)
        whole = len(target) == layout.chunk_bytes
        data = self._decoded(key, layout, stored.data, target if whole else None)
        if not whole:
            target[:] = data[: len(target)]
        return stored

    def expect(self, keys: Iterable[ChunkKey]) -> None:
        """Ask the system to read these chunks ahead; advice, so nothing is raised and some systems ignore it.

        About 2 microseconds for a chunk that is in memory; otherwise what the system takes to queue the reads (1 ms for
        40 MiB here), without the interpreter's lock.
        """
        with suppress(OSError, PrepError):
            self._files.expect(self._range(key) for key in keys)

    def decode(self, key: ChunkKey, stored: Bytes) -> Array:
        """The valid rows (rows, *shape) of a chunk from its stored bytes; read-only.

        Shares memory with ``stored`` where the chunk is not compressed. Raises `IntegrityError` where the bytes do not
        decode to exactly one chunk.
        """
        layout = self._layout(key)
        start, stop = layout.row_range(key.index)
        data = self._decoded(key, layout, stored)
        array: Array = np.frombuffer(data, layout.spec.dtype).reshape(layout.chunk_rows, *layout.spec.shape)[
            : stop - start
        ]
        array.flags.writeable = False
        return array

    def chunk(self, key: ChunkKey) -> Array:
        """`stored` and `decode` in one step."""
        return self.decode(key, self.stored(key))

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Rows ``start:stop`` of a field, read-only; a view of one chunk where they lie in one."""
        layout = self._layout(ChunkKey(name, 0), empty=True)
        if not 0 <= start <= stop <= layout.rows:
            raise UsageError(
                "there are no such rows",
                where=Where(path=self._files.address, field=name),
                measured=f"rows {start} to {stop}",
                allowed=f"0 to {layout.rows}",
                remedy="ask for rows that exist",
            )
        step = layout.chunk_rows
        if start < stop and start // step == (stop - 1) // step:
            first = start // step * step
            return self.chunk(ChunkKey(name, start // step))[start - first : stop - first]
        whole = joined_rows(layout, start, stop, lambda index: self.chunk(ChunkKey(name, index)))
        whole.flags.writeable = False
        return whole

    def _layout(self, key: ChunkKey, *, empty: bool = False) -> FieldLayout:
        layout = self.layouts.get(key.field)
        if layout is None or not (empty or 0 <= key.index < layout.chunks):
            raise UsageError(
                "the dataset has no such chunk",
                where=Where(path=self._files.address, field=key.field, chunk=key.index),
                allowed=", ".join(self.layouts) if layout is None else f"{layout.chunks} chunks",
                remedy="name a field and chunk of the container",
            )
        return layout

    def _decoded(self, key: ChunkKey, layout: FieldLayout, stored: Bytes, out: memoryview | None = None) -> memoryview:
        """All rows of a chunk, padding included, as `prep.formats.codecs.decode` gives them, and no odd truth value."""
        try:
            data = decode(layout.codecs, stored, layout.chunk_bytes, out)
        except ValueError as error:
            raise self._odd(key, f"a chunk does not decode: {error}") from error
        if layout.spec.dtype.kind == "b" and np.frombuffer(data, np.uint8).max() > 1:
            raise self._odd(key, "a chunk holds truth values other than 0 and 1")
        return data

    def _target(self, key: ChunkKey, layout: FieldLayout, out: Array) -> memoryview:
        start, stop = layout.row_range(key.index)
        shape, dtype = (stop - start, *layout.spec.shape), layout.spec.dtype
        if out.shape != shape or out.dtype != dtype or not (out.flags.c_contiguous and out.flags.writeable):
            raise UsageError(
                "the array is not one that takes the valid rows of this chunk",
                where=Where(path=self._files.address, field=key.field, chunk=key.index),
                measured=f"{out.dtype} {out.shape}",
                allowed=f"{dtype} {shape}, C-contiguous and writable",
                remedy="offer an array of the field's dtype with one row for each valid row of the chunk",
            )
        return flat(out)

    def _range(self, key: ChunkKey) -> tuple[str, int, int]:
        layout = self._layout(key)
        start = int(layout.offsets[key.index])
        return layout.file_of(key.index), start, start + int(layout.sizes[key.index])

    def _demand(self, key: ChunkKey, digest: bytes, digests: Mapping[str, ChunkDigests]) -> None:
        known = digests[key.field].stored if key.field in digests else ()
        allowed = known[key.index] if key.index < len(known) else b""
        if digest != allowed:
            raise self._odd(
                key,
                "stored bytes changed since this dataset was written",
                measured=f"blake3:{digest.hex()[:16]}…",
                allowed=f"blake3:{allowed.hex()[:16]}…" if allowed else "no such chunk",
                remedy="restore the file or run the stage that wrote it again",
            )

    def _odd(self, key: ChunkKey, what: str, **about: Any) -> IntegrityError:
        start, stop = self._layout(key).row_range(key.index)
        return damaged(
            self._files.address, what, field=key.field, chunk=key.index, rows=(start, max(stop - 1, start)), **about
        )

    def _about(self, key: ChunkKey, error: PrepError) -> PrepError:
        """An error of a whole file, as one of the chunk that is in it."""
        if isinstance(error, IntegrityError):
            return self._odd(key, error.what, measured=error.measured, allowed=error.allowed, remedy=error.remedy)
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return self._odd(key, "a chunk is missing")
        return error


def joined_rows(layout: FieldLayout, start: int, stop: int, chunk: Callable[[int], Array]) -> Array:
    """A copy of rows ``start:stop`` out of their chunks; ``chunk`` gives the valid rows of one by its index."""
    step = layout.chunk_rows
    whole = np.empty((stop - start, *layout.spec.shape), layout.spec.dtype)
    for index in range(start // step, -(-stop // step)) if stop > start else ():
        first, last = layout.row_range(index)
        low, high = max(first, start), min(last, stop)
        whole[low - start : high - start] = chunk(index)[low - first : high - first]
    return whole
