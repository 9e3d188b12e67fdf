"""The tree as a Zarr v3 directory: chunks in shards, metadata written and read here, byte for byte accounted for."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prep.blocks import DatasetSpec, FieldSpec, named_dtype
from prep.canonical import parse_json
from prep.errors import PrepError
from prep.formats.chunks import Chunk
from prep.formats.codecs import codecs_of
from prep.formats.commit import Pending, storage_errors, write_at
from prep.formats.files import LocalFiles
from prep.formats.layout import ByteRange, Codec, Container, FieldLayout, array_template, damaged
from prep.formats.rules import check_spec
from prep.formats.salvage import made_of
from prep.formats.shards import SHARD_BYTES, ShardWriter, chunks_of_shard, read_indices
from prep.formats.tree import (
    DOCUMENTS,
    check_written_by_prep,
    dataset_from,
    field_attributes,
    field_from,
    root_attributes,
)
from prep.formats.writer import Writer

_Table = NDArray[np.uint64]
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_INDEX = {"index_codecs": [_BYTES, {"name": "crc32c"}], "index_location": "end"}
_SHARDS = "sharding_indexed"
_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_NODE = "zarr.json"
_JSON_LIMIT = 64 << 20
_NONE: _Table = np.zeros(0, np.uint64)


class Zarr:
    """Zarr v3 as prep writes it: codecs ``bytes`` (little) and at most one of gzip, zstd, blosc; default chunk keys.

    A variable of several chunks is stored in shards of at most ``shard_bytes`` decoded bytes. With 0 each chunk is a
    file of its own, which is how prep wrote before it knew shards; both open.
    """

    def __init__(self, shard_bytes: int = SHARD_BYTES) -> None:
        self._shard_bytes = shard_bytes

    def create(self, path: Path, spec: DatasetSpec, compression: str, identity: str = "") -> Writer:
        """See `prep.formats.create`."""
        check_spec(spec)
        codecs = codecs_of(compression)
        pending = Pending(path, made_of(identity, f"zarr {self._shard_bytes}", spec, compression))
        with pending.discarded_on_error():
            return Writer(pending, _ZarrSink(pending, codecs, self._shard_bytes), spec, self.open)

    def open(self, path: Path) -> Container:
        """See `prep.formats.open_container`."""
        with storage_errors(path):
            return _open(path)


class _ZarrSink:
    def __init__(self, pending: Pending, codecs: tuple[Codec, ...], shard_bytes: int) -> None:
        self._path, self._target, self._codecs, self._shard_bytes = pending.path, pending.target, codecs, shard_bytes
        self._nodes: dict[str, tuple[int, tuple[Codec, ...]]] = {}
        self._shards: dict[str, ShardWriter] = {}
        with storage_errors(self._target):
            self._path.mkdir(exist_ok=pending.adopted)

    def codecs(self, spec: FieldSpec) -> tuple[Codec, ...]:
        return self._codecs

    def begin(self, spec: FieldSpec, rows: int, codecs: tuple[Codec, ...]) -> None:
        self._nodes[spec.name] = (rows, codecs)
        limit = chunks_of_shard(rows * spec.row_bytes, self._shard_bytes)
        self._shards[spec.name] = ShardWriter(self._path, array_template(spec), limit)
        with storage_errors(self._target):
            (self._path / spec.name / "c").mkdir(parents=True, exist_ok=True)

    def put(self, spec: FieldSpec, index: int, rows: int, chunk: Chunk) -> ByteRange | None:
        with storage_errors(self._target):
            return self._shards[spec.name].put(chunk.data, chunk.place)

    def finish(self, spec: DatasetSpec, rows: Mapping[str, int]) -> None:
        nodes: dict[str, dict[str, Any]] = {
            "": _group_node(root_attributes(spec)),
            DOCUMENTS: _group_node(dict(spec.documents)),
        }
        with storage_errors(self._target):
            for field in (*spec.fields, *spec.constants):
                each = self._shards[field.name].finish()
                nodes[field.name] = _array_node(field, rows[field.name], *self._nodes[field.name], each)
            (self._path / DOCUMENTS).mkdir(exist_ok=True)
            for name, node in nodes.items():
                text = json.dumps(node, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
                write_at(self._path / name / _NODE, text.encode(), last=True)

    def close(self) -> None:
        """No file stays open between two calls."""

    def leave(self) -> None:
        """Nothing waits to be written."""


def _group_node(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _array_node(
    spec: FieldSpec, rows: int, chunk_rows: int, codecs: tuple[Codec, ...], chunks_per_file: int
) -> dict[str, Any]:
    zero: Any = {"b": False, "f": 0.0, "c": [0.0, 0.0]}.get(spec.dtype.kind, 0)
    chain: list[dict[str, Any]] = [_BYTES, *(_to_zarr(codec, spec) for codec in codecs)]
    if chunks_per_file > 1:
        inner = {"chunk_shape": [chunk_rows, *spec.shape], "codecs": chain, **_INDEX}
        chain = [{"name": _SHARDS, "configuration": inner}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows, *spec.shape],
        "data_type": spec.dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [chunk_rows * chunks_per_file, *spec.shape]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": zero,
        "codecs": chain,
        "dimension_names": list(spec.dims),
        "attributes": field_attributes(spec),
    }


def _to_zarr(codec: Codec, spec: FieldSpec) -> dict[str, Any]:
    configuration = {key: value for key, value in codec.items() if key != "id"}
    if codec["id"] == "blosc":
        configuration["shuffle"] = _SHUFFLES[codec["shuffle"]]
        configuration["typesize"] = spec.dtype.itemsize
    return {"name": codec["id"], "configuration": configuration}


def _from_zarr(codec: Mapping[str, Any]) -> Codec:
    configuration = dict(codec["configuration"])
    if codec["name"] not in ("gzip", "zstd", "blosc"):
        raise ValueError(f"codec {codec['name']!r}")
    if codec["name"] == "blosc":
        configuration["shuffle"] = _SHUFFLES.index(configuration["shuffle"])
        del configuration["typesize"]
    return {"id": codec["name"], **configuration}


def _open(path: Path) -> Container:
    root = _node(path, "")
    attributes = root.get("attributes", {})
    if not isinstance(attributes, dict):
        raise damaged(path, "the attributes of the dataset are no JSON object")
    check_written_by_prep(path, attributes)
    files = LocalFiles(path).listing()
    nodes = sorted(name.rpartition("/")[0] for name in files if name.endswith(f"/{_NODE}"))
    documents = _node(path, DOCUMENTS)
    for name, node in (("", root), (DOCUMENTS, documents)):
        if node != _group_node(node.get("attributes", {})) or not isinstance(node["attributes"], dict):
            raise damaged(path, "a group has metadata that prep does not write", field=name)
    found = {name: _layout(path, name, files) for name in nodes if name != DOCUMENTS}
    spec, layouts = dataset_from(path, attributes, documents["attributes"], found)
    metadata = [f"{name}/{_NODE}" if name else _NODE for name in ("", *nodes)]
    chunks = {
        layout.file_of(first)
        for layout in layouts.values()
        for first in range(0, layout.chunks, layout.chunks_per_file)
    }
    bare = {f"{name}/c/" for name, layout in layouts.items() if not layout.chunks}
    if extra := sorted(set(files) - set(metadata) - chunks - bare):
        raise damaged(
            path,
            "there are files in the directory that belong to no variable",
            measured=f"{len(extra)}: {', '.join(extra[:5])}",
            remedy="delete them if you know where they come from, otherwise write the dataset again",
        )
    ranges = [ByteRange(name, 0, files[name]) for name in metadata]
    ranges += [index for layout in layouts.values() for index in layout.indices()]
    return Container(path, "zarr", spec, layouts, tuple(ranges), sum(files.values()))


def _node(path: Path, name: str) -> dict[str, Any]:
    relative = f"{name}/{_NODE}" if name else _NODE
    try:
        descriptor = os.open(path / relative, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
            raise
        raise damaged(path, "metadata is missing or a symbolic link", measured=relative) from error
    with open(descriptor, "rb") as file:
        node = parse_json(file.read(_JSON_LIMIT + 1), path=str(path / relative), limit=_JSON_LIMIT)
    if not isinstance(node, dict):
        raise damaged(path, "metadata is no JSON object", measured=relative)
    return node


def _layout(path: Path, name: str, files: Mapping[str, int]) -> FieldLayout:
    node = _node(path, name)
    try:
        rows, *shape = (int(size) for size in node["shape"])
        chain, chunk_rows, each = node["codecs"], int(node["chunk_grid"]["configuration"]["chunk_shape"][0]), 1
        if chain[0]["name"] == _SHARDS:
            inner = chain[0]["configuration"]
            file_rows, chunk_rows, chain = chunk_rows, int(inner["chunk_shape"][0]), inner["codecs"]
            each = file_rows // chunk_rows
        codecs = tuple(_from_zarr(codec) for codec in chain[1:])
        if len(codecs) > 1 or chunk_rows < 1 or rows < 0 or not _may_share(each, -(-rows // chunk_rows)):
            raise ValueError("chunks or codecs")
        dtype, dims = named_dtype(node["data_type"]), tuple(str(dim) for dim in node["dimension_names"])
        spec = field_from(path, name, dtype, dims=dims, shape=tuple(shape), attributes=dict(node["attributes"]))
        expected = _array_node(spec, rows, chunk_rows, codecs, each)
    except PrepError:
        raise
    except (KeyError, ValueError, TypeError, ZeroDivisionError, IndexError, AttributeError, OverflowError) as error:
        raise damaged(path, f"the metadata of a variable is not as prep writes it: {error}", field=name) from error
    if node != expected:
        odd = sorted(key for key in {*node, *expected} if node.get(key, key) != expected.get(key, (key,)))
        raise damaged(path, "the metadata of a variable is not as prep writes it", field=name, measured=", ".join(odd))
    count = -(-rows // chunk_rows)
    found = FieldLayout(spec, rows, chunk_rows, codecs, _NONE, _NONE, array_template(spec), each)
    offsets, sizes = (read_indices if each > 1 else _files_of_chunks)(path, found, count, files)
    layout = replace(found, offsets=offsets, sizes=sizes)
    wrong = np.flatnonzero(sizes != layout.chunk_bytes) if not codecs else np.array([], np.int64)
    if len(wrong):
        index = int(wrong[0])
        raise damaged(
            path,
            "a chunk is truncated or too long",
            field=spec.name,
            chunk=index,
            measured=f"{int(sizes[index])} bytes",
            allowed=f"{layout.chunk_bytes} bytes",
        )
    return layout


def _may_share(each: int, chunks: int) -> bool:
    """Whether shards of ``each`` chunks are a power of two and no larger than ``chunks`` chunks need."""
    return each == 1 or (each & (each - 1) == 0 and 1 < each < 2 * chunks)


def _files_of_chunks(path: Path, layout: FieldLayout, chunks: int, files: Mapping[str, int]) -> tuple[_Table, _Table]:
    """As `read_indices`, for one file per chunk."""
    sizes: list[int] = []
    for index in range(chunks):
        size = files.get(layout.file_of(index))
        if size is None:
            raise damaged(path, "a chunk is missing", field=layout.spec.name, chunk=index, allowed=f"{chunks} chunks")
        sizes.append(size)
    return np.zeros(chunks, np.uint64), np.array(sizes, np.uint64)
