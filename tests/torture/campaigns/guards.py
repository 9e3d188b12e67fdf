"""Every guard of the verifier taken out, one at a time: a test has to notice each."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

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
# Those that make guards raise; a mutant is caught by the first of them that fails.
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
_PATIENCE = 900.0
# An expression, since a name that is bound here would be another one in the whole function.
_WITNESS = "__import__('tests.torture.witness').torture.witness.reached({path!r}, {about!r})"


@dataclass(frozen=True, slots=True)
class Guard:
    """One ``if`` that ends in a ``raise``."""

    module: str
    line: int
    source: str

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"{self.module}:{self.line}"


def guards(order: Order) -> Tally:
    """Each guard's condition is made False in a copy of the package; a mutant that every test passes is wrong.

    Only tests that made a guard raise can tell that it is gone: one run of all of them writes down which those are.
    """
    tally = Tally()
    every = list(_guards())
    chosen = every if not order.count else order.random("guards").sample(every, min(order.count, len(every)))
    reached = _reached(order)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    with ThreadPoolExecutor(cores) as pool:
        found = pool.map(lambda each: _caught(each, reached.get(each.name, []), order), chosen)
        for guard, caught in zip(chosen, found, strict=True):
            if caught is None or not order.goes_on(tally):
                tally.cut = True
                break
            tally.note("" if caught else f"{guard.name} {guard.source}", refused=True)
    return tally


def _reached(order: Order) -> Mapping[str, Sequence[str]]:
    """Which tests made each guard raise; `Unable` where a test fails with every guard in its place."""
    witness = order.folder / "reached.txt"
    witness.touch()
    with _copy(order) as (folder, base):
        for module in _MODULES:
            place = folder / "prep" / module
            tree = ast.parse(place.read_text())
            for node in ast.walk(tree):
                if _is_guard(node):
                    about = f"{module}:{node.lineno}"
                    node.body[-1:-1] = ast.parse(_WITNESS.format(path=str(witness), about=about)).body
            place.write_text(ast.unparse(ast.fix_missing_locations(tree)))
        if failed := _run(_tests(), folder, base, order):
            raise Unable(f"a test fails with every guard in its place: {failed}")
    found: dict[str, list[str]] = {}
    for line in witness.read_text().splitlines():
        guard, _, test = line.partition(" ")
        name = test.rpartition(" (")[0]
        if name and name not in found.setdefault(guard, []):
            found[guard].append(name)
    return found


def _guards() -> Iterator[Guard]:
    for module in _MODULES:
        for node in ast.walk(ast.parse((ROOT / "prep" / module).read_text())):
            if _is_guard(node):
                yield Guard(module, node.lineno, ast.unparse(node.test))


def _is_guard(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise)


def _caught(guard: Guard, tests: Sequence[str], order: Order) -> bool | None:
    """Whether one of the tests fails without the guard (or takes far longer); None where there was no time to try."""
    if time.monotonic() >= order.deadline:
        return None
    if not tests:
        return False
    with _copy(order) as (folder, base):
        place = folder / "prep" / guard.module
        tree = ast.parse(place.read_text())
        for node in ast.walk(tree):
            if _is_guard(node) and node.lineno == guard.line:
                # Still evaluated, for its side effects: only what follows from it is gone.
                node.test = ast.BoolOp(ast.And(), [node.test, ast.Constant(False)])
        place.write_text(ast.unparse(ast.fix_missing_locations(tree)))
        try:
            return bool(_run(tests, folder, base, order))
        except subprocess.TimeoutExpired:
            return True


@contextmanager
def _copy(order: Order) -> Iterator[tuple[Path, Path]]:
    """A copy of what is imported, and a folder for tests beside it: what lies above that would be their project."""
    with tempfile.TemporaryDirectory(dir=order.folder) as name:
        folder = Path(name) / "mutant"
        folder.mkdir()
        for each in ROOT.iterdir():
            if each.name in ("prep", "tests"):
                shutil.copytree(each, folder / each.name, ignore=shutil.ignore_patterns("__pycache__"))
            elif not each.name.startswith("."):
                (folder / each.name).symlink_to(each)
        yield folder, Path(name) / "base"


def _run(tests: Sequence[str], folder: Path, base: Path, order: Order) -> str:
    """What failed first, in pytest's words; empty where nothing did."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not long"]
    done = subprocess.run(
        [*command, f"--basetemp={base}", *tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(order.folder / "numba")},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    return "\n".join(done.stdout.splitlines()[-3:]) if done.returncode else ""


def _tests() -> list[str]:
    certificate = sorted((ROOT / "tests/rooms").glob("test_certificate_*.py"))
    every = [*certificate, *(ROOT / each for each in _TESTS)]
    return [str(path.relative_to(ROOT)) for path in every if path.exists()]
