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
from prep.formats.ledger import Ledger

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_SYNC_THREADS = 8


def write_atomically(path: Path | str, data: bytes) -> None:
    """Write a small file (JSON, a sidecar) so that ``path`` always holds either the old bytes or the new ones.

    Missing parent directories are made. Raises `StorageError`; ``path`` is then as it was.
    """
    target = Path(path)
    with storage_errors(target), Pending(target) as pending:
        write_at(pending.path, data)
        pending.publish()


def write_at(path: Path, data: Bytes, offset: int = 0, *, last: bool = False) -> None:
    """Write ``data`` at ``offset`` of the file ``path``, made where it does not exist, and end the file there if it is
    the ``last``; without fsync: `Pending.publish` does that for all at once.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        view = flat(data)
        done = 0
        os.lseek(descriptor, offset, os.SEEK_SET)
        while done < len(view):
            done += os.write(descriptor, view[done:])
        if last:
            os.ftruncate(descriptor, offset + done)
    finally:
        os.close(descriptor)


class Pending:
    """A temporary sibling of ``target``, file or directory, that becomes ``target`` or disappears.

    Whoever makes one fills ``path`` (which does not exist yet) and calls `publish`; leaving the ``with`` block earlier
    removes it. The name is unique, so processes with the same target never meet; what dead processes left for this
    target is removed. With ``made_of`` (32 bytes that identify what is being made) there is a ``ledger`` to tell what
    is finished; what a dead process left of the same is then ``adopted``: ``path`` exists and ``ledger`` knows what is
    in it.
    """

    def __init__(self, target: Path, made_of: bytes = b"") -> None:
        self.target = target
        self._open = True
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            left = _remove_stale(target, made_of)
        new = target.parent / f".{target.name}.{_place()}.{os.getpid()}.{secrets.token_hex(4)}.done"
        self.adopted = left is not None
        self.ledger = left or (Ledger(new, made_of) if made_of else None)
        self.path = (left.path if left else new).with_suffix(".tmp")

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

    @contextmanager
    def discarded_on_error(self) -> Iterator[None]:
        """Inside the block whoever fills the temporary is made; without one nothing is left."""
        try:
            yield
        except Exception:
            self.discard()
            raise

    @property
    def resumable(self) -> bool:
        """Whether another process could go on with the temporary."""
        return self._open and self.ledger is not None and self.ledger.kept

    def leave(self) -> None:
        """Keep the temporary for whoever goes on with it; never raises."""
        self._open = False
        if self.ledger is not None:
            self.ledger.leave()

    def discard(self) -> None:
        """Remove the temporary, unless it was published, and its ledger; never raises."""
        if self._open:
            self._open = False
            _remove(self.path)
        if self.ledger is not None:
            self.ledger.remove()


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


def _remove_stale(target: Path, made_of: bytes) -> Ledger | None:
    """Remove what dead processes left for ``target``, but for the fullest temporary that is ``made_of`` the same.

    Who keeps a ledger is alive as long as it is locked, whatever has its process id now.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}\.{_place()}\.(\d+)\.[0-9a-f]{{8}}\.(tmp|old|new|done)")
    left = {target.parent / name: match for name in os.listdir(target.parent) if (match := pattern.fullmatch(name))}
    chosen: Ledger | None = None
    for path in sorted(path for path in left if path.suffix == ".done"):
        temporary = path.with_suffix(".tmp")
        try:
            ledger = Ledger.claim(path)
        except BlockingIOError:
            del left[path]
            left.pop(temporary, None)
            continue
        except OSError:
            continue
        del left[path]
        same = bool(made_of) and ledger.made_of == made_of and left.pop(temporary, None) is not None
        rest = [ledger]
        if same and len(ledger.known) > (len(chosen.known) if chosen else 0):
            chosen, rest = ledger, [chosen] if chosen else []
        for each in rest:
            _remove(each.path.with_suffix(".tmp"))
            each.remove()
        left.pop(temporary, None)
    for path, match in left.items():
        if _is_alive(int(match[1])):
            continue
        if match[2] == "old" and not target.exists():
            path.rename(target)  # its process died between the two renames of `_replace_directory`
        else:
            _remove(path)
    return chosen


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
