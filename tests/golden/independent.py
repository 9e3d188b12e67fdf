"""A verifier of certified datasets written from docs/certificate-format.md alone: it knows nothing of `prep`.

`verify(dataset)` returns the payload of the certificate; any difference is an `AssertionError`. Signatures and locks
are left to whoever calls.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
from blake3 import blake3


def framed(domain: str, *parts: bytes) -> bytes:
    """A framed digest."""
    text = struct.pack("<Q", len(parts)) + b"".join(struct.pack("<Q", len(part)) + part for part in parts)
    return blake3(text, derive_key_context=f"prep 2026-11 {domain}").digest()


def canonical(value: Any) -> bytes:
    """Canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pae(kind: str, payload: bytes) -> bytes:
    """What a DSSE signature signs."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def verify(dataset: Path) -> dict[str, Any]:
    """Recompute everything that the sidecars say of ``dataset``."""
    envelope = json.loads(Path(f"{dataset}.cert.json").read_bytes())
    assert set(envelope) == {"payloadType", "payload", "signatures"}
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"], validate=True))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://prep-certified.org/certificate/v1"
    data = Path(f"{dataset}.manifest").read_bytes()
    predicate = statement["predicate"]
    assert statement["subject"] == [
        {"name": predicate["dataset"], "digest": {"sha256": hashlib.sha256(data).hexdigest()}}
    ]
    assert predicate["manifest_bytes"] == len(data)
    assert data[:8] == b"PREPMAN\x01"
    (length,) = struct.unpack("<I", data[8:12])
    header = json.loads(data[12 : 12 + length])
    assert canonical(header) == data[12 : 12 + length]
    place, chunks, leaves = 12 + length, [], []
    for array in header["arrays"]:
        meaning = framed("array", canonical({key: array[key] for key in array if key not in _STORAGE}))
        for index in range(-(-array["rows"] // array["chunk_rows"])):
            offset, size = struct.unpack("<QQ", data[place : place + 16])
            stored, logical = data[place + 16 : place + 48], data[place + 48 : place + 80]
            place += 80
            path = _file(dataset, array, index)
            raw = path.read_bytes()[offset : offset + size]
            assert len(raw) == size
            assert blake3(raw).digest() == stored
            assert blake3(_rows(array, index, raw)).digest() == logical
            chunks.append((path, offset, size))
            leaves.append(framed("leaf", meaning, struct.pack("<Q", index), logical))
    assert place == len(data)
    assert header["root"] == predicate["root"] == "blake3:" + _root(header, leaves).hex()
    assert header["metadata_digest"] == "blake3:" + _metadata(dataset, header, chunks)
    for name in ("statistics", "transforms"):
        assert predicate[name] == "blake3:" + framed(name, canonical(header["documents"][name])).hex()
    return statement


_STORAGE = ("codecs", "chunks_per_file")


def _file(dataset: Path, array: dict[str, Any], index: int) -> Path:
    if dataset.is_file():
        return dataset
    return dataset.joinpath(
        array["name"], "c", str(index // array.get("chunks_per_file", 1)), *("0" for _ in array["shape"])
    )


def _rows(array: dict[str, Any], index: int, raw: bytes) -> bytes:
    data = raw
    for codec in reversed(array["codecs"]):
        data = zlib.decompress(data, 15) if codec["id"] == "zlib" else bytes(numcodecs.get_codec(codec).decode(data))
    row = int(np.dtype(array["dtype"]).itemsize * np.prod(array["shape"], dtype=int))
    assert len(data) == array["chunk_rows"] * row
    return data[: (min(array["rows"], (index + 1) * array["chunk_rows"]) - index * array["chunk_rows"]) * row]


def _root(header: dict[str, Any], leaves: list[bytes]) -> bytes:
    level = leaves
    while len(level) > 1:
        pairs = [framed("node", *level[place : place + 2]) for place in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
    about = {
        "dataset": header["dataset"],
        "splits": [[name, *header["splits"][name]] for name in header["split_order"]],
    }
    return framed("root", canonical(about), struct.pack("<Q", len(leaves)), *level)


def _metadata(dataset: Path, header: dict[str, Any], chunks: list[tuple[Path, int, int]]) -> str:
    text = b""
    for name, offset, data in sorted(_ranges(dataset, header, chunks)):
        text += struct.pack("<QQQ", len(name), offset, len(data)) + name + data
    return str(blake3(text, derive_key_context="prep 2026-11 metadata").hexdigest())


def _ranges(
    dataset: Path, header: dict[str, Any], chunks: list[tuple[Path, int, int]]
) -> Iterator[tuple[bytes, int, bytes]]:
    if header["container"] == "hdf5":
        data, place = dataset.read_bytes(), 0
        assert len(data) == header["size"]
        for offset, size in [*sorted((offset, size) for _, offset, size in chunks), (len(data), 0)]:
            assert offset >= place
            if offset > place:
                yield b"", place, data[place:offset]
            place = offset + size
        return
    files = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    assert sum(map(len, files.values())) == header["size"]
    nodes = [dataset / "zarr.json", dataset / "prep/zarr.json"]
    nodes += [dataset / array["name"] / "zarr.json" for array in header["arrays"]]
    assert set(files) == {*nodes, *(path for path, _, _ in chunks)}
    for path in nodes:
        yield path.relative_to(dataset).as_posix().encode(), 0, files[path]
    for path in {path for path, _, _ in chunks}:
        end = max(offset + size for other, offset, size in chunks if other == path)
        if end < len(files[path]):
            yield path.relative_to(dataset).as_posix().encode(), end, files[path][end:]
