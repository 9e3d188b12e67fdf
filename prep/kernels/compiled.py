"""Where the compiled loops come from: numba, where the extra ``fast`` is installed. NumPy does the work without.

Where numba is installed and yet cannot be used, NumPy does the work too, and that is said: last digits may differ.
"""

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


def what_measures() -> str:
    """What measures large blocks in this process, for comparing it with others. Imports numba."""
    found = [name for name, loops in (("lanes", lanes_for), ("matrix_loops", matrix_loops_for)) if loops(LEAST_BYTES)]
    return f"compiled {' and '.join(found)}" if found else "NumPy"


def _loops(name: str) -> ModuleType | None:
    # Threads that import numba at the same time wait for each other for ever.
    with _IMPORTING:
        return _imported().get(name)


@cache
def _imported() -> dict[str, ModuleType]:
    """The loops by name, each compiled when it is first used and kept on disk; none where numba cannot be used."""
    if find_spec("numba") is None:
        return {}
    try:
        from numba.core import config, event

        if config.DISABLE_JIT:  # type: ignore[attr-defined]
            _remark("NUMBA_DISABLE_JIT is set")
            return {}
        found = {name: import_module(f"prep.kernels.{name}") for name in ("lanes", "matrix_loops")}
        event.register("numba:compile", _announcer(event)())  # type: ignore[no-untyped-call]
    except Exception as error:  # a broken installation raises anything: ImportError, OSError, AttributeError
        _remark(f"{type(error).__name__}: {error}")
        return {}
    return found


def _remark(reason: str) -> None:
    _LOG.warning("numba is installed but cannot be used (%s): NumPy measures, slower", " ".join(reason.split()))


def _announcer(event: ModuleType) -> type:
    class Announcer(event.Listener):  # type: ignore[name-defined, misc]
        """Says once a process that compiling has begun."""

        def on_start(self, event: object) -> None:
            if not getattr(self, "told", False):
                self.told = True
                _LOG.info("compiling measuring loops for this machine: some seconds, kept for later runs")

        def on_end(self, event: object) -> None:
            """Nothing to say."""

    return Announcer
