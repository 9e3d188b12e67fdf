"""Nothing half-written is ever seen: a dataset or document appears whole, or the old one stays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prep.errors import EXIT_UNFINISHED, StorageError, UsageError
from prep.formats import create, open_container
from prep.formats.commit import storage_error, tidy_up, write_atomically
from prep.formats.turn import lock_of
from tests.rooms.formats_demo import FIELDS, demo_arrays, demo_spec, write_demo

ENDINGS = (".h5", ".zarr")
CALLS = ("open", "pwrite", "write", "ftruncate", "mkdir", "fsync", "link", "rename", "replace")


def failing_from(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> Callable[[], int]:
    """Let call ``number`` of ``os.<name>`` fail as on a full disk, and every later one; returns how many there were.

    Of ``open`` and ``rename`` only that one, since undoing needs them too. Names cannot be exchanged meanwhile, so
    that every one is given by a call of ``os``; tests/faults/ has those that are exchanged fail.
    """
    monkeypatch.setattr("prep.formats.swap.ctypes.CDLL", lambda *_, **__: object())
    real, calls = getattr(os, name), 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number or (calls > number and name not in ("open", "rename")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, call)
    return lambda: calls


def whole(path: Path) -> dict[str, bytes]:
    """Every file at and below a path, hidden siblings included."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_document_is_replaced_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "statistics.json"
    write_atomically(path, b"old")
    write_atomically(path, b"")
    write_atomically(path, b"new")
    assert whole(tmp_path) == {"new/folder/statistics.json": b"new"}


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_document_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "statistics.json"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        failing_from(patch, call, 1)
        with pytest.raises(StorageError) as caught:
            write_atomically(path, b"new")
    assert whole(tmp_path) == {"statistics.json": b"old"}
    assert caught.value.exit_code == EXIT_UNFINISHED
    assert "No space left on device" in caught.value.what


def test_a_full_disk_is_told_with_the_bytes_that_are_free(tmp_path: Path) -> None:
    error = storage_error(OSError(errno.ENOSPC, "x"), tmp_path / "not" / "there.h5")
    assert any(word.isdigit() for word in error.remedy.replace("(", "").split())
    assert "ENOSPC" in str(error.measured)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EFBIG, errno.EIO, errno.EDQUOT])
def test_every_storage_error_says_why_and_what_to_do(tmp_path: Path, number: int) -> None:
    error = storage_error(OSError(number, os.strerror(number)), tmp_path)
    assert os.strerror(number) in error.what
    assert error.remedy


