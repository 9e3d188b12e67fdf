"""Chunks straight from the disk: one read by offset into a private buffer, then a bounded decode; no h5py, no zarr."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from prep.blocks import Array, ChunkKey
from prep.errors import UsageError, Where
from prep.formats.codecs import decode
from prep.formats.commit import storage_errors
from prep.formats.layout import Bytes, FieldLayout, damaged, flat


class ChunkReader:
    """Reads the chunks that ``layouts`` (those of a `Container`) describe, from the dataset at ``path``.

    The dataset is opened once, when the reader is made, and stays the same one if the path is replaced. Threads may
    share a reader. A context manager. Raises `StorageError` where the file system refuses.
    """

    def __init__(self, path: Path | str, layouts: Mapping[str, FieldLayout]) -> None:
        self.path = Path(path)
        self.layouts = layouts
        with storage_errors(self.path):
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> ChunkReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the dataset; the arrays read so far stay valid."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def stored(self, key: ChunkKey, into: Bytes | None = None) -> memoryview:
        """The stored bytes of a chunk, in a buffer of their own or at the start of ``into`` (large enough).

        Raises `IntegrityError` where the file is shorter (or, for one file per chunk, longer) than the layout says.
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
        with storage_errors(self.path), self._file_of(layout, key) as descriptor:
            place, done = int(layout.offsets[key.index]), 0
            while done < size:
                step = os.preadv(descriptor, [buffer[done:]], place + done)
                if step == 0:
                    raise self._short(key, done, size)
                done += step
        return buffer

    def decode(self, key: ChunkKey, stored: Bytes) -> Array:
        """The valid rows (rows, *shape) of a chunk from its stored bytes; read-only.

        Shares memory with ``stored`` where the chunk is not compressed. Raises `IntegrityError` where the bytes do not
        decode to exactly one chunk.
        """
        layout = self._layout(key)
        start, stop = layout.row_range(key.index)
        try:
            data = decode(layout.codecs, stored, layout.chunk_bytes)
        except ValueError as error:
            raise damaged(self.path, f"a chunk does not decode: {error}", field=key.field, chunk=key.index) from error
        if layout.spec.dtype.kind == "b" and np.frombuffer(data, np.uint8).max() > 1:
            raise damaged(self.path, "a chunk holds truth values other than 0 and 1", field=key.field, chunk=key.index)
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

    @contextmanager
    def _file_of(self, layout: FieldLayout, key: ChunkKey) -> Iterator[int]:
        name = layout.file_of(key.index)
        if not name:
            yield self._descriptor
            return
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            what = "a chunk is a symbolic link" if error.errno == errno.ELOOP else "a chunk is missing"
            raise damaged(self.path, what, field=key.field, chunk=key.index) from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size != int(layout.sizes[key.index]):
                raise self._short(key, found.st_size, int(layout.sizes[key.index]))
            yield descriptor
        finally:
            os.close(descriptor)

    def _short(self, key: ChunkKey, measured: int, allowed: int) -> Exception:
        return damaged(
            self.path,
            "a chunk is truncated or was changed after the dataset was opened",
            field=key.field,
            chunk=key.index,
            measured=f"{measured} bytes",
            allowed=f"{allowed} bytes",
        )


def joined_rows(layout: FieldLayout, start: int, stop: int, chunk: Callable[[int], Array]) -> Array:
    """A copy of rows ``start:stop`` out of their chunks; ``chunk`` gives the valid rows of one by its index."""
    step = layout.chunk_rows
    whole = np.empty((stop - start, *layout.spec.shape), layout.spec.dtype)
    for index in range(start // step, -(-stop // step)) if stop > start else ():
        first, last = layout.row_range(index)
        low, high = max(first, start), min(last, stop)
        whole[low - start : high - start] = chunk(index)[low - first : high - first]
    return whole
