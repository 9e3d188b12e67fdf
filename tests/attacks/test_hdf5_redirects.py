"""HDF5 that reads from elsewhere: external storage, links, virtual datasets, and the environment that bends them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.attacks.outcomes import command, printed, refused_when_certified, refused_when_used, run
from tests.attacks.tiny import Tiny, flip, replace_dataset


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(path: Path, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][...]


def foreign_values(tiny: Tiny, name: str) -> np.ndarray:
    return tiny.values[name][::-1].copy() + tiny.values[name].dtype.type(1)


def external(tiny: Tiny, place: str, target: Path) -> np.ndarray:
    values = foreign_values(tiny, "inputs")
    target.write_bytes(values.tobytes())
    replace_dataset(tiny.path, "inputs", external=[(place, 0, values.nbytes)])
    return values


def test_external_storage_that_reads_another_file_of_the_machine_is_refused(hdf5: Tiny):
    """Row 1."""
    secret = hdf5.folder / "secret.bin"
    values = external(hdf5, str(secret), secret)
    before = sha256(hdf5.path)
    np.testing.assert_array_equal(plain(hdf5.path, "inputs"), values)
    secret.write_bytes((-values).tobytes())
    np.testing.assert_array_equal(plain(hdf5.path, "inputs"), -values)
    assert sha256(hdf5.path) == before

    error = refused_when_used(hdf5)
    assert str(hdf5.path) in str(error)
    error = refused_when_certified(hdf5, "external storage")
    assert error.where.field in ("inputs", "")


def linked(tiny: Tiny, link: object, name: str = "inputs") -> None:
    with h5py.File(tiny.path, "r+", libver=("v110", "v110")) as file:
        del file[name]
        file[name] = link


def test_an_external_link_to_another_file_is_refused(hdf5: Tiny):
    """Row 2."""
    values = foreign_values(hdf5, "inputs")
    with h5py.File(hdf5.folder / "other.h5", "w") as other:
        other["x"] = values
    linked(hdf5, h5py.ExternalLink(str(hdf5.folder / "other.h5"), "/x"))
    np.testing.assert_array_equal(plain(hdf5.path, "inputs"), values)

    refused_when_used(hdf5)
    refused_when_certified(hdf5, "an external link")


def test_a_soft_link_to_another_field_is_refused(hdf5: Tiny):
    """Row 2."""
    linked(hdf5, h5py.SoftLink("/episode"), "split")
    np.testing.assert_array_equal(plain(hdf5.path, "split"), hdf5.values["episode"])

    refused_when_used(hdf5)
    refused_when_certified(hdf5, "a soft link")


def test_a_link_as_a_folder_in_the_path_of_a_field_is_refused(hdf5: Tiny):
    """Row 2: `visititems` does not see it, reads follow it."""
    with h5py.File(hdf5.folder / "other.h5", "w") as other:
        other["deep/x"] = foreign_values(hdf5, "inputs")
    with h5py.File(hdf5.path, "r+", libver=("v110", "v110")) as file:
        file["more"] = h5py.ExternalLink("other.h5", "/deep")
    seen: list[str] = []
    with h5py.File(hdf5.path) as file:
        file.visititems(lambda name, _: seen.append(name))
        np.testing.assert_array_equal(file["more/x"][...], foreign_values(hdf5, "inputs"))
    assert not [name for name in seen if "more" in name]

    refused_when_used(hdf5)
    refused_when_certified(hdf5, "an external link")


def test_documents_behind_a_link_are_refused(hdf5: Tiny):
    """Row 2: the group with statistics and transforms is a link to a group of another file."""
    with h5py.File(hdf5.path, "r+", libver=("v110", "v110")) as file:
        with h5py.File(hdf5.folder / "other.h5", "w") as other:
            group = other.create_group("prep")
            for key in file["prep"].attrs:
                group.attrs[key] = np.bytes_(b"{}")
        del file["prep"]
        file["prep"] = h5py.ExternalLink("other.h5", "/prep")
    with h5py.File(hdf5.path) as file:
        assert file["prep"].attrs["transforms"] == b"{}"

    refused_when_used(hdf5)
    refused_when_certified(hdf5, "an external link")


def test_a_virtual_dataset_whose_source_is_gone_is_refused(hdf5: Tiny):
    """Row 3: the missing source reads as the fill value, without an error."""
    with h5py.File(hdf5.folder / "source.h5", "w") as other:
        other["x"] = hdf5.values["inputs"]
    shape = hdf5.values["inputs"].shape
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource(str(hdf5.folder / "source.h5"), "x", shape)
    with h5py.File(hdf5.path, "r+", libver="latest") as file:
        del file["inputs"]
        file.create_virtual_dataset("inputs", layout, fillvalue=0)
    np.testing.assert_array_equal(plain(hdf5.path, "inputs"), hdf5.values["inputs"])
    (hdf5.folder / "source.h5").unlink()
    assert not plain(hdf5.path, "inputs").any()

    refused_when_used(hdf5)
    refused_when_certified(hdf5, "virtual")


READ = "import h5py, json; print(json.dumps(float(h5py.File({path!r})['inputs'][0, 0])))"


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_a_prefix_in_the_environment_does_not_choose_what_is_read(make, kind: str):
    """Row 4: HDF5_EXTFILE_PREFIX and HDF5_VDS_PREFIX send the same file to other values."""
    hdf5 = make("hdf5")
    here, elsewhere = hdf5.folder / "here", hdf5.folder / "elsewhere"
    for folder, value in ((here, 1.0), (elsewhere, 2.0)):
        folder.mkdir()
        values = np.full_like(hdf5.values["inputs"], value)
        (folder / "x.bin").write_bytes(values.tobytes())
        with h5py.File(folder / "x.h5", "w") as file:
            file["x"] = values
    shape = hdf5.values["inputs"].shape
    if kind == "external":
        replace_dataset(hdf5.path, "inputs", external=[("x.bin", 0, hdf5.values["inputs"].nbytes)])
    else:
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource("x.h5", "x", shape)
        with h5py.File(hdf5.path, "r+", libver="latest") as file:
            del file["inputs"]
            file.create_virtual_dataset("inputs", layout)
    variable = {"external": "HDF5_EXTFILE_PREFIX", "virtual": "HDF5_VDS_PREFIX"}[kind]
    code = READ.format(path=str(hdf5.path))
    assert printed(hdf5.folder, code, **{variable: str(here)}) == 1.0
    assert printed(hdf5.folder, code, **{variable: str(elsewhere)}) == 2.0

    for folder in (here, elsewhere):
        done = command(hdf5.folder, "verify", str(hdf5.path), "--deep", **{variable: str(folder)})
        assert done.returncode == 3, done.stderr
        assert "certified" in done.stderr + done.stdout


EVIL_CODEC = """
from zarr.codecs import BytesCodec
class Evil(BytesCodec):
    async def _decode_single(self, chunk_bytes, chunk_spec):
        found = await super()._decode_single(chunk_bytes, chunk_spec)
        return type(found)(found.as_numpy_array() * 0 + 666)
