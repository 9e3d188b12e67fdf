"""Where the compiled loops come from: numba, where the extra ``fast`` is installed. NumPy does the work without."""

from __future__ import annotations

import logging
from functools import cache
from threading import Lock
from types import ModuleType

LEAST_BYTES = 1 << 20
_IMPORTING = Lock()
_LOG = logging.getLogger("prep.kernels")


def lanes() -> ModuleType | None:
    """`prep.kernels.lanes`, or None without numba. A loop is compiled when it is first used and kept on disk."""
    # Threads that import numba at the same time wait for each other for ever.
    with _IMPORTING:
        return _lanes()


@cache
def _lanes() -> ModuleType | None:
    try:
        from numba.core import event

        from prep.kernels import lanes as loops
    except ImportError:
        return None
    event.register("numba:compile", _announcer(event)())  # type: ignore[no-untyped-call]
    return loops


def lanes_for(size: int) -> ModuleType | None:
    """`lanes` for a block of ``size`` bytes: a small one is done before numba is imported.

    Which loops measure a block depends on the block alone, so that no result depends on how work was shared out.
    """
    return lanes() if size >= LEAST_BYTES else None


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
