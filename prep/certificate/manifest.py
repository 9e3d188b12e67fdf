"""The manifest: every stored byte range of a dataset with its meaning and digests, in one compact binary file.

Layout, little-endian: 8 bytes magic, u32 length of the header, header (canonical JSON), then for each array of the
header, in order, one 80-byte record a chunk: u64 offset, u64 size, 32 bytes BLAKE3 of the stored bytes, 32 bytes
BLAKE3 of the decoded rows. Nothing follows. The header holds the dataset's whole description (fields, splits,
attributes, documents), so that a reader of certified data never asks the container. A dataset has exactly one
manifest: what parses is what `encode` writes, byte for byte (docs/certificate-format.md).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec, FieldSpec
from prep.canonical import canonical_json, parse_json, sha256_hex
from prep.certificate.metadata import metadata_digest
from prep.certificate.tree import logical_root
from prep.errors import IntegrityError, UsageError, Where
from prep.formats.codecs import check_codecs
from prep.formats.digests import ChunkDigests, Digests
from prep.formats.layout import ByteRange, Container, FieldLayout, array_template
from prep.formats.rules import CHUNK_LIMIT, check_rows, check_spec
from prep.formats.tree import DOCUMENTS

MAGIC = b"PREPMAN\x01"
SUFFIX = ".manifest"
VERSION = 1
_RECORD = np.dtype([("offset", "<u8"), ("size", "<u8"), ("stored", "V32"), ("logical", "V32")])
_HEADER_LIMIT = 256 << 20
_KINDS = ("hdf5", "zarr")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest. ``root`` is the logical root (equal for any container and codec), ``digest`` the SHA-256 of
    its ``length`` bytes.
    """

    spec: DatasetSpec
    container: str
    size: int
    layouts: Mapping[str, FieldLayout]
    digests: Mapping[str, ChunkDigests]
    metadata_digest: str
    root: str
    digest: str
    length: int

    @property
    def chunks(self) -> int:
        """Number of chunks over all fields and constants."""
        return sum(len(layout.offsets) for layout in self.layouts.values())

    @property
    def metadata_files(self) -> tuple[str, ...]:
        """The files of a folder that hold no chunks, sorted."""
        if self.container == "hdf5":
            return ()
        return tuple(sorted(["zarr.json", *(f"{name}/zarr.json" for name in (DOCUMENTS, *self.layouts))]))

    def gaps(self, path: str) -> Iterator[ByteRange]:
        """What lies between the chunks of a dataset in one file; `IntegrityError` where two overlap or one ends behind
        it.
        """
        layouts = self.layouts.values()
        none = np.zeros(0, np.uint64)
        starts = np.concatenate([none, *(layout.offsets for layout in layouts)]).astype(np.int64)
        stops = starts + np.concatenate([none, *(layout.sizes for layout in layouts)]).astype(np.int64)
        order = np.argsort(starts, kind="stable")
        before, after = np.append(0, stops[order]), np.append(starts[order], self.size)
        if (after < before).any():
            raise _damaged(path, f"two of its chunks overlap, or one lies beyond the {self.size} bytes of the file")
        for place in np.flatnonzero(after > before).tolist():
            yield ByteRange("", int(before[place]), int(after[place] - before[place]))


def path_of(dataset: Path) -> Path:
    """Where the manifest of a dataset lies: beside it, with the ending added."""
    return dataset.parent / f"{dataset.name}{SUFFIX}"


def encode(container: Container, digests: Mapping[str, ChunkDigests]) -> bytes:
    """The manifest's bytes, from a container just read and the digests of all its chunks (fields and constants)."""
    spec = container.spec
    text = canonical_json(
        _header(
            spec,
            container.format,
            container.size,
            container.layouts,
            metadata_digest(container.path, container.metadata),
            logical_root(spec, container.layouts, digests),
        )
    )
    parts = [MAGIC, struct.pack("<I", len(text)), text]
    for item in (*spec.fields, *spec.constants):
        layout, found = container.layouts[item.name], digests[item.name]
        records = np.zeros(len(layout.offsets), _RECORD)
        records["offset"], records["size"] = layout.offsets, layout.sizes
        records["stored"] = np.frombuffer(found.stored.packed, "V32")
        records["logical"] = np.frombuffer(found.logical.packed, "V32")
        parts.append(records.tobytes())
    return b"".join(parts)


