"""Outputs of commands: they destroy no data, do not hide each other, and text of strangers stays text in them."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prep import cli
from prep.cli.output import progress, report_error, say, several, table
from prep.engine import Journal, one_of
from prep.errors import UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/a.h5").write_bytes(b"\x89HDF\r\n\x1a\n one")
    Path("data/b").write_bytes(b"\x89HDF\r\n\x1a\n without an ending")
    Path("demo.yaml").write_text("a schema")
    Path("z.zarr").mkdir()
    Path("z.zarr/zarr.json").write_text("{}")
    np.savez("x.npz", x=np.arange(8.0))
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "validate --json data/a.h5 data",
        "validate --junit data/b data",
        "validate --sarif data/new.h5 data",
        "validate --html data/a.h5.cert.json data",
        "validate --json z.zarr/zarr.json data",
        "validate --json demo.yaml data",
        "diff --json data/a.h5 data/b data/c.h5",
        "doctor x.npz --json ./x.npz",
        "trust list --json data/a.h5",
        "validate --json o --junit ./o data",
    ],
)
def test_an_output_takes_the_place_of_no_data(line: str, here: Path, capsys: pytest.CaptureFixture[str]):
    before = {each: each.read_bytes() for each in here.rglob("*") if each.is_file()}
    assert cli.run(line.split()) == 2
    assert "name another file" in capsys.readouterr().err
    assert {each: each.read_bytes() for each in here.rglob("*") if each.is_file()} == before


def test_an_output_without_a_name_is_refused(here: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.run(["validate", "data", "--json", ""]) == 2
    assert "name of this output is empty" in capsys.readouterr().err


def test_an_output_may_be_a_pipe(here: Path):
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert cli.run(["trust", "list", "--json", "pipe"]) == 0
    assert json.loads(os.read(reader, 1 << 16))["keys"] == []
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    os.close(reader)


def test_an_output_that_cannot_be_written_keeps_nothing_else_from_being_told(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    Path("file").write_text("no folder")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "file/summary.md")
    options = ["--json", "file/v.json", "--junit", "j.xml", "--sarif", "s.sarif", "--github"]

    assert cli.run(["validate", "data/a.h5", *options]) == 4

    told = capsys.readouterr()
    assert Path("j.xml").is_file()
    assert Path("s.sarif").is_file()
    assert "::error file=data/a.h5" in told.out
    assert "data/a.h5: not examined" in told.out
    assert told.err.count("storage: the file system refused") == 2
    assert cli.run(["doctor", "x.npz", "--json", "file/v.json"]) == 4
    assert "x.npz" in capsys.readouterr().out


@pytest.mark.parametrize("shown", [lambda text: text, lambda text: table("", [(text, "left")], [[text]])])
@pytest.mark.parametrize(
    "text", ["a\n::stop-commands::x", "b\x1b]0;title\x07", "  ::error::c", "##[add-path]d", "e" * 30_000]
)
def test_text_of_strangers_is_no_command_to_a_terminal_or_a_ci_server(
    shown: Callable[[str], Any], text: str, capsys: pytest.CaptureFixture[str]
):
    say(shown(text))
    report_error(UsageError(text, remedy=text))

    told = "".join(capsys.readouterr())
    assert all(line.isprintable() and len(line) < 3000 for line in told.splitlines())
    assert not [line for line in told.splitlines() if line.lstrip().startswith("::") or "##[" in line]
    assert told.count("usage: ") == 1


def test_a_file_name_that_is_no_text_is_told_in_every_output(here: Path, capsys: pytest.CaptureFixture[str]):
    shutil.move("data/b", "data/b\udcff.h5")
    outputs = ["--json", "v.json", "--junit", "j.xml", "--sarif", "s.sarif", "--html", "p.html", "--github"]

    assert cli.run(["validate", "data", *outputs]) == 3

    told = [each["path"] for each in json.loads(Path("v.json").read_text("utf-8"))["datasets"]]
    assert told == ["data/a.h5", r"data/b\udcff.h5"]
    for name in ("j.xml", "s.sarif", "p.html"):
        assert "data/b" in Path(name).read_text("utf-8")
    assert "internal" not in "".join(capsys.readouterr())
    assert Journal.of(Path("data/b\udcff.h5"), "validate").path != Journal.of(Path("data/b.h5"), "validate").path


def test_what_is_not_there_is_told_as_it_is(here: Path, capsys: pytest.CaptureFixture[str]):
    Path("data/link.h5").symlink_to("nowhere.h5")
    assert cli.run(["validate", "data/link.h5", "data"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert cli.run(["validate", "data"]) == 3
    told = capsys.readouterr().out
    assert "this link leads to nothing" in told
    assert "a link to nowhere.h5" in told
    for verb in (["validate"], ["inspect"]):
        assert cli.run([*verb, "s3://bucket/x.h5"]) == 2
        assert "`prep verify s3://bucket/x.h5` reads it where it is" in capsys.readouterr().err
    assert cli.run(["verify", "data/a.h5"]) == 3
    assert "there is no a.h5.cert.json" in capsys.readouterr().err


def test_progress_over_several_datasets_names_the_one_that_runs_and_never_goes_back():
    told: list[tuple[int, int, str]] = []
    for place, name in enumerate(("a.h5", "b.h5")):
        show = one_of(lambda *each: told.append(each), place, 2, name)
        show(0, 0)
        show(3, 4)
    assert [text for *_, text in told] == ["1 of 2: a.h5"] * 2 + ["2 of 2: b.h5"] * 2
    assert [done / total for done, total, _ in told] == [0.0, 0.375, 0.5, 0.875]


def test_a_bar_has_room_beside_many_names(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("prep.cli.output._PLAIN_INTERVAL", 0.0)
    with progress("validate " + several([Path(f"{place:0100}.h5") for place in range(9)])) as show:
        show(1, 2)
    with progress("validate " + several([Path("n" * 100 + ".h5")])) as show:
        show(1, 2)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "validate 9 paths: 50 %"
    assert len(second) < 60
