"""Shards of Zarr v3 (codec ``sharding_indexed``, ZEP 2): chunks one after the other in a file, then their index."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from prep.formats.commit import write_at
from prep.formats.layout import ByteRange, Bytes, FieldLayout, damaged, flat

SHARD_BYTES = 128 << 20
_SHARD_CHUNKS = 4096  # an index of 64 KiB: other readers load it whole for each chunk
_NO_CHUNK = np.uint64(2**64 - 1)
_Table = NDArray[np.uint64]


def chunks_of_shard(chunk_bytes: int, shard_bytes: int) -> int:
    """The largest power of two of chunks that decode to ``shard_bytes`` at most; one where there are no shards."""
    return _power_of_two(min(shard_bytes // max(chunk_bytes, 1), _SHARD_CHUNKS))


class ShardWriter:
    """Appends the encoded chunks of one variable, in order, to its files ``template.format(index=…)`` below ``root``.

    A file takes up to ``limit`` chunks and none is held in memory. Raises `OSError`.
    """

    def __init__(self, root: Path, template: str, limit: int) -> None:
        self._root, self._template, self._limit = root, template, limit
        self._chunks = 0
        self._sizes: list[int] = []
        self._end = 0

    def put(self, data: Bytes, lies: ByteRange | None = None) -> ByteRange:
        """The next chunk; returns where it is. It is not written where it ``lies`` there already."""
        place = ByteRange(self._place(), self._end, len(flat(data)))
        if not self._sizes:
            (self._root / place.path).parent.mkdir(parents=True, exist_ok=True)
        if place != lies:
            write_at(self._root / place.path, data, place.offset)
        self._sizes.append(place.size)
        self._end += place.size
        if len(self._sizes) == self._limit:
            self._end_shard(self._limit)
        self._chunks += 1
        return place

    def finish(self) -> int:
        """No more chunks come. Returns how many one file holds: fewer than the limit where a single file is enough."""
        if self._chunks < self._limit:
            self._limit = _power_of_two(2 * self._chunks - 1)
        if self._sizes:
            self._chunks -= 1  # `_place` of the last one
            self._end_shard(self._limit)
        return self._limit

    def _end_shard(self, chunks: int) -> None:
        index = _encoded_index(self._sizes, chunks) if chunks > 1 else b""
        write_at(self._root / self._place(), index, self._end, last=True)
        self._sizes.clear()
        self._end = 0

    def _place(self) -> str:
        return self._template.format(index=self._chunks // self._limit)


def read_indices(path: Path, layout: FieldLayout, chunks: int, files: Mapping[str, int]) -> tuple[_Table, _Table]:
    """Offsets and sizes (uint64, one entry per chunk) of the ``chunks`` chunks of a variable in shards.

    ``layout`` tells the template and the chunks per file; ``files`` are the sizes of all files of the dataset. Raises
    `IntegrityError` unless each shard is there and is nothing but its chunks, in order and without gaps, and its index.
    """
    each = layout.chunks_per_file
    tables = [_read_index(path, layout, first, min(each, chunks - first), files) for first in range(0, chunks, each)]
    whole = np.concatenate(tables)
    return np.ascontiguousarray(whole[:, 0]), np.ascontiguousarray(whole[:, 1])


def _read_index(path: Path, layout: FieldLayout, first: int, chunks: int, files: Mapping[str, int]) -> _Table:
    name, field = layout.file_of(first), layout.spec.name
    body = files[name] - layout.index_bytes if name in files else 0
    if name not in files:
        raise damaged(path, "a chunk is missing: its shard is not there", field=field, chunk=first, allowed=name)
    if body <= 0:
        raise damaged(
            path,
            "a shard is truncated",
            field=field,
            chunk=first,
            measured=f"{files[name]} bytes",
            allowed=f"chunks and {layout.index_bytes} bytes of index",
        )
    descriptor = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, layout.index_bytes, body)
    finally:
        os.close(descriptor)
    if len(data) != layout.index_bytes or struct.pack("<I", google_crc32c.value(data[:-4])) != data[-4:]:
        raise damaged(path, "a shard is truncated or its index is damaged", field=field, chunk=first, measured=name)
    table = np.frombuffer(data, "<u8", 2 * layout.chunks_per_file).reshape(-1, 2)
    own, beyond = table[:chunks], table[chunks:]
    absent = np.flatnonzero((own == _NO_CHUNK).all(axis=1))
    if len(absent):
        raise damaged(path, "a chunk is missing", field=field, chunk=first + int(absent[0]))
    if (beyond != _NO_CHUNK).any():
        raise damaged(path, "a shard holds chunks beyond the last row", field=field, chunk=first + chunks)
    starts = np.append(own[:, 0], np.uint64(body))
    # no sum of two of these wraps: the first test keeps both below the size of a file
    wrong = np.flatnonzero((own > body).any(axis=1) | (own.sum(axis=1) != starts[1:]))
    if starts[0] != 0 or len(wrong):
        index = int(wrong[0]) if len(wrong) else 0
        raise damaged(
            path,
            "the chunks of a shard do not follow one another up to its index",
            field=field,
            chunk=first + index,
            measured=f"{int(own[index, 1])} bytes at {int(own[index, 0])}",
            allowed=f"inside {body} bytes, no overlaps and no gaps",
        )
    return own


def _encoded_index(sizes: list[int], chunks: int) -> bytes:
    table = np.full((chunks, 2), _NO_CHUNK, "<u8")
    table[: len(sizes), 1] = sizes
    table[: len(sizes), 0] = np.cumsum([0, *sizes[:-1]])
    data = table.tobytes()
    return data + struct.pack("<I", google_crc32c.value(data))


def _power_of_two(most: int) -> int:
    return 1 << max(most.bit_length() - 1, 0)
