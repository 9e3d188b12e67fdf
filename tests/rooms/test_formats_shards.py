"""Zarr stores several chunks in one file, with an index that other readers use and that no change escapes."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import xarray
import zarr

from prep.blocks import ChunkKey, DatasetSpec
from prep.certificate import manifest
from prep.certificate.matching import match_container, metadata_ranges
from prep.certificate.tree import logical_root
from prep.engine import DatasetSource, all_digests
from prep.errors import IntegrityError
from prep.formats import Container, open_container
from prep.formats.codecs import COMPRESSIONS
from prep.formats.reader import ChunkReader
from prep.formats.shards import chunks_of_shard
from prep.formats.zarr import Zarr
from tests.rooms.formats_demo import CONSTANTS, demo_arrays, demo_spec, write_demo
from tests.rooms.test_formats_roundtrip import covered_once

ROWS = 41
SHARD = 512  # bytes: the eleven chunks of the demo's fields are 2, 4 or 16 in a shard
# SHA-256 over names and contents of the demo's files as version 0.1.0 wrote them before it knew shards
UNSHARDED = "7aaf9384c493032c100e3ddd397bfa18dd09b9a794c670b15659522b0ea902ff"
NONE = 2**64 - 1
WRAPPING = np.array([[0, 1 << 63], [1 << 63, 1 << 63], [0, 256], [256, 256]], np.uint64)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four rows, so that a few kilobytes make several shards."""
    monkeypatch.setattr("prep.formats.writer.chunk_rows", lambda *_: 4)


def write(
    path: Path, compression: str = "none", shard_bytes: int = SHARD, spec: DatasetSpec | None = None
) -> Container:
    spec = spec or demo_spec(ROWS)
    with Zarr(shard_bytes).create(path, spec, compression) as writer:
        for constant in spec.constants:
            writer.write_constant(constant, CONSTANTS[constant.name])
        for start in range(0, spec.rows, 7):  # fields by turns, as a stage writes them
            for name, array in demo_arrays(spec).items():
                writer.write(name, array[start : start + 7])
        return writer.commit(spec)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_zarr_and_xarray_read_what_we_store_in_shards(tmp_path: Path, compression: str) -> None:
    container = write(tmp_path / "demo.zarr", compression)
    assert [layout.chunks_per_file for layout in container.layouts.values()] == [2, 4, 16, 16, 16, 1, 1]
    group = zarr.open_group(container.path, mode="r")
    for name, array in demo_arrays(container.spec).items():
        np.testing.assert_array_equal(group[name][:], array)
        np.testing.assert_array_equal(group[name][5:18], array[5:18])
    for chunks in (None, {}):
        with xarray.open_zarr(container.path, consolidated=False, chunks=chunks) as dataset:
            for name, array in demo_arrays(container.spec).items():
                np.testing.assert_array_equal(dataset[name].values, array)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_byte_of_a_shard_is_a_chunk_or_its_index(tmp_path: Path, compression: str) -> None:
    container = write(tmp_path / "demo.zarr", compression)
    assert covered_once(container)
    found = open_container(container.path)
    with ChunkReader(found.path, found.layouts) as reader:
        for name, array in demo_arrays(found.spec).items():
            np.testing.assert_array_equal(reader.rows(name, 0, ROWS), array)


