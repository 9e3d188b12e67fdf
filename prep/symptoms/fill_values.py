"""Numbers that stand for "missing": -999, 9999, 1e30, the largest float, the fill value of netCDF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.folds import Fold, Scope
from prep.folds.sentinels import Sentinels, SentinelsResult, fewest_fills
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import columns_fold, fields_of
from prep.symptoms.words import number, places, rebuild, square


class FillValues:
    """Sentinels (`prep.folds.sentinels.FILLS`) farther from all other values of their column than these are wide.

    An ordinary value may be 999; one that is exactly that, the extreme of its column and a whole range away from the
    rest is none. Integers, of which any may be that number, need two of them.
    """

    name = "fill_values"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for _, fold in _folds(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field, fold in _folds(guess):
            found: SentinelsResult = measured[fold.key]
            counts = found.apart(fewest_fills(field))
            for place in np.flatnonzero(counts.any(axis=1)).tolist():
                yield _told(guess, field.name, found, place, counts[place], field.role)


def _folds(guess: Guess) -> Iterator[tuple[Any, Sentinels]]:
    for field in fields_of(guess, "input target aux", "fiu"):
        described = replace(field, features=columns_fold(guess, field).field.features)
        yield field, Sentinels(described, Scope.of(guess.spec))


def _told(guess: Guess, name: str, found: SentinelsResult, place: int, counts: Any, role: str) -> Diagnostic:
    value, total = float(found.values[place]), int(counts.sum())
    column = int(np.argmax(counts))
    low, high = float(found.low[column]), float(found.high[column])
    scale = max(abs(low), abs(high), 1e-300)
    factor = square(value / scale)
    return Diagnostic(
        code="fill-value",
        severity="doubtful" if role == "aux" else "harmful",
        field=name,
        evidence=f"{number(value)} occurs {total} times in {name}, where all other values of the column lie between "
        f"{number(low)} and {number(high)}: {places(guess, found.samples[place], max(total, 1))}",
        consequence=f"one of them weighs as much as {number(factor)} of the largest other value in a squared error, "
        "and shifts the mean and the standard deviation: normalised, everything else becomes nearly constant",
        remedy="treat it as missing: mark these entries in a mask and store 0 there, or drop the samples",
        command=rebuild(guess),
        samples=found.samples[place],
        harm=factor,
        measured={"value": value, "count": total},
    )
