"""Opening accepts exactly what prep writes; every other construct is refused with its cause, field and remedy."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from prep.errors import IntegrityError, UsageError
from prep.formats import format_of, open_container
from prep.formats.codecs import check_codecs
from prep.formats.files import LocalFiles
from prep.formats.hdf5_structure import DIMENSION_ONLY
from tests.rooms.formats_demo import demo_spec, write_demo


def refusal(path: Path) -> IntegrityError:
    """The error for a damaged dataset, complete in all its parts."""
    with pytest.raises(IntegrityError) as caught:
        open_container(path)
    assert caught.value.exit_code == 3
    assert caught.value.remedy
    assert str(path) in caught.value.where.path
    return caught.value


def test_a_missing_path_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    for name in ("no.h5", "no.zarr", "no.txt", "folder/no.h5"):
        with pytest.raises(UsageError, match="no dataset"):
            open_container(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no dataset at all" * 100])
def test_a_file_that_is_no_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    assert "damaged" in refusal(tmp_path / "x.h5").what or "neither" in refusal(tmp_path / "x.h5").what


def test_folders_and_special_files_are_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "empty.zarr").mkdir()
    os.mkfifo(tmp_path / "pipe.h5")
    assert "zarr.json" in refusal(tmp_path / "empty.zarr").what
    assert "neither" in refusal(tmp_path / "pipe.h5").what
    with pytest.raises(IntegrityError):
        format_of(tmp_path / "pipe.h5")


def test_datasets_of_others_are_sent_to_ingest(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(3)
        file.attrs["steps"] = 3
    zarr.create_group(tmp_path / "other.zarr").create_array("x", data=np.arange(3))
    for name in ("other.h5", "other.zarr"):
        assert f"prep ingest {tmp_path / name}" in refusal(tmp_path / name).remedy


@pytest.mark.parametrize("ending", [".h5", ".zarr"])
def test_a_tree_of_another_version_is_refused(tmp_path: Path, ending: str) -> None:
    path = write_demo(tmp_path / f"demo{ending}").path
    if ending == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["prep_format"] = np.bytes_(b"2")
    else:
        edit(path / "zarr.json", lambda node: node["attributes"].update(prep_format="2"))
    assert refusal(path).measured == "prep_format 2"


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_hdf5_file_is_refused(tmp_path: Path, share: float) -> None:
    path = write_demo(tmp_path / "demo.h5", demo_spec(500)).path
    os.truncate(path, int(path.stat().st_size * share))
    refusal(path)


def external(file: h5py.File, path: Path) -> None:
    secret = path.with_name("secret.bin")
    secret.write_bytes(bytes(80))
    del file["episode"]
    file.create_dataset("episode", (10,), "i8", external=[(str(secret), 0, 80)])


def virtual(file: h5py.File, path: Path) -> None:
    layout = h5py.VirtualLayout((10,), "i8")
    layout[:] = h5py.VirtualSource(str(path.with_name("absent.h5")), "x", (10,))
    del file["episode"]
    file.create_virtual_dataset("episode", layout)


def replaced(**options: Any) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, _: Path) -> None:
        attributes = dict(file["episode"].attrs)
        del file["episode"]
        data = options.pop("data", np.arange(10))
        file.create_dataset("episode", data=data, **options)
        for key in ("units", "role", "transform", "transform_state"):
            file["episode"].attrs[key] = attributes[key]
        file["episode"].dims[0].attach_scale(file["sample"])

    return change


def linked(link: Any) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, _: Path) -> None:
        del file["episode"]
        file["episode"] = link

    return change


def attribute(where: str, key: str, value: Any) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, _: Path) -> None:
        file[where].attrs[key] = np.bytes_(value.encode()) if isinstance(value, str) else value

    return change


def unused(file: h5py.File, _: Path) -> None:
    file.create_dataset("extra", (3,), "f4").make_scale(DIMENSION_ONLY)


def alias(file: h5py.File, _: Path) -> None:
    file["copy"] = file["episode"]


def resized(file: h5py.File, _: Path) -> None:
    file["states"].resize(40, axis=0)


def shrunk(file: h5py.File, _: Path) -> None:
    file["states"].resize(9, axis=0)


HDF5_CHANGES: dict[str, tuple[str, Callable[[h5py.File, Path], None]]] = {
    "external storage": ("external storage", external),
    "virtual dataset": ("virtual", virtual),
    "soft link": ("soft link", linked(h5py.SoftLink("/split"))),
    "external link": ("external link", linked(h5py.ExternalLink("other.h5", "/x"))),
    "soft link in place of the documents": (
        "soft link",
        lambda file, _: (file.move("prep", "z"), file.__setitem__("prep", h5py.SoftLink("/z")))[0],
    ),
    "second name": ("overlap", alias),
    "group": ("no dataset", lambda file, _: file.create_group("more") and None),
    "member of prep": ("members", lambda file, _: file["prep"].create_group("more") and None),
    "named type": ("no dataset", lambda file, _: file.__setitem__("kind", np.dtype("f8"))),
    "big-endian": ("little-endian", replaced(data=np.arange(10).astype(">i8"), chunks=(10,))),
    "text": ("little-endian", replaced(data=[b"ab"] * 10, chunks=(10,))),
    "variable length": (
        "little-endian",
        replaced(data=np.array(["a"] * 10, object), dtype=h5py.string_dtype(), chunks=(10,)),
    ),
    "compound": ("little-endian", replaced(data=np.zeros(10, [("a", "i4")]), chunks=(10,))),
    "contiguous": ("chunked", replaced()),
    "fill value": ("fill value", replaced(chunks=(10,), fillvalue=7)),
    "unknown filter": ("filter", replaced(chunks=(10,), compression="lzf")),
    "checksum filter": ("filter", replaced(chunks=(10,), fletcher32=True)),
    "scale-offset filter": ("filter", replaced(chunks=(10,), scaleoffset=0)),
    "missing chunk": ("chunk is missing", replaced(data=None, shape=(10,), dtype="i8", chunks=(5,))),
    "rows without chunks": ("chunk is missing", resized),
    "fewer rows": ("row per sample", shrunk),
    "scale_factor": ("attributes", attribute("states", "scale_factor", "2")),
    "number in an attribute": ("no text", attribute("states", "add_offset", 1.0)),
    "text of variable length": ("no text", lambda file, _: file["states"].attrs.__setitem__("units", "m")),
    "_FillValue": ("no text", attribute("states", "_FillValue", np.float32(0))),
    "flags on another field": ("attributes", attribute("states", "flag_values", np.arange(3, dtype=np.uint8))),
    "flags changed": ("attributes", attribute("split", "flag_values", np.array([2, 1, 0], np.uint8))),
    "unknown role": ("role", attribute("states", "role", "output")),
    "unknown transform state": ("transform state", attribute("states", "transform_state", "half")),
    "mask that cannot be": ("name", attribute("states", "mask", "../mask")),
    "splits that overlap": ("splits", attribute("/", "splits", '{"train": [0, 6], "val": [5, 10]}')),
    "splits that are no JSON": ("splits", attribute("/", "splits", "[")),
    "splits beyond the rows": ("row per sample", attribute("/", "splits", '{"train": [0, 11]}')),
    "unlisted field": ("variables", attribute("/", "prep_fields", "states")),
    "number in the root": ("no text", attribute("/", "note", 1)),
    "dimension of nothing": ("dimensions do not fit", unused),
    "dimension with data": ("holds data", lambda file, _: file["sample"].__setitem__(0, 1)),
}


@pytest.mark.parametrize("name", HDF5_CHANGES)
def test_an_hdf5_file_with_anything_else_in_it_is_refused(tmp_path: Path, name: str) -> None:
    cause, change = HDF5_CHANGES[name]
    path = write_demo(tmp_path / "demo.h5").path
    with h5py.File(path, "r+", libver="latest") as file:
        change(file, path)
    assert cause in refusal(path).what


def test_a_chunk_that_skips_its_filters_is_refused(tmp_path: Path) -> None:
    path = write_demo(tmp_path / "demo.h5", compression="gzip").path
    with h5py.File(path, "r+") as file:
        stored = file["episode"][...].tobytes()
        file["episode"].id.write_direct_chunk((0,), stored, filter_mask=3)
    assert "skips" in refusal(path).what


def test_flipped_bits_of_the_hdf5_structure_are_refused_or_change_nothing(tmp_path: Path) -> None:
    container = write_demo(tmp_path / "demo.h5", demo_spec(100), "gzip")
    intact = container.path.read_bytes()
    places = np.concatenate([np.arange(part.offset, part.offset + part.size) for part in container.metadata])
    generator = np.random.default_rng(0)
    refused = 0
    for place, bit in zip(generator.choice(places, 300), generator.integers(0, 8, 300), strict=True):
        flipped = bytearray(intact)
        flipped[place] ^= 1 << bit
        container.path.write_bytes(flipped)
        try:
            found = open_container(container.path)
        except IntegrityError:
            refused += 1
            continue
        assert found.spec == container.spec
        for name, layout in container.layouts.items():
            np.testing.assert_array_equal(found.layouts[name].offsets, layout.offsets)
            np.testing.assert_array_equal(found.layouts[name].sizes, layout.sizes)
            assert found.layouts[name].codecs == layout.codecs
    assert refused > 100


@pytest.mark.parametrize("place", [8, 15, 24, 31])
def test_a_damaged_heap_is_refused_before_libhdf5_loops_on_it(tmp_path: Path, place: int) -> None:
    path = write_demo(tmp_path / "demo.h5").path
    data = bytearray(path.read_bytes())
    data[data.index(b"GCOL") + place] ^= 2
    path.write_bytes(data)
    assert "global heap" in refusal(path).what


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file in place."""
    node = json.loads(path.read_text())
    change(node)
    path.write_text(json.dumps(node))


