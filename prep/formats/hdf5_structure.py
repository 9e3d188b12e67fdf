"""The structure of an HDF5 file, taken apart in a child process: what prep does not write is refused, unread."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from prep.errors import PrepError
from prep.formats.extents import gaps
from prep.formats.hdf5_storage import Stored, check_heaps, check_storage, stored_chunks
from prep.formats.layout import damaged
from prep.formats.rules import MARK
from prep.formats.tree import DOCUMENTS, check_written_by_prep
from prep.isolation.child import Held
from prep.isolation.positioned import PositionedFile

DIMENSION_ONLY = "This is a netCDF dimension but not a netCDF variable."
# Written by libhdf5's dimension scales and the netCDF conventions on top of them.
_SCALE_ATTRIBUTES = frozenset({"CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "_Netcdf4Dimid"})


def structure(held: Held, path: str, arguments: Any) -> tuple[dict[str, Any], list[NDArray[np.uint64]]]:
    """What the file holds, for `prep.formats.hdf5_container`: attributes, variables, dimensions; as parts the offsets
    and the sizes of each variable's chunks. No chunk is read and no other file is opened.

    Raises `IntegrityError` for a damaged file, and for every construct that prep does not write.
    """
    with _opened(held, path) as file:
        return _described(Path(path), file, held.descriptor)


def mark(held: Held, path: str, arguments: Any) -> tuple[bool, list[Any]]:
    """Whether the root has the attribute by which a dataset of prep is recognised. Raises as `structure`."""
    with _opened(held, path) as file:
        return MARK in file.attrs, []


@contextmanager
def _opened(held: Held, path: str) -> Iterator[h5py.File]:
    try:
        # Through a Python file, so that no environment variable picks another driver.
        with h5py.File(PositionedFile(held.descriptor), "r") as file:
            yield file
    except (PrepError, MemoryError):
        raise
    except Exception as error:  # libhdf5 meets damage in the most various ways
        raise damaged(path, f"this HDF5 file is damaged: {error}") from error


def _described(path: Path, file: h5py.File, descriptor: int) -> tuple[dict[str, Any], list[NDArray[np.uint64]]]:
    size = os.fstat(descriptor).st_size
    check_written_by_prep(path, {key: _text(file.attrs[key]) for key in file.attrs if key == MARK})
    if file.userblock_size:
        raise damaged(path, "the file has a user block", measured=f"{file.userblock_size} bytes", allowed="none")
    datasets, documents = _members(path, file)
    dimensions = {name: dataset for name, dataset in datasets.items() if _is_dimension_only(dataset)}
    variables = {name: dataset for name, dataset in datasets.items() if name not in dimensions}
    stored = {name: stored_chunks(path, name, dataset, size) for name, dataset in variables.items()}
    check_heaps(path, descriptor, gaps(path, [each.extents for each in stored.values()], size))
    for name, dataset in dimensions.items():
        _check_dimension(path, name, dataset)
    names = {_address(dataset): name for name, dataset in datasets.items()}
    found = {name: _variable(path, name, dataset, stored[name], names) for name, dataset in variables.items()}
    value = {
        "root": _attributes(path, file),
        "documents": _attributes(path, documents),
        "variables": found,
        "dimensions": {name: dataset.shape[0] for name, dataset in dimensions.items()},
    }
    return value, [part for each in stored.values() for part in each.extents]


def _members(path: Path, file: h5py.File) -> tuple[dict[str, h5py.Dataset], h5py.Group]:
    datasets: dict[str, h5py.Dataset] = {}
    documents: h5py.Group | None = None
    for name in file:
        _check_hard(path, file, name)
        member = file[name]
        if name == DOCUMENTS and isinstance(member, h5py.Group):
            documents = member
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
        value = _text(owner.attrs[key])
        if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 1:
            value = value.tolist()
        elif not isinstance(value, str):
            raise damaged(
                path,
                "an attribute is no text of fixed length; prep writes no others",
                field=owner.name.strip("/"),
                measured=f"{key}: {type(owner.attrs[key]).__name__}",
            )
        found[key] = value
    return found


def _text(value: Any) -> Any:
    """A fixed-length text decoded; texts of variable length, kept where HDF5 has no checksum, become None."""
    if isinstance(value, bytes):
        return value.decode()
    return None if isinstance(value, str) else value


def _is_dimension_only(dataset: h5py.Dataset) -> bool:
    name = dataset.attrs.get("NAME", b"") if dataset.is_scale else b""
    return isinstance(name, bytes) and name.startswith(DIMENSION_ONLY.encode())


def _check_dimension(path: Path, name: str, dataset: h5py.Dataset) -> None:
    check_storage(path, name, dataset)
    if dataset.id.get_storage_size() or dataset.ndim != 1 or _attributes(path, dataset):
        raise damaged(path, "a dimension without coordinates holds data or attributes", field=name)


def _variable(path: Path, name: str, dataset: h5py.Dataset, stored: Stored, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "dtype": dataset.dtype.str,
        "dims": _dims(path, name, dataset, names),
        "shape": dataset.shape[1:],
        "attributes": _attributes(path, dataset),
        "rows": stored.rows,
        "chunk_rows": stored.chunk_rows,
        "filters": [{"code": code, "values": values} for code, values in stored.filters],
    }


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
