"""The model is far better on what it trains on than on what it does not."""

from __future__ import annotations

from prep.training.advice import overfitted
from prep.training.guards.guard import RuleGuard


class Overfitting(RuleGuard):
    """Warns of a validation score 1.5 times the training loss, by the median of three epochs."""

    name = "overfitting"
    rules = (overfitted,)
    split = "val"
    allowed = "val/train up to 1.5"
