"""Nothing appears under its final name before it is whole: temporary sibling, fsync, rename, fsync."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from prep.errors import StorageError, Where
from prep.formats.layout import Bytes, flat
from prep.formats.ledger import Ledger
from prep.formats.leftovers import remove, remove_stale, sibling
from prep.formats.swap import Swap
from prep.formats.turn import tidy, turn
from prep.interrupts import Interrupts
from prep.memory import thread_pool

_SYNC_THREADS = 8


def write_atomically(path: Path | str, data: bytes, meanwhile: Callable[[], None] | None = None) -> None:
    """Write a small file (JSON, a sidecar) so that ``path`` always holds either the old bytes or the new ones.

    Missing parent directories are made. ``meanwhile`` is for `Pending.publish`. Raises `StorageError`; ``path`` is then
    as it was.
    """
    target = Path(path)
    with storage_errors(target), Pending(target) as pending:
        write_at(pending.path, data)
        pending.publish(meanwhile=meanwhile)


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
            left = remove_stale(target, made_of)
        new = sibling(target, ".done")
        self.adopted = left is not None
        self.ledger = left or (Ledger(new, made_of) if made_of else None)
        self.path = (left.path if left else new).with_suffix(".tmp")

    def __enter__(self) -> Pending:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def publish(
        self,
        superseded: Iterable[Path] = (),
        beside: tuple[Path, bytes] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """fsync everything, put it under the final name, fsync the parent directory; one process at a time.

        ``superseded`` are files of the same folder that speak of what lay there before: they go first. ``beside`` is a
        file that speaks of what is new: it appears last. ``meanwhile`` is called when the old is gone and the new not
        there yet, without which nothing is at the target then. Raises `StorageError` or what ``meanwhile`` raises; the
        target and ``superseded`` are then what they were, or, where even that failed, without what was superseded.
        Signals wait until one of both is true.
        """
        with storage_errors(self.target), ExitStack() as stack:
            _sync_tree(self.path)
            second = None
            if beside is not None:
                second = stack.enter_context(Pending(beside[0]))
                write_at(second.path, beside[1])
                _sync(second.path)
            superseded = tuple(superseded)
            for each in superseded:
                remove_stale(each)
            parent = stack.enter_context(_opened(self.target.parent))
            stack.enter_context(turn(self.target))
            stack.enter_context(Interrupts())
            swap = stack.enter_context(Swap())
            if [each for each in superseded if swap.aside(each)]:
                os.fsync(parent)
            if meanwhile is not None:
                swap.aside(self.target)
                meanwhile()
                swap.keep()  # what was taken away does not fit any more
            swap.put(self.path, self.target)
            if second is not None:
                swap.put(second.path, second.target)
            os.fsync(parent)  # where it fails nobody knows what the disk has: the new does not stay to be believed
            swap.keep()
            self._open = False

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
            remove(self.path)
        if self.ledger is not None:
            self.ledger.remove()


def tidy_up(*targets: Path) -> None:
    """Remove what dead processes left for targets that need not be made again. Never raises."""
    for target in targets:
        with suppress(OSError):
            if ledger := remove_stale(target):
                ledger.remove()
        tidy(target)


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
    with thread_pool(_SYNC_THREADS) as pool:
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
