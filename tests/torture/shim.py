"""The preloaded library of tests/faults/failing.c: compiled when it is needed, and armed in a process that has it."""

from __future__ import annotations

import ctypes
import mmap
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "faults" / "failing.c"
ONCE, FROM_THEN_ON, SHORT, SHORT_THEN_FULL, SIGNAL = range(5)
PAGE = 4096
_FIRST = 512


class NoCompilerError(RuntimeError):
    """This machine has no C compiler."""


def compiled(folder: Path) -> Path:
    """The library, below ``folder``; `NoCompilerError` where there is nothing to compile it with."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompilerError("there is no C compiler here to compile the fault shim with")
    library = folder / "failing.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCompilerError(f"the fault shim cannot be compiled here: {done.stderr.strip()[-300:]}")
    return library


@dataclass(frozen=True, slots=True)
class Counted:
    """How many calls were seen, how many of them failed, and the first that did: its name and path."""

    calls: int
    failed: int
    first: str


def arm(folder: str, number: int, error: int, mode: int, page: mmap.mmap) -> None:
    """From now on call ``number`` (0: none) below ``folder`` strikes in this process."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    library = ctypes.CDLL(None)
    library.shim_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    library.shim_arm.restype = None
    library.shim_arm(folder.encode(), number, error, mode, address)


def turn_clock(seconds: int) -> None:
    """From now on the wall clock of this process is ``seconds`` off."""
    library = ctypes.CDLL(None)
    library.shim_clock.argtypes = [ctypes.c_long]
    library.shim_clock(seconds)


def counted(page: mmap.mmap) -> Counted:
    """What a process has counted on the page that it was armed with."""
    calls, failed = (int.from_bytes(page[place : place + 8], "little") for place in (0, 8))
    return Counted(calls, failed, bytes(page[16 : 16 + _FIRST]).split(b"\0")[0].decode())
