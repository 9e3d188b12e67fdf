"""Windows of one series in two splits, whatever they overlap by and whatever their ids say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.folds import Fold
from prep.folds.duplicates import DuplicatesResult, Part, RowHashes
from prep.kernels.hashing import row_hashes
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import MOST_COLUMNS, fields_of
from prep.symptoms.repeated_rows import exact_fold
from prep.symptoms.repeats import MOST_CHANCE, every, expected_pairs, leak, real_size, sample_fold, telling


class SharedSteps:
    """Of each sample (sample, step, variable) the step with the least hash is compared, which two windows have in
    common as often as they overlap (A. Broder, On the resemblance and containment of documents, 1997), so that any
    overlap of some length is found among many windows.

    A step that its neighbours repeat is at rest, and no evidence; nor is one of few values (`repeats.telling`).
    """

    name = "shared_steps"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(
            fold
            for field in _fields(guess)
            for fold in (_steps(guess, field), exact_fold(guess, field), sample_fold(guess, field))
        )

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _fields(guess):
            found: DuplicatesResult = measured[_steps(guess, field).key]
            equal: DuplicatesResult = measured[exact_fold(guess, field).key]
            if equal.across_count or expected_pairs(guess, field, measured, field.shape[1]) > MOST_CHANCE:
                continue
            yield from _told(guess, _steps(guess, field), found)


def _told(guess: Guess, fold: RowHashes, found: DuplicatesResult) -> Iterator[Diagnostic]:
    # Neighbouring windows of one split share steps by construction.
    apart = DuplicatesResult(
        found.rows,
        {name: stop - start for name, (start, stop) in guess.spec.splits.items()},
        0,
        found.across,
        found.across_count,
        found.shared,
        found.shared_count,
    )
    yield from leak(
        guess,
        fold,
        apart,
        "shared-steps",
        "windows that overlap",
        "windows of one series are in train and in a held-out split: they share steps, so that the score is that of "
        "remembering, whatever the ids say",
        "give each window the id of its series, divide by series, and only then cut windows",
    )


def _fields(guess: Guess) -> Iterator[FieldSpec]:
    for field in fields_of(guess, "input", "f"):
        sizes = field.shape
        sequence = len(sizes) == 2 and sizes[0] > 2 and 2 <= sizes[1] <= MOST_COLUMNS and sizes[0] != sizes[1]
        if guess.divided and sequence and real_size(field) >= 4:
            yield field


def _steps(guess: Guess, field: FieldSpec) -> RowHashes:
    return RowHashes((field.name,), dict(guess.spec.splits), "least step", least_step, every=every(guess))


def least_step(arrays: Mapping[str, Array]) -> list[Part]:
    """The step of each row with the least hash, telling where the row moves there."""
    (values,) = arrays.values()
    rows, steps, size = values.shape
    hashes = row_hashes([values.reshape(rows * steps, size)], same_zero=True)[:, 0].reshape(rows, steps)
    still = np.zeros((rows, steps), bool)
    still[:, 1:] = hashes[:, 1:] == hashes[:, :-1]
    still[:, :-1] |= still[:, 1:]
    least = np.where(still, np.iinfo(np.uint64).max, hashes).argmin(axis=1)
    chosen = np.ascontiguousarray(values[np.arange(rows), least])
    return [Part(chosen, ~still[np.arange(rows), least] & telling(chosen))]
