"""What every campaign is: so many tries from a seed, and a tally of how they ended."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# How many findings are told; the others are counted.
_SHOWN = 100
_ROOM = 256 << 20


class Unable(RuntimeError):  # noqa: N818 -- it is a reason
    """Why a campaign cannot run on this machine."""


@dataclass(slots=True)
class Tally:
    """How the tries of a campaign ended. ``refused``: prep said no, or that it could not; ``harmless``: it did its work
    all the same; ``wrong``: what must never happen. ``cut``: there was no time for all of them.
    """

    refused: int = 0
    harmless: int = 0
    wrong: int = 0
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    unable: str = ""
    cut: bool = False

    @property
    def runs(self) -> int:
        """How many tries there were."""
        return self.refused + self.harmless + self.wrong

    def note(self, finding: str, *, refused: bool) -> None:
        """One try has ended: with a ``finding`` where something is wrong."""
        if finding:
            self.wrong += 1
            if len(self.findings) < _SHOWN:
                self.findings.append(finding)
        elif refused:
            self.refused += 1
        else:
            self.harmless += 1


@dataclass(frozen=True, slots=True)
class Order:
    """What a campaign is asked for: about ``count`` tries (0: all there are) from ``seed``, in ``folder``, until the
    clock passes ``deadline``.
    """

    count: int
    folder: Path
    seed: int = 0
    deadline: float = float("inf")
    say: Callable[[int], None] = lambda _: None

    def random(self, *about: object) -> random.Random:
        """A generator of its own for a part of the campaign."""
        return random.Random(repr((self.seed, *about)))

    def goes_on(self, tally: Tally) -> bool:
        """Whether there is time left; tells how far it is."""
        self.say(tally.runs)
        tally.cut = time.monotonic() >= self.deadline
        return not tally.cut


def scratch() -> str | None:
    """Where projects are made: in memory where there is room, since what fails is ordered and not the disk's."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM:
        return str(memory)
    return None


Attack = Callable[[Order], Tally]


@dataclass(frozen=True, slots=True)
class Campaign:
    """One line of the table. ``attack`` is ``module:function``; ``quick`` and ``long`` are how many tries it makes in
    the suite and in the long run (0: all there are).
    """

    name: str
    attack: str
    quick: int
    long: int
    passes: str