def parse(data: bytes, *, path: str, digest: str = "") -> Manifest:
    """Parse a manifest, of whoever; anything but what `encode` writes is an `IntegrityError` naming ``path``.

    ``digest`` is the SHA-256 of the bytes, where it is known.
    """
    try:
        contents = _parse(data, path, digest or sha256_hex(data))
        _demand_places(contents, path)
    except (KeyError, TypeError, ValueError, struct.error, AttributeError, OverflowError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    except UsageError as error:  # a description that no dataset may have
        raise _damaged(path, error.what) from error
    return contents


def _parse(data: bytes, path: str, digest: str) -> Manifest:
    if data[:8] != MAGIC:
        raise _damaged(path, "it does not begin with the manifest's magic bytes")
    (length,) = struct.unpack_from("<I", data, 8)
    if length > min(_HEADER_LIMIT, len(data) - 12):
        raise _damaged(path, f"its header claims {length} bytes")
    text = data[12 : 12 + length]
    header = parse_json(text, path=path, limit=_HEADER_LIMIT)
    if header["manifest_version"] != VERSION:
        raise _damaged(path, f"manifest version {header['manifest_version']!r} is not {VERSION}")
    container = header["container"]
    if container not in _KINDS:
        raise _damaged(path, f"container {container!r} is none of {', '.join(_KINDS)}")
    position = 12 + length
    layouts: dict[str, FieldLayout] = {}
    digests: dict[str, ChunkDigests] = {}
    for entry in header["arrays"]:
        array = _array(entry, container)
        count = -(-array.rows // array.chunk_rows)
        if count > (len(data) - position) // _RECORD.itemsize:
            raise _damaged(path, f"it ends before the records of {array.spec.name}")
        records = np.frombuffer(data, _RECORD, count, position)
        position += records.nbytes
        name = array.spec.name
        layouts[name] = replace(array, offsets=records["offset"], sizes=records["size"])
        digests[name] = ChunkDigests(Digests(records["stored"].tobytes()), Digests(records["logical"].tobytes()))
    if position != len(data):
        raise _damaged(path, f"{len(data) - position} bytes follow the last record")
    every = [layout.spec for layout in layouts.values()]
    spec = DatasetSpec(
        name=header["dataset"],
        fields=tuple(item for item in every if item.role != "constant"),
        splits={name: _bounds(header["splits"][name]) for name in header["split_order"]},
        version=header["version"],
        constants=tuple(item for item in every if item.role == "constant"),
        attributes=_texts(header["attributes"]),
        documents=_texts(header["documents"]),
    )
    check_spec(spec)
    check_rows(spec, {name: layout.rows for name, layout in layouts.items()})
    size, about, root = _whole(header["size"]), _digest(header["metadata_digest"]), _digest(header["root"])
    if canonical_json(_header(spec, container, size, layouts, about, root)) != text:
        raise _damaged(path, "its header says something else, or says it otherwise, than prep would")
    return Manifest(spec, container, size, layouts, digests, about, root, digest, len(data))


def _header(
    spec: DatasetSpec, container: str, size: int, layouts: Mapping[str, FieldLayout], about: str, root: str
) -> dict[str, Any]:
    return {
        "manifest_version": VERSION,
        "dataset": spec.name,
        "version": spec.version,
        "container": container,
        "size": size,
        "splits": {name: list(bounds) for name, bounds in spec.splits.items()},
        "split_order": list(spec.splits),
        "attributes": dict(spec.attributes),
        "documents": dict(spec.documents),
        "arrays": [_description(layouts[item.name]) for item in (*spec.fields, *spec.constants)],
        "metadata_digest": about,
        "root": root,
    }


def _description(layout: FieldLayout) -> dict[str, Any]:
    return {
        **layout.spec.to_dict(),
        "rows": layout.rows,
        "chunk_rows": layout.chunk_rows,
        "codecs": [dict(codec) for codec in layout.codecs],
        **({"chunks_per_file": layout.chunks_per_file} if layout.chunks_per_file > 1 else {}),
    }


def _array(entry: Any, container: str) -> FieldLayout:
    """One array of the header, its records still to come."""
    spec = FieldSpec.from_dict(entry)
    rows, chunk_rows = _whole(entry["rows"]), _whole(entry["chunk_rows"], 1)
    each = _whole(entry.get("chunks_per_file", 1), 1)
    if chunk_rows * spec.row_bytes > CHUNK_LIMIT:
        raise ValueError(f"chunks of {chunk_rows * spec.row_bytes} bytes")
    check_codecs(entry["codecs"], spec.dtype.itemsize)
    none = np.zeros(0, np.uint64)
    template = array_template(spec) if container == "zarr" else ""
    return FieldLayout(spec, rows, chunk_rows, tuple(entry["codecs"]), none, none, template, each)


def _demand_places(contents: Manifest, path: str) -> None:
    """`IntegrityError` unless every chunk has a size that it can have, and lies where nothing else does."""
    for name, layout in contents.layouts.items():
        offsets, sizes = layout.offsets, layout.sizes
        most = layout.chunk_bytes + (layout.chunk_bytes // 8 + (1 << 16) if layout.codecs else 0)
        wrong = (sizes > most) | (offsets > np.uint64(1 << 62))
        if not layout.codecs:
            wrong |= sizes != layout.chunk_bytes
        if contents.container == "zarr":
            first = np.arange(layout.chunks) % layout.chunks_per_file == 0
            wrong |= offsets != np.where(first, 0, np.roll(offsets + sizes, 1))
        if wrong.any():
            raise _damaged(
                path, f"chunk {int(np.argmax(wrong))} of {name} cannot have the size or place that it claims"
            )
        if contents.container == "hdf5" and layout.chunks_per_file != 1:
            raise _damaged(path, f"it puts the chunks of {name} into files of their own")
    if contents.container == "hdf5":
        for _ in contents.gaps(path):
            pass


def _whole(number: object, least: int = 0) -> int:
    if type(number) is not int or not least <= number < 1 << 62:
        raise ValueError(f"the number {number!r}")
    return number


def _bounds(pair: list[int]) -> tuple[int, int]:
    start, stop = pair
    return _whole(start), _whole(stop)


def _texts(entries: Any) -> dict[str, str]:
    if not all(isinstance(text, str) for text in entries.values()):
        raise ValueError("an attribute that is no text")
    return dict(entries)


def _digest(text: Any) -> str:
    if not re.fullmatch("blake3:[0-9a-f]{64}", text):
        raise ValueError(f"the digest {text!r}")
    return str(text)


def _damaged(path: str, detail: str) -> IntegrityError:
    return IntegrityError(
        f"this manifest is damaged: {detail}",
        where=Where(path=path),
        remedy="restore it, or make the dataset again with `prep normalize` (raw data: generate, ingest)",
    )
