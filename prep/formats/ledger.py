"""Which chunks of a temporary are finished: an append-only file beside it, locked for as long as its writer lives.

Layout: 8 bytes of magic, 32 bytes of what is being made, then records: u16 length, the record, the first 16 bytes of
its BLAKE3.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prep.canonical import blake3_digest
from prep.formats.layout import ByteRange

# A temporary smaller than this is made anew sooner than it is looked through.
LEAST_BYTES = 64 << 20
_MAGIC = b"PREPLDG1"
_HEAD = len(_MAGIC) + 32
_LENGTH = struct.Struct("<H")
_RECORD = struct.Struct("<QQQQ32s32s")
_CHECK = 16


@dataclass(frozen=True, slots=True)
class Record:
    """One finished chunk: its valid rows, where it lies in the temporary, BLAKE3 of its bytes and of its rows."""

    name: str
    index: int
    rows: int
    place: ByteRange
    stored: bytes
    logical: bytes

    def encode(self) -> bytes:
        """The framed bytes of this record."""
        fixed = _RECORD.pack(self.index, self.rows, self.place.offset, self.place.size, self.stored, self.logical)
        body = fixed + f"{self.name}\0{self.place.path}".encode()
        return _LENGTH.pack(len(body)) + body + blake3_digest(body)[:_CHECK]

    @classmethod
    def decode(cls, body: bytes) -> Record:
        """The record of a frame whose check fits."""
        index, rows, offset, size, stored, logical = _RECORD.unpack_from(body)
        name, _, path = body[_RECORD.size :].decode().partition("\0")
        return cls(name, index, rows, ByteRange(path, offset, size), stored, logical)


class Ledger:
    """The finished chunks of one temporary.

    ``made_of`` (32 bytes) identifies what is being made. The file appears, locked already, once `LEAST_BYTES` are
    written. It is a help and no duty: where the disk refuses it or the file system knows no locks there is none, and
    nothing else happens.
    """

    def __init__(self, path: Path, made_of: bytes) -> None:
        self.path, self.made_of = path, made_of
        self.known: dict[tuple[str, int], Record] = {}
        self._descriptor = -1
        self._waiting: list[Record] | None = []
        self._bytes = 0

    @classmethod
    def claim(cls, path: Path) -> Ledger:
        """The ledger that a dead writer left, ours from now on.

        Raises `BlockingIOError` where its writer lives, and `OSError` for what is no ledger of this user.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found, named = os.fstat(descriptor), os.stat(path, follow_symlinks=False)
            if (found.st_dev, found.st_ino) != (named.st_dev, named.st_ino):
                raise FileNotFoundError(path)  # somebody else was faster
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise PermissionError(path)  # others could have written what it says
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read()
            ledger = cls(path, data[len(_MAGIC) : _HEAD] if data.startswith(_MAGIC) else b"")
            end = _HEAD
            for record, stop in _records(data):
                ledger.known[record.name, record.index], end = record, stop
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, 0, os.SEEK_END)
        except BaseException:
            os.close(descriptor)
            raise
        ledger._descriptor, ledger._waiting = descriptor, None
        return ledger

    @property
    def kept(self) -> bool:
        """Whether there is a file, so that the temporary is worth keeping."""
        return self._descriptor >= 0

    def append(self, record: Record) -> None:
        """Chunk ``record`` is in the temporary, handed to the operating system. Never raises; some 10 microseconds."""
        if self.known.get((record.name, record.index)) == record:
            return
        try:
            if self._waiting is None:
                if self.kept:
                    _write(self._descriptor, record.encode())
                return
            self._waiting.append(record)
            self._bytes += record.place.size
            if self._bytes >= LEAST_BYTES:
                self._appear(self._waiting)
        except OSError:
            self.remove()

    def _appear(self, records: list[Record]) -> None:
        # Under another name until it is locked, so that nobody takes it for one that was left behind.
        newborn = self.path.with_suffix(".new")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor, self._waiting = os.open(newborn, flags, 0o600), None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(self._descriptor, b"".join([_MAGIC, self.made_of, *(record.encode() for record in records)]))
            newborn.rename(self.path)
        except BaseException:
            with suppress(OSError):
                newborn.unlink()
            self.leave()
            raise

    def remove(self) -> None:
        """The temporary is gone, or is a dataset now. Never raises."""
        if self.kept:
            with suppress(OSError):
                self.path.unlink()
        self.leave()

    def leave(self) -> None:
        """Unlock the file, for whoever goes on. Never raises; `append` does nothing afterwards."""
        descriptor, self._descriptor, self._waiting = self._descriptor, -1, None
        if descriptor >= 0:
            os.close(descriptor)


def _records(data: bytes) -> Iterator[tuple[Record, int]]:
    """The records and where each ends; the first that is damaged or cut short ends the list."""
    place = _HEAD
    while place + _LENGTH.size <= len(data):
        start = place + _LENGTH.size
        stop = start + _LENGTH.unpack_from(data, place)[0]
        body, place = data[start:stop], stop + _CHECK
        if place > len(data) or len(body) < _RECORD.size or blake3_digest(body)[:_CHECK] != data[stop:place]:
            return
        yield Record.decode(body), place


def _write(descriptor: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.write(descriptor, data[done:])
