"""What runs in the child process: take an open file and a question, answer, until nobody asks any more."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from prep.errors import PrepError
from prep.isolation.confinement import allow, confine
from prep.isolation.failures import as_data
from prep.isolation.frames import receive_with_file, send

# Who answers what: ``answer(held, path, arguments) -> value, parts``.
TASKS = {
    "structure": "prep.formats.hdf5_structure:structure",
    "mark": "prep.formats.hdf5_structure:mark",
    "member": "prep.importers.hdf5_answers:member",
    "columns": "prep.importers.hdf5_answers:columns",
    "vet": "prep.importers.hdf5_answers:vet",
    "read": "prep.importers.hdf5_answers:read",
    "texts": "prep.importers.hdf5_answers:texts",
    "table columns": "prep.importers.parquet_answers:columns",
    "table read": "prep.importers.parquet_answers:read",
    "table texts": "prep.importers.parquet_answers:texts",
    "episodes": "prep.importers.minari_answers:episodes",
    "transitions": "prep.importers.minari_answers:transitions",
}
_EVERYBODY_NEEDS = "prep.formats.hdf5_structure"


class Held:
    """The file that the child holds, and in ``state`` what answers keep of it for the next question."""

    def __init__(self, descriptor: int = -1) -> None:
        self.descriptor = descriptor
        self.state: dict[str, Any] = {}

    def close(self) -> None:
        """Let go of the file."""
        for kept in reversed(self.state.values()):
            if hasattr(kept, "close"):
                kept.close()
        self.state.clear()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def main(descriptor: int, parent: int) -> None:
    """Serve the socket ``descriptor`` for process ``parent``; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then lets go of this process
    channel = socket.socket(fileno=descriptor)
    import_module(_EVERYBODY_NEEDS)
    confine(parent)
    os.dup2(0, 2)  # the start is over: nobody reads what it says from here on
    held = Held()
    try:
        send(channel, {"ready": os.getpid()})
        while True:
            request, _, file = receive_with_file(channel)
            if file >= 0:
                held.close()
                held = Held(file)
            send(channel, *_answered(request, held))
            if not request["keep"]:
                held.close()
    except (EOFError, OSError):
        os._exit(0)


def _answered(request: dict[str, Any], held: Held) -> tuple[dict[str, Any], Sequence[Any]]:
    allow(request["memory"], request["processor"])
    module, _, name = TASKS[request["task"]].partition(":")
    try:
        answer: Callable[..., tuple[Any, Sequence[Any]]] = getattr(import_module(module), name)
        value, parts = answer(held, request["path"], request["arguments"])
    except PrepError as error:
        return {"error": as_data(error)}, ()
    except MemoryError:
        return {"exhausted": True}, ()
    except Exception as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        line = f" in {os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno}" if place else ""
        return {"defect": f"{type(error).__name__}: {error}{line}"}, ()
    return {"answer": value}, parts


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
