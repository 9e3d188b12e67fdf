"""What a failed check of a schema would do to a training, and the command that mends it, in plain words."""

from __future__ import annotations

from prep.symptoms import Guess
from prep.symptoms.words import rebuild


def consequence(check: str, guess: Guess) -> tuple[str, str]:
    """(consequence, command) of a failed ``check``."""
    return "the data are not what their schema says a training needs", rebuild(guess)