"""


def test_a_zarr_codec_that_the_environment_puts_in_place_of_another_changes_nothing(make):
    """Row 4: ZARR_CODECS__BYTES and an installed codec make plain zarr return other values."""
    tiny = make("zarr-files")
    packages = tiny.folder / "packages"
    about = packages / "evil-1.0.dist-info"
    about.mkdir(parents=True)
    (packages / "evil.py").write_text(EVIL_CODEC)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[zarr.codecs.bytes]\nbytes = evil:Evil\n")
    environment = {"PYTHONPATH": str(packages), "ZARR_CODECS__BYTES": "evil.Evil"}
    code = f"import zarr, json; print(json.dumps(float(zarr.open({str(tiny.path)!r}, mode='r')['inputs'][0, 0])))"
    assert printed(tiny.folder, code) == float(tiny.values["inputs"][0, 0])
    assert printed(tiny.folder, code, **environment) == 666.0

    code = (
        f"import prep, json; data = prep.open({str(tiny.path)!r}); data.verify(); "
        "print(json.dumps(float(data.rows('inputs', 0, 1)[0, 0])))"
    )
    assert printed(tiny.folder, code, **environment) == float(tiny.values["inputs"][0, 0])


HOSTILE = {
    "HDF5_EXTFILE_PREFIX": "/",
    "HDF5_VDS_PREFIX": "/",
    "HDF5_PLUGIN_PATH": "/nonexistent",
    "HDF5_DRIVER": "core",
    "HDF5_USE_FILE_LOCKING": "BEST_EFFORT",
    "ZARR_ARRAY__ORDER": "F",
    "ZARR_DEFAULT_ZARR_FORMAT": "2",
    "ZARR_THREADING__MAX_WORKERS": "1",
    "NUMCODECS_BLOSC_NOLOCK": "1",
    "PANDERA_VALIDATION_ENABLED": "False",
    "PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY",
    "OMP_NUM_THREADS": "0",
    "DASK_ARRAY__CHUNK_SIZE": "1",
    "PREP_LEVEL": "none",
    "PREP_REQUIRE": "none",
    "PREP_LOCK": "/dev/null",
    "PREP_TRUST": "/dev/null",
    "PREP_SKIP_VERIFY": "1",
    "SOURCE_DATE_EPOCH": "0",
}


@pytest.mark.parametrize("variant", ["hdf5", "zarr"])
def test_no_environment_variable_of_any_library_changes_a_verdict(make, variant: str):
    """Row 4: good data stay good, changed data stay refused."""
    tiny = make(variant)
    good = command(tiny.folder, "verify", str(tiny.path), "--deep", **HOSTILE)
    assert good.returncode == 0, good.stderr

    file, offset, size = tiny.file_of("inputs", 2)
    data = bytearray(file.read_bytes())
    data[offset + size // 2] ^= 0x40
    file.write_bytes(data)
    for arguments in (("verify", str(tiny.path), "--deep"), ("validate", str(tiny.path)), ("certify", str(tiny.path))):
        bad = command(tiny.folder, *arguments, **HOSTILE)
        assert bad.returncode == 3, (arguments, bad.stderr + bad.stdout)


@pytest.mark.parametrize(
    ("variable", "variant"),
    [
        ("HDF5_DRIVER", "hdf5"),
        ("HDF5_VOL_CONNECTOR", "hdf5"),
        ("HDF5_DRIVER", "zarr"),
        ("HDF5_VOL_CONNECTOR", "zarr"),
    ],
)
def test_an_environment_that_breaks_the_hdf5_library_does_not_break_certified_reads(make, variable: str, variant: str):
    """Row 4: driver and connector are chosen by the environment; plain h5py then does not open the file at all."""
    tiny = make(variant)
    if variant == "hdf5":
        broken = run(tiny.folder, "-c", READ.format(path=str(tiny.path)), **{variable: "split"})
        assert broken.returncode != 0
    done = command(tiny.folder, "verify", str(tiny.path), "--deep", **{variable: "split"})
    assert done.returncode == 0, done.stderr


def test_a_python_without_assertions_refuses_all_the_same(make):
    """Row 4: PYTHONOPTIMIZE takes `assert` out of the code."""
    tiny = make("zarr")
    assert printed(tiny.folder, "import json\nassert False\nprint(json.dumps(1))", PYTHONOPTIMIZE="2") == 1
    file, offset, _ = tiny.file_of("inputs", 2)
    flip(file, offset + 9)
    done = command(tiny.folder, "verify", str(tiny.path), PYTHONOPTIMIZE="2")
    assert done.returncode == 3, done.stderr
