"""Time that runs back, stands still or leaves steps out, within samples or between the samples of a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import FieldSpec
from prep.folds import Fold, Scope
from prep.folds.steps import Steps, StepsResult
from prep.importers.names import is_time
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import FEWEST, fields_of
from prep.symptoms.words import number, places, rebuild

# Half of the steps between times drawn at random are backward: samples in no order.
_RANDOM = 0.25
# Rounded times of equal steps differ by one unit of the last place; a jitter beyond this is a rate that varies.
_REGULAR = 0.05
_MOST_GROUPS = 6


class TimeSteps:
    """Steps of the fields that tell time (`prep.folds.steps`), split by split; between samples in each way to tell
    sequences apart (the guessed group, none, another integer), of which the one with the fewest steps back counts.

    Along the steps of a sample time must go on. Between samples, steps back to one and the same time are sequences put
    one after the other, and samples of which a quarter or more go back are in no order, where equal times mean nothing:
    notes, for a model that sees one sample at a time. A step is missing where most last the same (nine tenths within
    5 %) and it lasts half as long again.
    """

    name = "time_steps"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for field in _times(guess) for folds in _folds(guess, field) for fold in folds)

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _times(guess):
            ways = [[measured[fold.key] for fold in folds] for folds in _folds(guess, field)]
            found = min(ways, key=lambda each: sum(result.backward for result in each))
            yield from _back(guess, field, found)
            still = all(each.repeated == each.steps for way in ways for each in way)
            yield from _same(guess, field, found, still)
            yield from _missing(guess, field, found)


def _times(guess: Guess) -> Iterator[FieldSpec]:
    """The field that tells the time of a sample, and those that tell the times of its steps."""
    for field in guess.spec.fields:
        steps = len(field.shape) == 1 and field.shape[0] > 2 and is_time(field.name)
        if field.dtype.kind in "fiu" and ((field.name == guess.time and field.row_values == 1) or steps):
            yield field


def _folds(guess: Guess, field: FieldSpec) -> list[list[Steps]]:
    """The folds of all splits, for each way to tell sequences apart."""
    groups = [guess.group]
    if field.row_values == 1:
        integers = fields_of(guess, "id input aux", "iu")
        groups += ["", *(each.name for each in integers if not each.shape and each.dtype != np.uint64)]
    named = dict.fromkeys("" if field.row_values > 1 else group for group in groups[:_MOST_GROUPS])
    return [[Steps(field, Scope.of(guess.spec, split), group) for split in guess.spec.splits] for group in named]


def _back(guess: Guess, field: FieldSpec, found: list[StepsResult]) -> Iterator[Diagnostic]:
    steps, back = sum(each.steps for each in found), sum(each.backward for each in found)
    if not back:
        return
    samples = tuple(sorted(row for each in found for row in each.back_samples))[:10]
    low, high = min(each.lowest for each in found), max(each.highest for each in found)
    typical = max((each.quantile(0.5) for each in found if len(each.counts)), default=0.0)
    within = field.row_values > 1
    # A sequence that starts again goes back by its length, and none by more than all steps went forward.
    length = 0.5 * typical * steps / (back + 1)
    covered = sum(float(each.values @ each.counts) for each in found)
    restarts = not within and not (high - low) > typical and not guess.group
    restarts = restarts and length <= -min(each.deepest for each in found) <= 1.05 * covered
    shuffled = not within and back > _RANDOM * steps
    turn = _turn(-min(each.deepest for each in found))
    if restarts:
        code, told = (
            "time-restarts",
            f"{field.name} starts again at {number(low)} {back} times: sequences, one after another",
        )
        means = "a window cut across a border joins two sequences"
        remedy = "store an id of the sequence, and cut windows within it"
    elif shuffled:
        code, told = (
            "samples-not-in-order",
            f"{back} of {steps} steps of {field.name} between samples go back: no order",
        )
        means = "nothing for a model of single samples; one that remembers cannot follow, and a split by position is "
        means += "one at random"
        remedy = "sort by time within each sequence if the model is to follow it; divide by time before shuffling"
    else:
        code, told = (
            "time-backward",
            f"{field.name} goes back in {back} of {steps} steps: {places(guess, samples, back)}",
        )
        means = (
            "what a model is asked to predict happened before what it is given: it learns jumps that never took place"
        )
        means += "; a window across the jump joins two times"
        remedy = "sort by time within each sequence; never shuffle or interleave steps"
        if turn:
            told += f"; the largest step back is {turn}: a clock turned over"
            remedy = "add the turn back (np.unwrap), then sort"
    yield Diagnostic(
        code=code,
        severity="note" if restarts or shuffled else "harmful",
        field=field.name,
        evidence=told,
        consequence=means,
        remedy=remedy,
        command=rebuild(guess),
        samples=samples,
        harm=1 + back / max(steps, 1),
        measured={"backward": back, "steps": steps},
    )


def _turn(step: float) -> str:
    """Words for a step that is 2^k units of a power of ten, to a thousandth."""
    for bits in (16, 24, 32):
        for power in range(0, 10):
            full = 2.0**bits / 10.0**power
            if step > 0 and abs(step - full) < 1e-3 * full:
                return f"2^{bits} units of 1e-{power}" if power else f"2^{bits}"
    return ""


def _same(guess: Guess, field: FieldSpec, found: list[StepsResult], still: bool) -> Iterator[Diagnostic]:
    steps, same = sum(each.steps for each in found), sum(each.repeated for each in found)
    if sum(each.backward for each in found) > _RANDOM * steps:
        return
    # A clock that is coarser than the samples repeats by nature; one that never moves lost its digits.
    if not same or (same > 0.1 * steps and not (still and same >= FEWEST)):
        return
    samples = tuple(sorted(row for each in found for row in each.same_samples))[:10]
    yield Diagnostic(
        code="time-repeated",
        severity="doubtful",
        field=field.name,
        evidence=f"{field.name} stands still in {same} of {steps} steps: {places(guess, samples, same)}",
        consequence="a rate of change divides by 0 there; the same moment counts twice",
        remedy="drop the repeated steps, or see whether two recordings were merged",
        command=rebuild(guess),
        samples=samples,
        measured={"repeated": same, "steps": steps},
    )


def _missing(guess: Guess, field: FieldSpec, found: list[StepsResult]) -> Iterator[Diagnostic]:
    for each in found:
        typical = each.quantile(0.5)
        spread = each.quantile(0.95) - each.quantile(0.05)
        if each.backward > _RANDOM * each.steps or not each.steps or not spread <= _REGULAR * typical:
            continue
        missing = each.beyond(1.5 * typical)
        if not missing:
            continue
        yield Diagnostic(
            code="time-missing",
            severity="doubtful",
            field=field.name,
            evidence=f"steps of {field.name} last about {typical:.2g}, and {missing} of {each.steps} longer; the "
            f"longest ({number(each.longest)}) leads to sample {each.after}",
            consequence=f"a model of equal steps sees about {each.longest / typical:.2g} steps as one",
            remedy="cut sequences at the gaps, or fill them and mark what was filled in a mask",
            command=rebuild(guess),
            samples=(each.after,),
            harm=each.longest / typical,
            measured={"missing": missing, "step": typical},
        )
        return
