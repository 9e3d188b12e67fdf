"""Samples that are equal: within a split, and, which is a leak, across two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prep.blocks import Array, FieldSpec
from prep.folds import Fold
from prep.folds.duplicates import DuplicatesResult, Part, RowHashes
from prep.kernels.matrices import real_view
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import columns, columns_fold, two_valued
from prep.symptoms.repeats import MOST_CHANCE, expected_pairs, float_fields, leak, telling
from prep.symptoms.words import number, rebuild


class RepeatedRows:
    """Equal samples of an input or target of floats, among the rows that tell (`prep.symptoms.repeats.telling`: neither
    at rest nor nearly empty nor rounded to a few digits), where chance makes less than a thousandth of a pair.
    """

    name = "repeated_rows"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        fields = list(float_fields(guess))
        return (*(exact_fold(guess, field) for field in fields), *(columns_fold(guess, field) for field in fields))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in float_fields(guess):
            fold = exact_fold(guess, field)
            found: DuplicatesResult = measured[fold.key]
            flags = two_valued(columns(guess, field, measured))
            if flags or expected_pairs(field, guess.spec.rows) > MOST_CHANCE:
                continue
            yield from leak(guess, fold, found, "shared-rows", "equal")
            if found.within_count:
                yield _within(guess, field, found)


def exact_fold(guess: Guess, field: FieldSpec) -> RowHashes:
    """Equal rows of ``field`` among those that tell."""
    return RowHashes((field.name,), dict(guess.spec.splits), "telling", telling_rows)


def telling_rows(arrays: Mapping[str, Array]) -> list[Part]:
    """Each row as it is."""
    (values,) = arrays.values()
    return [Part(values, telling(real_view(values).reshape(len(values), -1)))]


def _within(guess: Guess, field: FieldSpec, found: DuplicatesResult) -> Diagnostic:
    share = found.within_count / max(guess.spec.rows, 1)
    return Diagnostic(
        code="duplicate-rows",
        severity="doubtful" if share >= 0.01 else "note",
        field=field.name,
        evidence=f"{found.within_count} samples of {field.name} equal an earlier one of their split, in full precision",
        consequence=f"{number(100 * share)} % of the samples count twice or more in the loss; where splits are cut at "
        "random from such data, copies end up on both sides",
        remedy="remove the copies, or count them on purpose (weights)",
        command=rebuild(guess),
        harm=1 + share,
        measured={"count": found.within_count},
    )
