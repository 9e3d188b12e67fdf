"""What a child process answers about a foreign HDF5 file: which arrays it has, whether they can be trusted, rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from prep.errors import IntegrityError, Where
from prep.importers.foreign import LINK, TEXT
from prep.importers.hdf5tree import Hdf5Tree, hdf5_errors
from prep.importers.packed import STATED, all_stored, described, plain_values, statistics_of
from prep.isolation.child import Held

_KNOWN = ("NAME", "units", "unit", "long_name", "scale_factor", "add_offset", "_FillValue", "missing_value")
_ATTRIBUTES = (*_KNOWN, *STATED)
_BARE_SCALE = "This is a netCDF dimension but not a netCDF variable"
# A name of a split is shorter; what is longer is no name of one.
_TEXT_LENGTH = 256


def member(held: Held, path: str, arguments: Any) -> tuple[bool, list[Any]]:
    """Whether the root has a member of the name ``arguments``, whatever it is."""
    tree = opened(held, path)
    return tree.has(tree.root, arguments), []


def columns(held: Held, path: str, arguments: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """All arrays of the file: path, dtype (``text`` for strings), shape, rows of a chunk, units, long name.

    With ``arguments`` true, links to data elsewhere are told of as well, with dtype ``link``, instead of refused.
    """
    tree = opened(held, path)
    found: list[dict[str, Any]] = []
    links: list[str] | None = [] if arguments else None
    for place, dataset in tree.datasets(links=links):
        attributes = tree.attributes(dataset, _ATTRIBUTES)
        if not str(attributes.get("NAME", "")).startswith(_BARE_SCALE):
            found.append(_column(place, dataset, attributes))
    nothing = {"shape": [], "chunk_rows": 1, "units": "", "long_name": "", "statistics": {}}
    return found + [{"path": place, "dtype": LINK, **nothing} for place in links or ()], []


def vet(held: Held, path: str, arguments: Any) -> tuple[list[str], list[Any]]:
    """Warnings about the arrays at the paths ``arguments``, those that exist. Raises what forbids reading one."""
    tree, warnings = opened(held, path), list[str]()
    for place in arguments:
        if (found := tree.dataset(place)) is not None:
            plain_values(tree.attributes(found, _ATTRIBUTES), tree.path, place, warnings)
            with hdf5_errors(tree.path, place):
                stored, nbytes, fill = (
                    _chunks(found),
                    math.prod(found.shape or ()) * found.dtype.itemsize,
                    found.fillvalue,
                )
            all_stored(stored, nbytes, fill, tree.path, place, warnings)
    return warnings, []


def read(held: Held, path: str, arguments: Any) -> tuple[None, list[Any]]:
    """A part of rows ``start:stop`` of each of the arrays at ``places``; with ``keep`` (a bit for each row, in
    hexadecimal) only of some of them.
    """
    start, stop = arguments["start"], arguments["stop"]
    picked = None
    if "keep" in arguments:
        bits = np.frombuffer(bytes.fromhex(arguments["keep"]), np.uint8)
        picked = np.flatnonzero(np.unpackbits(bits, count=stop - start))
    parts = []
    for place in arguments["places"]:
        values = opened(held, path).read(_array(held, path, place), start, stop)
        parts.append(np.ascontiguousarray(values if picked is None else values[picked]))
    return None, parts


def texts(held: Held, path: str, arguments: Any) -> tuple[list[str], list[Any]]:
    """Rows ``start:stop`` of the array of texts at ``place``."""
    dataset = _array(held, path, arguments["place"])
    values = opened(held, path).read(dataset, arguments["start"], arguments["stop"])
    return [_text(value) for value in values.reshape(-1).tolist()], []


def _array(held: Held, path: str, place: str) -> h5py.Dataset:
    known = held.state.setdefault("datasets", {})  # what has been vetted
    if place not in known:
        known[place] = opened(held, path).dataset(place)
    if known[place] is None:
        raise IntegrityError(
            "an array disappeared while the source was being read",
            where=Where(path=path, key=place),
            remedy="stop whatever writes to the file and ingest again",
        )
    return known[place]


def opened(held: Held, path: str) -> Hdf5Tree:
    """The tree of the file that the child holds, opened with the first question about it."""
    tree: Hdf5Tree | None = held.state.get("tree")
    if tree is None:
        tree = held.state["tree"] = Hdf5Tree(Path(path), held.descriptor).open()
    return tree


def _column(place: str, dataset: h5py.Dataset, attributes: Mapping[str, Any]) -> dict[str, Any]:
    units, long_name = described(attributes)
    return {
        "path": place,
        "dtype": TEXT if h5py.check_string_dtype(dataset.dtype) else dataset.dtype.str,
        "shape": dataset.shape or (),
        "chunk_rows": dataset.chunks[0] if dataset.chunks else 1,
        "units": units,
        "long_name": long_name,
        "statistics": statistics_of(attributes),
    }


def _chunks(dataset: h5py.Dataset) -> tuple[int, int]:
    """Stored chunks, and how many there should be (an unchunked array is one chunk)."""
    if dataset.chunks is None:
        return int(dataset.id.get_storage_size() > 0), 1
    total = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    return int(dataset.id.get_num_chunks()), total


def _text(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text[:_TEXT_LENGTH]
