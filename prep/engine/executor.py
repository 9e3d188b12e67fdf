"""Run independent jobs on dask's threads and hand results back in order, with bounded look-ahead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Progress(Protocol):
    """Told how much of a stage is done; ``total`` may be 0 while unknown."""

    def __call__(self, done: int, total: int) -> None: ...


def silent(done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


def available_workers() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """``function(item)`` for each item, in order, at most ``2 * workers`` results in memory.

    The first exception, in order, is raised as it was. Linear algebra inside a job stays on the job's own thread:
    a pool within each worker only waits for the others' cores, and its sums would depend on how many there are.
    """
    from dask.base import compute
    from dask.delayed import delayed
    from threadpoolctl import ThreadpoolController

    pools = ThreadpoolController()
    remaining = iter(items)
    while batch := list(islice(remaining, 2 * workers if workers > 1 else 1)):
        with pools.limit(limits=1, user_api="blas"):
            if workers > 1:
                jobs = [delayed(function, pure=False)(item) for item in batch]
                results = compute(*jobs, scheduler="threads", num_workers=workers)  # type: ignore[no-untyped-call]
            else:
                results = [function(batch[0])]
        yield from results
