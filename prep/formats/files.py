"""The files of a dataset that is being read, on this machine or elsewhere: opened once, a bounded number at a time."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from prep.errors import IntegrityError
from prep.formats.commit import storage_errors
from prep.formats.layout import damaged, too_many_files

_OPEN_FILES = 64
_DEEPEST = 64  # folders in one another


def read_at(descriptor: int, buffer: memoryview, place: int) -> int:
    """Fill ``buffer`` with the bytes of a file from ``place`` on; returns how many, fewer only at its end."""
    done = 0
    while done < len(buffer):
        step = os.preadv(descriptor, [buffer[done:]], place + done)
        if step == 0:
            break
        done += step
    return done


def read_regular(path: Path, limit: int) -> bytes:
    """The first ``limit + 1`` bytes of a file; `IntegrityError` for a pipe, a device or a folder, `OSError`."""
    # Not waiting: at the other end of a pipe there may be nobody.
    file = OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    found = os.fstat(file.descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise damaged(path, "this is no regular file")
    with open(file.descriptor, "rb", closefd=False) as reader:
        # Python makes room for all that is asked for.
        return reader.read(min(limit, found.st_size) + 1)


class OpenFile:
    """A descriptor that closes when the last one who holds this object lets go of it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class Files(Protocol):
    """The files of one stored dataset, wherever it lies; the name ``""`` is the dataset itself where it is one file.

    ``address`` is how messages call it. Threads may share one; pickled, it opens the same dataset again where it
    arrives. Methods raise `FileNotFoundError` for a file that is not there, `IntegrityError` for what is no plain file,
    and `StorageError` (or another `OSError`) where the store refuses.
    """

    address: str

    def is_folder(self) -> bool:
        """Whether the dataset is a folder of files rather than one file."""

    def size(self, name: str) -> int:
        """Bytes of a file."""

    def read(self, name: str, buffer: memoryview, place: int, size: int | None = None) -> int:
        """Fill ``buffer`` with the bytes of a file from ``place`` on; returns how many, fewer only at its end.

        ``size`` is what the whole file has to have; `IntegrityError` where the store tells otherwise.
        """

    def listing(self, most: int) -> Mapping[str, int] | None:
        """Every file of a folder by its relative name, with its bytes; None where the store does not tell.

        A folder without anything in it is listed as well, with ``/`` at its end. `IntegrityError` for links, pipes,
        devices, and more than ``most`` names.
        """

    def sidecar(self, suffix: str, limit: int) -> bytes:
        """The first ``limit + 1`` bytes of the file beside the dataset with ``suffix`` added to its name."""

    def expect(self, ranges: Iterable[tuple[str, int, int]]) -> None:
        """Advice that ranges (name, start, stop) are read soon; never raises."""

    def close(self) -> None:
        """Let go of everything; threads that are reading finish their reads."""


def is_remote(address: object) -> bool:
    """Whether an address is a URL of an object store or web server rather than a path."""
    return isinstance(address, str) and re.match(r"[a-z][a-z0-9+.-]*://", address) is not None


def open_files(place: Path | str | Files, options: Mapping[str, Any] | None = None) -> Files:
    """The files of the dataset at a path or URL; what is opened already stays as it is.

    ``options`` configure the store of a URL (see `prep.formats.remote.RemoteFiles`). Raises `StorageError` where a
    path cannot be opened.
    """
    if isinstance(place, str) and is_remote(place):
        from prep.formats.remote import RemoteFiles

        return RemoteFiles(place, options or {})
    return LocalFiles(Path(place)) if isinstance(place, str | os.PathLike) else place


