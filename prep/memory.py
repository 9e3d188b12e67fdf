"""Memory is asked for ahead where those who need it cannot say that there is none: Python waits for ever for a thread
that ran out of it at once, and OpenBLAS ends the process.
"""

from __future__ import annotations

import mmap
import os
import resource
from concurrent.futures import ThreadPoolExecutor

# Imports, compiled loops and blocks; and the buffer and stack of each thread of OpenBLAS.
_LEAST = 128 << 20
_EACH_CORE = 40 << 20
_MOST = 1 << 30
# What a thread needs beside its stack before it can tell that it has begun.
_BESIDE = 2 << 20
_RESERVE = 8 << 20
_UNLIMITED_STACK = 8 << 20


def demand_memory() -> None:
    """`MemoryError` where the limits of the process leave less than any stage needs from its first import on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    demand_room(min(_LEAST + _EACH_CORE * cores, _MOST))


def demand_room(size: int) -> None:
    """`MemoryError` where the limits of the process leave less than ``size`` bytes; they are not touched."""
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"no room for {size} bytes") from error


def thread_pool(threads: int, name: str = "prep") -> ThreadPoolExecutor:
    """A pool that may start as many threads; `MemoryError` where the limits of the process leave no room for them."""
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    each = (stack if 0 < stack < 1 << 30 else _UNLIMITED_STACK) + _BESIDE
    demand_room(threads * each + _RESERVE)
    return ThreadPoolExecutor(threads, thread_name_prefix=name)
