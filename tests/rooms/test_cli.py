"""The command line: every outcome has its exit code, a person gets a message, a machine gets JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from prep import cli
from prep.cli.app import app
from tests.conftest import dataset_of


def test_a_failure_is_json_too_where_json_was_asked_for(project: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.run(["verify", "nowhere.h5", "--json", "-"]) == 2

    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["exit_code"] == 2
    assert "remedy" in shown.err


def test_a_defect_of_ours_is_no_verdict_on_the_data(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("prep.verbs.verify.verify", broken)
    assert cli.run(["verify", "x.h5"]) == 4

    shown = capsys.readouterr().err
    assert "internal: ZeroDivisionError: oops" in shown
    assert "Traceback" not in shown


def test_a_terminal_without_the_signs_still_gets_the_message(certified_copy: Path):
    done = subprocess.run(
        [sys.executable, "-m", "prep", "validate", "data/raw/regression.h5"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )

    assert done.returncode == 1
    assert b"FAIL" in done.stdout
    assert dataset_of(certified_copy, "regression").exists()


@pytest.mark.parametrize("command", ["--version", "validate"])
def test_a_reader_that_stops_is_no_failure_and_no_verdict(command: str, tmp_path: Path):
    (tmp_path / "a.h5").write_text("no dataset")
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-m", "prep", command, *(["a.h5"] if command == "validate" else [])]
    done = subprocess.run(line, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_behind_stdout_is_a_failure():
    with open("/dev/full", "wb") as full:
        line = [sys.executable, "-m", "prep", "trust", "list", "--json", "-"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith(b"storage: ")


@pytest.mark.parametrize(("setting", "coloured"), [({}, False), ({"FORCE_COLOR": "1"}, True)])
def test_what_is_piped_has_colours_only_where_they_are_asked_for(
    setting: dict[str, str], coloured: bool, project: Path
):
    clean = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    done = subprocess.run(
        [sys.executable, "-m", "prep", "validate", "nowhere.h5"],
        capture_output=True,
        check=False,
        env={**clean, "TERM": "xterm-256color", **setting},
    )
    assert (b"\x1b[" in done.stderr) is coloured


def commands(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, *path, name)


@pytest.mark.parametrize("path", tuple(commands(typer.main.get_command(app))), ids=" ".join)
def test_help_shows_every_word_of_every_text(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 1000)
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    assert cli.run([*path, "--help"]) == 0

    shown = squeezed(capsys.readouterr().out)
    for text in filter(None, (command.help, *(getattr(each, "help", None) for each in command.params))):
        assert squeezed(text) in shown


def squeezed(text: str) -> str:
    return re.sub(r"[\s│`]", "", text)
