"""Every guard of the verifier taken out, one at a time: a test has to notice each."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.torture.campaign import Order, Tally, Unable
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
# After those that are about the module itself; a mutant is caught by the first test that fails.
_TESTS = (
    "tests/rooms/test_gate.py",
    "tests/attacks",
    "tests/golden",
    "tests/fuzz",
    "tests/rooms/test_formats_reader.py",
    "tests/rooms/test_formats_shards.py",
    "tests/rooms/test_formats_refusals.py",
    "tests/rooms/test_formats_roundtrip.py",
    "tests/walks/test_signed.py",
    "tests/walks/test_remote.py",
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
    if _caught(None, order):
        raise Unable("a test fails with every guard in its place")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    with ThreadPoolExecutor(cores) as pool:
        for guard, caught in zip(chosen, pool.map(lambda each: _caught(each, order), chosen), strict=True):
            if caught is None or not order.goes_on(tally):
                tally.cut = True
                break
            tally.note("" if caught else f"{guard.module}:{guard.line} {guard.source}", refused=True)
    return tally


def _guards() -> Iterator[Guard]:
    for module in _MODULES:
        text = (ROOT / "prep" / module).read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
                yield Guard(module, node.lineno, ast.unparse(node.test))


def _caught(guard: Guard | None, order: Order) -> bool | None:
    """Whether a test fails without the guard (or takes far longer); None where there was no time to try."""
    if time.monotonic() >= order.deadline:
        return None
    with tempfile.TemporaryDirectory(dir=order.folder) as name:
        # Beside each other: what lies above a test's folder would be its project.
        folder, base = Path(name) / "mutant", Path(name) / "base"
        folder.mkdir()
        for each in ROOT.iterdir():
            if each.name in ("prep", "tests"):  # what is imported has to lie here
                shutil.copytree(each, folder / each.name, ignore=shutil.ignore_patterns("__pycache__"))
            elif not each.name.startswith("."):
                (folder / each.name).symlink_to(each)
        if guard:
            _take_out(folder / "prep" / guard.module, guard.line)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not long"]
        try:
            done = subprocess.run(
                [*command, f"--basetemp={base}", *_tests(guard.module if guard else "")],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(order.folder / "numba")},
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True
        return done.returncode != 0


def _take_out(place: Path, line: int) -> None:
    tree = ast.parse(place.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and node.lineno == line and isinstance(node.body[-1], ast.Raise):
            # Still evaluated, for its side effects: only what follows from it is gone.
            node.test = ast.BoolOp(ast.And(), [node.test, ast.Constant(False)])
    place.write_text(ast.unparse(ast.fix_missing_locations(tree)))


def _tests(module: str) -> list[str]:
    """Files of tests in the order in which they are asked: first those that are named like the module."""
    room, stem = Path(module).parent.name or "gate", Path(module).stem
    certificate = sorted((ROOT / "tests/rooms").glob("test_certificate_*.py"))
    every = [*certificate, *(ROOT / each for each in _TESTS)]
    every.sort(key=lambda path: (stem not in path.stem, room not in path.stem))
    return [str(path.relative_to(ROOT)) for path in every if path.exists()]
