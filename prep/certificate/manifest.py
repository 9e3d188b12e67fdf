"""The manifest: every stored byte range of a dataset with its meaning and digests, in one compact binary file.

Layout, little-endian: 8 bytes magic, u32 length of the header, header (canonical JSON), then for each array of the
header, in order, one 80-byte record a chunk: u64 offset, u64 size, 32 bytes BLAKE3 of the stored bytes, 32 bytes
BLAKE3 of the decoded rows. Nothing follows. The header holds the dataset's whole description (fields, splits,
attributes, documents), so that a reader of certified data never asks the container.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from prep.blocks import DatasetSpec, FieldSpec
from prep.canonical import canonical_json, framed_digest, parse_json, sha256_hex
from prep.errors import IntegrityError, Where
from prep.formats.digests import ChunkDigests, Digests
from prep.formats.layout import ByteRange, Container, FieldLayout

MAGIC = b"PREPMAN\x01"
SUFFIX = ".manifest"
_RECORD = np.dtype([("offset", "<u8"), ("size", "<u8"), ("stored", "V32"), ("logical", "V32")])
_HEADER_LIMIT = 256 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest. ``root`` is the logical root (equal for any container and codec), ``digest`` the SHA-256 of
    the bytes.
    """

    spec: DatasetSpec
    container: str
    size: int
    layouts: Mapping[str, FieldLayout]
    digests: Mapping[str, ChunkDigests]
    metadata_files: tuple[str, ...]
    metadata_digest: str
    root: str
    digest: str

    @property
    def chunks(self) -> int:
        """Number of chunks over all fields and constants."""
        return sum(len(layout.offsets) for layout in self.layouts.values())


def path_of(dataset: Path) -> Path:
    """Where the manifest of a dataset lies: beside it, with the ending added."""
    return dataset.with_name(dataset.name + SUFFIX)


def encode(container: Container, digests: Mapping[str, ChunkDigests]) -> bytes:
    """The manifest's bytes, from a container just read and the digests of all its chunks (fields and constants)."""
    spec = container.spec
    order = [item.name for item in (*spec.fields, *spec.constants)]
    header = {
        "manifest_version": 1,
        "dataset": spec.name,
        "version": spec.version,
        "container": container.format,
        "size": container.size,
        "splits": {name: list(bounds) for name, bounds in spec.splits.items()},
        "split_order": list(spec.splits),
        "attributes": dict(spec.attributes),
        "documents": dict(spec.documents),
        "arrays": [_describe(container.layouts[name]) for name in order],
        "metadata_files": sorted({item.path for item in container.metadata if item.path} - _shards(container)),
        "metadata_digest": metadata_digest(container.path, container.metadata),
        "root": logical_root(spec, container.layouts, digests),
    }
    text = canonical_json(header)
    parts = [MAGIC, struct.pack("<I", len(text)), text]
    for name in order:
        layout, found = container.layouts[name], digests[name]
        records = np.zeros(len(layout.offsets), _RECORD)
        records["offset"], records["size"] = layout.offsets, layout.sizes
        records["stored"] = np.frombuffer(found.stored.packed, "V32")
        records["logical"] = np.frombuffer(found.logical.packed, "V32")
        parts.append(records.tobytes())
    return b"".join(parts)


