"""Data that are standardised already: by train's statistics, as it should be, or by those of another split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.checks.held_out import standardised_alone
from prep.folds import Fold
from prep.folds.moments import MomentsResult
from prep.symptoms import Diagnostic, Guess, Severity
from prep.symptoms.columns import Columns, columns, columns_fold, fields_of, two_valued
from prep.symptoms.words import normalise


class Standardised:
    """Whose mean is 0 and standard deviation 1, to five digits and beyond chance: the judgement of ``held_out``.

    The train split alone is as it should be, and a note, so that nobody does it again. Train and another split each by
    itself, or another split alone, or all samples together, are not.
    """

    name = "standardised"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(
            columns_fold(guess, field, split) for field in fields_of(guess, kinds="f") for split in _splits(guess)
        )

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in fields_of(guess, kinds="f"):
            found = {split: columns(guess, field, measured, split) for split in _splits(guess)}
            if "train" not in found:
                continue
            if two_valued(found["train"]):
                yield from _flags(guess, found["train"])
                continue
            exact = [split for split, each in found.items() if standardised_alone(each.moments)]
            with np.errstate(all="ignore"):
                together = len(found) > 1 and standardised_alone(_together(list(found.values())))
            if exact == ["train"] or (exact and not guess.divided):
                if field.transform_state != "normalized":
                    yield _already(guess, found["train"])
            elif exact:
                yield _wrongly(guess, field.name, exact)
            elif together:
                yield _of_all(guess, field.name)


def _splits(guess: Guess) -> list[str]:
    return [split for split, (start, stop) in guess.spec.splits.items() if stop > start]


def _flags(guess: Guess, train: Columns) -> Iterator[Diagnostic]:
    varies = (train.count > 0) & ~train.constant
    if train.binary[varies].all() or not standardised_alone(train.moments):
        return
    yield Diagnostic(
        code="flags-standardised",
        severity="note",
        field=train.field.name,
        evidence=f"{train.field.name} has two values in each column, and mean 0 and std 1: flags that were "
        f"standardised",
        consequence="a flag that is rarely set becomes a large number, and nothing else reads them as flags any more",
        remedy="leave flags and one-hot codes as 0 and 1",
        command=normalise(guess),
    )


def _already(guess: Guess, train: Columns) -> Diagnostic:
    return Diagnostic(
        code="already-standardised",
        severity="note",
        field=train.field.name,
        evidence=f"{train.field.name} is standardised: mean 0 and std 1 to five digits in "
        + (f"the {train.split} split" if guess.divided else "all samples"),
        consequence="normalising it once more would do nothing here, and with the statistics of the raw data spoil it; "
        "predictions come out in standard deviations"
        + ("" if guess.divided else ". If a test split is cut from these samples, it was used in the statistics"),
        remedy="do not normalise again; keep mean and std of the raw data, without which nothing can be inverted",
    )


def _wrongly(guess: Guess, name: str, exact: list[str]) -> Diagnostic:
    own = "train" in exact
    which = " and ".join(exact)
    severity: Severity = "harmful"
    return Diagnostic(
        code="own-statistics" if own else "statistics-of-another-split",
        severity=severity,
        field=name,
        evidence=f"mean 0 and std 1 to five digits in {which}" + (", each for itself" if own else ", and not in train"),
        consequence="the same raw value means different things in the splits, and what tells test from train (a shift, "
        "another scale) was taken out: the score is not that of data as they come"
        if own
        else f"the statistics are those of {which}: what is tested on was used to prepare the training",
        remedy="take mean and standard deviation of the train split, and apply them to every split",
        command=normalise(guess),
        measured={"splits": which},
    )


def _of_all(guess: Guess, name: str) -> Diagnostic:
    return Diagnostic(
        code="statistics-of-all-rows",
        severity="doubtful",
        field=name,
        evidence=f"{name} has mean 0 and std 1 to five digits over all splits together, and in no single one",
        consequence="validation and test samples were used in the statistics that train is normalised with: a leak, "
        "small where the splits are alike and large where they are not",
        remedy="take mean and standard deviation of the train split alone",
        command=normalise(guess),
    )


def _together(found: list[Columns]) -> MomentsResult:
    """Count, mean and standard deviation over all splits."""
    first = found[0].moments
    count = np.sum([each.moments.finite for each in found], axis=0)
    weights = [each.moments.finite / np.maximum(count, 1) for each in found]

    def mean(values: list[Array]) -> Array:
        parts = [np.where(w > 0, v, 0.0) * w for w, v in zip(weights, values, strict=True)]
        return np.asarray(np.sum(parts, axis=0))

    centre = mean([each.moments.mean for each in found])
    variance = mean([each.moments.std**2 + (each.moments.mean - centre) ** 2 for each in found])
    constant = np.logical_and.reduce([each.moments.constant | (each.moments.finite == 0) for each in found])
    return replace(first, count=count, finite=count, mean=centre, std=np.sqrt(variance), constant=constant)
