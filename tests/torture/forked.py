"""A process that has prep imported and runs each command line in a fork of itself: a run takes what it takes, and no
seconds of imports.

Requests and answers are lines of JSON on stdin and stdout; `tests.torture.runner` speaks to it.
"""

from __future__ import annotations

import gc
import importlib
import json
import mmap
import os
import resource
import selectors
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.torture import shim


def make_small() -> None:
    """Chunks of a kilobyte, and everything that is kept for a resumed run is kept from the first byte."""
    from prep import blocks

    blocks.SEGMENT_BYTES, blocks.CHUNK_BYTES = 1 << 12, 1 << 10
    from prep.engine import source
    from prep.engine.journal import Journal
    from prep.formats import ledger

    source.UNIT_BYTES = 1 << 11
    ledger.LEAST_BYTES = 1
    Journal.__init__.__defaults__ = ("", 0.0)


def import_everything() -> None:
    """All that a run imports, so that a fork has it: a first fork runs the whole line and tells what it imported."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with tempfile.TemporaryDirectory() as folder:
                run_the_line(Path(folder))
            with open(writer, "w") as file:
                file.write("\n".join(sys.modules))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        names = file.read().split()
    os.waitpid(pid, 0)
    for name in names:
        if name != "__main__":
            with suppress(ImportError):
                importlib.import_module(name)
    from prep.registry import Table

    for each in [each for each in gc.get_objects() if isinstance(each, Table)]:
        list(each)  # entry points are looked up once


def run_the_line(folder: Path) -> None:
    """Every stage once, with nothing said."""
    from prep.cli import run
    from tests.torture.cases import STAGES, Names, make_project

    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.chdir(make_project(folder / "project"))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    for ending in ("h5", "zarr"):
        for stage in STAGES:
            run([*Names(ending).command(stage)])
        run(["verify", Names(ending).data, "--deep"])
    run(["verify", "nothing.h5"])  # how an error is shown


def serve() -> dict[str, Any] | None:
    """Answer requests until stdin ends. Returns in a fork, with what is asked of it."""
    chosen = selectors.DefaultSelector()
    chosen.register(0, selectors.EVENT_READ)
    running: dict[int, tuple[dict[str, Any], int, mmap.mmap, float]] = {}
    waiting = b""
    while True:
        for key, _ in chosen.select():
            if key.fd != 0:
                request, pid, page, begin = running.pop(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                chosen.unregister(key.fd)
                os.close(key.fd)
                found = shim.counted(page)
                told = {"status": status, "seconds": time.monotonic() - begin}
                answer(
                    {"id": request["id"], **told, "calls": found.calls, "failed": found.failed, "first": found.first}
                )
                continue
            data = os.read(0, 1 << 16)
            if not data:
                return None
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                request, page = json.loads(line), mmap.mmap(-1, shim.PAGE)
                pid = os.fork()
                if not pid:
                    return {**request, "page": page}
                descriptor = os.pidfd_open(pid)
                running[descriptor] = (request, pid, page, time.monotonic())
                chosen.register(descriptor, selectors.EVENT_READ)
                answer({"id": request["id"], "pid": pid})


def answer(body: dict[str, Any]) -> None:
    """One line on stdout."""
    os.write(1, json.dumps(body).encode() + b"\n")


def become(request: dict[str, Any]) -> list[str]:
    """Take on what the request says about this fork; returns its command line."""
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    nothing, out, err = os.open(os.devnull, os.O_RDONLY), os.open(request["out"], flags), os.open(request["err"], flags)
    if request["stdout"] == "gone":
        reader, out = os.pipe()
        os.close(reader)
    elif request["stdout"] == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    for descriptor, number in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, number)
    gc.collect()  # a selector that is collected later would close a descriptor of somebody else
    os.closerange(3, 256)
    if request["uid"]:
        os.setgroups([])
        os.setgid(request["uid"])
        os.setuid(request["uid"])
    shim.turn_clock(request["clock"])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for name, limit in request["limits"].items():
        size = limit + (data_bytes() if name == "DATA" else 0)
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (size, size))
    shim.arm(request["below"], request["number"], request["error"], request["mode"], request["page"])
    return list(request["arguments"])


def data_bytes() -> int:
    """What this process has of the memory that RLIMIT_DATA counts."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))


if __name__ == "__main__":
    if "--small" in sys.argv:
        make_small()
    import_everything()
    gc.freeze()
    answer({"ready": True})
    asked = serve()
    if asked is None:
        sys.exit(0)
    sys.argv[:] = ["prep", *become(asked)]
    from prep.cli import main

    if asked["brief"]:
        try:
            main()
        except SystemExit as ended:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(ended.code or 0))
    main()
