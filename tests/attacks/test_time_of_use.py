"""Data that change after somebody looked: between admission and read, during a read, while a model trains."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import prep
from prep.blocks import ChunkKey
from prep.errors import IntegrityError
from prep.gate import CertifiedDataset
from tests.attacks.outcomes import refused
from tests.attacks.tiny import Tiny, admitted, everything, flip, overwrite, same


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_changed_after_its_checksum_was_taken_is_refused_when_it_is_read(tiny: Tiny):
    """Row 15: who hashes a file and then reads it reads something else."""
    file, offset, size = tiny.file_of("inputs", 1)
    known = sha256(file)
    data = admitted(tiny)
    assert sha256(file) == known
    flip(file, offset + size // 2)
    assert file.read_bytes()[offset : offset + size] != b""
    assert sha256(file) != known

    error = refused(lambda: everything(data), "stored bytes changed")
    assert (error.where.field, error.where.chunk) == ("inputs", 1)
    np.testing.assert_array_equal(data.chunk(ChunkKey("inputs", 0)), tiny.values["inputs"][:16])


def test_memory_mapped_data_change_under_the_reader_and_certified_data_do_not(make):
    """Row 15: what was handed out lies in a private buffer."""
    tiny = make("hdf5")
    file, offset, _ = tiny.file_of("inputs", 0)
    mapped = np.memmap(file, "<f4", "r", offset, (16, 8))
    before = mapped.copy()
    rows = admitted(tiny).chunk(ChunkKey("inputs", 0))
    overwrite(file, offset, np.full((16, 8), 666, "f4").tobytes())
    assert (mapped == 666).all()
    assert (before != 666).all()

    np.testing.assert_array_equal(rows, tiny.values["inputs"][:16])
    assert not rows.flags.writeable


@contextmanager
def flipping(file: Path, offset: int, size: int) -> Iterator[list[int]]:
    """A thread that turns bits of a chunk over and back, as fast as it can; yields how often it did."""
    stop, count = threading.Event(), [0]
    original = file.read_bytes()[offset : offset + size]
    changed = bytes(byte ^ 0x5A for byte in original)

    def run() -> None:
        descriptor = os.open(file, os.O_WRONLY)
        rng = np.random.default_rng(0)
        try:
            while not stop.is_set():
                place = int(rng.integers(0, size - 8))
                os.pwrite(descriptor, changed[place : place + 8], offset + place)
                os.pwrite(descriptor, original[place : place + 8], offset + place)
                count[0] += 1
                if count[0] % 8 == 0:
                    time.sleep(0)
        finally:
            os.pwrite(descriptor, original, offset)
            os.close(descriptor)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join()


def read_often(data: CertifiedDataset, tiny: Tiny, field: str, seconds: float) -> tuple[int, int]:
    """How many reads gave the certified values and how many an error; anything else fails."""
    good = bad = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            rows = data.rows(field, 0, data.spec.rows)
        except IntegrityError:
            bad += 1
            continue
        assert rows.tobytes() == tiny.values[field].tobytes()
        good += 1
    return good, bad


@pytest.mark.parametrize("variant", ["hdf5", "hdf5-gzip", "zarr", "zarr-files"])
def test_bytes_that_change_during_reads_are_never_handed_out(make, variant: str):
    """Row 15: every array is the certified one, or there is an error; plain reads see the changes."""
    tiny = make(variant)
    data = admitted(tiny)
    file, offset, size = tiny.file_of("inputs", 1)
    plain: set[bytes] = set()
    with flipping(file, offset, size) as count:
        end = time.monotonic() + 0.3
        while time.monotonic() < end or (len(plain) < 2 and time.monotonic() < end + 60):
            plain.add(file.read_bytes()[offset : offset + size])
        good, bad = read_often(data, tiny, "inputs", 0.7)
    assert len(plain) > 1
    assert count[0] > 100
    assert good + bad > 10
    assert same(everything(data), tiny.values)


def test_batches_for_training_hold_certified_values_or_end_in_an_error_while_bytes_change(make):
    """Row 15, at the place where it counts."""
    pytest.importorskip("torch")
    tiny = make("hdf5")
    data = admitted(tiny)
    start, stop = data.bounds("train")
    certified = {row.tobytes() for row in tiny.values["inputs"][start:stop]}
    file, offset, size = tiny.file_of("inputs", 1)
    outcomes = set()
    with flipping(file, offset, size):
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            try:
                for batch in data.torch("train", batch_size=8, shuffle=True):
                    assert {row.tobytes() for row in batch["inputs"].numpy()} <= certified
                outcomes.add("good")
            except IntegrityError:
                outcomes.add("refused")
    assert outcomes


@pytest.mark.parametrize("variant", ["hdf5", "zarr", "zarr-files"])
def test_a_dataset_exchanged_after_admission_is_not_read(make, variant: str):
    """Row 15: the name leads to other files; what was admitted is read, or nothing."""
    tiny, other = make(variant), make(variant)
    data = admitted(tiny)
    field = next(iter(data.spec.fields)).name
    data.rows(field, 0, 4)
    for each in [other.path] if other.path.is_file() else (other.path / "inputs/c").rglob("*"):
        if each.is_file():
            each.write_bytes(each.read_bytes().replace(tiny.values["inputs"][16:32].tobytes(), bytes(512)))
    tiny.path.rename(tiny.folder / "away")
    os.rename(other.path, tiny.path)
    try:
        values = everything(data)
    except IntegrityError as error:
        assert str(tiny.path) in str(error)  # noqa: PT017
    else:
        assert same(values, tiny.values)
    refused(lambda: everything(admitted(tiny)), "")


@pytest.mark.parametrize("variant", ["hdf5", "zarr-files"])
def test_a_file_that_grows_while_it_is_read_gives_nothing_new(make, variant: str):
    """Not on the page."""
    tiny = make(variant)
    data = admitted(tiny)
    file, _, _ = tiny.file_of("inputs", 0)
    with file.open("ab") as more:
        more.write(bytes(4096))
    try:
        assert same(everything(data), tiny.values)
    except IntegrityError as error:
        assert "inputs" in str(error)  # noqa: PT017
    refused(lambda: everything(admitted(tiny)), "size")


@pytest.mark.parametrize("variant", ["hdf5", "zarr"])
def test_a_file_cut_short_while_it_is_read_is_an_error(make, variant: str):
    """Not on the page: a mapped file would end the process with a bus error."""
    tiny = make(variant)
    data = admitted(tiny)
    file, offset, _ = tiny.file_of("inputs", 3)
    os.truncate(file, offset + 5)
    refused(lambda: data.rows("inputs", 48, 64), "")


def test_a_hole_punched_into_a_chunk_does_not_read_as_zeros(make):
    """Not on the page: the size stays, the blocks are gone."""
    tiny = make("hdf5")
    file, offset, size = tiny.file_of("inputs", 1)
    before = file.stat().st_size
    data = bytearray(file.read_bytes())
    data[offset : offset + size] = bytes(size)
    sparse = tiny.folder / "sparse"
    with sparse.open("wb") as out:
        out.truncate(before)
        out.write(data[:offset])
        out.seek(offset + size)
        out.write(data[offset + size :])
    shutil.move(sparse, file)
    assert file.stat().st_size == before

    refused(lambda: everything(admitted(tiny)), "stored bytes changed")


def test_certifying_while_somebody_writes_gives_no_certificate_of_other_bytes(make):
    """Row 15 at certification: what is pinned afterwards verifies, or there is no certificate."""
    tiny = make("hdf5")
    file, offset, size = tiny.file_of("inputs", 1)
    tiny.certificate.unlink()
    with flipping(file, offset, size):
        for _ in range(5):
            try:
                prep.certify(tiny.path)
            except prep.errors.PrepError as error:
                assert error.exit_code in (1, 3, 4)  # noqa: PT017 -- 4: it sees that somebody writes
    if tiny.certificate.exists():
        assert same(everything(admitted(tiny)), tiny.values)
