"""Samples that hold nothing: a tail that nobody wrote or that stands still, and single ones where something failed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import FieldSpec
from prep.folds import Fold, Scope
from prep.folds.blanks import Blanks, BlanksResult
from prep.folds.tails import KEEP, Tails, TailsResult
from prep.kernels.matrices import real_view
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import CHANCE, Columns, columns, columns_fold, fields_of
from prep.symptoms.words import number, places, rebuild

_SETTLED, _SETTLING = 0.01, 0.1


class BlankRows:
    """Samples of only 0 or NaN (`prep.folds.blanks`).

    A run of n at the end is a tail where chance gives it less than once in 1e9, at the rate of blank samples before it,
    and no other run is half as long. Single ones are suspicious where zeros are rare: at the rate of zeros among the
    other values, fewer than 1e-6 of such samples are expected.

    A run of anything else at the end (`prep.folds.tails`) is one that stands still by the same two judgements, at the
    rate at which samples equal the one before. Neither is told of what settles (`_settles`).
    """

    name = "blank_rows"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        fields = list(fields_of(guess, kinds="fciu"))
        blanks = (_fold(guess, field) for field in fields)
        return (*blanks, *(fold for field in fields for fold in (_tails(guess, field), columns_fold(guess, field))))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in fields_of(guess, kinds="fciu"):
            found: BlanksResult = measured[_fold(guess, field).key]
            if found.blank == found.rows:
                continue  # constant, and told as such
            tail = _is_tail(found)
            still: TailsResult = measured[_tails(guess, field).key]
            if tail:
                # What settles at 0 is the same run of equal samples.
                if still.tail != found.tail or not _settles(still, columns(guess, field, measured)):
                    yield _tail(guess, field, found)
            elif not found.trailing and _stands_still(still, columns(guess, field, measured)):
                yield _still(guess, field, still)
            elif _is_rare(found):
                yield _single(guess, field, found)


def _fold(guess: Guess, field: FieldSpec) -> Blanks:
    mask = guess.spec[field.mask] if field.mask and field.mask in guess.spec else None
    return Blanks(field, Scope.of(guess.spec), mask)


def _is_tail(found: BlanksResult) -> bool:
    before = found.rows - found.trailing
    rate = (found.blank - found.trailing + 1) / (before + 1)
    return found.trailing >= 2 * found.longest + 2 and found.trailing * math.log(rate) < math.log(CHANCE)


def _tails(guess: Guess, field: FieldSpec) -> Tails:
    return Tails(field, Scope.of(guess.spec), _fold(guess, field).mask)


def _stands_still(found: TailsResult, scale: Columns) -> bool:
    before = found.rows - found.trailing
    if not before or found.trailing < 2 * max(found.longest, found.leading) + 2:
        return False
    rate = (found.equal - found.trailing + 2) / (before + 1)
    if found.trailing * math.log(rate) >= math.log(CHANCE):
        return False
    return not _settles(found, scale)


def _settles(found: TailsResult, scale: Columns) -> bool:
    """Whether the samples before the last run come to what it holds: the last within a hundredth of the largest
    standard deviation of a column, or eight within a tenth, none farther than the one before it (independent values do
    so once in 1e9).
    """
    last, ago = (real_view(each) if each.dtype.kind == "c" else each for each in (found.last, found.before))
    with np.errstate(all="ignore"):
        far = np.abs(ago.astype(np.float64) - last.astype(np.float64))
        room = np.nan_to_num(scale.std).max(initial=0.0)
        near = bool((far[-1:] <= _SETTLED * room).all())
        return near or bool(len(far) == KEEP and (far <= _SETTLING * room).all() and (np.diff(far, axis=0) <= 0).all())


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


def _still(guess: Guess, field: FieldSpec, found: TailsResult) -> Diagnostic:
    share, values = found.trailing / found.rows, np.unique(found.last)
    one = len(values) == 1 and field.row_values > 1
    held = f"only {number(values[0].item())}" if len(values) == 1 and values.dtype.kind != "c" else "one and the same"
    return Diagnostic(
        code="constant-tail",
        severity="harmful" if one else "doubtful",
        field=field.name,
        evidence=f"the last {found.trailing} of {found.rows} samples of {field.name} hold {held}, from sample "
        f"{found.tail} on; of the others {found.equal - found.trailing + 1} equal the one before",
        consequence=f"{share:.2%} of the samples say the same, in the statistics too; it looks like "
        + ("a fill value where nothing was written" if one else "a sensor or a writer that stood still"),
        remedy="see why it stopped; cut these samples off, in every field",
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
