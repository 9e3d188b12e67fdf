"""Several renames in one folder, of which all hold or none: what was there comes back where one fails."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prep.formats.leftovers import remove, sibling

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class Swap:
    """Within ``with``: `aside` takes a file away, `put` puts a new one in its place. After `keep` that holds; an error
    before undoes it, the latest first, up to the first step that cannot be undone: what was taken away stays away
    then, rather than lie beside what it does not belong to.

    Every step raises `OSError`. What was replaced or taken away is removed at the end.
    """

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._spent: list[Path] = []

    def __enter__(self) -> Swap:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            while self._undo:
                self._undo[-1]()
                self._undo.pop()
        for path in self._spent:
            remove(path)

    def keep(self) -> None:
        """What was done so far is not undone any more."""
        self._undo.clear()

    def aside(self, path: Path) -> bool:
        """Take away what is at ``path``; returns whether there was something."""
        place = sibling(path, ".tmp")
        try:
            os.rename(path, place)
        except FileNotFoundError:
            return False
        self._spent.append(place)
        self._undo.append(lambda: os.rename(place, path))
        return True

    def put(self, new: Path, target: Path) -> None:
        """``new`` takes the place of ``target``, a file that of a file or nothing, a directory that of a directory or
        nothing; at no moment is there neither, but for a directory where names cannot be exchanged.
        """
        self._spent.append(new)
        try:
            there, comes = (stat.S_ISDIR(os.lstat(path).st_mode) for path in (target, new))
        except FileNotFoundError:
            os.rename(new, target)
            self._undo.append(lambda: os.rename(target, new))
            return
        if there != comes:
            number = errno.EISDIR if there else errno.ENOTDIR
            raise OSError(number, os.strerror(number), str(target))
        if _exchange(new, target):
            self._undo.append(lambda: _exchanged_back(new, target))
            return
        aside = sibling(target, ".old")
        if there:
            os.rename(target, aside)
            self._undo.append(lambda: os.rename(aside, target))
            os.rename(new, target)
            self._undo.append(lambda: os.rename(target, new))
            self._spent.append(aside)
        else:
            os.link(target, aside, follow_symlinks=False)
            self._spent.append(aside)
            os.replace(new, target)
            self._undo.append(lambda: os.replace(aside, target))


def _exchange(one: Path, other: Path) -> bool:
    """Two names change places; False where this system or file system has no such thing."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _exchanged_back(new: Path, target: Path) -> None:
    if not _exchange(new, target):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
