"""A Zarr folder with more, or other, things in it than the dataset: metadata copies, links, devices, names."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr as plain_zarr

import prep
from prep.errors import PrepError
from prep.importers import IngestOptions
from tests.attacks.outcomes import refused_when_certified, refused_when_used
from tests.attacks.tiny import Tiny, admitted, edit_json


def consolidated(path: Path, change: Callable[[dict], None]) -> None:
    """Copies of all metadata in the root, ``change`` made to that of the field inputs."""
    nodes = {str(each.parent.relative_to(path)): json.loads(each.read_text()) for each in path.rglob("*/zarr.json")}
    change(nodes["inputs"])
    block = {"kind": "inline", "must_understand": False, "metadata": nodes}
    edit_json(path / "zarr.json", lambda node: node.update(consolidated_metadata=block))


def test_consolidated_metadata_that_say_something_else_than_the_nodes_are_refused(zarr: Tiny):
    """Row 12: xarray believes the copy in the root."""
    consolidated(zarr.path, lambda node: node["attributes"].update(scale_factor=100.0))
    with xr.open_zarr(zarr.path, consolidated=True) as found:
        assert not np.array_equal(found["inputs"].values, zarr.values["inputs"])
    with xr.open_zarr(zarr.path, consolidated=False) as found:
        np.testing.assert_array_equal(found["inputs"].values, zarr.values["inputs"])

    refused_when_used(zarr, "metadata")
    refused_when_certified(zarr, "a group has metadata")


def test_an_array_that_only_consolidated_metadata_know_is_refused(zarr: Tiny):
    """Row 12: a ghost: it is in no node and reads as fill values."""
    node = json.loads((zarr.path / "inputs/zarr.json").read_text())
    node["fill_value"] = 7.0
    nodes = {
        str(each.parent.relative_to(zarr.path)): json.loads(each.read_text()) for each in zarr.path.rglob("*/zarr.json")
    }
    block = {"kind": "inline", "must_understand": False, "metadata": {**nodes, "ghost": node}}
    edit_json(zarr.path / "zarr.json", lambda root: root.update(consolidated_metadata=block))
    assert (plain_zarr.open_consolidated(zarr.path)["ghost"][...] == 7).all()

    refused_when_used(zarr, "metadata")
    refused_when_certified(zarr, "a group has metadata")


EXTRAS: dict[str, Callable[[Path], object]] = {
    "an array": lambda path: shutil.copytree(path / "inputs", path / "ghost"),
    "a file in the root": lambda path: (path / "notes.txt").write_text("x"),
    "a chunk beyond the last": lambda path: (path / "episode/c/9").write_bytes(b"x" * 256),
    "metadata of Zarr 2 beside those of Zarr 3": lambda path: (path / "inputs/.zarray").write_text("{}"),
    "attributes of Zarr 2": lambda path: (path / ".zattrs").write_text('{"scale_factor": 2}'),
    "a hidden file": lambda path: (path / "inputs/c/.0.partial").write_bytes(b"x"),
    "a name that is no text": lambda path: Path(os.fsdecode(os.fsencode(path) + b"/\xff")).write_bytes(b"x"),
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_the_manifest_does_not_name_is_refused_at_admission(make, extra: str):
    """Row 12 and the first rule: plain zarr lists what was added among the data, or does not mind it."""
    tiny = make("zarr-files")
    EXTRAS[extra](tiny.path)
    if extra == "an array":
        assert "ghost" in plain_zarr.open_group(tiny.path, mode="r")

    refused_when_used(tiny)


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_belongs_to_no_variable_is_refused_at_certification(make, extra: str):
    """Row 12."""
    tiny = make("zarr-files")
    EXTRAS[extra](tiny.path)

    refused_when_certified(tiny, "")


def swapped_for_link(tiny: Tiny) -> np.ndarray:
    file, _, _ = tiny.file_of("inputs", 1)
    foreign = np.full((16, 8), 666, "f4")
    outside = tiny.folder / "outside"
    outside.write_bytes(foreign.tobytes())
    file.unlink()
    file.symlink_to(outside)
    return foreign


def test_a_chunk_that_is_a_link_to_another_file_is_refused(make):
    """Row 13."""
    tiny = make("zarr-files")
    foreign = swapped_for_link(tiny)
    found = plain_zarr.open_group(tiny.path, mode="r")["inputs"][16:32]
    np.testing.assert_array_equal(found, foreign)

    error = refused_when_used(tiny, "symbolic link")
    assert "inputs/c/1" in str(error)
    refused_when_certified(tiny, "symbolic link")


def test_a_link_is_refused_even_where_it_leads_to_the_certified_bytes(zarr: Tiny):
    """Row 13: what a link leads to can change at any moment."""
    file, _, _ = zarr.file_of("inputs")
    outside = zarr.folder / "outside"
    file.rename(outside)
    file.symlink_to(outside)
    np.testing.assert_array_equal(plain_zarr.open_group(zarr.path, mode="r")["inputs"][...], zarr.values["inputs"])

    refused_when_used(zarr)
    refused_when_certified(zarr, "symbolic link")


def test_a_folder_that_is_a_link_is_refused(zarr: Tiny):
    """Row 13: a link in the middle of the path of a chunk."""
    outside = zarr.folder / "outside"
    (zarr.path / "inputs/c").rename(outside)
    (zarr.path / "inputs/c").symlink_to(outside, target_is_directory=True)
    for file in outside.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes())
    np.testing.assert_array_equal(plain_zarr.open_group(zarr.path, mode="r")["inputs"][...], zarr.values["inputs"])

    refused_when_certified(zarr, "symbolic link")


def test_a_folder_that_is_a_link_is_refused_at_admission(zarr: Tiny):
    """Row 13."""
    outside = zarr.folder / "outside"
    (zarr.path / "inputs/c").rename(outside)
    (zarr.path / "inputs/c").symlink_to(outside, target_is_directory=True)

    refused_when_used(zarr)


def test_a_pipe_in_place_of_a_chunk_is_refused_and_not_waited_for(make):
    """Row 13: plain zarr reads what another process writes into it."""
    tiny = make("zarr-files")
    file, _, _ = tiny.file_of("inputs", 1)
    foreign = np.full((16, 8), 666, "f4")
    file.unlink()
    os.mkfifo(file)
    writer = threading.Thread(target=lambda: file.write_bytes(foreign.tobytes()), daemon=True)
    writer.start()
    np.testing.assert_array_equal(plain_zarr.open_group(tiny.path, mode="r")["inputs"][16:32], foreign)
    writer.join(10)

    refused_when_used(tiny, "truncated or was changed", "no regular file")
    refused_when_certified(tiny, "no regular file")


def test_metadata_that_are_a_pipe_are_refused_and_not_waited_for(zarr: Tiny):
    """Row 13."""
    place = zarr.path / "inputs/zarr.json"
    place.unlink()
    os.mkfifo(place)
    zarr.manifest.unlink()
    refused_when_certified(zarr, "no regular file")


def test_metadata_that_became_a_pipe_do_not_hang_the_admission(zarr: Tiny):
    """Row 13."""
    place = zarr.path / "inputs/zarr.json"
    size = place.stat().st_size
    place.unlink()
    os.mkfifo(place)
    assert size
    thread_outcome(lambda: refused_when_used(zarr))


def thread_outcome(action: Callable[[], object], timeout: float = 20) -> None:
    """Run in a thread that may hang; what it raised is raised here."""
    raised: list[BaseException] = []

    def call() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(timeout)
    assert not thread.is_alive(), "it waits for ever"
    if raised:
        raise raised[0]


def test_a_device_in_place_of_a_chunk_is_refused(make):
    """Row 13: a character device that gives zeros without end."""
    tiny = make("zarr-files")
    file, _, _ = tiny.file_of("inputs", 1)
    file.unlink()
    try:
        os.mknod(file, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device needs rights that this user does not have")

    refused_when_used(tiny, "truncated or was changed", "no regular file")
    refused_when_certified(tiny, "no regular file")


def test_a_socket_in_a_zarr_is_refused(zarr: Tiny):
    """Row 13."""
    import socket

    os.chdir(zarr.path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
        os.chdir(zarr.folder)
        refused_when_certified(zarr, "no regular file")


HDF5_NAMES = [
    "../inputs",
    "inputs ",
    "Inputs",
    "i\u0301nputs",
    "іnputs",
    "in\nputs",
    "a..b/c",
    "CON",
    "-rf",
    "x" * 300,
]


@pytest.mark.parametrize("name", HDF5_NAMES)
def test_names_that_leave_the_folder_or_look_like_others_are_refused_in_hdf5(make, name: str):
    """Row 14: h5py takes any of them for the name of a dataset."""
    tiny = make("hdf5")
    safe = name.replace("/", "\u2215")
    with h5py.File(tiny.path, "r+", libver=("v110", "v110")) as file:
        file.create_dataset(safe, data=tiny.values["episode"], chunks=(32,))
        file.attrs.create("prep_fields", np.bytes_((file.attrs["prep_fields"].decode() + " " + safe).encode()))
        assert safe in file

    refused_when_used(tiny)
    refused_when_certified(tiny, "", 3)


MEMBERS = ["../../outside", "/etc/passwd", "a\\..\\b", "Inputs", "inp\u0443ts", "in puts", "..", "prep", "zarr.json"]


@pytest.mark.parametrize("member", MEMBERS)
def test_names_of_archive_members_cannot_leave_the_folder_or_clash(make, member: str):
    """Row 14: NumPy lists such members like any other."""
    tiny = make("hdf5")
    source = tiny.folder / "own.npz"
    np.savez(source, inputs=np.ones((20, 2), "f4"))
    with zipfile.ZipFile(source, "a") as archive, archive.open(f"{member}.npy", "w") as file:
        np.save(file, np.ones((20, 2), "f4"))
    with np.load(source) as plain:
        assert len(plain.files) == 2
    before = set(tiny.folder.parent.rglob("*"))

    with pytest.raises(PrepError) as caught:
        prep.ingest(str(source), output="data/raw/own.zarr", options=IngestOptions(roles={member: "target"}))
    assert caught.value.exit_code in (1, 2, 3)
    made = set(tiny.folder.parent.rglob("*")) - before
    assert not [each for each in made if "outside" in each.name or each.suffix in (".zarr", ".h5")]


@pytest.mark.parametrize("mask", ["../visible", "visible\0x", "/visible", "v\u0456sible"])
def test_a_mask_of_another_name_is_refused(zarr: Tiny, mask: str):
    """Row 14: names in attributes lead to other fields; JSON takes any of them."""
    edit_json(zarr.path / "inputs/zarr.json", lambda node: node["attributes"].update(mask=mask))
    assert plain_zarr.open_group(zarr.path, mode="r")["inputs"].attrs["mask"] == mask

    refused_when_used(zarr, "metadata")
    refused_when_certified(zarr, "", 1, 3)


def test_a_path_that_is_turned_round_after_admission_leads_nowhere_else(make):
    """Not on the page: the path is exchanged between admission and reading."""
    one, other = make("zarr-files"), make("zarr-files")
    data = admitted(one)
    for file in (other.path / "inputs/c").rglob("*"):
        if file.is_file():
            file.write_bytes(bytes(file.stat().st_size))
    one.path.rename(one.folder / "away")
    one.path.symlink_to(other.path, target_is_directory=True)
    np.testing.assert_array_equal(data.rows("inputs", 0, 96), one.values["inputs"])
    refused_when_used(one)
