"""A file under libhdf5 that outlives a full disk: it remembers the first failure and keeps libhdf5 able to close."""

from __future__ import annotations

import io
import os
from bisect import bisect_left, bisect_right
from pathlib import Path

import numpy as np
from typing_extensions import Buffer

from prep.formats.files import read_at


class SurvivingFile(io.RawIOBase):
    """An unbuffered read-write file whose `write` and `truncate` never raise.

    libhdf5 cannot close a file whose last writes failed; the interpreter then crashes at exit. So the first failure is
    kept in ``error``, and from then on what libhdf5 writes stays in memory where it can read it back, until the owner
    closes it and raises ``error``. Raises `OSError` only where the file cannot be created (it must not exist) or, with
    ``adopt``, opened: it then counts as empty, yet what is `announced` to lie in it already is not written again.
    """

    def __init__(self, path: Path, *, adopt: bool = False) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self.announced: Announced | None = None
        self._unwritten: list[tuple[int, bytes]] = []
        self._written = _Ranges() if adopt else None
        self._place = self._size = 0
        self._descriptor = -1
        how = os.O_NOFOLLOW if adopt else os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(path, os.O_RDWR | how | os.O_CLOEXEC, 0o666)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end() if whence == os.SEEK_END else 0}
        self._place = base[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data)
        place, self._place = self._place, self._place + view.nbytes
        self._size = max(self._size, self._place)
        if self.error is None and not self._lies_there(view, place):
            try:
                done = 0
                while done < view.nbytes:
                    done += os.pwrite(self._descriptor, view[done:] if done else view, place + done)
            except BaseException as error:  # KeyboardInterrupt inside libhdf5 is as fatal as a full disk
                self.error = error
        if self.error is not None:
            self._unwritten.append((place, bytes(view)))
        return view.nbytes

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        start, self._place = self._place, self._place + view.nbytes
        # What lies behind the size is of whoever wrote an adopted file.
        done = min(read_at(self._descriptor, view, start), max(0, self._size - start))
        view[done:] = bytes(view.nbytes - done)
        for place, data in self._unwritten:
            low, high = max(place, start), min(place + len(data), start + view.nbytes)
            if low < high:
                view[low - start : high - start] = data[low - place : high - place]
        return view.nbytes

    def truncate(self, size: int | None = None, /) -> int:
        length = self._size = self._place if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, length)
            except BaseException as error:  # as in `write`
                self.error = error
        return length

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            self._unwritten.clear()
        super().close()

    def _end(self) -> int:
        return self._size

    def _lies_there(self, view: memoryview, place: int) -> bool:
        """Whether these are the announced bytes and need not be written; either way, note what becomes of them."""
        announced = self.announced
        if announced is not None and announced.written is None and _address(view) == announced.address:
            announced.written = place
            if place == announced.place and self._written and not self._written.overlap(place, place + view.nbytes):
                return True
        if self._written is not None:
            self._written.add(place, place + view.nbytes)
        return False


class Announced:
    """The buffer that libhdf5 is about to write, known by its address; it lies at ``place`` of the file already, unless
    that is None. ``written`` is where it lies afterwards; None where it was not handed on as it is.
    """

    def __init__(self, data: memoryview, place: int | None) -> None:
        self.address, self.place = _address(data), place
        self.written: int | None = None


class _Ranges:
    """Half-open ranges of a file: sorted, none touching another."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        low, high = bisect_left(self._stops, start), bisect_right(self._starts, stop)
        if low < high:
            start, stop = min(start, self._starts[low]), max(stop, self._stops[high - 1])
        self._starts[low:high], self._stops[low:high] = [start], [stop]

    def overlap(self, start: int, stop: int) -> bool:
        """Whether a byte of ``start:stop`` lies in one of the ranges."""
        first = bisect_right(self._stops, start)
        return first < len(self._starts) and self._starts[first] < stop


def _address(view: memoryview) -> tuple[int, int]:
    return np.frombuffer(view, np.uint8).ctypes.data if view.nbytes else 0, view.nbytes
