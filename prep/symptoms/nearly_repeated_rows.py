"""Samples of two splits that are equal but for rounding: one copy went through another type, or another computer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.checks.near_unique_rows import on_grids, projections
from prep.folds import Fold
from prep.folds.duplicates import DuplicatesResult, Part, RowHashes
from prep.kernels.matrices import real_view
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.repeated_rows import exact_fold
from prep.symptoms.repeats import (
    FEWEST_VALUES,
    MOST_CHANCE,
    every,
    expected_pairs,
    float_fields,
    leak,
    real_size,
    sample_fold,
    telling,
    width,
)

# A copy through float32 differs by half an ulp, 6e-8 of a value; the check's grid finds what differs by less than a
# thousandth of its cell almost surely.
TOLERANCE = 1e-4


class NearlyRepeatedRows:
    """The two grids of the check ``near_unique_rows``, relative to the size of the sample (a power of two near the
    RMS of its projections), for the rows that tell.

    With cells of 1e-4 and four values or more, n samples have n²·1e-16 such pairs by chance: judged where that is below
    a thousandth.
    """

    name = "nearly_repeated_rows"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(
            fold
            for field in _fields(guess)
            for fold in (_near(guess, field), exact_fold(guess, field), sample_fold(guess, field))
        )

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _fields(guess):
            equal: DuplicatesResult = measured[exact_fold(guess, field).key]
            fold = _near(guess, field)
            if not equal.across_count:
                unlikely = expected_pairs(guess, field, measured, width(field)) < MOST_CHANCE
                what = "equal but for rounding"
                found: DuplicatesResult = measured[fold.key]
                # A sample counts on each of the two grids, but near a border of one.
                yield from leak(guess, fold, found, "nearly-shared-rows", what, unlikely=unlikely, parts=2)


def _fields(guess: Guess) -> Iterator[FieldSpec]:
    chance = 2 * math.log(max(guess.spec.rows, 1)) + FEWEST_VALUES * math.log(TOLERANCE)
    for field in float_fields(guess):
        enough = width(field) >= FEWEST_VALUES and real_size(field) >= 4
        if guess.divided and enough and chance < math.log(MOST_CHANCE):
            yield field


def _near(guess: Guess, field: FieldSpec) -> RowHashes:
    return RowHashes(
        (field.name,), dict(guess.spec.splits), "near", relative_cells, {"tolerance": TOLERANCE}, every(guess)
    )


def relative_cells(arrays: Mapping[str, Array], tolerance: float) -> list[Part]:
    """`prep.checks.near_unique_rows.cells` of each row over a power of two near its size, which is in the cell too."""
    (values,) = arrays.values()
    places = projections(values)
    size = np.sqrt(np.mean(places**2, axis=1))
    usable = np.isfinite(size) & (size > 0)
    # The power changes in the middle of nowhere: at 1 the size of normalised samples would lie on the border.
    power = np.floor(np.log2(np.where(usable, size, 1.0)) + 0.37)
    places[~usable] = np.nan
    tells = telling(real_view(values).reshape(len(values), -1))
    parts = on_grids(places / (tolerance * np.exp2(power))[:, np.newaxis])
    # Where places are not finite, so is the size.
    return [Part(np.concatenate([part.values, power[:, np.newaxis]], axis=1), tells & usable) for part in parts]
