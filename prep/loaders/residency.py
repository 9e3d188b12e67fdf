"""How a split is held while it is trained on: resident in memory when it fits, else streamed chunk by chunk; always
verified.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from prep.blocks import Array, segment_rows
from prep.engine import available_workers, ordered
from prep.gate import CertifiedDataset

_SHARE_OF_FREE_MEMORY = 0.5


def free_memory() -> int:
    """Bytes of memory that the system can still hand out; 4 GiB where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 4 << 30


def fits(dataset: CertifiedDataset, split: str, fields: tuple[str, ...]) -> bool:
    """Whether the fields of a split may be held in memory at once."""
    size = dataset.row_count(split) * sum(dataset.spec[name].row_bytes for name in fields)
    return size <= _SHARE_OF_FREE_MEMORY * free_memory()


def resident(dataset: CertifiedDataset, split: str, fields: tuple[str, ...]) -> Mapping[str, Array]:
    """Every row of a split in stored order, (rows, *shape) an array; chunks are verified on all cores."""
    start, stop = dataset.bounds(split)
    arrays: dict[str, Array] = {}
    for name in fields:
        spec = dataset.spec[name]
        arrays[name] = np.empty((stop - start, *spec.shape), spec.dtype)
    step = segment_rows(dataset.spec)
    jobs = [(name, low, min(low + step, stop)) for name in fields for low in range(start, stop, step)]

    def load(job: tuple[str, int, int]) -> None:
        name, low, high = job
        arrays[name][low - start : high - start] = dataset.rows(name, low, high)

    for _ in ordered(load, jobs, available_workers()):
        pass
    return arrays


def windows(
    dataset: CertifiedDataset, split: str, fields: tuple[str, ...], order: np.random.Generator | None, memory: int
) -> Iterator[Mapping[str, Array]]:
    """The split in pieces of at most ``memory`` bytes, each made of whole segments in random order (stored order
    without ``order``), so that rows can be shuffled inside a piece.
    """
    start, stop = dataset.bounds(split)
    step = segment_rows(dataset.spec)
    begins = np.arange(start // step * step, stop, step)
    if order is not None:
        order.shuffle(begins)
    row = sum(dataset.spec[name].row_bytes for name in fields)
    together = max(1, memory // max(1, step * row))
    for first in range(0, len(begins), together):
        ranges = [(max(int(low), start), min(int(low) + step, stop)) for low in begins[first : first + together]]
        yield {
            name: np.concatenate([dataset.rows(name, low, high) for low, high in ranges])
            if len(ranges) > 1
            else dataset.rows(name, *ranges[0])
            for name in fields
        }
