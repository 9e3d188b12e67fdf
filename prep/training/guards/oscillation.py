"""The training loss swings instead of falling."""

from __future__ import annotations

from prep.training.advice import oscillating
from prep.training.guards.guard import RuleGuard


class Oscillation(RuleGuard):
    """Warns of four swings of 30 % in a row."""

    name = "oscillation"
    rules = (oscillating,)
    allowed = "swings below 30 %"
