"""Attacks that are on no list: odd sidecars, places that no manifest may name, plugins, archives, old notes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.blocks import ChunkKey
from prep.certificate import manifest
from prep.errors import PrepError
from tests.attacks.outcomes import command, printed, refused, refused_when_used
from tests.attacks.tiny import (
    Tiny,
    admitted,
    consume,
    doctored,
    everything,
    flip,
    overwrite,
    remeasured,
    reseal,
    rewrite_manifest,
    same,
)

SIDECARS = ["certificate", "manifest"]


def in_time(action: Callable[[], object], seconds: float = 20) -> BaseException | None:
    """What ``action`` raised; it has to end."""
    raised: list[BaseException] = []

    def call() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for ever"
    return raised[0] if raised else None


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_a_sidecar_that_is_a_pipe_is_refused_and_not_waited_for(make, sidecar: str):
    tiny = make("hdf5")
    place: Path = getattr(tiny, sidecar)
    place.unlink()
    os.mkfifo(place)
    error = in_time(lambda: admitted(tiny))
    assert isinstance(error, PrepError), error
    assert error.exit_code == 3
    (outcome,) = prep.validate(tiny.path) if sidecar == "certificate" else (None,)
    assert outcome is None or outcome.exit_code() == 0


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_a_sidecar_that_is_a_device_without_end_is_refused(make, sidecar: str):
    tiny = make("hdf5")
    place: Path = getattr(tiny, sidecar)
    place.unlink()
    try:
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device needs rights that this user does not have")
    error = in_time(lambda: admitted(tiny))
    assert isinstance(error, PrepError), error
    assert error.exit_code == 3


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_a_sidecar_that_is_a_folder_is_refused(make, sidecar: str):
    tiny = make("hdf5")
    place: Path = getattr(tiny, sidecar)
    place.unlink()
    place.mkdir()
    refused_when_used(tiny)


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_a_sidecar_behind_a_link_gives_certified_values_or_nothing(make, sidecar: str):
    tiny = make("hdf5")
    place: Path = getattr(tiny, sidecar)
    aside = tiny.folder / "aside"
    place.rename(aside)
    place.symlink_to(aside)
    try:
        assert same(consume(tiny), tiny.values)
    except PrepError as error:
        assert error.exit_code == 3  # noqa: PT017
    data = aside.read_bytes()
    aside.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    refused_when_used(tiny)


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_a_sidecar_changed_through_another_name_of_the_same_file_is_refused(make, sidecar: str):
    tiny = make("hdf5")
    place: Path = getattr(tiny, sidecar)
    other = tiny.folder / "hard"
    os.link(place, other)
    assert same(consume(tiny), tiny.values)
    flip(other, place.stat().st_size // 2)
    refused_when_used(tiny)


@pytest.mark.parametrize("variant", ["hdf5", "zarr-files"])
def test_data_changed_through_another_name_of_the_same_file_are_refused(make, variant: str):
    tiny = make(variant)
    file, offset, _ = tiny.file_of("targets", 1)
    os.link(file, tiny.folder / "hard")
    assert same(consume(tiny), tiny.values)
    flip(tiny.folder / "hard", offset + 9)
    refused_when_used(tiny, "stored bytes changed")


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_a_sidecar_of_sparse_gigabytes_is_refused_before_it_is_read(make, sidecar: str):
    tiny = make("hdf5")
    place: Path = getattr(tiny, sidecar)
    os.truncate(place, 8 << 30)
    code = (
        f"import prep, json, resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))\n"
        f"try:\n    prep.open({str(tiny.path)!r})\nexcept prep.errors.CertificateError as error:\n"
        f"    print(json.dumps(error.what))"
    )
    assert "larger than" in str(printed(tiny.folder, code))


def encoded_anyway(tiny: Tiny, container: Any) -> None:
    """A manifest of whatever is claimed, with a certificate and a pin that fit it: an owner who looks at nothing."""
    try:
        tiny.manifest.write_bytes(manifest.encode(container, tiny.contents.digests))
    except (PrepError, ValueError, OverflowError):
        pytest.skip("prep itself does not write such a manifest")
    reseal(tiny)


def test_two_chunks_at_one_place_are_refused_even_when_pinned(make):
    """Overlapping ranges: one block of bytes stands for two chunks, with digests that are right."""
    tiny = make("hdf5")
    layout = tiny.contents.layouts["inputs"]
    offsets = np.array(layout.offsets)
    offsets[1] = offsets[0]
    container = doctored(tiny, "inputs", offsets=offsets)
    digests = remeasured(container)
    tiny.manifest.write_bytes(manifest.encode(container, digests))
    reseal(tiny)
    refused_when_used(tiny, "overlap")


PLACES: dict[str, dict[str, Any]] = {
    "behind the end of the file": {"offsets": lambda old: old + np.uint64(1 << 40)},
    "beyond all numbers": {"offsets": lambda old: old * 0 + np.uint64(2**64 - 8)},
    "of no size": {"sizes": lambda old: old * 0},
    "of enormous size": {"sizes": lambda old: old * 0 + np.uint64(1 << 50)},
    "half a chunk further": {"offsets": lambda old: old + np.uint64(256)},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("variant", ["hdf5", "hdf5-gzip", "zarr", "zarr-files"])
def test_chunks_in_places_that_cannot_be_are_refused_even_when_pinned(make, variant: str, place: str):
    tiny = make(variant)
    layout = tiny.contents.layouts["inputs"]
    changes = {key: change(np.array(getattr(layout, key))) for key, change in PLACES[place].items()}
    encoded_anyway(tiny, doctored(tiny, "inputs", **changes))
    refused_when_used(tiny)


COUNTS: dict[str, dict[str, Any]] = {
    "more rows": {"rows": 1 << 40},
    "negative rows": {"rows": -96},
    "no rows": {"rows": 0},
    "chunks of no rows": {"chunk_rows": 0},
    "chunks of negative rows": {"chunk_rows": -16},
    "enormous chunks": {"chunk_rows": 1 << 50},
    "another number of chunks": {"chunk_rows": 8},
    "shards of a million": {"chunks_per_file": 1 << 20},
}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("variant", ["hdf5", "zarr"])
def test_counts_that_cannot_be_are_refused_even_when_pinned(make, variant: str, count: str):
    tiny = make(variant)
    encoded_anyway(tiny, doctored(tiny, "inputs", **COUNTS[count]))
    refused_when_used(tiny)


TEMPLATES = ["../../secret/{index}", "/etc/passwd", "inputs/../targets/c/{index}/0", "{index.__class__}", "{0}", "x\0y"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_manifest_cannot_send_reads_outside_the_dataset(make, template: str):
    """Where chunks lie follows from the names of fields; a manifest has no say in it."""
    tiny = make("zarr-files")
    secret = tiny.folder / "secret"
    secret.mkdir()
    for index in range(6):
        (secret / str(index)).write_bytes(np.full((16, 8), 666, "f4").tobytes())
    encoded_anyway(tiny, doctored(tiny, "inputs", template=template))
    try:
        found = everything(admitted(tiny))
    except PrepError as error:
        assert error.exit_code == 3  # noqa: PT017
    else:
        assert same(found, tiny.values)


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "inputs/../targets", "..", "", "a\0b", "zarr.json", "prep"]
)
def test_a_field_of_a_name_that_is_a_path_is_refused_even_when_pinned(make, name: str):
    tiny = make("zarr-files")
    data = tiny.manifest.read_bytes()
    length = int.from_bytes(data[8:12], "little")
    header = json.loads(data[12 : 12 + length])
    for array in header["arrays"]:
        array.update({key: name for key in ("name", "mask") if array[key] in ("inputs",)})
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    tiny.manifest.write_bytes(data[:8] + len(text).to_bytes(4, "little") + text + data[12 + length :])
    reseal(tiny, header["root"])
    refused_when_used(tiny)


@pytest.mark.parametrize("key", ["codecs", "dtype", "transform_state", "splits", "documents"])
def test_a_manifest_that_reads_the_bytes_otherwise_is_refused_even_when_pinned(make, key: str):
    """The bytes are the certified ones; what is said of them is not, and the digests of values tell."""
    tiny = make("hdf5")
    container = doctored(tiny, "inputs")
    layout, spec = container.layouts["inputs"], container.spec
    if key == "codecs":
        container = doctored(tiny, "inputs", codecs=({"id": "zlib", "level": 4},))
    elif key in ("dtype", "transform_state"):
        changed = replace(layout.spec, **{key: np.dtype("<i4") if key == "dtype" else "raw"})
        fields = tuple(changed if each.name == "inputs" else each for each in spec.fields)
        container = replace(doctored(tiny, "inputs", spec=changed), spec=spec.with_fields(fields))
    elif key == "splits":
        container = replace(container, spec=replace(spec, splits={"train": (0, 96), "val": (96, 96), "test": (96, 96)}))
    else:
        container = replace(container, spec=replace(spec, documents={**spec.documents, "transforms": "{}"}))
    tiny.manifest.write_bytes(manifest.encode(container, tiny.contents.digests))
    reseal(tiny)
    refused(lambda: prep.verify(tiny.path, deep=True), "", 1, 3)
    (outcome,) = prep.validate(tiny.path)
    assert outcome.exit_code() in (1, 3)


PLUGIN = """
from prep.checks import Finding
class Lenient:
    statistics = {"var": {"type": "string"}, "low": {"type": "number"}, "high": {"type": "number"}}
    def fields(self, statistics): return [statistics["var"]]
    def folds(self, spec, statistics): return ()
    def judge(self, spec, statistics, measured):
        return Finding(True, 1, 1, None, "anything", "fine", "none")
