"""Writing survives a real full disk: a clean error, a clean exit of the interpreter, nothing under the final name."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prep.formats.survive import SurvivingFile

WRITE = """
import resource, sys
from pathlib import Path
import numpy as np
from prep.blocks import DatasetSpec, FieldSpec
from prep.errors import StorageError
from prep.formats import create

path, limit, compression = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rows = np.random.default_rng(0).normal(size=(1024, 1024)).astype("f4")
x = FieldSpec("x", rows.dtype, ("sample", "i"), (1024,), "input")
n = FieldSpec("n", rows.dtype, ("sample",), (), "aux")
spec = DatasetSpec("full", (x, n), {"train": (0, 4096)}, documents={"text": "x" * 100_000})
try:
    with create(path, spec, compression) as writer:
        for _ in range(4):
            writer.write("x", rows)
            writer.write("n", rows[:, 0])
        writer.commit(spec)
except StorageError as error:
    print(error.what, "|", error.remedy)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def write(path: Path, limit: int = 0, compression: str = "none") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WRITE, str(path), str(limit), compression]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("ending", [".h5", ".zarr"])
@pytest.mark.parametrize("filled", [0, 3_000_000, 4_100_000])
def test_a_full_file_system_is_reported_and_nothing_stays(small_disk: Path, ending: str, filled: int) -> None:
    (small_disk / "others").write_bytes(bytes(filled))
    ended = write(small_disk / f"full{ending}")
    assert ended.returncode == 4, ended.stderr
    assert ended.stderr == ""
    assert "No space left on device" in ended.stdout
    assert "bytes are free" in ended.stdout
    assert [path.name for path in small_disk.iterdir()] == ["others"]


def test_what_no_longer_fits_is_read_back_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with SurvivingFile(tmp_path / "file") as file:
        file.write(b"0123456789")
        monkeypatch.setattr(os, "pwrite", full)
        file.seek(8)
        assert file.write(b"abcd") == 4
        file.seek(0)
        buffer = bytearray(14)
        file.readinto(buffer)
        assert buffer == b"01234567abcd\0\0"
        assert file.seek(0, os.SEEK_END) == 12
        assert isinstance(file.error, OSError)


@pytest.mark.parametrize("ending", [".h5", ".zarr"])
@pytest.mark.parametrize("limit", [1, 5_000, 5_000_000, 16_790_000])
def test_a_file_size_limit_is_reported_and_nothing_stays(tmp_path: Path, ending: str, limit: int) -> None:
    ended = write(tmp_path / f"full{ending}", limit, "gzip" if limit == 5_000 else "none")
    if ending == ".zarr" and limit > 16_780_000:
        assert ended.returncode == 0  # the only shard is 16 MiB of chunks and their index
        return
    assert ended.returncode == 4, ended.stderr
    assert ended.stderr == ""
    assert "ulimit -f" in ended.stdout
    assert list(tmp_path.iterdir()) == []
