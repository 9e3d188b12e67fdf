"""Jobs on the workers of a dask scheduler: the function is made once a worker, results are fetched one by one."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from prep.engine.addresses import scheduler_address
from prep.engine.algebra import one_thread
from prep.engine.versions import installed
from prep.engine.window import window
from prep.errors import PrepError, UnfinishedError, Where
from prep.interrupts import Interrupts
from prep.kernels.compiled import what_measures

Item = TypeVar("Item")
Result = TypeVar("Result")

_CONNECT = 10.0
_POLL = 1.0
_BLINK = 0.1
_CLOSED = "the other side closed it while jobs were under way"
_COMPUTING = ("prep-certified", "numpy", "scipy", "numba")


def on_cluster(
    function: Callable[[Item], Result], items: Iterable[Item], scheduler: str, patience: float
) -> Iterator[Result]:
    """``function(item)`` for each item on the workers of ``scheduler``, in order.

    Results stay on their workers until their turn comes, so this process holds one at a time. A job whose worker died
    is done again elsewhere. Every worker sees the files under the same paths, has the same versions of what computes,
    and the same kind of processor as the other workers; `UnfinishedError` where that does not hold.
    """
    interrupts = Interrupts()
    results = _results(function, items, scheduler, patience, interrupts)
    try:
        while True:
            with interrupts:
                try:
                    result = next(results)
                except StopIteration:
                    return
            yield result  # whoever takes it is interrupted as ever
            del result
    finally:
        with interrupts:
            results.close()


def _results(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    scheduler: str,
    patience: float,
    interrupts: Interrupts,
) -> Generator[Result]:
    import dask.config
    from distributed.protocol.pickle import dumps

    payload: bytes = dumps(function)  # type: ignore[no-untyped-call]
    with _connected(scheduler, patience, interrupts) as cluster:
        # A task rather than scattered data: the scheduler makes it again when the workers that held it are gone.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            shipped = cluster.submit(Shipped, payload, _versions())
        # Jobs go where their function is: without this the first ones would all wait for one worker.
        cluster.outcome(cluster.client.replicate(shipped, asynchronous=True))
        arithmetic = None

        def submit(item: Item) -> Any:
            return cluster.submit(_work, shipped, item)

        for future in window(submit, items, cluster.look_ahead):
            found, result = cluster.outcome(_of(future))
            del future  # the worker may forget it now
            arithmetic = arithmetic or found
            if found != arithmetic:
                raise UnfinishedError(
                    "workers of different kinds of processor round differently",
                    where=Where(key=f"scheduler {scheduler}"),
                    measured=f"{found} beside {arithmetic}",
                    allowed="one kind, so that no result depends on which worker did what",
                    remedy="start all dask workers on machines of one kind",
                )
            yield result
            del result


def demand_workers(scheduler: str, patience: float) -> None:
    """`UsageError` or `UnfinishedError` unless ``scheduler`` answers and has a running worker."""
    with Interrupts() as interrupts, _connected(scheduler, patience, interrupts):
        pass


class Shipped:
    """A function on its way to the workers. Each makes it once, however many jobs and threads it has."""

    def __init__(self, payload: bytes, versions: str) -> None:
        self._payload, self._versions = payload, versions
        self._lock = threading.Lock()
        self._function: Callable[[Any], Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (Shipped, (self._payload, self._versions))

    def __call__(self, item: Any) -> Any:
        with self._lock:
            if self._function is None:
                self._function = self._made()
        return self._function(item)

    def _made(self) -> Callable[[Any], Any]:
        if (found := _versions()) != self._versions:
            raise UnfinishedError(
                "a dask worker computes with other versions than this process, so its last bits may differ",
                where=Where(key=f"worker on {socket.gethostname()}"),
                measured=found,
                allowed=self._versions,
                remedy="install the same versions (constraints.txt) for the workers and start them again; "
                "`python -c 'import numba'` there says why numba, once installed, is not used",
            )
        import pickle

        try:
            function: Callable[[Any], Any] = pickle.loads(self._payload)
        except (PrepError, OSError) as error:
            reason = error.what if isinstance(error, PrepError) else str(error)
            raise UnfinishedError(
                "a dask worker cannot open what it has to read",
                where=error.where if isinstance(error, PrepError) else None,
                measured=f"{reason} (worker on {socket.gethostname()}, in {os.getcwd()})",
                allowed="the same files under the same paths for every worker",
                remedy="put the data on a file system that all workers share, and name them by that path",
            ) from error
        return function


def _work(shipped: Shipped, item: Any) -> tuple[str, Any]:
    with one_thread:
        return _arithmetic(), shipped(item)


async def _of(future: Any) -> Any:
    """The result of a job. Unlike a gathering, this leaves nothing behind that complains when it is given up."""
    return await future


def _versions() -> str:
    """What is installed, and which of it this process can compute with."""
    found = {"python": platform.python_version(), **installed(*_COMPUTING)}
    return ", ".join([*(f"{package} {version}" for package, version in found.items()), f"measuring: {what_measures()}"])


@cache
def _arithmetic() -> str:
    """What decides the last bit of a sum here besides versions: processor, vector instructions, kernels of BLAS."""
    import numpy as np
    from threadpoolctl import threadpool_info

    simd: Any = np.show_config(mode="dicts")
    blas = {each["architecture"] for each in threadpool_info() if "architecture" in each}
    return " ".join([platform.machine(), *simd.get("SIMD Extensions", {}).get("found", []), *sorted(blas)])


@contextmanager
def _connected(scheduler: str, patience: float, interrupts: Interrupts) -> Iterator[_Cluster]:
    address = scheduler_address(scheduler)
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    # What is wrong is said once, by the error that is raised.
    with silence_logging_cmgr("CRITICAL"):
        wait = min(_CONNECT, patience)
        try:
            client: Any = Client(address, timeout=wait, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, TimeoutError) as error:
            raise UnfinishedError(
                "the dask scheduler does not answer",
                where=Where(key=f"scheduler {scheduler}"),
                measured=f"no connection to {address} in {wait:g} s ({type(error).__name__})",
                allowed="a scheduler of the same version of dask that this machine can reach",
                remedy="check that it runs and that its address and port can be reached from here",
            ) from error
        try:
            interrupts.let_through()
            cluster = _Cluster(client, scheduler, patience, interrupts)
            cluster.demand_worker()
            cluster.demand_prep()
            yield cluster
        finally:
            # Closing lets the scheduler forget every job that is still wanted here; those under way end unheard.
            try:
                client.close(timeout=wait)
            except (OSError, TimeoutError):
                client.status = "closed"


@dataclass(slots=True)
class _Cluster:
    """A scheduler as seen from here: how many jobs it can take, and whether there is still hope for them."""

    client: Any
    scheduler: str
    patience: float
    interrupts: Interrupts = field(default_factory=Interrupts)
    _threads: int = 0
    _asked: float = float("-inf")
    _idle_since: float | None = None

    def look_ahead(self) -> int:
        """Two jobs a thread of the running workers."""
        self._ask()
        return 2 * self._threads

    def demand_worker(self) -> None:
        """Wait for a running worker; `UnfinishedError` once there was none for ``patience`` seconds."""
        while self._ask() == 0:
            self.interrupts.let_through()
            time.sleep(min(_POLL, self.patience) / 10)

    def demand_prep(self) -> None:
        """`UnfinishedError` unless the scheduler and a worker have this package."""
        try:
            self.outcome(_of(self.submit(_versions)))
        except (RuntimeError, ImportError) as error:
            raise self._unfinished(
                "the dask scheduler or a worker cannot load prep",
                f"{type(error.__cause__ or error).__name__}: {error.__cause__ or error}",
                f"the same packages for scheduler and workers: {_versions()}",
                "install prep where they run, and start them again",
            ) from error

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A job that is handed in; its result is what `outcome` gives for `_of` it."""
        from distributed.client import ClosedClientError

        try:
            return self.client.submit(function, *arguments, pure=False)
        except ClosedClientError as error:
            raise self._lost() from error

    def outcome(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine of the client gives; raises what it raises, or `UnfinishedError` if it cannot end."""
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            return self._awaited(coroutine, self._ask)
        except KilledWorker as error:
            raise self._unfinished(
                "a job ended every dask worker that took it",
                f"{error.allowed_failures + 1} workers died of it, the last {error.last_worker.address}",
                "a job that fits the memory of a worker",
                "give workers more memory (dask worker --memory-limit); their logs say why they ended",
            ) from error
        except CommClosedError as error:  # an OSError, which would pass for one of the job's
            raise self._lost() from error
        except CancelledError as error:
            dropped = "the scheduler dropped a job that it had taken" if self.client.status == "running" else _CLOSED
            raise self._lost(dropped) from error

    def _awaited(self, coroutine: Coroutine[Any, Any, Any], meanwhile: Callable[[], object]) -> Any:
        """What ``coroutine`` gives, on the client's loop; ``meanwhile`` is called while that takes long."""
        coming = asyncio.run_coroutine_threadsafe(coroutine, self.client.loop.asyncio_loop)
        try:
            while True:
                self.interrupts.let_through()
                try:
                    return coming.result(timeout=_BLINK)
                except TimeoutError:
                    if coming.done():  # the job itself raised it, or came to an end just now
                        return coming.result()
                meanwhile()
        finally:
            coming.cancel()

    def _ask(self) -> int:
        """Threads of running workers, asked at most once in a while; raises once nothing can be hoped for."""
        now = time.monotonic()
        if now - self._asked < min(_POLL, self.patience / 4):
            return self._threads

        def give_up() -> None:
            if time.monotonic() - now >= self.patience:
                raise self._lost(f"no answer in {self.patience:g} s")

        if self.client.scheduler is None:
            raise self._lost()
        try:
            known = self._awaited(self.client.scheduler.identity(), give_up)
        except (OSError, RuntimeError, CancelledError) as error:
            raise self._lost() from error
        self._asked = time.monotonic()
        workers = known["workers"].values()
        self._threads = sum(each["nthreads"] for each in workers if each["status"] == "running")
        if self._threads:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = self._asked
        elif self._asked - self._idle_since >= self.patience:
            states = ", ".join(sorted({each["status"] for each in workers}))
            raise self._unfinished(
                "the dask scheduler has no running worker",
                f"{len(workers)} workers{f' ({states})' if states else ''} after {self.patience:g} s",
                "one running worker or more",
                f"start some (dask worker {self.client.scheduler.address}) with the packages that are installed here; "
                "the logs of those that ended say why",
            )
        return self._threads

    def _lost(self, measured: str = _CLOSED) -> UnfinishedError:
        return self._unfinished(
            "the connection to the dask scheduler was lost",
            measured,
            "a scheduler that runs until the command has ended",
            "read the scheduler's log, start it again and run the same command again",
        )

    def _unfinished(self, what: str, measured: str, allowed: str, remedy: str) -> UnfinishedError:
        where = Where(key=f"scheduler {self.scheduler}")
        return UnfinishedError(what, where=where, measured=measured, allowed=allowed, remedy=remedy)