"""


def test_an_installed_plugin_does_not_take_the_place_of_a_check_of_prep(make):
    """Entry points add checks; the built-in ones stay what they are."""
    tiny = make("hdf5")
    file, offset, _ = tiny.file_of("inputs", 1)
    overwrite(file, offset, np.full((16, 8), 999.0, "f4").tobytes())
    rewrite_manifest(tiny)
    packages = tiny.folder / "packages"
    about = packages / "lenient-1.0.dist-info"
    about.mkdir(parents=True)
    (packages / "lenient.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lenient\nVersion: 1.0\n")
    names = ("in_bounds", "standardised", "held_out", "learnability")
    lines = [f"[prep.checks]\n{''.join(f'{name} = lenient:Lenient' + chr(10) for name in names)}"]
    lines += ["[prep.formats]\nhdf5 = lenient:Lenient\n[prep.loaders]\ntorch = lenient:Lenient\n"]
    (about / "entry_points.txt").write_text("".join(lines))
    code = "from importlib.metadata import entry_points; import json; "
    code += "print(json.dumps([each.value for each in entry_points(group='prep.checks', name='in_bounds')]))"
    assert "lenient:Lenient" in printed(tiny.folder, code, PYTHONPATH=str(packages))

    done = command(tiny.folder, "validate", str(tiny.path), PYTHONPATH=str(packages))
    assert done.returncode == 1, done.stderr
    assert "in_bounds" in done.stdout + done.stderr


def test_notes_of_an_earlier_validation_do_not_pass_data_that_changed(make):
    """What was measured is kept in the user's cache by digest: other bytes are measured again."""
    tiny = make("hdf5")
    assert prep.validate(tiny.path)[0].exit_code() == 0
    file, offset, _ = tiny.file_of("inputs", 1)
    overwrite(file, offset, np.full((16, 8), 999.0, "f4").tobytes())
    rewrite_manifest(tiny)
    assert prep.validate(tiny.path)[0].exit_code() == 1


