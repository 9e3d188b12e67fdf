"""The training loss no longer falls, and the target is not reached."""

from __future__ import annotations

from prep.training.course import plateau
from prep.training.guards.guard import RuleGuard


class Plateau(RuleGuard):
    """Warns where the lowest loss of the last fifth of the epochs (five or more) is less than 1 % below the lowest
    before.
    """

    name = "plateau"
    rules = (plateau,)
    allowed = "a loss that falls until the target is reached"
