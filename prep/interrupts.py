"""Interrupts that wait until it is safe to be interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interrupts:
    """Within ``with``, SIGINT, SIGTERM and SIGHUP wait for `let_through` or for the end, then are handled as before.

    Raised just anywhere, KeyboardInterrupt may land in a finaliser of distributed, where Python drops it, or leave a
    client half made. Nothing is held back outside the main thread, which no signal interrupts, nor where a signal is
    ignored or ends the process.
    """

    def __init__(self) -> None:
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._came: list[tuple[int, FrameType | None]] = []

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                before = signal.getsignal(number)
                if callable(before):
                    self._before[number] = before
                    signal.signal(number, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        before = dict(self._before)
        for number, handler in before.items():
            signal.signal(number, handler)
        self._deliver(before)

    def let_through(self) -> None:
        """Handle what came so far: raises KeyboardInterrupt where that is what the signal does."""
        self._deliver(self._before)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))

    def _deliver(self, handlers: dict[int, Callable[[int, FrameType | None], Any]]) -> None:
        while self._came:
            number, frame = self._came.pop(0)
            handlers[number](number, frame)
