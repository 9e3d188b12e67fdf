"""Where the compiled loops come from: numba, where the extra ``fast`` is installed. NumPy does the work without."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from types import ModuleType

LEAST_BYTES = 1 << 20
_IMPORTING = Lock()
_LOG = logging.getLogger("prep.kernels")


def lanes_for(size: int) -> ModuleType | None:
    """`prep.kernels.lanes` for a block of ``size`` bytes; None without numba, and for small blocks, which are done
    before numba is imported.

    Which loops measure a block depends on the block alone, so that no result depends on how work was shared out.
    """
    return _loops("lanes") if size >= LEAST_BYTES else None


def matrix_loops_for(size: int) -> ModuleType | None:
    """`prep.kernels.matrix_loops`, as `lanes_for`; None also without scipy, whose LAPACK they call."""
    return _loops("matrix_loops") if size >= LEAST_BYTES and find_spec("scipy") else None


def _loops(name: str) -> ModuleType | None:
    # Threads that import numba at the same time wait for each other for ever.
    with _IMPORTING:
        return _imported(name)


@cache
def _imported(name: str) -> ModuleType | None:
    """The loops; each is compiled when it is first used and kept on disk."""
    try:
        _announce()
        return import_module(f"prep.kernels.{name}")
    except ImportError:
        return None


@cache
def _announce() -> None:
    from numba.core import event

    event.register("numba:compile", _announcer(event)())  # type: ignore[no-untyped-call]


def _announcer(event: ModuleType) -> type:
    class Announcer(event.Listener):  # type: ignore[name-defined, misc]
        """Says once that compiling has begun."""

        def on_start(self, event: object) -> None:
            if not getattr(self, "told", False):
                self.told = True
                _LOG.info("compiling the measuring loops for this machine: once, some seconds")

        def on_end(self, event: object) -> None:
            """Nothing to say."""

    return Announcer
