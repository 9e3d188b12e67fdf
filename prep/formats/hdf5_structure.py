"""Reads the structure of an HDF5 file and accepts exactly what prep writes: what is not expected is refused, unread."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from prep.errors import PrepError
from prep.formats.layout import ByteRange, Codec, Container, FieldLayout, damaged
from prep.formats.rules import dimension_sizes
from prep.formats.tree import DOCUMENTS, check_written_by_prep, dataset_from, field_from

DIMENSION_ONLY = "This is a netCDF dimension but not a netCDF variable."
# Written by libhdf5's dimension scales and the netCDF conventions on top of them.
_SCALE_ATTRIBUTES = frozenset({"CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "_Netcdf4Dimid"})
_DEFLATE, _SHUFFLE, _BLOSC, _ZSTD = 1, 2, 32001, 32015
_BLOSC_COMPRESSORS = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")


def read_structure(path: Path, raw: FileIO) -> Container:
    """The `Container` of the open file ``raw``; no chunk is read and no other file is opened.

    Raises `IntegrityError` for a damaged file, and for every construct that prep does not write.
    """
    try:
        # Through a Python file, so that no environment variable picks another driver.
        with h5py.File(raw, "r") as file:
            return _container(path, file, os.fstat(raw.fileno()).st_size)
    except (PrepError, MemoryError):
        raise
    except Exception as error:  # libhdf5 meets damage in the most various ways
        raise damaged(path, f"this HDF5 file is damaged: {error}") from error


def _container(path: Path, file: h5py.File, size: int) -> Container:
    check_written_by_prep(path, {key: file.attrs[key] for key in file.attrs if key == "prep_format"})
    attributes = _attributes(path, file)
    if file.userblock_size:
        raise damaged(path, "the file has a user block", measured=f"{file.userblock_size} bytes", allowed="none")
    datasets, documents = _members(path, file)
    names = {_address(dataset): name for name, dataset in datasets.items()}
    dimensions = {name: dataset for name, dataset in datasets.items() if _is_dimension_only(dataset)}
    for name, dataset in dimensions.items():
        _check_dimension(path, name, dataset)
    found = {
        name: _layout(path, name, dataset, names, size) for name, dataset in datasets.items() if name not in dimensions
    }
    spec, layouts = dataset_from(path, attributes, documents, found)
    wanted = dimension_sizes(spec, {name: layout.rows for name, layout in layouts.items()})
    wanted = {name: length for name, length in wanted.items() if name not in layouts}
    stored = {name: dataset.shape[0] for name, dataset in dimensions.items()}
    if stored != wanted:
        raise damaged(path, "the dimensions do not fit the datasets", measured=stored, allowed=wanted)
    return Container(path, "hdf5", spec, layouts, _gaps(path, layouts, size), size)


def _members(path: Path, file: h5py.File) -> tuple[dict[str, h5py.Dataset], dict[str, Any]]:
    datasets: dict[str, h5py.Dataset] = {}
    documents: dict[str, Any] | None = None
    for name in file:
        _check_hard(path, file, name)
        member = file[name]
        if name == DOCUMENTS and isinstance(member, h5py.Group):
            documents = _attributes(path, member)
            if len(member):
                raise damaged(path, "group 'prep' has members", measured=", ".join(list(member)[:5]), allowed="none")
        elif isinstance(member, h5py.Dataset):
            datasets[name] = member
        else:
            raise damaged(path, "the file has an object that is no dataset", field=name, measured=type(member).__name__)
    if documents is None:
        raise damaged(path, "group 'prep' is missing")
    return datasets, documents


def _check_hard(path: Path, file: h5py.File, name: str) -> None:
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        kind = {"SoftLink": "a soft link", "ExternalLink": "an external link"}.get(type(link).__name__, "no hard link")
        raise damaged(path, f"a member of the file is {kind}", field=name, allowed="hard links only")


def _attributes(path: Path, owner: Any) -> dict[str, Any]:
    """Texts and the split flags; any other kind of value is refused."""
    found: dict[str, Any] = {}
    for key in owner.attrs:
        if key in _SCALE_ATTRIBUTES:
            continue
        value = owner.attrs[key]
        if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 1:
            value = value.tolist()
        elif not isinstance(value, str):
            raise damaged(
                path,
                "an attribute is no text; prep writes texts only",
                field=owner.name.strip("/"),
                measured=f"{key}: {type(value).__name__}",
            )
        found[key] = value
    return found


def _is_dimension_only(dataset: h5py.Dataset) -> bool:
    name = dataset.attrs.get("NAME", b"") if dataset.is_scale else b""
    return isinstance(name, bytes) and name.startswith(DIMENSION_ONLY.encode())


def _check_dimension(path: Path, name: str, dataset: h5py.Dataset) -> None:
    _check_storage(path, name, dataset)
    if dataset.id.get_storage_size() or dataset.ndim != 1 or _attributes(path, dataset):
        raise damaged(path, "a dimension without coordinates holds data or attributes", field=name)


def _check_storage(path: Path, name: str, dataset: h5py.Dataset) -> None:
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual:
        raise damaged(path, "a dataset is virtual: its data lie in other files", field=name)
    if properties.get_external_count():
        raise damaged(path, "a dataset has external storage: its data lie in other files", field=name)
    if np.any(dataset.fillvalue != np.zeros((), dataset.dtype)):
        raise damaged(path, "a dataset has a fill value", field=name, measured=dataset.fillvalue, allowed=0)


def _layout(path: Path, name: str, dataset: h5py.Dataset, names: Mapping[int, str], size: int) -> FieldLayout:
    _check_type(path, name, dataset)
    _check_storage(path, name, dataset)
    if dataset.chunks is None or dataset.chunks[1:] != dataset.shape[1:]:
        raise damaged(
            path, "a dataset is not chunked by whole rows", field=name, measured=dataset.chunks, allowed=dataset.shape
        )
    spec = field_from(
        path,
        name,
        dataset.dtype,
        dims=_dims(path, name, dataset, names),
        shape=dataset.shape[1:],
        attributes=_attributes(path, dataset),
    )
    rows, chunk_rows = dataset.shape[0], dataset.chunks[0]
    codecs = _codecs(path, name, dataset)
    offsets, sizes = _chunks(path, name, dataset)
    layout = FieldLayout(spec, rows, chunk_rows, codecs, offsets, sizes)
    wrong = (offsets + sizes > size) | (sizes > size)
    if not codecs:
        wrong |= sizes != layout.chunk_bytes
    if wrong.any():
        index = int(np.argmax(wrong))
        raise damaged(
            path,
            "a chunk has the wrong size or ends after the file",
            field=name,
            chunk=index,
            measured=f"bytes {int(offsets[index])} to {int(offsets[index] + sizes[index])}",
            allowed=f"within {size} bytes",
        )
    return layout


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


def _dims(path: Path, name: str, dataset: h5py.Dataset, names: Mapping[int, str]) -> tuple[str, ...]:
    if dataset.is_scale and dataset.ndim == 1:
        return (name,)
    dims = []
    for dimension in dataset.dims:
        scale = dimension[0] if len(dimension) == 1 else None
        label = names.get(_address(scale), "") if scale is not None else ""
        if not label:
            raise damaged(path, "a dataset has a dimension without exactly one scale of this file", field=name)
        dims.append(label)
    return tuple(dims)


def _address(dataset: h5py.Dataset) -> int:
    return int(h5py.h5o.get_info(dataset.id).addr)


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


def _gaps(path: Path, layouts: Mapping[str, FieldLayout], size: int) -> tuple[ByteRange, ...]:
    """What lies between the chunks, in order of offset: with them it covers the file exactly once."""
    empty = [np.array([], np.uint64)]
    starts = np.concatenate([layout.offsets for layout in layouts.values()] or empty).astype(np.int64)
    sizes = np.concatenate([layout.sizes for layout in layouts.values()] or empty).astype(np.int64)
    order = np.argsort(starts, kind="stable")
    starts, stops = starts[order], starts[order] + sizes[order]
    low, high = np.concatenate([[0], stops]), np.concatenate([starts, [size]])
    if np.any(high < low):
        place = int(np.argmax(high < low))
        raise damaged(path, "two chunks overlap in the file", measured=f"at byte {int(high[place])}")
    return tuple(
        ByteRange("", int(begin), int(end - begin)) for begin, end in zip(low, high, strict=True) if end > begin
    )
