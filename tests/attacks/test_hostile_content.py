"""Files that run code, exhaust memory or crash the parser: plugins, objects, bombs, damage."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import subprocess
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import numcodecs
import numpy as np
import pytest
import zarr as plain_zarr

import prep
from prep.blocks import ChunkKey
from prep.errors import IntegrityError
from prep.formats.reader import ChunkReader
from tests.attacks.outcomes import (
    command,
    printed,
    refused,
    refused_when_certified,
    refused_when_used,
    run,
)
from tests.attacks.tiny import Tiny, admitted, overwrite, pin_payload, stored_chunks

HERE = Path(__file__).parent
FILTER = 4242


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled filter plugin."""
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler on this machine (cc), so no plugin can be made")
    folder = tmp_path_factory.mktemp("plugins")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libchange.so", HERE / "plugin.c"], check=True)
    return folder


def with_filter(path: Path, name: str, chunks: list[bytes]) -> None:
    """The field again, its pipeline naming a filter that no library has; stored bytes as they were."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        old = file[name]
        attributes = {key: old.attrs[key] for key in old.attrs if key not in ("DIMENSION_LIST", "REFERENCE_LIST")}
        scales, shape, rows = [each[0].name for each in old.dims], old.shape, old.chunks[0]
        del file[name]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((rows, *shape[1:]))
        plan.set_filter(FILTER, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED, *shape[1:]))
        h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, plan).close()
        new = file[name]
        for index, data in enumerate(chunks):
            new.id.write_direct_chunk((index * rows, *(0 for _ in shape[1:])), data)
        for key, value in attributes.items():
            new.attrs.create(key, value, dtype=value.dtype if hasattr(value, "dtype") else None)
        for place, scale in enumerate(scales):
            new.dims[place].attach_scale(file[scale])


def test_a_filter_that_loads_code_from_the_plugin_path_is_neither_loaded_nor_read(make, plugins: Path):
    """Row 9: plain HDF5 loads every library on the path to find the filter, and reads what it makes of the bytes."""
    tiny = make("hdf5")
    with_filter(tiny.path, "inputs", stored_chunks(tiny.path, "inputs"))
    marker = tiny.folder / "loaded"
    environment = {"HDF5_PLUGIN_PATH": str(plugins), "MARKER": str(marker)}
    code = f"import h5py, json; print(json.dumps(float(h5py.File({str(tiny.path)!r})['inputs'][0, 0])))"
    assert printed(tiny.folder, code, **environment) == -float(tiny.values["inputs"][0, 0])
    assert marker.exists()
    marker.unlink()

    for arguments in (("verify", str(tiny.path), "--deep"), ("validate", str(tiny.path)), ("certify", str(tiny.path))):
        done = command(tiny.folder, *arguments, **environment)
        assert done.returncode == 3, done.stderr
        assert not marker.exists()
    tiny.manifest.unlink()
    done = command(tiny.folder, "validate", str(tiny.path), **environment)
    assert (done.returncode, "filter" in done.stdout + done.stderr) == (3, True)
    assert not marker.exists()


def test_ingesting_a_foreign_file_loads_no_plugin(make, plugins: Path):
    """Row 9: a file of somebody else is read by libhdf5, but without plugins of the environment."""
    tiny = make("hdf5")
    foreign, marker = tiny.folder / "foreign.h5", tiny.folder / "loaded"
    with h5py.File(foreign, "w") as file:
        file.create_dataset("inputs", data=tiny.values["inputs"], chunks=(16, 8))
        file.create_dataset("targets", data=tiny.values["targets"])
    chunks = stored_chunks(foreign, "inputs")
    with h5py.File(foreign, "r+") as file:
        file["s"] = np.zeros(1)
    with_plain_filter(foreign, chunks, tiny.values["inputs"].shape)
    mapping = tiny.folder / "mapping.yaml"
    mapping.write_text("fields: {inputs: {path: inputs, role: input}, targets: {path: targets, role: target}}\n")
    done = command(
        tiny.folder,
        "ingest",
        str(foreign),
        "--mapping",
        str(mapping),
        "-o",
        "data/raw/own.h5",
        HDF5_PLUGIN_PATH=str(plugins),
        MARKER=str(marker),
    )
    assert done.returncode in (2, 3), done.stderr
    assert not marker.exists(), done.stderr


def with_plain_filter(path: Path, chunks: list[bytes], shape: tuple[int, ...]) -> None:
    """The same pipeline in a file that prep did not write."""
    with h5py.File(path, "r+") as file:
        del file["inputs"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((16, 8))
        plan.set_filter(FILTER, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file.id, b"inputs", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), plan).close()
        for index, data in enumerate(chunks):
            file["inputs"].id.write_direct_chunk((index * 16, 0), data)


def payload(marker: Path) -> bytes:
    """A pickle that makes the folder ``marker`` when it is loaded."""
    return b"cos\nmkdir\n(V" + str(marker).encode("raw_unicode_escape") + b"\ntR."


def test_pickled_arrays_are_not_unpickled(make):
    """Row 10: NumPy runs what the archive says where it is asked to read objects."""
    tiny = make("hdf5")
    marker = tiny.folder / "ran"
    head = np.lib.format.header_data_from_array_1_0(np.empty(96, object))
    member = BytesIO()
    np.lib.format.write_array_header_1_0(member, head)
    source = tiny.folder / "own.npz"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("inputs.npy", member.getvalue() + payload(marker))
    with np.load(source, allow_pickle=True) as plain:
        _ = plain["inputs"]
    assert marker.exists()
    marker.rmdir()

    error = refused(lambda: prep.ingest(str(source), output="data/raw/own.h5"), "pickle", 1, 2, 3)
    assert "inputs" in str(error)
    assert not marker.exists()


def test_a_pickled_attribute_is_refused_unread(hdf5: Tiny):
    """Row 10."""
    marker = hdf5.folder / "ran"
    with h5py.File(hdf5.path, "r+") as file:
        file["inputs"].attrs["object"] = np.void(payload(marker))
    with h5py.File(hdf5.path) as file:
        pickle.loads(file["inputs"].attrs["object"].tobytes())
    assert marker.exists()
    marker.rmdir()

    refused_when_used(hdf5)
    refused_when_certified(hdf5, "attribute")
    assert not marker.exists()


ODD_TYPES = {
    "text of variable length": lambda file: file.create_dataset("episode", (96,), h5py.string_dtype(), chunks=(32,)),
    "references": lambda file: file.create_dataset("episode", (96,), h5py.ref_dtype, chunks=(32,)),
    "opaque": lambda file: file.create_dataset("episode", (96,), "V8", chunks=(32,)),
    "compound": lambda file: file.create_dataset("episode", (96,), [("a", "i4"), ("b", "i4")], chunks=(32,)),
    "an enumeration": lambda file: file.create_dataset(
        "episode", (96,), h5py.enum_dtype({"a": 0, "b": 1}, basetype="i8"), chunks=(32,)
    ),
    "arrays": lambda file: file.create_dataset("episode", (96,), np.dtype(("i4", (2,))), chunks=(32,)),
}


@pytest.mark.parametrize("kind", ODD_TYPES)
def test_types_that_are_no_plain_numbers_are_refused(make, kind: str):
    """Row 10: h5py reads each of them without complaint."""
    tiny = make("hdf5")
    with h5py.File(tiny.path, "r+", libver=("v110", "v110")) as file:
        old = file["episode"]
        attributes = {key: old.attrs[key] for key in ("role", "transform_state", "units") if key in old.attrs}
        del file["episode"]
        new = ODD_TYPES[kind](file)
        for key, value in attributes.items():
            new.attrs.create(key, value, dtype=value.dtype)
        new.dims[0].attach_scale(file["sample"])
    with h5py.File(tiny.path) as file:
        assert len(file["episode"][...]) == 96

    refused_when_used(tiny)
    refused_when_certified(tiny, "", 1, 3)


def test_objects_in_a_zarr_are_refused(zarr: Tiny):
    """Row 10: text of variable length, which plain zarr reads as Python objects."""
    shutil.rmtree(zarr.path / "episode")
    created = plain_zarr.create_array(zarr.path / "episode", shape=(96,), dtype="string", chunks=(32,), zarr_format=3)
    created[...] = "a"
    assert plain_zarr.open_array(zarr.path / "episode", mode="r")[0] == "a"

    refused_when_used(zarr)
    refused_when_certified(zarr, "")


def test_a_file_that_claims_terabytes_is_refused_without_room_for_them(make):
    """Row 23: 8 TiB in a file of some kilobytes."""
    tiny = make("hdf5")
    bomb = tiny.folder / "bomb.h5"
    with h5py.File(bomb, "w", libver="latest") as file:
        file.create_dataset("x", (1 << 40,), "f8", chunks=(1 << 19,), compression="gzip")
    with h5py.File(bomb) as file:
        assert file["x"].nbytes == 8 << 40
        assert not file["x"][1 << 39 : (1 << 39) + 5].any()
    assert bomb.stat().st_size < 5000
    tiny.path.write_bytes(bomb.read_bytes())

    refused_when_used(tiny)
    with limited(128):
        refused_when_certified(tiny, "not written by prep")


def test_a_field_that_claims_terabytes_is_refused_without_room_for_them(hdf5: Tiny):
    """Row 23: everything else of the dataset is right."""
    with h5py.File(hdf5.path, "r+") as file:
        file["inputs"].resize(1 << 38, axis=0)
        assert file["inputs"].nbytes == 8 << 40

    refused_when_used(hdf5)
    with limited(256):
        refused_when_certified(hdf5, "chunk is missing")


class limited:  # noqa: N801 -- reads as a sentence
    """Memory that Python objects and arrays may take inside, in MiB."""

    def __init__(self, mebibytes: int) -> None:
        self.limit = mebibytes << 20

    def __enter__(self) -> None:
        tracemalloc.start()

    def __exit__(self, *_: object) -> None:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < self.limit, f"{peak >> 20} MiB"


def test_a_chunk_that_decodes_to_far_more_than_it_may_is_refused_before_it_does(make):
    """Row 23: 128 MiB out of a few kilobytes."""
    tiny = make("zarr-files-gzip")
    file, _, _ = tiny.file_of("inputs", 1)
    bomb = gzip.compress(bytes(128 << 20), 9)
    assert len(bomb) < 200_000
    with pytest.raises(AssertionError, match="MiB"), limited(64):
        assert len(numcodecs.GZip().decode(bomb)) == 128 << 20
    file.write_bytes(bomb)

    refused_when_used(tiny, "certified size")
    with limited(110):
        refused_when_certified(tiny, "")
    # what decodes for a consumer refuses by itself, whatever a certificate says
    reader = reader_of(tiny)
    with limited(64), pytest.raises(IntegrityError, match="does not decode"):
        reader.decode(ChunkKey("inputs", 1), bomb)


def reader_of(tiny: Tiny) -> ChunkReader:
    """What decodes chunks on the way to a consumer."""
    return ChunkReader(tiny.path, tiny.contents.layouts)


def test_a_zstd_frame_that_claims_more_than_a_chunk_is_refused_before_it_is_decoded(make):
    """Row 23: 4.7 kB that are 128 MiB."""
    tiny = make("zarr-zstd")
    bomb = bytes(numcodecs.zstd.compress(bytes(128 << 20), 3))
    assert len(bomb) < 20_000
    with pytest.raises(AssertionError, match="MiB"), limited(64):
        assert len(numcodecs.zstd.decompress(bomb)) == 128 << 20
    with limited(16), pytest.raises(IntegrityError, match="does not decode"):
        reader_of(tiny).decode(ChunkKey("inputs", 1), bomb)


@pytest.mark.parametrize("sidecar", ["certificate", "lock"])
def test_a_document_of_hundreds_of_megabytes_is_refused_before_it_is_parsed(make, sidecar: str):
    """Row 23: JSON is capped before it is parsed; plain JSON makes a list of what it finds, however long."""
    tiny = make("hdf5")
    place: Path = getattr(tiny, sidecar)
    with place.open("wb") as file:
        file.write(b"[" + b"0," * 100)
        file.truncate(600 << 20)
    with limited(100):
        refused(lambda: admitted(tiny), "larger than")


@pytest.mark.parametrize("depth", [500, 100_000])
@pytest.mark.parametrize("place", ["certificate", "lock", "payload"])
def test_deeply_nested_json_is_refused_and_crashes_nothing(make, place: str, depth: int):
    """Row 23, and one of those that are not on the page."""
    tiny = make("hdf5")
    bomb = b"[" * depth + b"]" * depth
    if place == "payload":
        pin_payload(tiny, bomb)
    else:
        getattr(tiny, place).write_bytes(bomb)
    refused(lambda: admitted(tiny), "")


WALK = """
import h5py, sys
with h5py.File(sys.argv[1]) as file:
    for name in file:
        list(file[name].attrs.items())
        for dimension in getattr(file[name], "dims", ()):
            list(dimension.items())
