"""What of a split is in memory while it is read: all of it when it fits, else one window and the one after it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prep.blocks import Array, ChunkKey
from prep.engine import available_workers
from prep.gate import CertifiedDataset
from prep.kernels.scratch import Scratch
from prep.loaders.order import Window
from prep.memory import thread_pool

SHARE_OF_FREE_MEMORY = 0.5
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


class Promise:
    """Memory that is to be held as long as this exists, and is not taken yet: what others count on as free is less."""

    def __init__(self, size: int) -> None:
        self.size = size
        _PROMISED.add(self)


# Of all loaders of the process, as free memory is: each is asked before the first of them has read its rows.
_PROMISED: weakref.WeakSet[Promise] = weakref.WeakSet()


def fits(size: int) -> bool:
    """Whether ``size`` bytes may be held in memory at once, beside what others were promised."""
    return size + sum(each.size for each in _PROMISED) <= SHARE_OF_FREE_MEMORY * free_memory()


class Memory:
    """Memory for windows: what nobody looks at any more is used again, since fresh pages cost more than reading."""

    def __init__(self) -> None:
        self._spare: list[Array] = []

    def lend(self, size: int) -> Array:
        """``size`` bytes, of which every view has to be gone before they are lent again."""
        raw = self._spare.pop() if self._spare else np.empty(size, np.uint8)
        if len(raw) < size:
            raw = np.empty(size, np.uint8)
        # Views of an array point to the first one below them that is made of a buffer, which is this.
        lent: Array = np.frombuffer(raw.data, np.uint8)
        weakref.finalize(lent, self._spare.append, raw)
        return lent[:size]


class Reading:
    """Reads rows into memory on all cores, each chunk verified as it is read. A context manager."""

    def __init__(self, dataset: CertifiedDataset, fields: tuple[str, ...]) -> None:
        self._dataset, self._specs = dataset, tuple(dataset.spec[name] for name in fields)
        self._pool = thread_pool(available_workers(), "prep-loader")
        self._own = threading.local()

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def room(self, rows: int, memory: Memory) -> dict[str, Array]:
        """Memory for as many rows, (rows, *shape) a field."""
        sizes = [rows * spec.row_bytes for spec in self._specs]
        return {
            spec.name: memory.lend(size).view(spec.dtype).reshape(rows, *spec.shape)
            for spec, size in zip(self._specs, sizes, strict=True)
        }

    def begin(
        self, runs: Iterable[tuple[int, int]], out: Rows, places: NDArray[np.int64] | None = None
    ) -> list[Future[None]]:
        """Begin to read ``runs`` of stored rows, laid end to end, into ``out``, each row to its place where there are
        ``places``; raises through results.
        """
        done = 0
        found = []
        for start, stop in runs:
            for name, rows in out.items():
                step = self._dataset.manifest.layouts[name].chunk_rows
                for index in range(start // step, -(-stop // step)):
                    low, high = max(start, index * step), min(stop, (index + 1) * step)
                    put = slice(done + low - start, done + high - start)
                    about = ChunkKey(name, index), low - index * step, high - index * step
                    if places is None:
                        found.append(self._pool.submit(self._read, *about, rows[put]))
                    else:
                        found.append(self._pool.submit(self._scatter, *about, rows, places[put]))
            done += stop - start
        return found

    def _read(self, key: ChunkKey, first: int, last: int, out: Array) -> None:
        """Rows ``first:last`` of one chunk."""
        start, stop = self._dataset.manifest.layouts[key.field].row_range(key.index)
        if last - first == stop - start:
            self._dataset.fill(key, out, self._scratch("stored"))
        else:
            out[:] = self._chunk(key, out)[first:last]

    def _scatter(self, key: ChunkKey, first: int, last: int, out: Array, places: NDArray[np.int64]) -> None:
        """Rows ``first:last`` of one chunk, each to its place, out of memory that stays in the cache."""
        _as_items(out)[places] = _as_items(self._chunk(key, out))[first:last]

    def _chunk(self, key: ChunkKey, out: Array) -> Array:
        start, stop = self._dataset.manifest.layouts[key.field].row_range(key.index)
        memory = self._scratch("decoded").take(out[:1].nbytes * (stop - start))
        whole: Array = np.frombuffer(memory, out.dtype).reshape(stop - start, *out.shape[1:])
        self._dataset.fill(key, whole, self._scratch("stored"))
        return whole

    def _scratch(self, purpose: str) -> Scratch:
        found: Scratch = self._own.__dict__.setdefault(purpose, Scratch())
        return found


def _as_items(rows: Array) -> Array:
    """Each row as one item: NumPy moves items as they are, and lets other threads run meanwhile."""
    size = rows[:1].nbytes
    item = f"u{size}" if size in (1, 2, 4, 8) else f"V{size}"
    return rows.reshape(len(rows), -1).view(item)[:, 0]


def resident(dataset: CertifiedDataset, fields: tuple[str, ...], window: Window) -> Rows:
    """Every row of a window as it lies."""
    with Reading(dataset, fields) as reading:
        out = reading.room(sum(stop - start for start, stop in window.runs), Memory())
        _finish(reading.begin(window.runs, out))
    return out


def pieces(runs: Iterable[tuple[int, int]], rows: int) -> Iterator[Window]:
    """Windows that cover ``runs`` in their order, each within ``rows`` stored rows from a multiple of that."""
    done = 0
    for start, stop in runs:
        for border in range(start // rows * rows, stop, rows):
            low, high = max(start, border), min(border + rows, stop)
            yield Window(done, ((low, high),), None)
            done += high - low


def streamed(
    dataset: CertifiedDataset, fields: tuple[str, ...], windows: Iterable[Window], memory: Memory
) -> Iterator[tuple[Window, Rows]]:
    """Each window with its rows in their order; the next one is read meanwhile. Who takes the arrays owns them."""
    with Reading(dataset, fields) as reading:
        waiting: tuple[Window, Rows, list[Future[None]]] | None = None
        for window in windows:
            out = reading.room(window.rows, memory)
            reads = reading.begin(window.runs, out, _places(window))
            if waiting is not None:
                _finish(waiting[2])
                yield waiting[:2]
            waiting = window, out, reads
            del out
        if waiting is not None:
            _finish(waiting[2])
            yield waiting[:2]


def _places(window: Window) -> NDArray[np.int64] | None:
    """Where each row of the runs goes."""
    if window.index is None:
        return None
    places = np.empty_like(window.index)
    places[window.index] = np.arange(len(places))
    return places


def _finish(reads: Iterable[Future[None]]) -> None:
    for each in reads:
        each.result()
