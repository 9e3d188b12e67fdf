"""Signs of integer overflow: numbers that turned over at 2^k, and numbers heaped at the limit of their type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import FieldSpec
from prep.folds import Fold, Scope
from prep.folds.jumps import BITS, Jumps, JumpsResult
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import fields_of
from prep.symptoms.words import number, places, rebuild

_FEWEST = 30
_HEAP = 10


class Overflow:
    """Whole numbers that move by at most 2^k/16 from one to the next (in half of the steps or more at all), but for a
    few steps of 2^k give or take as much: a counter or a sum that turned over.

    Or unsigned numbers of 16 bits or more of which all lie within 1/256 of the range from 0 or from 2^k, ten or more
    below 2^k − 1 (which alone may stand for something): negative ones in a type that has none.

    And integers of which ten times as many lie exactly at the limit of a 16- to 64-bit type as in the 1/256 of its
    range beside it: clipped. Eight bits clip by nature, as pictures do, of which
    (more than sixteen values) neither is asked.
    """

    name = "overflow"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for _, fold in _folds(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field, fold in _folds(guess):
            found: JumpsResult = measured[fold.key]
            turned = list(_turned(guess, field, found))
            yield from turned or _unsigned(guess, field, found)
            if field.dtype.kind in "iu" and field.dtype.itemsize > 1:
                yield from _clipped(guess, field, found)


def _folds(guess: Guess) -> Iterator[tuple[FieldSpec, Jumps]]:
    for field in fields_of(guess, "input target aux", "fiu"):
        picture = field.dtype.itemsize == 1 and field.row_values > 16
        if picture or (field.dtype.kind == "f" and field.transform_state != "raw"):
            continue
        axis = 1 if len(field.shape) > 1 or (field.shape and field.shape[0] > 256) else 0
        yield field, Jumps(field, Scope.of(guess.spec), axis)


def _turned(guess: Guess, field: FieldSpec, found: JumpsResult) -> Iterator[Diagnostic]:
    for place, bits in enumerate(BITS):
        turns, longest = int(found.turns[place]), float(found.longest[place])
        moves = found.steps >= _FEWEST and 2 * found.moving >= found.steps and found.whole
        if not moves or not turns or turns * 8 > found.steps or not 0 < longest <= 2.0**bits / 16:
            continue
        yield Diagnostic(
            code="integer-wrap",
            severity="harmful",
            field=field.name,
            evidence=f"{field.name} ({field.dtype}) jumps by about 2^{bits} = {2**bits} {turns} times, and by "
            f"{number(longest)} at most elsewhere: {places(guess, found.samples[place], turns)}",
            consequence=f"a number of {bits} bits turned over: the values after it are wrong by {2**bits}, "
            f"{number(2.0**bits / longest)} times the largest true step",
            remedy=f"add the {2**bits} back after each turn (np.unwrap with period=2**{bits}), and store more bits",
            command=rebuild(guess),
            samples=found.samples[place],
            harm=2.0**bits / longest,
            measured={"bits": bits, "turns": turns},
        )
        return


def _unsigned(guess: Guess, field: FieldSpec, found: JumpsResult) -> Iterator[Diagnostic]:
    ends = found.at_limit + found.near_limit
    if field.dtype.kind != "u" or field.dtype.itemsize == 1 or int(ends.sum()) < found.values:
        return
    if not ends[0] or found.near_limit[1] < _HEAP:
        return
    bits, count = 8 * field.dtype.itemsize, int(ends[1])
    samples = found.above_samples
    yield Diagnostic(
        code="integer-wrap",
        severity="harmful",
        field=field.name,
        evidence=f"{count} of {found.values} values of {field.name} ({field.dtype}) lie just below 2^{bits} = "
        f"{2**bits}, the others just above 0, and none between; first in {places(guess, samples[:5])}",
        consequence=f"negative numbers were stored in a type that has none: −1 became {2**bits - 1}, and all scales, "
        "means and gradients are those of these",
        remedy=f"read it as signed (values.view(np.int{bits})), and store it so",
        command=rebuild(guess),
        samples=samples,
        harm=2.0**bits,
        measured={"bits": bits, "count": count},
    )


def _clipped(guess: Guess, field: FieldSpec, found: JumpsResult) -> Iterator[Diagnostic]:
    limits = np.iinfo(field.dtype)
    for place, limit in enumerate((limits.min, limits.max)):
        count, near = int(found.at_limit[place]), int(found.near_limit[place])
        if (limit == 0) or count < _HEAP or count <= _HEAP * near or near == 0:
            continue
        yield Diagnostic(
            code="integer-clipped",
            severity="doubtful",
            field=field.name,
            evidence=f"{count} values of {field.name} are exactly {limit}, the limit of {field.dtype}, and {near} "
            f"are near it; first in {places(guess, found.limit_samples[:5])}",
            consequence="what was larger was cut off: the largest values, which weigh most, are wrong by an unknown "
            "amount",
            remedy="record with a larger type or a smaller gain; mask the clipped values",
            command=rebuild(guess),
            samples=found.limit_samples,
            measured={"count": count},
        )
