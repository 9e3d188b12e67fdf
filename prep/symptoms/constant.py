"""Columns that never vary, or do not in one split: dead sensors, and a test of something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.folds import Fold
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import CHANCE, FEWEST, Columns, columns, columns_fold, fields_of, listed
from prep.symptoms.words import look, number, rebuild, verb


class Constant:
    """Columns of inputs and targets that hold one value: in every split, or in one where train varies.

    A column is called constant from 31 values on, which a fair coin gives by chance less than once in 1e9, and among
    others where their middle one would not hold this value as often (as sparse data hold 0). It is dead in one split
    where p^n < 1e-9: p bounds from above how often train takes any value v at all, by the inequality of Paley and
    Zygmund, P(x ≠ v) ≥ E[(x−v)²]² / E[(x−v)⁴]. It is dead in train where at least k values of the other splits differ
    from v (by the same inequality), which a random division puts all there with probability (m/(n+m))^k < 1e-9, m their
    values and n train's. In a one-hot field a class that never occurs is a note, one that train alone lacks doubtful.
    """

    name = "constant"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(columns_fold(guess, field, split) for field in fields_of(guess) for split in _splits(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in fields_of(guess):
            found = [columns(guess, field, measured, split) for split in _splits(guess)]
            yield from _everywhere(guess, found)
            for held in found[1:]:
                yield from _in_one_split(guess, found[0], held)
            if found and found[0].split == "train":
                yield from _in_train(guess, found[0], found[1:])


def _splits(guess: Guess) -> list[str]:
    named = [split for split, (start, stop) in guess.spec.splits.items() if stop > start]
    return sorted(named, key=lambda split: split != "train")


def _everywhere(guess: Guess, found: list[Columns]) -> Iterator[Diagnostic]:
    count = np.sum([each.count for each in found], axis=0)
    same = np.logical_and.reduce([(each.count == 0) | (each.constant & (each.low == _value(found))) for each in found])
    dead = same & (count >= FEWEST) & _no_accident(found, count)
    if not dead.any():
        return
    one, field = found[0], found[0].field
    values, width = _value(found), len(dead)
    flags = np.logical_and.reduce([each.binary | each.constant | (each.count == 0) for each in found])
    codes = flags.all() and width > 1 and np.isin(values[dead], (0, 1)).all() and not dead.all()
    whole = "every value" if width == 1 else f"{listed(one.names, dead)} ({int(dead.sum())} of {width})"
    where = f"{whole} of {field.name} {'is' if width == 1 or dead.sum() == 1 else 'are'} the same in all "
    yield Diagnostic(
        code="class-never-seen" if codes else "constant-column",
        severity="note" if codes else "doubtful",
        field=field.name,
        evidence=f"{where}{guess.spec.rows} samples: {number(values[np.argmax(dead)])}",
        consequence="nothing can be learned of a class that does not occur"
        if codes
        else "it carries nothing: as an input it acts as a bias, and dividing by its standard deviation 0 gives NaN; "
        "as a target it flatters the loss. A dead sensor looks like this",
        remedy="find out whether it should vary (a dead sensor, a column of zeros); if not, leave it out",
        command=look(guess, field.name),
        measured={"columns": int(dead.sum()), "of": width},
    )


def _no_accident(found: list[Columns], count: Array) -> Array:
    """Whether the value of a constant column is too rare in the columns that vary (in the middle one of them) for all
    values to be it by chance, as 0 is in sparse data.
    """
    first = found[0]
    varies = (first.count > 0) & ~first.constant
    if not varies.any():
        return np.ones(len(count), bool)
    often = np.asarray([float(np.median(_most_often(first, value)[varies])) for value in _value(found)])
    return np.asarray(count * np.log(often) < np.log(CHANCE))


def _value(found: list[Columns]) -> Array:
    value = found[0].low
    for each in found[1:]:
        value = np.where(np.isnan(value), each.low, value)
    return value


def _in_one_split(guess: Guess, train: Columns, held: Columns) -> Iterator[Diagnostic]:
    varies = (train.count >= FEWEST) & ~train.constant & (train.std > 0)
    dead = varies & held.constant & (held.count * np.log(_most_often(train, held.low)) < np.log(CHANCE))
    if not dead.any():
        return
    worst = int(np.argmax(dead))
    yield Diagnostic(
        code="dead-in-split",
        severity="harmful",
        field=train.field.name,
        evidence=f"{listed(train.names, dead)} of {train.field.name} {'is' if dead.sum() == 1 else 'are'} "
        f"{number(held.low[worst])} in all {int(held.count[worst])} values of {held.split}, and "
        f"{'varies' if dead.sum() == 1 else 'vary'} in {train.split} (std {number(train.std[worst])})",
        consequence=f"the score of {held.split} says how the model does without the column, not how well it has "
        f"learned",
        remedy=f"mend the column in {held.split}, or leave it out of every split",
        command=rebuild(guess),
        measured={"columns": int(dead.sum()), "split": held.split},
    )


def _in_train(guess: Guess, train: Columns, others: list[Columns]) -> Iterator[Diagnostic]:
    differing, total = np.zeros(len(train.low)), np.zeros(len(train.low))
    alive = []
    for each in others:
        own = np.where(each.count > 0, each.count * (1 - _most_often(each, train.low)), 0.0)
        own = np.where(each.constant, np.where(each.low == train.low, 0, each.count), own)
        differing, total = differing + own, total + each.count
        alive.append(own)
    with np.errstate(all="ignore"):
        chance = differing * np.log(total / (train.count + total))
    dead = train.constant & (differing > 0) & (chance < np.log(CHANCE))
    if not dead.any():
        return
    worst, field = int(np.argmax(dead)), train.field
    flags = all((each.binary | each.constant | (each.count == 0)).all() for each in (train, *others))
    codes = flags and len(dead) > 1 and bool(np.isin(train.low[dead], (0, 1)).all())
    where = " and ".join(each.split for each, own in zip(others, alive, strict=True) if own[worst] > 0)
    which = f"{listed(train.names, dead)} of {field.name}" if len(dead) > 1 else field.name
    yield Diagnostic(
        code="dead-in-split",
        severity="doubtful" if codes else "harmful",
        field=field.name,
        evidence=f"{which} {verb(int(dead.sum()), 'are')} {number(train.low[worst])} in all "
        f"{int(train.count[worst])} values of train, and something else in {where}",
        consequence="training never sees what it is scored on: "
        + (
            f"a model that always says {number(train.low[worst])} has no loss there, and fails on {where}"
            if field.role == "target"
            else f"the weights of the column stay as they were drawn, and {where} turns them into noise"
        ),
        remedy="mend the column in train, or leave it out of every split; if the data were sorted, divide them anew",
        command=rebuild(guess),
        measured={"columns": int(dead.sum()), "split": "train"},
    )


def _most_often(train: Columns, value: Array) -> Array:
    """At most this share of train's values is ``value``."""
    second, fourth = train.moment_pair(value)
    with np.errstate(all="ignore"):
        share = 1 - second**2 / fourth
    bound: Array = np.clip(np.nan_to_num(share, nan=1.0), 1e-300, 1.0)
    return bound
