"""What the child takes from itself before it parses anything: memory, time, files, processes, privileges."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
from contextlib import suppress

from prep.isolation.limits import MOST_MEMORY

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_OPEN_FILES = 64


def confine(parent: int) -> None:
    """Limits for the rest of this process's life, the child of process ``parent``; call it when all is imported."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_NPROC, 0)  # no process and no thread more, except for root
    _lower(resource.RLIMIT_DATA, MOST_MEMORY)
    if sys.platform == "linux":
        control = ctypes.CDLL(None, use_errno=True).prctl
        control(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        control(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        control(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before it could be told of
            os._exit(0)


def allow(memory: int, processor: float) -> None:
    """Limits for the question that comes next."""
    _lower(resource.RLIMIT_DATA, memory, soft_only=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + processor), soft_only=True)


def _lower(kind: int, limit: int, *, soft_only: bool = False) -> None:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        limit = min(limit, most)
    # Some systems know a limit by name and refuse to set it; the others still hold.
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (limit, most if soft_only else limit))