"""


DAMAGES = {
    "a size that is too large": (24, b"\xf0" + b"\xff" * 7),
    "a size with one bit more": (24, b"\x08\x01" + bytes(6)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_that_hangs_the_hdf5_library_is_refused_in_time(make, damage: str):
    """Row 24: libhdf5 walks in circles in a global heap."""
    tiny = make("hdf5")
    offset, written = DAMAGES[damage]
    overwrite(tiny.path, tiny.path.read_bytes().index(b"GCOL") + offset, written)
    assert fate(tiny.path) in ("hangs", "dies")

    refused_when_used(tiny, "metadata")
    refused_when_certified(tiny, "global heap")


def fate(path: Path) -> str:
    """What becomes of a process that walks the file with plain h5py."""
    try:
        done = run(path.parent, "-c", WALK, str(path), timeout=4)
    except subprocess.TimeoutExpired:
        return "hangs"
    return "dies" if done.returncode < 0 else "ends"


@pytest.mark.parametrize("variant", ["hdf5", "zarr"])
def test_certified_reads_never_load_the_parsers(make, variant: str):
    """Row 24: verified bytes come by offset; neither libhdf5 nor zarr-python sees a certified dataset."""
    tiny = make(variant)
    code = (
        f"import prep, json, sys; data = prep.open({str(tiny.path)!r}); data.rows('inputs', 0, 96); data.verify(); "
        "print(json.dumps([name for name in ('h5py', 'zarr') if name in sys.modules]))"
    )
    assert printed(tiny.folder, code) == []


def test_a_reference_file_that_points_elsewhere_is_refused(make):
    """Row 25: references in the manner of kerchunk read any byte range of any file."""
    fsspec = pytest.importorskip("fsspec")
    tiny = make("zarr-files")
    secret = tiny.folder / "secret.bin"
    secret.write_bytes(np.full(16 * 8, 666, "f4").tobytes())
    node = (tiny.path / "inputs/zarr.json").read_text()
    references = {"version": 1, "refs": {"zarr.json": node}}
    references["refs"] |= {f"c/{index}/0": [str(secret), 0, 512] for index in range(6)}
    place = tiny.folder / "references.json"
    place.write_text(json.dumps(references))
    files = fsspec.filesystem("reference", fo=str(place), asynchronous=False)
    assert np.frombuffer(files.cat("c/0/0"), "f4")[0] == 666

    for suffix in (".cert.json", ".manifest"):
        shutil.copy(f"{tiny.path}{suffix}", f"{place}{suffix}")
    refused(lambda: prep.open(place, lock_path=tiny.lock), "")
    (outcome,) = prep.validate(place)
    assert (outcome.exit_code(), "neither an HDF5 file nor a Zarr directory" in str(outcome.error)) == (3, True)
    shutil.rmtree(tiny.path)
    shutil.move(place, tiny.path)
    refused(lambda: admitted(tiny), "not the kind of container")
