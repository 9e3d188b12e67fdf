"""Flags that mark where a sequence begins or ends, and never do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from prep.blocks import FieldSpec
from prep.folds import Fold, Scope
from prep.folds.moments import Moments, MomentsResult
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import FEWEST
from prep.symptoms.words import look

_NAMES = frozenset(
    {
        *("reset", "resets", "is_first", "is_last", "first", "last", "done", "dones", "episode_start", "episode_end"),
        *("terminal", "terminals", "terminated", "terminations", "truncated", "truncations", "timeout", "timeouts"),
    }
)


class Borders:
    """All flags with a usual name (reset, is_first, done, truncation, …) are 0 in all of 31 values or more."""

    name = "borders"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(_fold(guess, field) for field in _fields(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        fields = list(_fields(guess))
        found: list[MomentsResult] = [measured[_fold(guess, field).key] for field in fields]
        if fields and all((each.max <= 0).all() and (each.finite >= FEWEST).all() for each in found):
            names = ", ".join(field.name for field in fields)
            yield Diagnostic(
                code="no-borders",
                severity="doubtful",
                field=fields[0].name,
                evidence=f"{names}: 0 in all {guess.spec.rows} samples",
                consequence="nothing marks where a sequence begins: a model that remembers carries the state of one "
                "into the next, and returns are summed across episodes",
                remedy="set the flag at the first (or last) step of every sequence",
                command=look(guess, fields[0].name),
            )


def _fields(guess: Guess) -> Iterator[FieldSpec]:
    for field in guess.spec.fields:
        if field.name.lower().rsplit("/", 1)[-1] in _NAMES and field.dtype.kind in "biuf":
            yield field


def _fold(guess: Guess, field: FieldSpec) -> Moments:
    return Moments(replace(field, features=()), Scope.of(guess.spec))
