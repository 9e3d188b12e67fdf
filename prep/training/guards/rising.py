"""The training loss rises: by a jump, epoch by epoch, or for good."""

from __future__ import annotations

from prep.training.course import jumped, rising
from prep.training.guards.guard import RuleGuard


class Rising(RuleGuard):
    """Warns of a jump of 20 % and of three rises in a row, stops where what was gained does not come back."""

    name = "rising"
    rules = (rising, jumped)
    allowed = "a loss that falls, or comes back within five epochs"
