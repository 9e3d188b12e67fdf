"""One group that makes half of the loss or more, and holds a small part of the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import FieldSpec
from prep.folds import Fold, Scope
from prep.folds.energies import Energies, EnergiesState
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import FEWEST, fields_of
from prep.symptoms.words import normalise, number

_OUTWEIGHS = 10.0


class LossShare:
    """Squared targets of each group of train (any id of one integer a sample): the loss of predicting zero.

    A finding where one group of at least 31 samples makes half of it or more, with a mean square ten times that of all
    others together, and no single sample makes half of its own: then it is that sample, not the group.
    """

    name = "loss_share"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(_folds(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for fold in _folds(guess):
            found: EnergiesState = measured[fold.key]
            total, values = float(found.squares.sum()), int(found.values.sum())
            if not found.complete or len(found.ids) < 2 or not 0 < total < np.inf:
                continue
            place = int(np.argmax(found.squares))
            share, fair = float(found.squares[place]) / total, float(found.values[place]) / values
            one = found.largest[place] > 0.5 * found.squares[place]
            ratio = share / max(1 - share, 1e-12) * (1 - fair) / max(fair, 1e-12)
            if share < 0.5 or ratio < _OUTWEIGHS or one or found.rows[place] < FEWEST:
                continue
            yield Diagnostic(
                code="one-group-makes-the-loss",
                severity="harmful" if share >= 0.9 else "doubtful",
                field=fold.field.name,
                evidence=f"{fold.group} {int(found.ids[place])} makes {share:.1%} of the squares of "
                f"{fold.field.name} in "
                f"train, with {fair:.1%} of the values: {number(ratio)} times the mean square of the other "
                f"{len(found.ids) - 1}",
                consequence=f"the loss is that of this one: all others together weigh {1 - share:.1%}, and can be as "
                "wrong as they like without its being seen",
                remedy=f"normalise {fold.field.name} for each {fold.group} by its own statistics, or weigh the loss",
                command=normalise(guess),
                harm=ratio,
                measured={"group": int(found.ids[place]), "share": share, "fair": fair},
            )


def _folds(guess: Guess) -> Iterator[Energies]:
    groups = [
        field.name
        for field in guess.spec.fields
        if field.role == "id" and not field.shape and field.dtype.kind in "iu" and field.dtype != np.uint64
    ]
    train = Scope.of(guess.spec, "train")
    for field in fields_of(guess, "target", "fc"):
        for group in groups:
            yield Energies(field, group, train, _mask(guess, field))


def _mask(guess: Guess, field: FieldSpec) -> FieldSpec | None:
    return guess.spec[field.mask] if field.mask and field.mask in guess.spec else None
