"""What a child found in an HDF5 file becomes a `Container`, checked once more: this process parses no HDF5."""

from __future__ import annotations

import math
import os
from io import FileIO
from pathlib import Path

import numpy as np

from prep.blocks import SEGMENT_BYTES
from prep.formats.extents import check_inside, gaps
from prep.formats.hdf5_filters import codecs_from
from prep.formats.layout import Container, FieldLayout, damaged
from prep.formats.rules import CHUNK_LIMIT, dimension_sizes
from prep.formats.tree import Attributes, check_written_by_prep, dataset_from, field_from
from prep.isolation.answers import Answer
from prep.isolation.limits import OWN
from prep.isolation.refusals import nonsense
from prep.isolation.sessions import ask

_OFFSETS = np.dtype(np.uint64)
# Chunk tables are 16 bytes an entry, and every chunk has an address and some bytes in the file.
_MOST_TABLES = 1 << 30


def read_container(path: Path, raw: FileIO) -> Container:
    """The `Container` of the open file ``raw``; no chunk is read and no other file is opened.

    Raises `IntegrityError` for a damaged file, for one that brings down the child that parses it, and for every
    construct that prep does not write; `UnfinishedError` where no child can be started.
    """
    size = os.fstat(raw.fileno()).st_size
    answer = ask(raw.fileno(), path, "structure", {}, OWN, most=min((1 << 20) + 2 * size, _MOST_TABLES))
    try:
        return _container(path, answer, size)
    except ValueError as error:
        raise nonsense(path, error) from error


def bears_mark(path: Path, raw: FileIO) -> bool:
    """Whether the open file ``raw`` is HDF5 that calls itself a dataset of prep. Raises as `read_container`."""
    answer = ask(raw.fileno(), path, "mark", {}, OWN)
    try:
        return answer.truth()
    except ValueError as error:
        raise nonsense(path, error) from error


def _container(path: Path, answer: Answer, size: int) -> Container:
    root, documents = _attributes(answer["root"]), _attributes(answer["documents"])
    check_written_by_prep(path, root)
    found = {}
    for place, (name, each) in enumerate(answer["variables"].items()):
        found[name] = _layout(path, name, each, 2 * place, size)
    metadata = gaps(path, [(each.offsets, each.sizes) for each in found.values()], size)
    spec, layouts = dataset_from(path, root, documents, found)
    wanted = dimension_sizes(spec, {name: layout.rows for name, layout in layouts.items()})
    wanted = {name: length for name, length in wanted.items() if name not in layouts}
    sizes = {name: length.count() for name, length in answer["dimensions"].items()}
    if sizes != wanted:
        raise damaged(path, "the dimensions do not fit the datasets", measured=sizes, allowed=wanted)
    return Container(path, "hdf5", spec, layouts, metadata, size)


def _layout(path: Path, name: str, answer: Answer, part: int, size: int) -> FieldLayout:
    dtype, shape = answer["dtype"].dtype(), answer["shape"].counts()
    if dtype.kind not in "biufc" or dtype.byteorder == ">":
        raise ValueError(f"dtype {dtype.str} of {name!r}")
    rows, chunk_rows = answer["rows"].count(), answer["chunk_rows"].count()
    row_bytes = math.prod(shape) * dtype.itemsize
    whole = chunk_rows * row_bytes
    if chunk_rows < 1 or row_bytes > CHUNK_LIMIT:
        raise ValueError(f"rows of {row_bytes} bytes, {chunk_rows} a chunk, of {name!r}")
    spec = field_from(
        path,
        name,
        dtype,
        dims=answer["dims"].texts(),
        shape=shape,
        attributes=_attributes(answer["attributes"]),
    )
    limit = CHUNK_LIMIT if spec.role == "constant" else max(SEGMENT_BYTES, row_bytes)
    if whole > limit:
        raise damaged(
            path,
            "a chunk would decode to more than prep ever stores in one",
            field=name,
            measured=f"{whole} bytes",
            allowed=f"{limit} bytes",
        )
    filters = [(each["code"].count(), each["values"].counts()) for each in answer["filters"].list()]
    codecs = codecs_from(path, name, filters, dtype.itemsize)
    chunks = (-(-rows // chunk_rows),)
    offsets, sizes = answer.array(part, _OFFSETS, chunks), answer.array(part + 1, _OFFSETS, chunks)
    check_inside(path, name, (offsets, sizes), size, None if codecs else whole)
    return FieldLayout(spec, rows, chunk_rows, codecs, offsets, sizes)


def _attributes(answer: Answer) -> Attributes:
    """Texts, and lists of numbers for the split flags."""
    return {key: each.text() if isinstance(each.value, str) else list(each.counts()) for key, each in answer.items()}
