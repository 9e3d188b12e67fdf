"""Nothing appears under its final name before it is whole: temporary sibling, fsync, rename, fsync."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from prep.errors import StorageError, Where
from prep.formats.layout import Bytes, flat

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_SYNC_THREADS = 8


def write_atomically(path: Path | str, data: bytes) -> None:
    """Write a small file (JSON, a sidecar) so that ``path`` always holds either the old bytes or the new ones.

    Missing parent directories are made. Raises `StorageError`; ``path`` is then as it was.
    """
    target = Path(path)
    with storage_errors(target), Pending(target) as pending:
        write_file(pending.path, data)
        pending.publish()


def write_file(path: Path, data: Bytes, *, append: bool = False) -> None:
    """Create ``path`` (it must not exist) with ``data``, or ``append`` to it, without fsync: `Pending.publish` does
    that for all at once.
    """
    how = os.O_APPEND if append else os.O_CREAT | os.O_EXCL
    descriptor = os.open(path, os.O_WRONLY | how | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        view = flat(data)
        done = 0
        while done < len(view):
            done += os.write(descriptor, view[done:])
    finally:
        os.close(descriptor)


class Pending:
    """A temporary sibling of ``target``, file or directory, that becomes ``target`` or disappears.

    Whoever makes one fills ``path`` (which does not exist yet) and calls `publish`; leaving the ``with`` block earlier
    removes it. The name is unique, so processes with the same target never meet; what dead processes left for this
    target is removed.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._open = True
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(target)
        self.path = target.parent / f".{target.name}.{_place()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"

    def __enter__(self) -> Pending:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def publish(self, superseded: Iterable[Path] = ()) -> None:
        """fsync everything, put it under the final name, fsync the parent directory.

        ``superseded`` are files that speak of what lay there before: they go once nothing but the rename can fail.
        Raises `StorageError`; the target is then what it was or, where only the last fsync failed, the new one.
        """
        with storage_errors(self.target):
            _sync_tree(self.path)
            for each in superseded:
                each.unlink(missing_ok=True)
            with _opened(self.target.parent) as parent:
                try:
                    os.replace(self.path, self.target)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    _replace_directory(self.path, self.target)
                self._open = False
                os.fsync(parent)
        _remove(self.path)

    def discard(self) -> None:
        """Remove the temporary unless it was published; never raises."""
        if self._open:
            self._open = False
            _remove(self.path)


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turns an `OSError` inside the block into a `StorageError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path | str) -> StorageError:
    """What the operating system said about ``path``, and what to do about it."""
    number = error.errno or 0
    reason = os.strerror(number) if number else str(error)
    free = _free_bytes(Path(path))
    remedies = {
        errno.ENOSPC: f"free some space ({free} bytes are free there) or write to another disk, then run it again",
        errno.EDQUOT: f"your quota is used up ({free} bytes are free there): free some space, then run it again",
        errno.EFBIG: "raise the file size limit (`ulimit -f`) or write to a file system with larger files",
        errno.EROFS: "the file system is read-only: write somewhere else",
        errno.EACCES: "ask for write permission there, or write somewhere else",
        errno.EPERM: "ask for write permission there, or write somewhere else",
    }
    return StorageError(
        f"the file system refused: {reason}",
        where=Where(path=str(path)),
        measured=f"errno {number} ({errno.errorcode.get(number, 'unknown')})",
        remedy=remedies.get(number, "check the disk and its mount, then run it again"),
    )


def _free_bytes(path: Path) -> int | str:
    for place in (path, *path.parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return "unknown"


def _place() -> str:
    """Eight hex digits for the host and process-id namespace, within which a process id means something."""
    namespace = ""
    with suppress(OSError):
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    return hashlib.sha256(f"{platform.node()}/{namespace}".encode()).hexdigest()[:8]


def _remove_stale(target: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(target.name)}\.{_place()}\.(\d+)\.[0-9a-f]{{8}}\.(tmp|old)")
    for name in os.listdir(target.parent):
        match = pattern.fullmatch(name)
        if match is None or _is_alive(int(match[1])):
            continue
        left = target.parent / name
        if match[2] == "old" and not target.exists():
            left.rename(target)  # its process died between the two renames of `_replace_directory`
        else:
            _remove(left)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _replace_directory(new: Path, target: Path) -> None:
    """``new`` takes the place of ``target``; what was there is at ``new`` afterwards, or gone."""
    with suppress(OSError, AttributeError):
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        if rename(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(target), _RENAME_EXCHANGE) == 0:
            return
    aside = new.with_suffix(".old")
    target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        aside.rename(target)
        raise
    _remove(aside)


def _sync_tree(path: Path) -> None:
    """fsync a file, or a directory with all that is below it."""
    if not path.is_dir():
        _sync(path)
        return
    files: list[str] = []
    folders: list[str] = []
    for folder, _, names in os.walk(path, onerror=_raise):
        folders.append(folder)
        files.extend(os.path.join(folder, name) for name in names)
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        for group in (files, folders[::-1]):
            for _ in pool.map(_sync, group):
                pass


def _raise(error: OSError) -> None:
    raise error


def _sync(path: Path | str) -> None:
    with _opened(path) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(path: Path | str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
