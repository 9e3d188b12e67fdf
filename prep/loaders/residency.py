"""What of a split is in memory while it is read: all of it when it fits, else one window and the one after it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from prep.blocks import Array, ChunkKey
from prep.engine import available_workers
from prep.gate import CertifiedDataset
from prep.kernels.scratch import Scratch
from prep.loaders.order import Window
from prep.memory import thread_pool

_SHARE_OF_FREE_MEMORY = 0.5
_UNKNOWN = 4 << 30
_LIMIT, _USED = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
Rows = Mapping[str, Array]


def free_memory() -> int:
    """Bytes of memory that this process can still get: what the system has left, and the limit of its container."""
    free = _UNKNOWN
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) << 10
        free = min(free, int(_LIMIT.read_text()) - int(_USED.read_text()))
    except (OSError, ValueError):  # "max": no limit
        pass
    return max(free, 0)


def fits(size: int) -> bool:
    """Whether ``size`` bytes may be held in memory at once."""
    return size <= _SHARE_OF_FREE_MEMORY * free_memory()


class Reading:
    """Reads runs of rows into memory on all cores, each chunk verified as it is read. A context manager."""

    def __init__(self, dataset: CertifiedDataset, fields: tuple[str, ...]) -> None:
        self._dataset, self._fields = dataset, fields
        self._pool = thread_pool(available_workers(), "prep-loader")
        self._own = threading.local()

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def room(self, rows: int) -> dict[str, Array]:
        """Memory for as many rows, (rows, *shape) a field."""
        specs = [self._dataset.spec[name] for name in self._fields]
        return {spec.name: np.empty((rows, *spec.shape), spec.dtype) for spec in specs}

    def begin(self, runs: Iterable[tuple[int, int]], out: Rows) -> list[Future[None]]:
        """Begin to read ``runs`` of stored rows, laid end to end, to the beginning of ``out``; raises through results."""
        done = 0
        found = []
        for start, stop in runs:
            for name in self._fields:
                step = self._dataset.manifest.layouts[name].chunk_rows
                for index in range(start // step, -(-stop // step)):
                    low, high = max(start, index * step), min(stop, (index + 1) * step)
                    place = out[name][done + low - start : done + high - start]
                    found.append(self._pool.submit(self._read, ChunkKey(name, index), low - index * step, place))
            done += stop - start
        return found

    def _read(self, key: ChunkKey, first: int, out: Array) -> None:
        """Rows from ``first`` on of one chunk into ``out``."""
        own = self._own.__dict__
        stored, decoded = own.setdefault("stored", Scratch()), own.setdefault("decoded", Scratch())
        start, stop = self._dataset.manifest.layouts[key.field].row_range(key.index)
        if len(out) == stop - start:
            self._dataset.fill(key, out, stored)
            return
        shape = (stop - start, *out.shape[1:])
        whole: Array = np.frombuffer(decoded.take(out[:1].nbytes * (stop - start)), out.dtype).reshape(shape)
        self._dataset.fill(key, whole, stored)
        out[:] = whole[first : first + len(out)]


def resident(dataset: CertifiedDataset, fields: tuple[str, ...], window: Window) -> Rows:
    """Every row of a window as it lies."""
    with Reading(dataset, fields) as reading:
        out = reading.room(sum(stop - start for start, stop in window.runs))
        _finish(reading.begin(window.runs, out))
    return out


def streamed(
    dataset: CertifiedDataset, fields: tuple[str, ...], windows: Iterable[Window]
) -> Iterator[tuple[Window, Rows]]:
    """Each window with its rows as they lie; the next one is read meanwhile, into the memory of the one before."""
    with Reading(dataset, fields) as reading:
        waiting: tuple[Window, Rows, list[Future[None]]] | None = None
        spare: list[dict[str, Array]] = []
        for window in windows:
            out = spare.pop() if spare else reading.room(window.rows)
            if len(next(iter(out.values()))) < window.rows:
                out = reading.room(window.rows)
            reads = reading.begin(window.runs, out)
            if waiting is not None:
                before, rows, pending = waiting
                _finish(pending)
                yield before, rows
                spare.append(dict(rows))
            waiting = window, out, reads
        if waiting is not None:
            _finish(waiting[2])
            yield waiting[:2]


def _finish(reads: Iterable[Future[None]]) -> None:
    for each in reads:
        each.result()
