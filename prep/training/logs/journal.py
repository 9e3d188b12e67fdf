"""The files that grow with a run: ``log.txt``, ``metrics.csv``, TensorBoard's events and the picture of the curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from prep.formats.commit import storage_errors
from prep.training.logs import history as rows
from prep.training.logs.curves import draw_curves
from prep.training.logs.events import Events
from prep.training.systems import System

_REDRAW, _SHARE = 10.0, 0.05  # drawn again after so many seconds, if drawing then takes less than that share of them


class Journal:
    """Keeps the files of ``folder`` up to date; ``say`` gets each line of the log too."""

    def __init__(self, folder: Path, system: System, say: Callable[[str], None]) -> None:
        self.folder, self.system, self._say = folder, system, say
        self._events: Events | None = None
        self._drawn, self._took = time.monotonic(), 0.0

    def begin(self, history: Sequence[rows.Epoch]) -> None:
        """Make the event file; where that cannot be, say so and go on."""
        self._events = Events(self.folder, self.system.metric, history)
        if self._events.missing:
            self.say(self._events.missing)

    def say(self, text: str) -> None:
        """One line for people, on the terminal and in ``log.txt``."""
        self.note(text)
        self._say(text)

    def note(self, text: str) -> None:
        """One line in ``log.txt``, for what is shown elsewhere."""
        place = self.folder / "log.txt"
        with storage_errors(place), place.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def epoch(self, history: Sequence[rows.Epoch], epochs: int, first: float) -> None:
        """Tell the last epoch of ``history``: in every file of numbers, and as a line where `told` says so."""
        last = history[-1]
        rows.write_metrics(self.folder / "metrics.csv", history)
        if self._events is not None:
            self._events.add(last)
        if rows.told(int(last["epoch"]), epochs):
            self.say(rows.line(last, epochs, self.system.metric, first, relative=self.system.baseline > 0))
        if time.monotonic() - self._drawn > max(_REDRAW, self._took / _SHARE):
            self.draw(history)

    def draw(self, history: Sequence[rows.Epoch]) -> None:
        """The picture as it is now; nothing before the first epoch is done."""
        begin = time.monotonic()
        if history:
            draw_curves(self.folder / "loss.png", history, self.system)
        self._drawn = time.monotonic()
        self._took = self._drawn - begin

    def finish(self, history: Sequence[rows.Epoch]) -> None:
        """All files, whole, once more."""
        rows.write_metrics(self.folder / "metrics.csv", history)
        self.draw(history)
        self.close()

    def close(self) -> None:
        """End the event file."""
        if self._events is not None:
            self._events.close()
            self._events = None
