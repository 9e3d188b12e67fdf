"""Where the bytes of an HDF5 file lie: chunks, what is between them, and the one structure without a checksum."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from prep.formats.extents import Extents, check_inside
from prep.formats.hdf5_filters import Filter, codecs_from
from prep.formats.layout import ByteRange, damaged

# Version 1 and three reserved bytes follow the signature, which no text can hold.
_HEAP = re.compile(rb"GCOL\x01\0\0\0")
_HEAP_HEADER, _OBJECT_HEADER = 16, 16


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """The chunks of one dataset, as `prep.formats.layout.FieldLayout` has them, and its filters."""

    rows: int
    chunk_rows: int
    filters: tuple[Filter, ...]
    extents: Extents


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
    filters = _filters(dataset)
    codecs = codecs_from(path, name, filters, dataset.dtype.itemsize)
    extents = _chunks(path, name, dataset)
    whole = dataset.dtype.itemsize * int(np.prod(dataset.chunks, dtype=np.int64))
    check_inside(path, name, extents, size, None if codecs else whole)
    return Stored(dataset.shape[0], dataset.chunks[0], filters, extents)


def check_storage(path: Path, name: str, dataset: h5py.Dataset) -> None:
    """`IntegrityError` where the data of a dataset lie in other files or appear from nothing."""
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual:
        raise damaged(path, "a dataset is virtual: its data lie in other files", field=name)
    if properties.get_external_count():
        raise damaged(path, "a dataset has external storage: its data lie in other files", field=name)
    if np.any(dataset.fillvalue != np.zeros((), dataset.dtype)):
        raise damaged(path, "a dataset has a fill value", field=name, measured=dataset.fillvalue, allowed=0)


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


def _filters(dataset: h5py.Dataset) -> tuple[Filter, ...]:
    properties = dataset.id.get_create_plist()
    found = [properties.get_filter(place) for place in range(properties.get_nfilters())]
    return tuple((int(code), tuple(int(value) for value in values)) for code, _, values, _ in found)


def _chunks(path: Path, name: str, dataset: h5py.Dataset) -> Extents:
    step = dataset.chunks[0]
    count = -(-dataset.shape[0] // step)
    # One flat array of numbers: a tuple for each of millions of chunks would take gigabytes.
    numbers = array("Q")

    def note(chunk: Any) -> None:
        numbers.extend((chunk.chunk_offset[0], chunk.byte_offset, chunk.size, chunk.filter_mask))

    dataset.id.chunk_iter(note)
    stored = np.frombuffer(numbers, np.uint64).reshape(-1, 4) if numbers else np.empty((0, 4), np.uint64)
    stored = stored[np.argsort(stored[:, 0], kind="stable")]
    places, odd = np.divmod(stored[:, 0], np.uint64(step))
    if len(stored) != count or odd.any() or not np.array_equal(places, np.arange(count, dtype=np.uint64)):
        present = set(places[odd == 0].tolist())
        missing = next((index for index in range(count) if index not in present), None)
        raise damaged(
            path,
            "a chunk is missing" if missing is not None else "there are more chunks than rows",
            field=name,
            chunk=missing,
            measured=f"{len(stored)} chunks",
            allowed=f"{count} chunks",
        )
    if stored[:, 3].any():
        raise damaged(path, "a chunk skips some of its filters", field=name)
    return np.ascontiguousarray(stored[:, 1]), np.ascontiguousarray(stored[:, 2])
