"""Linear algebra stays on the thread of the job that asks for it, in this process, as long as any job runs."""

from __future__ import annotations

import threading
from typing import Any


class _OneThread:
    """A limit of one thread a job on the process's BLAS, set by the first that enters and lifted by the last to leave.

    BLAS has one setting a process, so whoever limits it alone would restore a number that another has set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                from threadpoolctl import ThreadpoolController

                self._limit = ThreadpoolController().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()
                self._limit = None


# One object, because what it guards is one setting of the process.
one_thread = _OneThread()
