"""Chunks straight from the disk: one read by offset into a private buffer, then a bounded decode; no h5py, no zarr."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array, ChunkKey
from prep.errors import IntegrityError, UsageError, Where
from prep.formats.codecs import decode
from prep.formats.commit import storage_errors
from prep.formats.files import OpenFile, OpenFiles, changed, in_memory, read_at
from prep.formats.layout import Bytes, FieldLayout, damaged, flat
from prep.kernels.scratch import Scratch


class ChunkReader:
    """Reads the chunks that ``layouts`` (those of a `Container`) describe, from the dataset at ``path``.

    The dataset is opened once, when the reader is made, and stays the same one if the path is replaced. Threads may
    share a reader; pickled, it opens the same dataset again in the process where it arrives. A context manager. Raises
    `StorageError` where the file system refuses.
    """

    def __init__(self, path: Path | str, layouts: Mapping[str, FieldLayout]) -> None:
        self.path = Path(path)
        self.layouts = layouts
        self._files = OpenFiles(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path.absolute(), self.layouts, self._files.identity)

    def __enter__(self) -> ChunkReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the dataset; the arrays read so far stay valid."""
        self._files.close()

    def stored(self, key: ChunkKey, into: Bytes | None = None) -> memoryview:
        """The stored bytes of a chunk, in a buffer of their own or at the start of ``into`` (large enough).

        Raises `IntegrityError` where the file is shorter (or, in a Zarr, longer) than the layout says.
        """
        layout = self._layout(key)
        size = int(layout.sizes[key.index])
        buffer = flat(np.empty(size, np.uint8) if into is None else into)[:size]
        if len(buffer) < size:
            raise UsageError(
                "the buffer is smaller than the chunk",
                where=Where(path=str(self.path), field=key.field, chunk=key.index),
                measured=f"{len(buffer)} bytes",
                allowed=f"at least {size} bytes",
                remedy="offer a buffer of the largest stored size of the layout",
            )
        with storage_errors(self.path):
            file = self._files.holding(layout, key)
            done = read_at(file.descriptor, buffer, int(layout.offsets[key.index]))
            if done < size:
                raise changed(self.path, key, done, size)
        return buffer

    def fill(self, key: ChunkKey, out: Array, scratch: Scratch | None = None) -> memoryview:
        """Read the valid rows of a chunk into ``out``; returns the stored bytes.

        ``out`` is C-contiguous, writable, of the field's dtype and of shape (valid rows, *shape). A chunk that is
        stored as exactly those bytes is read straight into ``out``, and the returned view is ``out``'s memory; nothing
        is allocated. Otherwise the stored bytes are in ``scratch`` until it is used again (in memory of their own
        without one). Raises what `stored` and `decode` raise; ``out`` then holds anything.
        """
        layout = self._layout(key)
        target, size = self._target(key, layout, out), int(layout.sizes[key.index])
        if not layout.codecs and size == len(target) == layout.chunk_bytes:
            stored = self.stored(key, target)
            self._decoded(key, layout, stored)
            return stored
        stored = self.stored(key, None if scratch is None else scratch.take(size))
        whole = len(target) == layout.chunk_bytes
        data = self._decoded(key, layout, stored, target if whole else None)
        if not whole:
            target[:] = data[: len(target)]
        return stored

    def expect(self, keys: Iterable[ChunkKey]) -> None:
        """Ask the system to read these chunks ahead; advice, so nothing is raised and some systems ignore it.

        About 2 microseconds for a chunk that is in memory; otherwise what the system takes to queue the reads (1 ms for
        40 MiB here), without the interpreter's lock.
        """
        advise = getattr(os, "posix_fadvise", None)
        if advise is None:
            return
        with suppress(OSError, IntegrityError):
            for file, start, stop in self._absent(keys):
                advise(file.descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)

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
                where=Where(path=str(self.path), field=name),
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
                where=Where(path=str(self.path), field=key.field, chunk=key.index),
                allowed=", ".join(self.layouts) if layout is None else f"{layout.chunks} chunks",
                remedy="name a field and chunk of the container",
            )
        return layout

    def _decoded(self, key: ChunkKey, layout: FieldLayout, stored: Bytes, out: memoryview | None = None) -> memoryview:
        """All rows of a chunk, padding included, as `prep.formats.codecs.decode` gives them, and no odd truth value."""
        try:
            data = decode(layout.codecs, stored, layout.chunk_bytes, out)
        except ValueError as error:
            raise damaged(self.path, f"a chunk does not decode: {error}", field=key.field, chunk=key.index) from error
        if layout.spec.dtype.kind == "b" and np.frombuffer(data, np.uint8).max() > 1:
            raise damaged(self.path, "a chunk holds truth values other than 0 and 1", field=key.field, chunk=key.index)
        return data

    def _target(self, key: ChunkKey, layout: FieldLayout, out: Array) -> memoryview:
        start, stop = layout.row_range(key.index)
        shape, dtype = (stop - start, *layout.spec.shape), layout.spec.dtype
        if out.shape != shape or out.dtype != dtype or not (out.flags.c_contiguous and out.flags.writeable):
            raise UsageError(
                "the array is not one that takes the valid rows of this chunk",
                where=Where(path=str(self.path), field=key.field, chunk=key.index),
                measured=f"{out.dtype} {out.shape}",
                allowed=f"{dtype} {shape}, C-contiguous and writable",
                remedy="offer an array of the field's dtype with one row for each valid row of the chunk",
            )
        return flat(out)

    def _absent(self, keys: Iterable[ChunkKey]) -> Iterator[tuple[OpenFile, int, int]]:
        """File, start and stop of the chunks that are not in memory, those that follow each other joined.

        Advice for a chunk walks through all its pages, so asking first is cheaper.
        """
        file: OpenFile | None = None
        start = stop = 0
        for key in keys:
            layout = self._layout(key)
            place, size = int(layout.offsets[key.index]), int(layout.sizes[key.index])
            own = self._files.holding(layout, key)
            if in_memory(own.descriptor, place + size - 1):
                continue
            if own is not file or place != stop:
                if file is not None:
                    yield file, start, stop
                file, start = own, place
            stop = place + size
        if file is not None:
            yield file, start, stop


def _reopened(path: Path, layouts: Mapping[str, FieldLayout], identity: tuple[int, int]) -> ChunkReader:
    """A reader from another process; device numbers mean something on one machine only, so others are not compared."""
    reader = ChunkReader(path, layouts)
    device, node = reader._files.identity
    if device == identity[0] and node != identity[1]:
        reader.close()
        raise damaged(
            path,
            "the dataset was replaced while it was being read",
            remedy="run it again, and write no dataset that is being read",
        )
    return reader


def joined_rows(layout: FieldLayout, start: int, stop: int, chunk: Callable[[int], Array]) -> Array:
    """A copy of rows ``start:stop`` out of their chunks; ``chunk`` gives the valid rows of one by its index."""
    step = layout.chunk_rows
    whole = np.empty((stop - start, *layout.spec.shape), layout.spec.dtype)
    for index in range(start // step, -(-stop // step)) if stop > start else ():
        first, last = layout.row_range(index)
        low, high = max(first, start), min(last, stop)
        whole[low - start : high - start] = chunk(index)[low - first : high - first]
    return whole
