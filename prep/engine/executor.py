"""Run independent jobs on threads, or on the workers of a dask scheduler, and hand results back in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from prep.engine.algebra import one_thread
from prep.engine.window import window
from prep.memory import thread_pool

Item = TypeVar("Item")
Result = TypeVar("Result")

Workers = int | str | None
"""Who does the work: a number of threads, the address of a dask scheduler (``tcp://host:port``) or the path of its
scheduler file, or None for a thread a core.
"""

PATIENCE = 60.0
"""Seconds that work waits for a scheduler without workers."""

_STEPS = 10_000


class Progress(Protocol):
    """Told how much of a stage is done; ``total`` may be 0 while unknown. ``text`` is one line on how it goes."""

    def __call__(self, done: int, total: int, text: str = "") -> None: ...


def silent(done: int, total: int, text: str = "") -> None:
    """A `Progress` that shows nothing."""


def one_of(progress: Progress, place: int, count: int, name: str) -> Progress:
    """What is done of the ``place``-th of ``count`` things, told as a part of them all; of several, which one it is,
    where they have a ``name``.
    """
    if count == 1:
        return progress

    def told(done: int, total: int, text: str = "") -> None:
        here = f"{place + 1} of {count}: {name}" + (f", {text}" if text else "") if name else text
        progress(place * _STEPS + (_STEPS * done // total if total else 0), count * _STEPS, here)

    return told


def available_workers() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(
    function: Callable[[Item], Result], items: Iterable[Item], workers: Workers = None, *, patience: float = PATIENCE
) -> Iterator[Result]:
    """``function(item)`` for each item, in order; at most 2 jobs a worker are handed in before the oldest is taken.

    The first exception, in order, is raised as it was, and what has not begun then never does; so too when whoever
    iterates stops early. Linear algebra inside a job stays on the job's own thread: a pool within each worker only
    waits for the others' cores, and its sums would depend on how many there are. With the address or file of a
    scheduler, ``function``, items and results travel by pickle; see `prep.engine.cluster` for what is demanded of the
    workers. Raises then `UsageError` for what is no scheduler's address or file, `UnfinishedError` for a scheduler that
    does not answer, has no running worker for ``patience`` seconds, or whose workers do not fit this process.
    """
    if isinstance(workers, str):
        from prep.engine.cluster import on_cluster

        return on_cluster(function, items, workers, patience)
    return _on_threads(function, items, workers or available_workers())


def demand_scheduler(workers: Workers, *, patience: float = PATIENCE) -> None:
    """Ask a scheduler, where ``workers`` is one, for a running worker, before any work is done; raises as `ordered`."""
    if isinstance(workers, str):
        from prep.engine.cluster import demand_workers

        demand_workers(workers, patience)


def _on_threads(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    with one_thread:
        if workers <= 1:
            yield from map(function, items)
            return
        pool = thread_pool(workers)
        try:
            for future in window(lambda item: pool.submit(function, item), items, lambda: 2 * workers):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
