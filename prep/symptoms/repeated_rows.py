"""Samples that are equal: within a split, and, which is a leak, across two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prep.blocks import Array, FieldSpec
from prep.errors import counted
from prep.folds import Fold
from prep.folds.duplicates import DuplicatesResult, Part, RowHashes
from prep.kernels.matrices import real_view
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import columns, columns_fold, fields_of, two_valued
from prep.symptoms.repeats import (
    FEWEST_VALUES,
    MOST_CHANCE,
    every,
    expected_pairs,
    filled,
    leak,
    sample_fold,
    width,
)
from prep.symptoms.words import number, regenerate, verb

# So few contents that many samples have are states to which a system returns: a reset, a rest.
_STATES, _VISITS = 3, 3


class RepeatedRows:
    """Equal samples of an input or target, among those that are not nearly empty (`prep.symptoms.repeats.filled`):
    across splits beyond what chance shares, or, of floats, where chance makes less than a thousandth of a pair, seen
    from how often their values repeat.
    """

    name = "repeated_rows"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        fields = list(_fields(guess))
        return tuple(
            fold
            for field in fields
            for fold in (exact_fold(guess, field), columns_fold(guess, field), sample_fold(guess, field))
        )

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _fields(guess):
            fold = exact_fold(guess, field)
            found: DuplicatesResult = measured[fold.key]
            flags = two_valued(columns(guess, field, measured))
            if flags:
                continue
            chance = expected_pairs(guess, field, measured, width(field))
            unlikely = field.dtype.kind in "fc" and chance < MOST_CHANCE
            yield from leak(guess, fold, found, "shared-rows", "equal", unlikely=unlikely)
            if found.within_count and unlikely:
                yield _within(guess, field, found)


def _fields(guess: Guess) -> Iterator[FieldSpec]:
    """Fields of floats, and of whole numbers where a sample has four or more and there are splits to compare."""
    for field in fields_of(guess):
        if field.dtype.kind in "fc" or (guess.divided and width(field) >= FEWEST_VALUES):
            yield field


def exact_fold(guess: Guess, field: FieldSpec) -> RowHashes:
    """Equal rows of ``field`` among those that are filled."""
    return RowHashes((field.name,), dict(guess.spec.splits), "filled", filled_rows, every=every(guess))


def filled_rows(arrays: Mapping[str, Array]) -> list[Part]:
    """Each row as it is."""
    (values,) = arrays.values()
    flat = real_view(values) if values.dtype.kind == "c" else values
    return [Part(values, filled(flat.reshape(len(values), -1)))]


def _within(guess: Guess, field: FieldSpec, found: DuplicatesResult) -> Diagnostic:
    states = found.repeated <= _STATES and found.within_count > _VISITS * found.repeated
    share = found.within_count * every(guess) / max(guess.spec.rows, 1)
    looked = f" (one content of {every(guess)} looked at)" if every(guess) > 1 else ""
    returned = f": {counted(found.repeated, 'state')} that samples return to" if states else ""
    return Diagnostic(
        code="duplicate-rows",
        severity="doubtful" if share >= 0.01 and not states else "note",
        field=field.name,
        evidence=f"{counted(found.within_count, 'sample')} of {field.name} {verb(found.within_count, 'equal')} an "
        f"earlier one of the same split, in full precision{looked}{returned}",
        consequence=f"{number(100 * share)} % of the samples count twice or more in the loss; where splits are cut at "
        "random from such data, copies end up on both sides",
        remedy="none, where sequences begin or rest in that state; else remove the copies"
        if states
        else "remove the copies, or count them on purpose (weights)",
        command=regenerate(guess),
        harm=1 + share,
        measured={"count": found.within_count},
    )
