"""Samples that hold nothing: a tail that nobody wrote, and single ones where something failed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from prep.blocks import FieldSpec
from prep.folds import Fold, Scope
from prep.folds.blanks import Blanks, BlanksResult
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import CHANCE, fields_of
from prep.symptoms.words import places, rebuild


class BlankRows:
    """Samples of only 0 or NaN (`prep.folds.blanks`).

    A run of n at the end is a tail where chance gives it less than once in 1e9, at the rate of blank samples before it,
    and no other run is half as long. Single ones are suspicious where zeros are rare: at the rate of zeros among the
    other values, fewer than 1e-6 of such samples are expected.
    """

    name = "blank_rows"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(_fold(guess, field) for field in fields_of(guess, kinds="fciu"))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in fields_of(guess, kinds="fciu"):
            found: BlanksResult = measured[_fold(guess, field).key]
            if found.blank == found.rows:
                continue  # constant, and told as such
            tail = _is_tail(found)
            if tail:
                yield _tail(guess, field, found)
            elif _is_rare(found):
                yield _single(guess, field, found)


def _fold(guess: Guess, field: FieldSpec) -> Blanks:
    mask = guess.spec[field.mask] if field.mask and field.mask in guess.spec else None
    return Blanks(field, Scope.of(guess.spec), mask)


def _is_tail(found: BlanksResult) -> bool:
    before = found.rows - found.trailing
    rate = (found.blank - found.trailing + 1) / (before + 1)
    return found.trailing >= 2 * found.longest + 2 and found.trailing * math.log(rate) < math.log(CHANCE)


def _is_rare(found: BlanksResult) -> bool:
    other = found.rows - found.blank
    if not found.blank or not other:
        return False
    rate = (found.zeros + 1) / (found.values + 1)
    return math.log(found.rows) + found.values / other * math.log(min(rate, 1.0)) < math.log(1e-6)


def _tail(guess: Guess, field: FieldSpec, found: BlanksResult) -> Diagnostic:
    share = found.trailing / found.rows
    return Diagnostic(
        code="blank-tail",
        severity="harmful",
        field=field.name,
        evidence=f"the last {found.trailing} of {found.rows} samples of {field.name} hold only 0 or NaN, from sample "
        f"{found.tail} on",
        consequence=f"{share:.2%} of the samples say that everything is 0, in the statistics too; it looks like memory "
        "that was set aside and never written",
        remedy="cut them off, in every field; see why the writer stopped",
        command=rebuild(guess),
        samples=(found.tail,),
        harm=1 + share,
        measured={"trailing": found.trailing},
    )


def _single(guess: Guess, field: FieldSpec, found: BlanksResult) -> Diagnostic:
    return Diagnostic(
        code="blank-rows",
        severity="doubtful",
        field=field.name,
        evidence=f"{found.blank} of {found.rows} samples of {field.name} hold only 0 or NaN, where the others hold "
        f"hardly a zero: {places(guess, found.samples, found.blank)}",
        consequence="whatever made them failed, and training learns the failure; a loss relative to the sample divides "
        "by 0 there",
        remedy="find out what failed (a caught exception, a sensor out of reach), and drop these samples",
        command=rebuild(guess),
        samples=found.samples,
        measured={"blank": found.blank},
    )