def test_the_names_of_a_dataset_and_its_files_may_be_odd(make):
    """Blanks, quotes, line feeds and leading dashes in paths lead nowhere else and hide nothing."""
    tiny = make("hdf5")
    for name in ("a b.h5", "-rf.h5", "x\ny.h5", "é\u202e.h5", "%s{0}.h5", "'; rm.h5"):
        target = tiny.path.with_name(name)
        for suffix in ("", ".cert.json", ".manifest"):
            shutil.copy(f"{tiny.path}{suffix}", f"{target}{suffix}")
        assert prep.open(target).id == "tiny"
        flip(target, tiny.file_of("inputs")[1])
        refused(lambda target=target: prep.open(target).chunk(ChunkKey("inputs", 0)), "stored bytes changed")


def test_an_archive_that_claims_terabytes_is_refused_without_room_for_them(tmp_path: Path):
    """A header of a few bytes that promises more values than there are."""
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    data = header.ljust(127) + b"\n" + bytes(800)
    source = tmp_path / "own.npz"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inputs.npy", data)
    assert source.stat().st_size < 1000
    with np.load(source) as plain, pytest.raises((ValueError, MemoryError)):
        _ = plain["inputs"]
    refused(lambda: prep.ingest(str(source), output=tmp_path / "own.h5"), "inputs", 3)


def test_an_archive_whose_member_is_larger_than_it_says_is_refused(tmp_path: Path):
    """A bomb: a thousand times as large as the archive, behind an honest header."""
    source = tmp_path / "own.npz"
    np.savez_compressed(source, inputs=np.zeros((20, 2), "f4"), targets=np.zeros((20, 1), "f4"))
    with zipfile.ZipFile(source) as archive:
        member = archive.read("inputs.npy")
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inputs.npy", member + bytes(64 << 20))
    with np.load(source) as plain:
        assert plain["inputs"].shape == (20, 2)
    refused(lambda: prep.ingest(str(source), output=tmp_path / "own.h5"), "inputs", 3)


def test_a_report_that_says_other_things_than_the_data_does_not_certify(make):
    """A report that passed, handed in for data that do not."""
    tiny = make("hdf5")
    report = tiny.folder / "report.json"
    assert command(tiny.folder, "validate", str(tiny.path), "--json", str(report)).returncode == 0
    file, offset, _ = tiny.file_of("inputs", 1)
    overwrite(file, offset, np.full((16, 8), 999.0, "f4").tobytes())
    rewrite_manifest(tiny)
    refused(lambda: prep.certify(tiny.path, report=report), "", 1, 3)
    text = report.read_text()
    report.write_text(text.replace('"passed"', '"failed"', 1))
    refused(lambda: prep.certify(tiny.path, report=report), "", 1, 3)


def test_a_lock_of_somebody_else_beside_the_data_is_not_consulted(make):
    """The lock is the consumer's: one that comes with the data, in their folder, says nothing."""
    tiny = make("hdf5")
    foreign = tiny.folder / "downloads/set"
    foreign.mkdir(parents=True)
    for suffix in ("", ".cert.json", ".manifest"):
        shutil.move(f"{tiny.path}{suffix}", f"{foreign / tiny.path.name}{suffix}")
    shutil.move(tiny.lock, foreign / "prep.lock")
    refused(lambda: prep.open(foreign / tiny.path.name), "lock pins")
    (foreign / "trust.toml").write_text("version = 1\n")
    refused(lambda: prep.open(foreign / tiny.path.name), "lock pins")
