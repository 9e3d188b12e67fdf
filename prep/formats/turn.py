"""One process at a time puts something under a name: a lock file beside it, which goes when nobody waits."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOG = logging.getLogger("prep.formats")
_PATIENCE = 1.0
_POLL = 0.01
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def lock_of(target: Path) -> Path:
    """The file that is locked by whoever changes what lies at ``target``."""
    return target.with_name(f".{target.name}.lock")


@contextmanager
def turn(target: Path) -> Iterator[None]:
    """Within the block nobody else who asks changes what lies at ``target``, its sidecars or its certificate.

    Waits, and says so once it takes longer. The operating system unlocks for whoever dies. On a file system without
    locks nobody waits. Raises `OSError` where the lock file cannot be made.
    """
    descriptor = _taken(target, patience=None)
    try:
        yield
    finally:
        _release(target, descriptor)


def tidy(target: Path) -> None:
    """Remove the lock file that a dead process left, if there is one. Never raises."""
    with suppress(OSError):
        if lock_of(target).exists():
            _release(target, _taken(target, patience=0.0))


def _taken(target: Path, patience: float | None) -> int:
    begin, told = time.monotonic(), False
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(lock_of(target), flags, 0o666)
        try:
            while not _locked(descriptor):
                waited = time.monotonic() - begin
                if patience is not None and waited >= patience:
                    raise BlockingIOError(errno.EWOULDBLOCK, "somebody else is at it")
                if waited > _PATIENCE and not told:
                    _LOG.info("waiting for another process that is writing %s", target)
                    told = True
                time.sleep(_POLL)
            found = os.fstat(descriptor)
            with suppress(FileNotFoundError):
                named = os.stat(lock_of(target), follow_symlinks=False)
                if (found.st_dev, found.st_ino) == (named.st_dev, named.st_ino):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever had it has removed the file: it locks nothing any more


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _release(target: Path, descriptor: int) -> None:
    with suppress(OSError):
        os.unlink(lock_of(target))
    os.close(descriptor)