def parse(data: bytes, *, path: str, digest: str = "") -> Manifest:
    """Parse bytes that were verified already; anything unexpected is an `IntegrityError` naming ``path``.

    ``digest`` is their SHA-256, where it is known.
    """
    try:
        return _parse(data, path, digest or sha256_hex(data))
    except (KeyError, TypeError, ValueError, struct.error, AttributeError, OverflowError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _parse(data: bytes, path: str, digest: str) -> Manifest:
    if data[:8] != MAGIC:
        raise _damaged(path, "it does not begin with the manifest's magic bytes")
    (length,) = struct.unpack_from("<I", data, 8)
    if length > min(_HEADER_LIMIT, len(data) - 12):
        raise _damaged(path, f"its header claims {length} bytes")
    header = parse_json(data[12 : 12 + length], path=path, limit=_HEADER_LIMIT)
    if header["manifest_version"] != 1:
        raise _damaged(path, f"manifest version {header['manifest_version']!r} is not 1")
    position = 12 + length
    layouts: dict[str, FieldLayout] = {}
    digests: dict[str, ChunkDigests] = {}
    for entry in header["arrays"]:
        field = FieldSpec.from_dict(entry)
        count = -(-entry["rows"] // entry["chunk_rows"])
        records = np.frombuffer(data, _RECORD, count, position)
        position += records.nbytes
        layouts[field.name] = FieldLayout(
            spec=field,
            rows=entry["rows"],
            chunk_rows=entry["chunk_rows"],
            codecs=tuple(entry["codecs"]),
            offsets=records["offset"],
            sizes=records["size"],
            template=entry["template"],
            chunks_per_file=_positive(entry.get("chunks_per_file", 1)),
        )
        digests[field.name] = ChunkDigests(Digests(records["stored"].tobytes()), Digests(records["logical"].tobytes()))
    if position != len(data):
        raise _damaged(path, f"{len(data) - position} bytes follow the last record")
    every = [layout.spec for layout in layouts.values()]
    spec = DatasetSpec(
        name=header["dataset"],
        fields=tuple(item for item in every if item.role != "constant"),
        splits={name: _bounds(header["splits"][name]) for name in header["split_order"]},
        version=header["version"],
        constants=tuple(item for item in every if item.role == "constant"),
        attributes=header["attributes"],
        documents=header["documents"],
    )
    return Manifest(
        spec=spec,
        container=header["container"],
        size=header["size"],
        layouts=layouts,
        digests=digests,
        metadata_files=tuple(header["metadata_files"]),
        metadata_digest=header["metadata_digest"],
        root=header["root"],
        digest=digest,
    )


def match_container(path: Path, contents: Manifest) -> None:
    """`IntegrityError` unless the container's kind, size and own metadata are those of the manifest; reads no chunk."""
    is_folder = path.is_dir()
    if is_folder != (contents.container == "zarr") or path.is_symlink():
        raise IntegrityError(
            "the dataset is not the kind of container that was certified",
            where=Where(path=str(path)),
            measured="a symbolic link" if path.is_symlink() else "a folder" if is_folder else "a file",
            allowed=contents.container,
            remedy="restore the dataset with its sidecars",
        )
    if not is_folder and path.stat().st_size != contents.size:
        raise IntegrityError(
            "the file does not have the certified size",
            where=Where(path=str(path)),
            measured=f"{path.stat().st_size} bytes",
            allowed=f"{contents.size} bytes",
            remedy="the file is truncated or was changed: restore it, or rebuild and certify it again",
        )
    found = metadata_digest(path, metadata_ranges(contents, path))
    if found != contents.metadata_digest:
        raise IntegrityError(
            "the container's metadata is not what was certified",
            where=Where(path=str(path)),
            measured=found,
            allowed=contents.metadata_digest,
            remedy="the file was changed after it was certified: restore it, or rebuild and certify it again",
        )


def metadata_ranges(manifest: Manifest, path: Path) -> Iterator[ByteRange]:
    """Every byte of the container that is no chunk, as the manifest implies it: whole files and the indices of shards,
    or the gaps between chunks.
    """
    if manifest.metadata_files:
        for name in manifest.metadata_files:
            yield ByteRange(name, 0, _size_of(path, name))
        for layout in manifest.layouts.values():
            for index in layout.indices():
                size = _size_of(path, index.path)
                if size != index.offset + index.size:
                    raise IntegrityError(
                        "a file of chunks does not have the certified size",
                        where=Where(path=str(path), field=layout.spec.name, key=index.path),
                        measured=f"{size} bytes",
                        allowed=f"{index.offset + index.size} bytes",
                        remedy="restore the dataset or build it again",
                    )
                yield index
        return
    layouts = manifest.layouts.values()
    if any((layout.offsets > manifest.size).any() or (layout.sizes > manifest.size).any() for layout in layouts):
        raise _damaged(str(path_of(path)), f"it places a chunk beyond the {manifest.size} bytes of the file")
    starts = np.concatenate([np.zeros(0, np.int64), *(layout.offsets.astype(np.int64) for layout in layouts)])
    stops = starts + np.concatenate([np.zeros(0, np.int64), *(layout.sizes.astype(np.int64) for layout in layouts)])
    order = np.argsort(starts, kind="stable")
    before, after = np.append(0, stops[order]), np.append(starts[order], manifest.size)
    for place in np.flatnonzero(after > before).tolist():
        yield ByteRange("", int(before[place]), int(after[place] - before[place]))


def metadata_digest(path: Path, ranges: Iterable[ByteRange]) -> str:
    """BLAKE3 over the container's own metadata, each range framed by its place and length; `IntegrityError` where it
    is short.
    """
    hasher = blake3(derive_key_context="prep 2026-11 metadata")
    ordered = sorted(ranges, key=lambda each: (each.path, each.offset))
    for name, items in groupby(ordered, key=lambda each: each.path):
        for item, data in _read_ranges(path, name, items):
            frame = struct.pack("<QQQ", len(name.encode()), item.offset, item.size) + name.encode()
            hasher.update(frame + data)
    return "blake3:" + hasher.hexdigest()


def _read_ranges(path: Path, name: str, items: Iterable[ByteRange]) -> Iterator[tuple[ByteRange, bytes]]:
    """The ranges of one file with their bytes."""
    with ExitStack() as stack:
        descriptor = -1
        for item in items:
            try:
                if descriptor < 0:
                    place = path / name if name else path
                    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                    stack.callback(os.close, descriptor)
                data = os.pread(descriptor, item.size, item.offset)
            except OSError as error:
                data = b""
                reason = error.strerror or str(error)
            else:
                reason = f"{len(data)} of {item.size} bytes"
            if len(data) != item.size:
                raise IntegrityError(
                    "part of the container's metadata cannot be read",
                    where=Where(path=str(path), key=item.path),
                    measured=reason,
                    allowed=f"{item.size} bytes at {item.offset}",
                    remedy="restore the dataset or build it again",
                )
            yield item, data


def logical_root(spec: DatasetSpec, layouts: Mapping[str, FieldLayout], digests: Mapping[str, ChunkDigests]) -> str:
    """Root over all values and their meaning, the same for HDF5 and Zarr and for any codec.

    Leaf, node and root are hashed in separate BLAKE3 contexts; an odd node is promoted; each leaf binds the chunk's
    digest to its array and place; the root binds the number of leaves, the dataset's name and its splits.
    """
    leaves: list[bytes] = []
    for item in (*spec.fields, *spec.constants):
        layout = layouts[item.name]
        meaning = canonical_json({**item.to_dict(), "rows": layout.rows, "chunk_rows": layout.chunk_rows})
        frame = framed_digest("array", meaning)
        leaves.extend(
            framed_digest("leaf", frame, struct.pack("<Q", index), digest)
            for index, digest in enumerate(digests[item.name].logical)
        )
    level = leaves
    while len(level) > 1:
        paired = [framed_digest("node", level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    about = canonical_json({"dataset": spec.name, "splits": [[name, *bounds] for name, bounds in spec.splits.items()]})
    return "blake3:" + framed_digest("root", about, struct.pack("<Q", len(leaves)), *level).hex()


def _describe(layout: FieldLayout) -> dict[str, Any]:
    return {
        **layout.spec.to_dict(),
        "rows": layout.rows,
        "chunk_rows": layout.chunk_rows,
        "codecs": [json.loads(json.dumps(dict(codec))) for codec in layout.codecs],
        "template": layout.template,
        **({"chunks_per_file": layout.chunks_per_file} if layout.chunks_per_file > 1 else {}),
    }


def _shards(container: Container) -> set[str]:
    return {index.path for layout in container.layouts.values() for index in layout.indices()}


def _size_of(path: Path, name: str) -> int:
    try:
        return (path / name).lstat().st_size
    except OSError as error:
        raise IntegrityError(
            "part of the dataset is gone",
            where=Where(path=str(path), key=name),
            measured=error.strerror,
            allowed=f"a file {name}",
            remedy="restore the dataset or build it again",
        ) from error


def _positive(number: int) -> int:
    if type(number) is not int or number < 1:
        raise ValueError(f"{number!r} chunks in a file")
    return number


def _bounds(pair: list[int]) -> tuple[int, int]:
    start, stop = pair
    return int(start), int(stop)


def _damaged(path: str, detail: str) -> IntegrityError:
    return IntegrityError(
        f"this manifest is damaged: {detail}",
        where=Where(path=path),
        remedy="restore it, or run `prep certify` on a dataset you trust to write it again",
    )