class LocalFiles:
    """The dataset at a path of this machine, opened now, and the files in it, opened when they are asked for.

    It stays the same dataset if the path is replaced. Without a lock: each step on the cache is one call into C, and
    whoever reads a file keeps it open.
    """

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._path = path
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        with storage_errors(path):
            # Not waiting: at the other end of a pipe there may be nobody.
            self._root = OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
            found = os.fstat(self._root.descriptor)
        self._folder = stat.S_ISDIR(found.st_mode)
        if not self._folder and not stat.S_ISREG(found.st_mode):
            raise damaged(path, "the dataset is neither a file nor a folder")
        self._identity = (found.st_dev, found.st_ino)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._path.absolute(), self._identity)

    def is_folder(self) -> bool:
        return self._folder

    def size(self, name: str) -> int:
        return os.fstat(self._holding(name).descriptor).st_size

    def read(self, name: str, buffer: memoryview, place: int, size: int | None = None) -> int:
        file = self._holding(name)
        if size is not None and (found := os.fstat(file.descriptor).st_size) != size:
            raise changed(self.address, name, found, size)
        return read_at(file.descriptor, buffer, place)

    def listing(self, most: int = sys.maxsize) -> Mapping[str, int]:
        files: dict[str, int] = {}
        root, waiting = os.fspath(self._path), [""]
        while waiting:
            folder = waiting.pop()
            if folder.count("/") > _DEEPEST or len(files) > most:
                raise too_many_files(self._path, most)
            with storage_errors(self._path), os.scandir(f"{root}/{folder}") as entries:
                if folder:
                    files[f"{folder}/"] = 0
                for entry in entries:
                    files.pop(f"{folder}/", None)
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append(name)
                    elif stat.S_ISREG(found.st_mode):
                        files[name] = found.st_size
                    else:
                        kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no regular file"
                        raise damaged(
                            self._path,
                            f"an entry of the directory is {kind}",
                            measured=name,
                            allowed="files and directories",
                        )
        return files

    def sidecar(self, suffix: str, limit: int) -> bytes:
        return read_regular(self._path.parent / f"{self._path.name}{suffix}", limit)

    def expect(self, ranges: Iterable[tuple[str, int, int]]) -> None:
        advise = getattr(os, "posix_fadvise", None)
        if advise is None:
            return
        with suppress(OSError, IntegrityError):
            for file, start, stop in self._absent(ranges):
                advise(file.descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        self._files.clear()
        self._root = OpenFile(-1)

    def _holding(self, name: str) -> OpenFile:
        if not name:
            return self._root
        file = self._files.get(name) or self._open(name)
        self._files[name] = file
        with suppress(KeyError):  # another thread may have emptied it in between
            self._files.move_to_end(name)
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
        return file

    def _open(self, name: str) -> OpenFile:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            file = OpenFile(os.open(name, flags, dir_fd=self._root.descriptor))
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise damaged(self.address, "a file of the dataset is a symbolic link", key=name) from error
            raise
        if not stat.S_ISREG(os.fstat(file.descriptor).st_mode):
            raise damaged(self.address, "a file of the dataset is no regular file", key=name)
        return file

    def _absent(self, ranges: Iterable[tuple[str, int, int]]) -> Iterator[tuple[OpenFile, int, int]]:
        """File, start and stop of the ranges that are not in memory, those that follow each other joined.

        Advice for a range walks through all its pages, so asking first is cheaper.
        """
        file: OpenFile | None = None
        start = stop = 0
        for name, low, high in ranges:
            own = self._holding(name)
            if in_memory(own.descriptor, high - 1):
                continue
            if own is not file or low != stop:
                if file is not None:
                    yield file, start, stop
                file, start = own, low
            stop = high
        if file is not None:
            yield file, start, stop


def _reopened(path: Path, identity: tuple[int, int]) -> LocalFiles:
    """Files from another process; device numbers mean something on one machine only, so others are not compared."""
    files = LocalFiles(path)
    device, node = files._identity
    if device == identity[0] and node != identity[1]:
        files.close()
        raise damaged(
            path,
            "the dataset was replaced while it was being read",
            remedy="run it again, and write no dataset that is being read",
        )
    return files


def in_memory(descriptor: int, place: int) -> bool:
    """Whether the byte at ``place`` can be read without waiting; False also where the system does not tell."""
    try:
        return os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT) == 1
    except (OSError, AttributeError):
        return False


def changed(address: str, name: str, measured: int, allowed: int) -> IntegrityError:
    """The error for a file that is not as long as it was when the dataset was opened."""
    return damaged(
        address,
        "a file is truncated or was changed after the dataset was opened",
        key=name,
        measured=f"{measured} bytes",
        allowed=f"{allowed} bytes",
    )