@pytest.mark.parametrize("ending", ENDINGS)
def test_leaving_without_commit_leaves_nothing(tmp_path: Path, ending: str) -> None:
    spec = demo_spec()
    with create(tmp_path / f"demo{ending}", spec) as writer:
        writer.write("states", demo_arrays(spec)["states"])
        assert [path.name[0] for path in tmp_path.iterdir()] == ["."]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="finished"):
        writer.write("states", demo_arrays(spec)["states"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_dataset_replaces_another_and_leaves_nothing_beside_it(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"demo{ending}"
    write_demo(path, demo_spec(20))
    write_demo(path, demo_spec(10))
    assert open_container(path).spec == demo_spec(10)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_folder_is_replaced_where_names_cannot_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prep.formats.swap.ctypes.CDLL", lambda *_, **__: object())
    test_a_dataset_replaces_another_and_leaves_nothing_beside_it(tmp_path, ".zarr")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("call", CALLS)
def test_when_the_disk_fills_at_any_call_the_old_dataset_stays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, call: str
) -> None:
    path = tmp_path / f"demo{ending}"
    old, new = (demo_spec(rows, fields=FIELDS[:1], constants=()) for rows in (4, 10))
    write_demo(path, old)
    before = whole(tmp_path)
    for number in range(1, 200):
        said = ""
        with monkeypatch.context() as patch:
            calls = failing_from(patch, call, number)
            try:
                write_demo(path, new)
            except StorageError as error:
                said = error.what
        assert not said or "No space left" in said
        if calls() < number:
            break
        after = whole(tmp_path)
        if call == "open":  # removing a temporary may itself have failed; it is removed by the next process
            after = {name: data for name, data in after.items() if not name.startswith(".")}
        if after != before:
            assert not said
            assert open_container(path).spec == new
            write_demo(path, old)
    assert open_container(path).spec == new
    assert number < 199


def test_an_interrupt_while_libhdf5_writes_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> int:
        raise KeyboardInterrupt

    spec = demo_spec(constants=())
    with create(tmp_path / "demo.h5", spec) as writer:
        for name, array in demo_arrays(spec).items():
            writer.write(name, array)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", interrupted)
            with pytest.raises(KeyboardInterrupt):
                writer.commit(spec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"demo{ending}"
    code = (
        "import os, sys; from pathlib import Path\n"
        "from prep.formats import create\n"
        "from tests.rooms.formats_demo import demo_arrays, demo_spec\n"
        "spec = demo_spec()\n"
        "writer = create(Path(sys.argv[1]), spec)\n"
        "writer.write('states', demo_arrays(spec)['states'])\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    with create(path, demo_spec()):
        assert not left.exists()
        (living,) = tmp_path.iterdir()
        with create(path, demo_spec()):
            assert living.exists()
            assert len(list(tmp_path.iterdir())) == 2


def test_an_old_folder_left_aside_by_a_killed_process_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "demo.zarr"
    write_demo(path, demo_spec(4))
    with create(path, demo_spec()):
        (mine,) = tmp_path.glob(".demo*")
        dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        aside = mine.name.replace(f".{os.getpid()}.", f".{int(dead.stdout)}.").replace(".tmp", ".old")
    path.rename(tmp_path / aside)
    with create(path, demo_spec()):
        assert open_container(path).spec == demo_spec(4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_processes_with_the_same_target_do_not_harm_each_other(tmp_path: Path, ending: str) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.rooms.formats_demo import demo_spec, write_demo\n"
        "for rows in range(10, 30): assert write_demo(Path(sys.argv[1]), demo_spec(rows)).spec == demo_spec(rows)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / f"demo{ending}")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert open_container(tmp_path / f"demo{ending}").spec == demo_spec(29)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"demo{ending}"]


def test_when_the_last_fsync_fails_what_was_there_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, manifest, certificate = (tmp_path / f"demo.h5{end}" for end in ("", ".manifest", ".cert.json"))
    write_demo(path, demo_spec(4))
    manifest.write_bytes(b"old manifest")
    certificate.write_bytes(b"old certificate")
    before = whole(tmp_path)
    real = os.fsync

    def failing(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}") and manifest.exists() and manifest.read_bytes() == b"new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    spec = demo_spec(10, constants=())
    with create(path, spec) as writer:
        for name, array in demo_arrays(spec).items():
            writer.write(name, array)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            with pytest.raises(StorageError, match="Input/output"):
                writer.commit(spec, (certificate, manifest), lambda _: (manifest, b"new"))
    assert whole(tmp_path) == before


def test_who_has_to_wait_for_another_process_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "statistics.json"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from prep.formats.turn import turn\n"
        "with turn(Path(sys.argv[1])): print('mine', flush=True); time.sleep(1.5)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with caplog.at_level("INFO", "prep"):
            write_atomically(path, b"data")
    assert "waiting for another process that is writing" in caplog.text
    assert whole(tmp_path) == {"statistics.json": b"data"}


def test_the_lock_of_a_killed_process_keeps_nobody_waiting_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    lock_of(path).touch()
    write_atomically(path, b"data")
    assert whole(tmp_path) == {"statistics.json": b"data"}
    lock_of(path).touch()
    tidy_up(path)
    assert whole(tmp_path) == {"statistics.json": b"data"}
