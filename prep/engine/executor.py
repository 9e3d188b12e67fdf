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

    The first exception, in order, is raised as it was.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    from dask.base import compute
    from dask.delayed import delayed

    remaining = iter(items)
    while batch := list(islice(remaining, 2 * workers)):
        jobs = [delayed(function, pure=False)(item) for item in batch]
        yield from compute(*jobs, scheduler="threads", num_workers=workers)  # type: ignore[no-untyped-call]
