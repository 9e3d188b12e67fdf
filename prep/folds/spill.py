"""Records that outgrow memory wait in a temporary file, sorted by their first word, and come back a range at a time."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array
from prep.formats.commit import storage_errors
from prep.formats.files import read_at

_PREFIX_BITS = 12
_PREFIXES = 1 << _PREFIX_BITS


class Scratch:
    """A file without a name, closed and gone with the last reference to it, however the process ends."""

    def __init__(self) -> None:
        self.descriptor, name = tempfile.mkstemp(prefix="prep.")
        weakref.finalize(self, os.close, self.descriptor)
        os.unlink(name)
        self.size = 0

    def append(self, data: memoryview) -> int:
        """Write ``data`` at the end; the byte it starts at."""
        start, done = self.size, 0
        while done < len(data):
            done += os.pwrite(self.descriptor, data[done:], start + done)
        self.size += done
        return start


@dataclass(frozen=True, slots=True)
class Run:
    """Records (n, width) uint64 in ``file`` from byte ``offset``, ascending by their first word.

    ``bounds`` (4097,) are the records at which each value of that word's top 12 bits starts. A run does not leave its
    process.
    """

    file: Scratch
    offset: int
    width: int
    bounds: Array

    def read(self, first: int, last: int) -> Array:
        """Records whose prefix is in ``first:last``."""
        start, stop = int(self.bounds[first]), int(self.bounds[last])
        records = np.empty((stop - start, self.width), np.uint64)
        buffer = records.data.cast("B") if records.size else memoryview(b"")
        place = self.offset + start * self.width * 8
        with storage_errors("the folder for temporary files (TMPDIR)"):
            if read_at(self.file.descriptor, buffer, place) < len(buffer):
                raise OSError("the temporary file is shorter than what was written to it")
        return records


def spill(records: Array, earlier: Sequence[Run]) -> Run:
    """Write ``records`` (n, width) uint64 behind the runs of ``earlier``, in the same file where there is one.

    Raises `StorageError` where the folder for temporary files (TMPDIR) has no room.
    """
    records = np.ascontiguousarray(records[np.argsort(records[:, 0])])
    starts = np.arange(_PREFIXES, dtype=np.uint64) << np.uint64(64 - _PREFIX_BITS)
    bounds = np.append(np.searchsorted(records[:, 0], starts), len(records))
    with storage_errors("the folder for temporary files (TMPDIR)"):
        file = earlier[-1].file if earlier else Scratch()
        offset = file.append(records.data.cast("B"))
    return Run(file, offset, records.shape[1], bounds)


def ranges(runs: Sequence[Run], limit: int) -> Iterator[Array]:
    """All records of ``runs``, those with an equal first word together, about ``limit`` at a time or one prefix."""
    sizes = sum(np.diff(run.bounds) for run in runs)
    first, held = 0, 0
    for prefix, size in enumerate(np.asarray(sizes).tolist()):
        if held and held + size > limit:
            yield np.concatenate([run.read(first, prefix) for run in runs])
            first, held = prefix, 0
        held += size
    if held:
        yield np.concatenate([run.read(first, _PREFIXES) for run in runs])