@pytest.mark.parametrize("chunks", [0, 1, 2, 3, 4, 5, 8, 9])
def test_a_shard_ends_with_its_last_chunk_and_one_chunk_needs_no_shard(tmp_path: Path, chunks: int) -> None:
    spec = demo_spec(4 * chunks, constants=())
    container = write(tmp_path / "demo.zarr", spec=spec)
    matrix = container.layouts["matrix"]
    files = [file for file in (container.path / "matrix").rglob("*") if file.name != "zarr.json" and file.is_file()]
    assert matrix.chunks == chunks
    assert matrix.chunks_per_file == (1 if chunks < 2 else min(4, 1 << (chunks - 1).bit_length()))
    assert len(files) == -(-chunks // 4)
    assert covered_once(container)
    group = zarr.open_group(container.path, mode="r")
    np.testing.assert_array_equal(group["matrix"][:], demo_arrays(spec)["matrix"])


def test_a_shard_is_at_most_128_mebibytes_and_4096_chunks() -> None:
    sizes = {size: chunks_of_shard(size, 128 << 20) for size in (1, 128, 3 << 20, 4 << 20, 100 << 20, 1 << 31)}
    assert sizes == {1: 4096, 128: 4096, 3 << 20: 32, 4 << 20: 32, 100 << 20: 1, 1 << 31: 1}


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def test_a_dataset_of_one_file_per_chunk_is_as_it_was_and_opens(tmp_path: Path) -> None:
    container = write(tmp_path / "demo.zarr", shard_bytes=0)
    assert digest_of(container.path) == UNSHARDED
    found = open_container(container.path)
    assert {layout.chunks_per_file for layout in found.layouts.values()} == {1}
    with DatasetSource.open(found.path) as source:
        text = manifest.encode(source.container, all_digests(source))
        np.testing.assert_array_equal(source.reader.rows("states", 0, ROWS), demo_arrays(found.spec)["states"])
    assert b"chunks_per_file" not in text
    assert manifest.parse(text, path="m").layouts["states"].chunks_per_file == 1


def test_the_logical_root_does_not_depend_on_the_files(tmp_path: Path) -> None:
    paths = [write_demo(tmp_path / "demo.h5", demo_spec(ROWS)).path]
    paths += [write(tmp_path / f"{size}.zarr", "zstd", size).path for size in (0, SHARD, 1 << 20)]
    roots = set()
    for path in paths:
        with DatasetSource.open(path) as source:
            roots.add(logical_root(source.spec, source.container.layouts, all_digests(source)))
    assert len(roots) == 1


def shard_of(path: Path, index: int = 0) -> Path:
    return path / f"matrix/c/{index}/0/0"


def index_of(path: Path, change: Callable[[np.ndarray[Any, Any]], Any], shard: int = 0) -> None:
    """Change the entries (4, 2) of a shard's index and give it the checksum that fits."""
    data = shard_of(path, shard).read_bytes()
    entries = np.frombuffer(data[-68:-4], "<u8").reshape(4, 2).copy()
    change(entries)
    body = entries.tobytes()
    shard_of(path, shard).write_bytes(data[:-68] + body + struct.pack("<I", google_crc32c.value(body)))


def flipped(place: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data = bytearray(shard_of(path).read_bytes())
        data[place] ^= 1
        shard_of(path).write_bytes(data)

    return change


def cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(shard_of(path), size)


def entries(change: Callable[[np.ndarray[Any, Any]], Any], shard: int = 0) -> Callable[[Path], None]:
    return lambda path: index_of(path, change, shard)


def linked(path: Path) -> None:
    shard_of(path).rename(path.with_name("outside"))
    shard_of(path).symlink_to(path.with_name("outside"))


CHANGES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "truncated by one byte": ("truncated", cut(579)),
    "truncated to an index": ("truncated", cut(68)),
    "empty": ("truncated", cut(0)),
    "one more byte": ("truncated or its index", lambda path: os.truncate(shard_of(path), 581)),
    "index byte": ("truncated or its index", flipped(-68)),
    "checksum byte": ("truncated or its index", flipped(-1)),
    "outside": ("follow one another", entries(lambda each: each.__setitem__((3, 0), 1 << 40))),
    "sums that wrap": ("follow one another", entries(lambda each: each.__setitem__(slice(None), WRAPPING))),
    "overlapping": ("follow one another", entries(lambda each: each.__setitem__((1, 0), 64))),
    "same place": ("follow one another", entries(lambda each: each.__setitem__(1, each[0]))),
    "exchanged": ("follow one another", entries(lambda each: each.__setitem__(slice(2), each[1::-1].copy()))),
    "gap": ("follow one another", entries(lambda each: each.__setitem__((0, 1), 120))),
    "not from the start": ("follow one another", entries(lambda each: each.__setitem__(0, (8, 120)))),
    "chunk left out": ("chunk is missing", entries(lambda each: each.__setitem__(2, NONE))),
    "chunk beyond the end": ("beyond the last row", entries(lambda each: each.__setitem__(3, (0, 128)), 2)),
    "odd mark beyond the end": ("beyond the last row", entries(lambda each: each.__setitem__((3, 1), 0), 2)),
    "shard left out": ("chunk is missing", lambda path: shard_of(path, 1).unlink()),
    "shard too many": ("belong to no variable", lambda path: (path / "matrix/c/3").write_bytes(b"x")),
    "symbolic link": ("symbolic link", linked),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_shard_that_is_not_its_chunks_and_its_index_is_refused(tmp_path: Path, name: str) -> None:
    cause, change = CHANGES[name]
    path = write(tmp_path / "demo.zarr").path
    assert shard_of(path).stat().st_size == 4 * 128 + 68
    change(path)
    with pytest.raises(IntegrityError) as caught:
        open_container(path)
    assert cause in caught.value.what
    assert caught.value.remedy
    assert name in {"symbolic link", "shard too many"} or caught.value.where.field == "matrix"


@pytest.mark.parametrize("shard", [0, 3, 32, 1 << 40])
def test_shards_of_another_length_than_the_metadata_tell_are_refused(tmp_path: Path, shard: int) -> None:
    path = write(tmp_path / "demo.zarr").path
    text = (path / "matrix/zarr.json").read_text()
    assert text.count("16,\n") == 1  # rows of a shard
    (path / "matrix/zarr.json").write_text(text.replace("16,\n", f"{4 * shard},\n"))
    with pytest.raises(IntegrityError, match="metadata of a variable"):
        open_container(path)


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Path, manifest.Manifest]:
    """A dataset in shards (compressed, so that no two are of one length) and its manifest."""
    path = write(tmp_path / "demo.zarr", "zstd").path
    with DatasetSource.open(path) as source:
        return path, manifest.parse(manifest.encode(source.container, all_digests(source)), path="m")


def test_a_manifest_covers_every_index_of_a_shard(certified: tuple[Path, manifest.Manifest]) -> None:
    path, contents = certified
    match_container(path, contents)
    container = open_container(path)
    assert sorted(metadata_ranges(contents, path), key=str) == sorted(container.metadata, key=str)
    places = [
        (index.path, index.offset + step) for index in container.layouts["matrix"].indices() for step in range(68)
    ]
    for name, place in places:
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(IntegrityError, match="metadata is not what was certified"):
            match_container(path, contents)
        (path / name).write_bytes(data)
    match_container(path, contents)


@pytest.mark.parametrize("name", ["longer", "shorter", "exchanged", "gone", "linked"])
def test_a_manifest_refuses_a_shard_of_another_size_or_place(
    certified: tuple[Path, manifest.Manifest], name: str
) -> None:
    path, contents = certified
    if name == "longer":
        shard_of(path).write_bytes(shard_of(path).read_bytes() + b"\0")
    elif name == "shorter":
        os.truncate(shard_of(path), 10)
    elif name == "exchanged":
        shard_of(path, 2).rename(path / "kept")
        shard_of(path, 1).rename(shard_of(path, 2))
        (path / "kept").rename(shard_of(path, 1))
    elif name == "gone":
        shard_of(path).unlink()
    else:
        linked(path)
    with pytest.raises(IntegrityError) as caught:
        match_container(path, contents)
    assert caught.value.exit_code == 3


def test_shards_of_one_length_that_changed_places_are_found_when_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "demo.zarr").path
    with DatasetSource.open(path) as source:
        known = all_digests(source)
    shard_of(path, 1).rename(path / "kept")
    shard_of(path, 0).rename(shard_of(path, 1))
    (path / "kept").rename(shard_of(path, 0))
    with DatasetSource.open(path, known) as source, pytest.raises(IntegrityError, match="changed"):
        all_digests(source)


def test_a_shard_that_was_changed_after_opening_is_refused(tmp_path: Path) -> None:
    container = write(tmp_path / "demo.zarr")
    with ChunkReader(container.path, container.layouts) as reader:
        reader.stored(ChunkKey("matrix", 0))
        os.truncate(shard_of(container.path), 500)
        with pytest.raises(IntegrityError, match="truncated"):
            reader.stored(ChunkKey("matrix", 1))


def test_a_reader_keeps_few_files_open_and_closes_them(tmp_path: Path) -> None:
    spec = demo_spec(600, constants=())
    container = write(tmp_path / "demo.zarr", spec=spec)
    before = len(os.listdir("/proc/self/fd"))
    with ChunkReader(container.path, container.layouts) as reader:
        for name, array in demo_arrays(spec).items():
            np.testing.assert_array_equal(reader.rows(name, 0, 600), array)
            assert len(os.listdir("/proc/self/fd")) <= before + 70
        assert len(os.listdir("/proc/self/fd")) > before + 10
    assert len(os.listdir("/proc/self/fd")) == before
