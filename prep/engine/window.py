"""The sliding window that keeps any executor busy and its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Handle = TypeVar("Handle")


def window(submit: Callable[[Item], Handle], items: Iterable[Item], width: Callable[[], int]) -> Iterator[Handle]:
    """``submit(item)`` for each item, in order, at most ``width()`` of them handed in and not yet taken out.

    ``width`` is asked each time, so that the window grows with the workers. The next item is taken from ``items`` when
    whoever iterates comes back for the next handle.
    """
    pending: deque[Handle] = deque()
    remaining = iter(items)
    while True:
        pending.extend(map(submit, islice(remaining, max(0, max(1, width()) - len(pending)))))
        if not pending:
            return
        yield pending.popleft()
