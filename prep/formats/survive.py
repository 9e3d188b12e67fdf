"""A file under libhdf5 that outlives a full disk: it remembers the first failure and keeps libhdf5 able to close."""

from __future__ import annotations

import io
import os
from pathlib import Path

from typing_extensions import Buffer


class SurvivingFile(io.RawIOBase):
    """An unbuffered read-write file whose `write` and `truncate` never raise.

    libhdf5 cannot close a file whose last writes failed; the interpreter then crashes at exit. So the first failure is
    kept in ``error``, and from then on what libhdf5 writes stays in memory where it can read it back, until the owner
    closes it and raises ``error``. Raises `OSError` only where the file cannot be created (it must not exist).
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._unwritten: list[tuple[int, bytes]] = []
        self._place = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

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
        if self.error is None:
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
        done = 0
        while done < view.nbytes:
            step = os.preadv(self._descriptor, [view[done:]], start + done)
            if step == 0:
                break
            done += step
        view[done:] = bytes(view.nbytes - done)
        for place, data in self._unwritten:
            low, high = max(place, start), min(place + len(data), start + view.nbytes)
            if low < high:
                view[low - start : high - start] = data[low - place : high - place]
        return view.nbytes

    def truncate(self, size: int | None = None, /) -> int:
        length = self._place if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, length)
            except BaseException as error:  # as in `write`
                self.error = error
        return length

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
            self._unwritten.clear()
        super().close()

    def _end(self) -> int:
        ends = [place + len(data) for place, data in self._unwritten]
        return max([os.fstat(self._descriptor).st_size, *ends])