def array(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda path: edit(path / "states/zarr.json", change)


def root(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda path: edit(path / "zarr.json", change)


def set_codecs(*codecs: dict[str, Any]) -> Callable[[Path], None]:
    return array(lambda node: node.update(codecs=list(codecs)))


LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
GZIP = {"name": "gzip", "configuration": {"level": 4}}


def outside_link(path: Path) -> None:
    chunk = path / "states/c/0/0/0"
    chunk.rename(path.with_name("outside"))
    chunk.symlink_to(path.with_name("outside"))


def folder_link(path: Path) -> None:
    (path / "states").rename(path.with_name("outside"))
    (path / "states").symlink_to(path.with_name("outside"), target_is_directory=True)


def metadata_link(path: Path) -> None:
    (path / "zarr.json").rename(path.with_name("outside.json"))
    (path / "zarr.json").symlink_to(path.with_name("outside.json"))


def duplicate_key(path: Path) -> None:
    text = (path / "states/zarr.json").read_text()
    (path / "states/zarr.json").write_text(text.replace("{", '{"fill_value": 1.0,', 1))


ZARR_CHANGES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "missing chunk": ("chunk is missing", lambda path: (path / "states/c/0/0/0").unlink()),
    "truncated chunk": ("truncated", lambda path: os.truncate(path / "states/c/0/0/0", 7)),
    "longer chunk": ("too long", lambda path: os.truncate(path / "states/c/0/0/0", 7000)),
    "more rows": ("chunk is missing", array(lambda node: node["shape"].__setitem__(0, 1 << 60))),
    "fewer rows": ("row per sample", array(lambda node: node["shape"].__setitem__(0, 9))),
    "symbolic link": ("symbolic link", outside_link),
    "linked folder": ("symbolic link", folder_link),
    "linked metadata": ("symbolic link", metadata_link),
    "pipe": ("no regular file", lambda path: os.mkfifo(path / "pipe")),
    "extra file": ("belong to no variable", lambda path: (path / "notes.txt").write_text("x")),
    "extra chunk": ("belong to no variable", lambda path: (path / "states/c/1").write_bytes(b"x")),
    "partial file": ("belong to no variable", lambda path: (path / "states/c/0/0/0.partial").write_bytes(b"x")),
    "ghost array": ("variables", lambda path: shutil.copytree(path / "states", path / "ghost")),
    "consolidated metadata": ("group has metadata", root(lambda node: node.update(consolidated_metadata={}))),
    "fill value": ("metadata of a variable", array(lambda node: node.update(fill_value=1.0))),
    "big-endian": ("metadata of a variable", set_codecs({"name": "bytes", "configuration": {"endian": "big"}})),
    "unknown codec": ("metadata of a variable", set_codecs(LITTLE, {"name": "crc32c", "configuration": {}})),
    "two codecs": ("metadata of a variable", set_codecs(LITTLE, GZIP, GZIP)),
    "sharding": ("metadata of a variable", set_codecs({"name": "sharding_indexed", "configuration": {}})),
    "no codecs": ("metadata of a variable", set_codecs()),
    "transposed": ("metadata of a variable", set_codecs({"name": "transpose", "configuration": {"order": [2, 1, 0]}})),
    "object type": ("metadata of a variable", array(lambda node: node.update(data_type="string"))),
    "other type": ("truncated", array(lambda node: node.update(data_type="float64"))),
    "other chunk keys": (
        "metadata of a variable",
        array(lambda node: node["chunk_key_encoding"].update(name="v2")),
    ),
    "storage transformer": ("metadata of a variable", array(lambda node: node.update(storage_transformers=[]))),
    "scale_factor": ("attributes", array(lambda node: node["attributes"].update(scale_factor=2))),
    "no dimension names": ("metadata of a variable", array(lambda node: node.pop("dimension_names"))),
    "attributes that are no texts": ("no texts", root(lambda node: node["attributes"].update(note=1))),
    "missing root attribute": ("missing", root(lambda node: node["attributes"].pop("splits"))),
    "missing documents": ("missing", lambda path: (path / "prep/zarr.json").unlink()),
    "no JSON": ("JSON", lambda path: (path / "states/zarr.json").write_text("{")),
    "JSON list": ("JSON", lambda path: (path / "states/zarr.json").write_text("[]")),
    "duplicate key": ("JSON", duplicate_key),
    "metadata of odd types": ("a field needs", array(lambda node: node.update(shape="10"))),
    "no shape": ("metadata of a variable", array(lambda node: node.update(shape=[]))),
    "negative rows": ("metadata of a variable", array(lambda node: node["shape"].__setitem__(0, -1))),
}


@pytest.mark.parametrize("name", ZARR_CHANGES)
def test_a_zarr_folder_with_anything_else_in_it_is_refused(tmp_path: Path, name: str) -> None:
    cause, change = ZARR_CHANGES[name]
    path = write_demo(tmp_path / "demo.zarr").path
    change(path)
    assert cause in refusal(path).what


@pytest.mark.parametrize("ending", [".h5", ".zarr"])
def test_an_intact_dataset_opens_under_any_name_and_through_a_link(tmp_path: Path, ending: str) -> None:
    path = write_demo(tmp_path / f"demo{ending}").path
    (tmp_path / "link").symlink_to(path)
    assert open_container(tmp_path / "link").spec == demo_spec()
    path.rename(tmp_path / "renamed")
    assert open_container(tmp_path / "renamed").spec == demo_spec()


SHUFFLE, ZLIB = {"id": "shuffle", "elementsize": 4}, {"id": "zlib", "level": 6}
CODECS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a codec of somebody else": ([{"id": "lzma"}], "codecs lzma"),
    "a codec that runs code": ([{"id": "pickle", "protocol": 4}], "codecs pickle"),
    "a chain in another order": ([ZLIB, SHUFFLE], "codecs zlib, shuffle"),
    "a codec twice": ([ZLIB, ZLIB], "codecs zlib, zlib"),
    "a level that does not exist": ([{"id": "gzip", "level": 10}], "options of codec gzip"),
    "a level that is no number": ([{"id": "gzip", "level": True}], "options of codec gzip"),
    "an option too many": ([{**ZLIB, "dictionary": "x"}], "options of codec zlib"),
    "an option that is missing": ([{"id": "zlib"}], "options of codec zlib"),
    "a shuffle of other elements": ([{**SHUFFLE, "elementsize": 8}], "shuffle of 8 bytes for elements of 4"),
}


