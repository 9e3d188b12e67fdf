"""Runs command lines of prep in forks of one process, with faults to order, and tells how each ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.torture import shim

ROOT = Path(__file__).parents[2]
# A certificate names the moment of its making; with a fixed one the same command writes the same bytes.
EPOCH = "1790000000"


@dataclass(frozen=True, slots=True)
class Faults:
    """What a run has to live with."""

    number: int = 0
    error: int = 0
    mode: int = shim.ONCE
    below: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)
    clock: int = 0
    uid: int = 0
    stdout: str = "file"
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit code (negative: the signal that ended it), what it said, and what the shim counted."""

    command: str
    code: int
    out: str
    err: str
    seconds: float
    counted: shim.Counted

    def complaint(self, *allowed: int) -> str:
        """Why this is no clean end of one of the codes; empty where it is one."""
        said = f"{self.command} ended with {self.code} (struck: {self.counted.first or 'nothing'}): {self.err[-600:]}"
        if self.code not in allowed:
            return said
        if any(word in self.err for word in ("Traceback", "Exception ignored", "internal:", "Fatal")):
            return said
        if self.code == 4 and (self.err.count("remedy:") != 1 or len(self.err.splitlines()) > 8):
            return f"not one clear message: {said}"
        return ""


class Run:
    """A command that runs."""

    def __init__(self, runner: Runner, number: int, pid: int, command: str, folder: Path) -> None:
        self._runner, self._number, self._command, self._folder = runner, number, command, folder
        self.pid = pid

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds: float = 120.0) -> Ended:
        """Wait for its end; killed where it takes too long."""
        found = self._runner.answer(self._number, seconds)
        if found is None:
            self.signal(signal.SIGKILL)
            found = {**(self._runner.answer(self._number, 10.0) or {}), "status": -99}
        out, err = (self._folder / f"{self._number}.{name}" for name in ("out", "err"))
        texts = [each.read_text(errors="replace") if each.exists() else "" for each in (out, err)]
        for each in (out, err):
            each.unlink(missing_ok=True)
        counted = shim.Counted(found.get("calls", 0), found.get("failed", 0), found.get("first", ""))
        return Ended(self._command, found["status"], texts[0], texts[1], found.get("seconds", seconds), counted)


class Runner:
    """Within ``with``: a process that runs `prep` in forks. ``small`` has chunks of a kilobyte and keeps all that an
    interrupted run keeps from the first byte. Raises `shim.NoCompilerError`.
    """

    def __init__(self, *, small: bool = False) -> None:
        self._holder = tempfile.TemporaryDirectory(prefix="torture-")
        self._folder = Path(self._holder.name)
        self._numbers = count()
        self._answers: dict[int, list[dict[str, Any]]] = {}
        self._said = b""
        command = [sys.executable, "-m", "tests.torture.forked", *(["--small"] if small else [])]
        env = {**os.environ, "LD_PRELOAD": str(shim.compiled(self._folder)), "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=env, start_new_session=True
        )
        self._folder.chmod(0o777)
        if not self._read(120.0):
            raise RuntimeError("the process that runs prep did not start")

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._holder.cleanup()

    def start(self, *arguments: str, cwd: Path, faults: Faults | None = None, brief: bool = False) -> Run:
        """Start ``prep`` with these arguments in ``cwd``; below its parent the shim counts. A ``brief`` one leaves out
        how the interpreter takes itself apart.
        """
        number, faults = next(self._numbers), faults or Faults()
        cache = cwd.parent / "cache"
        env = {"XDG_CACHE_HOME": str(cache), "SOURCE_DATE_EPOCH": EPOCH, **faults.env}
        request = {
            **{"id": number, "arguments": arguments, "cwd": str(cwd), "env": env},
            **{"out": str(self._folder / f"{number}.out"), "err": str(self._folder / f"{number}.err")},
            **{"below": faults.below or os.path.realpath(cwd.parent), "number": faults.number, "error": faults.error},
            **{"mode": faults.mode, "limits": dict(faults.limits), "clock": faults.clock, "uid": faults.uid},
            **{"stdout": faults.stdout, "brief": brief},
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        begun = self.answer(number, 30.0)
        assert begun is not None
        return Run(self, number, begun["pid"], f"prep {' '.join(arguments)}", self._folder)

    def run(self, *arguments: str, cwd: Path, faults: Faults | None = None) -> Ended:
        """Run to the end."""
        return self.start(*arguments, cwd=cwd, faults=faults).wait()

    def good(self, *arguments: str, cwd: Path) -> Ended:
        """Run to an end that has to be good."""
        ended = self.start(*arguments, cwd=cwd, brief=True).wait()
        assert ended.code == 0, f"{ended.command} ended with {ended.code}: {ended.err}"
        return ended

    def answer(self, number: int, seconds: float) -> dict[str, Any] | None:
        """The next answer about a run; None where none comes in time."""
        while not self._answers.get(number):
            if not self._read(seconds):
                return None
        return self._answers[number].pop(0)

    def _read(self, seconds: float) -> bool:
        import select

        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        data = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
        if not data:
            return False
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            body = json.loads(line)
            if "id" in body:
                self._answers.setdefault(body["id"], []).append(body)
        return True
