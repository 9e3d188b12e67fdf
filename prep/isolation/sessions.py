"""Which child is asked: the one that lasts for short questions, one of its own for a foreign file."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from prep.errors import PrepError
from prep.isolation.answers import Answer
from prep.isolation.limits import Allowance
from prep.isolation.process import Child, Lost


class _Keeper:
    """At most one child, replaced when it dies; threads take turns.

    A child that dies over a question after it has answered others may have died of those, or may have been killed
    while it was idle: a new one is asked the same once more. What kills that one is the file.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.child: Child | None = None
        self._abandoned = False

    def ask(
        self,
        file: int,
        path: Path,
        task: str,
        arguments: Any,
        allowance: Allowance,
        *,
        most: int,
        holder: object = None,
    ) -> Answer:
        limits = allowance.limits(os.fstat(file).st_size)
        with self.lock:
            self._abandoned = False
            while True:
                child = self.ready()
                held = holder is not None and child.holds is holder
                seasoned = child.answered > 0
                try:
                    child.holds = holder
                    return child.ask(
                        task,
                        arguments,
                        path=path,
                        limits=limits,
                        file=-1 if held else file,
                        keep=holder is not None,
                        most=most,
                    )
                except Lost as lost:
                    self.child = None
                    if not seasoned or self._abandoned:
                        raise lost.refusal from None

    def abandon(self) -> None:
        """End the child, whoever waits for its answer, which is then an error."""
        self._abandoned = True
        if (child := self.child) is not None:
            child.kill()

    def ready(self) -> Child:
        """A living child."""
        if self.child is None or not self.child.alive:
            self.child = None
            self.child = Child()
        return self.child


_RESIDENT = _Keeper()


def ask(file: int, path: Path, task: str, arguments: Any, allowance: Allowance, *, most: int = 0) -> Answer:
    """The answer of the child that lasts to a question about the open file ``file``, named ``path`` in errors.

    Parts of the answer have at most ``most`` bytes together. Raises the `PrepError` that it answers with,
    `IntegrityError` where the file kills it or exceeds ``allowance``, `UnfinishedError` where there can be no child.
    """
    return _RESIDENT.ask(file, path, task, arguments, allowance, most=most)


def prepare() -> None:
    """Let the child that lasts start now, while something else is done; where it cannot, `ask` will say so."""
    with suppress(PrepError), _RESIDENT.lock:
        _RESIDENT.ready()


class Session:
    """An open file in a child of its own, which sees no other file afterwards; threads take turns.

    The descriptor ``file`` stays with the caller. Child and file are let go of with the last reference, or by `close`.
    """

    def __init__(self, file: int, path: Path, allowance: Allowance) -> None:
        self.path = path
        self._file = os.dup(file)
        self._allowance = allowance
        self._keeper = _Keeper()
        self._release = weakref.finalize(self, _let_go, self._keeper, self._file)
        # What serves short questions goes on as the child of this file, which saves a start.
        with _RESIDENT.lock:
            self._keeper.child, _RESIDENT.child = _RESIDENT.child, None

    def ask(self, task: str, arguments: Any, *, most: int = 0) -> Answer:
        """As `ask`."""
        return self._keeper.ask(self._file, self.path, task, arguments, self._allowance, most=most, holder=self._keeper)

    def abandon(self) -> None:
        """Let a question that another thread waits for end in an error now; the next one is answered again."""
        self._keeper.abandon()

    def close(self) -> None:
        """End the child and close the file."""
        self._release()


def _let_go(keeper: _Keeper, file: int) -> None:
    keeper.abandon()
    with keeper.lock:
        if keeper.child is not None:
            keeper.child.end()
    os.close(file)


def _forget() -> None:
    global _RESIDENT  # noqa: PLW0603 -- the lock may be held by a thread that this process does not have
    _RESIDENT = _Keeper()


os.register_at_fork(after_in_child=_forget)
