"""Every guard of the verifier taken out, one at a time: a test has to notice each."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.torture.campaign import Order, Tally
from tests.torture.runner import ROOT

# What stands between stored bytes and whoever trains on them.
_MODULES = (
    "gate.py",
    "certificate/envelope.py",
    "certificate/evidence.py",
    "certificate/keys.py",
    "certificate/lock.py",
    "certificate/manifest.py",
    "certificate/matching.py",
    "certificate/metadata.py",
    "certificate/policy.py",
    "certificate/statement.py",
    "certificate/trust.py",
    "formats/codecs.py",
    "formats/files.py",
    "formats/reader.py",
)
# The quickest first; a mutant is caught by the first test that fails.
_TESTS = (
    "tests/rooms/test_gate.py",
    "tests/attacks",
    "tests/golden",
    "tests/fuzz",
    "tests/rooms/test_formats_reader.py",
    "tests/rooms/test_formats_shards.py",
    "tests/rooms/test_formats_roundtrip.py",
)
_PATIENCE = 1200.0


@dataclass(frozen=True, slots=True)
class Guard:
    """One ``if`` that ends in a ``raise``."""

    module: str
    line: int
    source: str


def guards(order: Order) -> Tally:
    """Each guard's condition is made False in a copy of the package; a mutant that every test passes is wrong."""
    tally = Tally()
    every = list(_guards())
    chosen = every if not order.count else order.random("guards").sample(every, min(order.count, len(every)))
    for guard in chosen:
        if not order.goes_on(tally):
            break
        caught = _caught(guard, order.folder / "mutant")
        tally.note("" if caught else f"{guard.module}:{guard.line} {guard.source}", refused=True)
    return tally


def _guards() -> Iterator[Guard]:
    for module in _MODULES:
        text = (ROOT / "prep" / module).read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
                yield Guard(module, node.lineno, ast.unparse(node.test))


def _caught(guard: Guard, folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for each in ROOT.iterdir():
        if each.name in ("prep", "tests"):  # what is imported has to lie here
            shutil.copytree(each, folder / each.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif not each.name.startswith("."):
            (folder / each.name).symlink_to(each)
    place = folder / "prep" / guard.module
    tree = ast.parse(place.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and node.lineno == guard.line and isinstance(node.body[-1], ast.Raise):
            # Still evaluated, for its side effects: only what follows from it is gone.
            node.test = ast.BoolOp(ast.And(), [node.test, ast.Constant(False)])
    place.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not long", *_present()]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        timeout=_PATIENCE,
        check=False,
    )
    return done.returncode == 1


def _present() -> list[str]:
    certificate = sorted((ROOT / "tests/rooms").glob("test_certificate_*.py"))
    return [str(path.relative_to(ROOT)) for path in (*certificate, *(ROOT / each for each in _TESTS)) if path.exists()]
