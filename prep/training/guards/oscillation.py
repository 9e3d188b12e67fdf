"""The training loss swings instead of falling."""

from __future__ import annotations

from prep.training.course import oscillating
from prep.training.guards.guard import RuleGuard


class Oscillation(RuleGuard):
    """Warns of swings of ±30 % that lead nowhere, fast or slow."""

    name = "oscillation"
    rules = (oscillating,)
    allowed = "swings below 30 %"
