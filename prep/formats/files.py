"""The files of a dataset that is being read: opened once, a bounded number at a time, closed when nobody reads them."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from prep.blocks import ChunkKey
from prep.errors import IntegrityError
from prep.formats.commit import storage_errors
from prep.formats.layout import FieldLayout, damaged

_OPEN_FILES = 64


def read_at(descriptor: int, buffer: memoryview, place: int) -> int:
    """Fill ``buffer`` with the bytes of a file from ``place`` on; returns how many, fewer only at its end."""
    done = 0
    while done < len(buffer):
        step = os.preadv(descriptor, [buffer[done:]], place + done)
        if step == 0:
            break
        done += step
    return done


class OpenFile:
    """A descriptor that closes when the last one who holds this object lets go of it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class OpenFiles:
    """The dataset at ``path``, opened now, and the files in it, opened when they are asked for.

    Threads may share one, without a lock: each step on the cache is one call into C, and whoever reads a file keeps it
    open. ``identity`` is the device and the number of what was opened. Raises `StorageError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        with storage_errors(path):
            self._root = OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            found = os.fstat(self._root.descriptor)
        self.identity = (found.st_dev, found.st_ino)

    def close(self) -> None:
        """Let go of everything; threads that are reading finish their reads."""
        self._files.clear()
        self._root = OpenFile(-1)

    def holding(self, layout: FieldLayout, key: ChunkKey) -> OpenFile:
        """The file that a chunk lies in; `IntegrityError` unless it is a file of the size that the layout tells."""
        name = layout.file_of(key.index)
        if not name:
            return self._root
        file = self._files.get(name) or self._open(name, key)
        found, size = os.fstat(file.descriptor), layout.file_bytes(key.index)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise changed(self._path, key, found.st_size, size)
        self._files[name] = file
        with suppress(KeyError):  # another thread may have emptied it in between
            self._files.move_to_end(name)
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
        return file

    def _open(self, name: str, key: ChunkKey) -> OpenFile:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return OpenFile(os.open(name, flags, dir_fd=self._root.descriptor))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            what = "a chunk is a symbolic link" if error.errno == errno.ELOOP else "a chunk is missing"
            raise damaged(self._path, what, field=key.field, chunk=key.index) from error


def in_memory(descriptor: int, place: int) -> bool:
    """Whether the byte at ``place`` can be read without waiting; False also where the system does not tell."""
    try:
        return os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT) == 1
    except (OSError, AttributeError):
        return False


def changed(path: Path, key: ChunkKey, measured: int, allowed: int) -> IntegrityError:
    """The error for a file that is not as long as it was when the dataset was opened."""
    return damaged(
        path,
        "a chunk is truncated or was changed after the dataset was opened",
        field=key.field,
        chunk=key.index,
        measured=f"{measured} bytes",
        allowed=f"{allowed} bytes",
    )