@pytest.mark.parametrize("case", CODECS)
def test_a_chain_of_codecs_that_prep_does_not_write_is_refused(case: str) -> None:
    codecs, match = CODECS[case]
    check_codecs([SHUFFLE, ZLIB], 4)
    with pytest.raises(ValueError, match=match):
        check_codecs(codecs, 4)


def test_what_is_no_file_is_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IntegrityError, match="neither a file nor a folder"):
        LocalFiles(tmp_path / "pipe")
    with pytest.raises(IntegrityError, match="no regular file"):
        LocalFiles(tmp_path).read("pipe", memoryview(bytearray(1)), 0)
    (tmp_path / "pipe").unlink()
    (tmp_path / "folder").mkdir()
    with pytest.raises(IntegrityError, match="no regular file"):
        LocalFiles(tmp_path).size("folder")


def test_a_folder_is_not_walked_beyond_what_a_dataset_has(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}/inside").mkdir(parents=True)
        (tmp_path / f"{name}/file").touch()
    assert len(LocalFiles(tmp_path).listing()) == 8
    with pytest.raises(IntegrityError, match="more than it names"):
        LocalFiles(tmp_path).listing(2)

    deep = tmp_path / "/".join("x" * 80)
    deep.mkdir(parents=True)
    with pytest.raises(IntegrityError, match="more than it names"):
        LocalFiles(tmp_path).listing()
