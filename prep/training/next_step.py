"""What a rule of the decision table found, and what to do next: go on, or another learning rate and which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Literal

from prep.training.learning_curves import Curves

Level = Literal["good", "note", "warn", "stop"]

JUMP = 0.2
WINDOW = 5  # epochs


@dataclass(frozen=True, slots=True)
class Advice:
    """What a rule found: whether it is good, worth a note, a warning, or a reason to stop; why; what shows it; and what
    to do next, with the new learning rate and the field where there is one.
    """

    rule: str
    level: Level
    cause: str
    evidence: str
    next_step: str
    learning_rate: float | None = None
    field: str = ""

    def __str__(self) -> str:
        return f"{self.cause}: {self.evidence}; {self.next_step}"


Rule = Callable[[Curves], Advice | None]


def astray(curves: Curves, loss: float) -> bool:
    """Whether a loss is far above where it began."""
    return loss > curves.start + JUMP * abs(curves.start)


def other_rate(curves: Curves) -> tuple[str, float | None]:
    """Of a loss that stands still: too high a rate if that is far above where it began, else too low a one."""
    if astray(curves, median(curves.losses[-WINDOW:])):
        return lower(curves, 3), scaled(curves, 1 / 3)
    return _raise(curves), scaled(curves, 3.0)


def longer(curves: Curves) -> str:
    """To go on, also where the schedule has come to its end."""
    return "train more epochs" + (", with a schedule as long" if curves.annealed(1) else "")


def scaled(curves: Curves, factor: float) -> float | None:
    """Another learning rate, to two digits; None where the one it had is not known, or 0."""
    return float(f"{curves.rate * factor:.2g}") if curves.rate else None


def lower(curves: Curves, divisor: int) -> str:
    """To lower the learning rate, and to what."""
    return f"lower the learning rate {divisor}-fold{_from_to(curves, 1 / divisor)}"


def _raise(curves: Curves) -> str:
    return (
        "set a learning rate: it is 0" if curves.rate == 0 else f"raise the learning rate 3-fold{_from_to(curves, 3)}"
    )


def _from_to(curves: Curves, factor: float) -> str:
    rate = scaled(curves, factor)
    return "" if rate is None else f", from {curves.rate:.3g} to {rate:g}"
