"""Where the bytes of an HDF5 file lie: chunks, what is between them, and the one structure without a checksum."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from prep.formats.layout import ByteRange, Codec, damaged

_DEFLATE, _SHUFFLE, _BLOSC, _ZSTD = 1, 2, 32001, 32015
_BLOSC_COMPRESSORS = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")
# Version 1 and three reserved bytes follow the signature, which no text can hold.
_HEAP = re.compile(rb"GCOL\x01\0\0\0")
_HEAP_HEADER, _OBJECT_HEADER = 16, 16


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """The chunks of one dataset, as `prep.formats.layout.FieldLayout` has them."""

    rows: int
    chunk_rows: int
    codecs: tuple[Codec, ...]
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]


def stored_chunks(path: Path, name: str, dataset: h5py.Dataset, size: int) -> Stored:
    """The chunks of a dataset in a file of ``size`` bytes; reads neither chunks nor attributes.

    Raises `IntegrityError` unless it is of a plain type, chunked by whole rows, with filters we know, and complete.
    """
    _check_type(path, name, dataset)
    check_storage(path, name, dataset)
    if dataset.chunks is None or dataset.chunks[1:] != dataset.shape[1:]:
        raise damaged(
            path, "a dataset is not chunked by whole rows", field=name, measured=dataset.chunks, allowed=dataset.shape
        )
    codecs = _codecs(path, name, dataset)
    offsets, sizes = _chunks(path, name, dataset)
    wrong = (offsets + sizes > size) | (sizes > size)
    whole = dataset.dtype.itemsize * int(np.prod(dataset.chunks, dtype=np.int64))
    if not codecs:
        wrong |= sizes != whole
    if wrong.any():
        index = int(np.argmax(wrong))
        raise damaged(
            path,
            "a chunk has the wrong size or ends after the file",
            field=name,
            chunk=index,
            measured=f"bytes {int(offsets[index])} to {int(offsets[index] + sizes[index])}",
            allowed=f"within {size} bytes" if codecs else f"{whole} bytes, within {size} bytes",
        )
    return Stored(dataset.shape[0], dataset.chunks[0], codecs, offsets, sizes)


def check_storage(path: Path, name: str, dataset: h5py.Dataset) -> None:
    """`IntegrityError` where the data of a dataset lie in other files or appear from nothing."""
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual:
        raise damaged(path, "a dataset is virtual: its data lie in other files", field=name)
    if properties.get_external_count():
        raise damaged(path, "a dataset has external storage: its data lie in other files", field=name)
    if np.any(dataset.fillvalue != np.zeros((), dataset.dtype)):
        raise damaged(path, "a dataset has a fill value", field=name, measured=dataset.fillvalue, allowed=0)


def gaps(path: Path, stored: Iterable[Stored], size: int) -> tuple[ByteRange, ...]:
    """What lies between the chunks, in order of offset: with them it covers the file exactly once."""
    parts = list(stored)
    empty = [np.array([], np.uint64)]
    starts = np.concatenate([part.offsets for part in parts] or empty).astype(np.int64)
    sizes = np.concatenate([part.sizes for part in parts] or empty).astype(np.int64)
    order = np.argsort(starts, kind="stable")
    starts, stops = starts[order], starts[order] + sizes[order]
    low, high = np.concatenate([[0], stops]), np.concatenate([starts, [size]])
    if np.any(high < low):
        place = int(np.argmax(high < low))
        raise damaged(path, "two chunks overlap in the file", measured=f"at byte {int(high[place])}")
    return tuple(
        ByteRange("", int(begin), int(end - begin)) for begin, end in zip(low, high, strict=True) if end > begin
    )


def check_heaps(path: Path, descriptor: int, metadata: Iterable[ByteRange]) -> None:
    """`IntegrityError` where a global heap among ``metadata`` is damaged.

    HDF5 keeps the references of dimension scales there without a checksum, and libhdf5 2.0 can loop for ever on a
    damaged one. The layout is that of the HDF5 file format specification, section III.E.
    """
    for part in metadata:
        data = os.pread(descriptor, part.size, part.offset)
        for match in _HEAP.finditer(data):
            if not _is_heap(data[match.start() :]):
                raise damaged(path, "this HDF5 file is damaged: a global heap", measured=f"at byte {match.start()}")


def _is_heap(data: bytes) -> bool:
    size = int.from_bytes(data[8:16], "little")
    if not _HEAP_HEADER <= size <= len(data):
        return False
    place = _HEAP_HEADER
    while size - place >= _OBJECT_HEADER:
        index = int.from_bytes(data[place : place + 2], "little")
        length = int.from_bytes(data[place + 8 : place + 16], "little")
        if index == 0:  # the free space, header included, is the last
            return length == size - place
        place += _OBJECT_HEADER + -(-length // 8) * 8
    return place <= size


def _check_type(path: Path, name: str, dataset: h5py.Dataset) -> None:
    dtype = dataset.dtype
    plain = dtype.kind in "biufc" and h5py.check_vlen_dtype(dtype) is None
    order = "big-endian " if dtype.byteorder == ">" else ""
    if not plain or order or dataset.id.get_type() != h5py.h5t.py_create(dtype, logical=True):
        raise damaged(
            path,
            "a dataset is not of a plain little-endian number type",
            field=name,
            measured=f"{order}{dtype}",
            allowed="bool, integer, float or complex, little-endian",
        )


def _codecs(path: Path, name: str, dataset: h5py.Dataset) -> tuple[Codec, ...]:
    properties = dataset.id.get_create_plist()
    codecs: list[Codec] = []
    for place in range(properties.get_nfilters()):
        code, _, values, _ = properties.get_filter(place)
        if code == _SHUFFLE and place == 0 and values == (dataset.dtype.itemsize,):
            codecs.append({"id": "shuffle", "elementsize": values[0]})
        elif code == _DEFLATE and len(values) == 1:
            codecs.append({"id": "zlib", "level": values[0]})
        elif code == _ZSTD and len(values) == 1:
            codecs.append({"id": "zstd", "level": values[0], "checksum": False})
        elif code == _BLOSC and len(values) == 7 and values[6] < len(_BLOSC_COMPRESSORS):
            codecs.append(
                {
                    "id": "blosc",
                    "cname": _BLOSC_COMPRESSORS[values[6]],
                    "clevel": values[4],
                    "shuffle": values[5],
                    "blocksize": 0,
                }
            )
        else:
            raise damaged(
                path,
                "a dataset has a filter that prep does not use",
                field=name,
                measured=f"filter {code} {values}",
                allowed="shuffle, deflate, zstd, blosc",
            )
    if sum(codec["id"] != "shuffle" for codec in codecs) > 1:
        raise damaged(path, "a dataset is compressed more than once", field=name)
    return tuple(codecs)


def _chunks(path: Path, name: str, dataset: h5py.Dataset) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    count = -(-dataset.shape[0] // dataset.chunks[0])
    stored: list[tuple[int, int, int, int]] = []

    def note(chunk: Any) -> None:
        stored.append((chunk.chunk_offset[0], chunk.byte_offset, chunk.size, chunk.filter_mask))

    dataset.id.chunk_iter(note)
    stored.sort()
    starts = [start for start, *_ in stored]
    step = dataset.chunks[0]
    if len(stored) != count or any(start != place * step for place, start in enumerate(starts)):
        present = set(starts)
        missing = next((index for index in range(count) if index * step not in present), None)
        raise damaged(
            path,
            "a chunk is missing" if missing is not None else "there are more chunks than rows",
            field=name,
            chunk=missing,
            measured=f"{len(stored)} chunks",
            allowed=f"{count} chunks",
        )
    if any(mask for *_, mask in stored):
        raise damaged(path, "a chunk skips some of its filters", field=name)
    table = np.array([entry[1:3] for entry in stored], np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
