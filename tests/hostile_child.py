"""A child that a file has taken over: what it does instead of reading stands in the name of the file.

Not imported by the tests but run, in place of `prep.isolation.child`, by the command line of `command`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
served: list[str] = []


def command(channel: int) -> list[str]:
    """The command line of such a child, in place of `prep.isolation.process.command`."""
    places = [str(ROOT), *(os.path.abspath(place) for place in sys.path if place)]
    boot = "import json, sys; sys.path[:] = json.loads(sys.argv[3]); from tests.hostile_child import main; main()"
    return [sys.executable, "-I", "-S", "-B", "-c", boot, str(channel), str(os.getpid()), json.dumps(places)]


def main() -> None:
    from prep.isolation import child

    for task in child.TASKS:
        child.TASKS[task] = f"tests.hostile_child:{task}"
    child.main(int(sys.argv[1]), int(sys.argv[2]))


def structure(held: Any, path: str, arguments: Any) -> tuple[Any, Any]:
    from prep.formats.hdf5_structure import structure as honest

    name = Path(path).stem
    if name == "victim" and served:
        die()  # of what the files before have left behind
    served.append(name)
    if name in DEEDS:
        DEEDS[name]()
    value, parts = honest(held, path, arguments)
    if name in LIES:
        LIES[name](value, parts)
    return value, parts


def member(held: Any, path: str, arguments: Any) -> tuple[bool, list[Any]]:
    DEEDS.get(Path(path).stem, bool)()
    return False, []


def columns(held: Any, path: str, arguments: Any) -> tuple[Any, Any]:
    from prep.importers.hdf5_answers import columns as honest

    DEEDS.get(Path(path).stem, bool)()
    return honest(held, path, arguments)


def vet(held: Any, path: str, arguments: Any) -> tuple[Any, Any]:
    from prep.importers.hdf5_answers import vet as honest

    return honest(held, path, arguments)


def read(held: Any, path: str, arguments: Any) -> tuple[None, Any]:
    """Dies over the second block."""
    from prep.importers.hdf5_answers import read as honest

    if Path(path).stem == "late" and arguments["start"] > 0:
        die()
    value, parts = honest(held, path, arguments)
    return value, [part[:-1] for part in parts] if Path(path).stem == "short" else parts


def die() -> None:
    ctypes.string_at(0)


def eat() -> None:
    np.ones(1 << 40)


def toil() -> None:
    while True:
        pass


def exhaust() -> None:
    hoard = []
    while True:
        hoard.append(np.ones(1 << 20))


def tell() -> None:
    """Everything that a test wants to know of the child, as an error."""
    from prep.errors import IntegrityError

    limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
    told = {
        "environment": dict(os.environ),
        "limits": limits,
        "ignored": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        "group": os.getpgid(0) == os.getpgid(os.getppid()),
        "control": [ctypes.CDLL(None).prctl(option, 0, 0, 0, 0) for option in (3, 39)],
        "pid": os.getpid(),
    }
    raise IntegrityError("told\x1b[31m", measured=json.dumps(told), remedy="none")


DEEDS: dict[str, Callable[[], Any]] = {
    "segfault": die,
    "abort": os.abort,
    "exit": lambda: os._exit(7),
    "allocate": eat,
    "exhaust": exhaust,
    "toil": toil,
    "sleep": lambda: time.sleep(600),
    "defect": lambda: {}["\x1bmissing"],
    "tell": tell,
}


def _field(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any, Any], Any]:
    return lambda value, parts: change(value["variables"]["episode"])


def _offset(value: Any, parts: list[Any]) -> None:
    parts[2 * list(value["variables"]).index("episode")][:] = (1 << 64) - 8


def _sizes(value: Any, parts: list[Any]) -> None:
    sizes = parts[2 * list(value["variables"]).index("episode") + 1]
    sizes -= 8


LIES: dict[str, Callable[[Any, Any], Any]] = {
    "no variables": lambda value, parts: value.pop("variables"),
    "a list": lambda value, parts: value.update(variables=[]),
    "objects": _field(lambda found: found.update(dtype="|O")),
    "big endian": _field(lambda found: found.update(dtype=">i8")),
    "a class": _field(lambda found: found.update(dtype="os.system")),
    "negative rows": _field(lambda found: found.update(rows=-1)),
    "more rows": _field(lambda found: found.update(rows=1 << 62)),
    "a real number of rows": _field(lambda found: found.update(rows=10.0)),
    "no rows a chunk": _field(lambda found: found.update(chunk_rows=0)),
    "huge rows": _field(lambda found: found.update(shape=[1 << 40, 1 << 40], dims=["sample", "a", "b"])),
    "huge chunks": _field(lambda found: found.update(chunk_rows=1 << 40)),
    "other filters": _field(lambda found: found.update(filters=[{"code": 305, "values": []}])),
    "filters of no kind": _field(lambda found: found.update(filters=[{"code": "zstd", "values": []}])),
    "attributes of no kind": _field(lambda found: found["attributes"].update(units=1.5)),
    "more attributes": _field(lambda found: found["attributes"].update(scale_factor="2")),
    "an offset that wraps": _offset,
    "smaller chunks": _sizes,
    "fewer parts": lambda value, parts: parts.pop(),
    "longer parts": lambda value, parts: parts.append(np.zeros(1 << 24, np.uint8)),
    "other dimensions": lambda value, parts: value["dimensions"].update(sample=11),
    "another version": lambda value, parts: value["root"].update(prep_format="9"),
}
