"""Time jobs in turn within one process, and say on which machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

WORKERS = 2
_PACKAGES = (
    *("numpy", "h5py", "blake3", "numba", "dask", "xarray", "pandera"),
    *("scikit-learn", "polars", "duckdb", "prep-certified"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """What is timed, ``run() -> result``; ``before`` makes room for it and is not."""

    run: Callable[[], Any]
    before: Callable[[], None] = lambda: None


def alternate(jobs: Sequence[Job], repeats: int, patience: float) -> tuple[list[Any], list[float]]:
    """Each job's first result and its median time in seconds.

    The jobs run in turn, so that a change of the machine's clock meets all of them. The first turn fills the page
    cache, imports and compiles; it is not counted. ``repeats`` turns are, or fewer, but two, once they took longer than
    ``patience`` seconds.
    """
    results = [_timed(job)[1] for job in jobs]
    times: list[list[float]] = [[] for _ in jobs]
    while len(times[0]) < repeats and (len(times[0]) < 2 or sum(map(sum, times)) < patience):
        for job, own in zip(jobs, times, strict=True):
            own.append(_timed(job)[0])
    return results, [median(own) for own in times]


def _timed(job: Job) -> tuple[float, Any]:
    job.before()
    start = time.perf_counter()
    result = job.run()
    return time.perf_counter() - start, result


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory in GiB, system, and versions of what computes."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
