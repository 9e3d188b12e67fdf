"""A manifest is exactly what prep writes; whatever is not says what is wrong with it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prep.canonical import canonical_json
from prep.certificate import manifest
from prep.errors import IntegrityError

_GOLDEN = Path(__file__).parents[1] / "golden"


def of(kind: str) -> bytes:
    (place,) = (_GOLDEN / f"{kind}-by-0.1.0/plain").rglob("*.manifest")
    return place.read_bytes()


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack_from("<I", data, 8)
    return json.loads(data[12 : 12 + length]), data[12 + length :]


def joined(header: Any, records: bytes, magic: bytes = manifest.MAGIC) -> bytes:
    text = canonical_json(header)
    return magic + struct.pack("<I", len(text)) + text + records


def changed(kind: str, change: Callable[[dict[str, Any]], Any]) -> bytes:
    header, records = split(of(kind))
    change(header)
    return joined(header, records)


def with_record(kind: str, place: str, value: int) -> bytes:
    """The first chunk of the first field at another offset, or of another size."""
    header, records = split(of(kind))
    data = bytearray(records)
    struct.pack_into("<Q", data, {"offset": 0, "size": 8}[place], value)
    return joined(header, bytes(data))


def first(header: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = header["arrays"][0]
    return found


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "other magic": (lambda: b"PREPMANX" + of("hdf5")[8:], "magic bytes"),
    "cut in its header": (lambda: of("hdf5")[:100], "header claims"),
    "a header longer than it": (lambda: of("hdf5")[:8] + b"\xff\xff\xff\x7f" + of("hdf5")[12:], "header claims"),
    "another version": (lambda: changed("hdf5", lambda each: each.update(manifest_version=99)), "version 99"),
    "another container": (lambda: changed("hdf5", lambda each: each.update(container="npz")), "'npz' is none of"),
    "a record too few": (lambda: of("hdf5")[:-8], "ends before the records"),
    "bytes behind it": (lambda: of("hdf5") + b"\0", "1 bytes follow"),
    "chunks of a gigabyte": (
        lambda: changed("hdf5", lambda each: first(each).update(chunk_rows=1 << 40)),
        "chunks of",
    ),
    "an attribute that is a number": (
        lambda: changed("hdf5", lambda each: each["attributes"].update(a=1)),
        "an attribute that is no text",
    ),
    "a digest that is none": (lambda: changed("hdf5", lambda each: each.update(root="blake3:00")), "the digest"),
    "rows below zero": (lambda: changed("hdf5", lambda each: first(each).update(rows=-1)), "the number -1"),
    "rows that are a truth": (lambda: changed("hdf5", lambda each: first(each).update(rows=True)), "the number True"),
    "a chunk of no size": (lambda: with_record("hdf5", "size", 0), "size or place"),
    "a chunk beyond all files": (lambda: with_record("hdf5", "offset", 1 << 63), "size or place"),
    "a chunk inside its file": (lambda: with_record("zarr", "offset", 8), "size or place"),
    "something more": (lambda: changed("hdf5", lambda each: each.update(more=1)), "says something else"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_manifest_is_said(case: str):
    data, said = CASES[case]

    with pytest.raises(IntegrityError) as caught:
        manifest.parse(data(), path="dataset.manifest")

    assert said in str(caught.value)
    assert caught.value.where.path == "dataset.manifest"


@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_a_manifest_that_is_put_together_again_is_the_same(kind: str):
    assert joined(*split(of(kind))) == of(kind)
    assert manifest.parse(of(kind), path="m").container == kind
