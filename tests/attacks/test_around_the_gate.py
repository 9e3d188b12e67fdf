"""What a reviewer broke once: verbs around the gate that read more, waited longer or believed more than it does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import prep
from prep.certificate import manifest
from prep.engine.journal import Journal
from prep.errors import IntegrityError, PrepError, UsageError
from tests.attacks.outcomes import command
from tests.attacks.tiny import Tiny

Make = Callable[..., Tiny]


@pytest.mark.parametrize("verb", ["validate", "certify", "verify", "inspect"])
def test_a_pipe_in_place_of_the_manifest_keeps_nobody_waiting(make: Make, verb: str):
    tiny = make()
    tiny.manifest.unlink()
    os.mkfifo(tiny.manifest)

    done = command(tiny.folder, verb, str(tiny.path), timeout=50)
    assert done.returncode == (0 if verb == "inspect" else 3), done.stderr


@pytest.mark.parametrize("option", ["--lock", "--trust"])
def test_a_pipe_in_place_of_what_is_trusted_keeps_nobody_waiting(make: Make, option: str):
    tiny = make()
    os.mkfifo(tiny.folder / "pipe")

    done = command(tiny.folder, "verify", str(tiny.path), option, "pipe", timeout=50)
    assert done.returncode in (2, 3)
    assert "regular file" in done.stderr


def test_a_manifest_out_of_all_proportion_is_not_read(make: Make):
    tiny = make()
    os.truncate(tiny.manifest, 1 << 40)

    (found,) = prep.validate(tiny.path)
    assert found.exit_code() == 3
    with pytest.raises(IntegrityError, match="larger than one of such a dataset"):
        prep.certify(tiny.path)


def test_metadata_that_grew_is_refused_by_its_size(make: Make):
    tiny = make("zarr")
    os.truncate(tiny.path / "zarr.json", 1 << 40)

    with pytest.raises(IntegrityError, match="metadata is not what was certified"):
        prep.open(tiny.path)


def test_an_empty_folder_that_nobody_named_is_refused(make: Make):
    tiny = make("zarr")
    (tiny.path / "inputs/c/evil/more").mkdir(parents=True)

    with pytest.raises(IntegrityError, match="does not name"):
        prep.open(tiny.path)
    assert prep.validate(tiny.path)[0].exit_code() == 3


def test_a_name_cannot_command_the_terminal(make: Make):
    tiny = make("zarr")
    (tiny.path / "\x1b[2J\nAll 42 chunks hashed").write_text("x")

    done = command(tiny.folder, "verify", str(tiny.path))
    assert done.returncode == 3
    assert "\x1b" not in done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith("All 42")]


@pytest.mark.parametrize("level", ["Signed", "SIGNED", "nonsense", ""])
def test_a_level_that_does_not_exist_trains_nothing(make: Make, level: str):
    data = prep.open(make().path)
    with pytest.raises(UsageError, match="no such level"):
        prep.train(data, require=level)


def test_a_journal_that_somebody_else_wrote_is_not_believed(tmp_path: Path):
    ours = Journal(tmp_path / "journal")
    theirs = Journal(tmp_path / "journal", secret=bytes(32))
    unit = ours.unit({}, 0, 1, [b"content"])

    assert theirs.unit({}, 0, 1, [b"content"]) == unit
    assert theirs._check(unit.key, b"states") != ours._check(unit.key, b"states")
    assert Journal(tmp_path / "journal")._check(unit.key, b"states") == ours._check(unit.key, b"states")


def test_certify_recalls_nothing_from_a_cache(make: Make, monkeypatch: pytest.MonkeyPatch):
    tiny = make()
    monkeypatch.setattr(Journal, "of", lambda *_: pytest.fail("certify asked a journal"))

    prep.certify(tiny.path)


@pytest.mark.parametrize("place", [".", "/", ""])
def test_a_path_without_a_name_is_a_clear_refusal(make: Make, place: str):
    make()
    for attempt in (prep.verify, prep.certify):
        with pytest.raises(PrepError):
            attempt(place)


def test_an_error_that_nobody_reads_keeps_its_exit_code(make: Make):
    tiny = make()
    tiny.manifest.write_bytes(manifest.MAGIC)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "prep", "verify", str(tiny.path)],
        cwd=tiny.folder,
        stdout=write,
        stderr=write,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert done.returncode in (3, 4)
