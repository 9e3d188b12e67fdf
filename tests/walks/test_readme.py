"""The README's commands work as shown: same exit codes, same first lines apart from numbers."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.conftest import ROOT, largest_file

BLOCKS = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def examples(part: str) -> list[tuple[str, int, str]]:
    """(command, exit code, first line of output) of each command of one section of the README."""
    found = []
    for block in BLOCKS:
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            line, _, comment = command.partition("#")
            code = re.search(r"exit code (\d+)", comment)
            found.append((line.strip(), int(code[1]) if code else 0, output.partition("\n")[0]))
    return [each for each in found if part in each[0]]


def shape(text: str) -> str:
    return re.sub(r"[\d,.]+", "#", re.sub(r"[0-9a-f]{32,}", "#", text)).strip()


def follow(command: str, code: int, first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
    told = [line for line in (done.stdout or done.stderr).splitlines() if not re.search(r": \d+ %$", line)]
    shown = told[0] if told else ""  # a busy machine shows progress first
    if first:
        assert shape(first).split("(")[0] in shape(shown), command


def test_the_stages_of_the_readme(project: Path):
    steps = [each for each in examples("regression") if not each[0].startswith(("prep train", "prep compare"))]
    assert [each[0].split()[1] for each in steps] == [
        *("generate", "stats", "normalize", "validate", "certify", "verify", "inspect", "validate")
    ]
    for step in steps:
        follow(*step)


def test_the_museum_and_the_comparison(certified_copy: Path):
    (planted,), (compared,) = examples("prep mutate"), examples("prep compare")
    follow(*planted)
    follow(compared[0] + " --steps 5", *compared[1:])


def test_training_and_what_it_refuses(certified_copy: Path):
    trained, refused = examples("prep train regression")
    follow(trained[0] + " --epochs 2", *trained[1:])

    victim = largest_file(certified_copy / "data/normalized/regression.h5")
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    follow(*refused)


def test_own_data(project: Path):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2000, 8)) + 50
    np.savez("mine.npz", inputs=inputs.astype("f4"), targets=(inputs[:, :2] ** 2).astype("f4"))

    steps = examples("mine")
    assert len(steps) == 5
    for step in steps:
        follow(*step)


def test_the_section_about_trust(certified_copy: Path):
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Whom to trust")[2].partition("## Files")[0]
    steps = [each for each in examples("prep") if each[0] in section]
    assert len(steps) == 6
    for command, code, first in steps:
        follow(command, code, first.partition(", in ")[0].partition(" (key")[0])
