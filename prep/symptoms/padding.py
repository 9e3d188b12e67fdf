"""Masks and padding that disagree: padding that holds something, and counted entries that hold nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.checks.zero_padding import ZeroPadding
from prep.errors import SchemaError
from prep.folds import Fold, Scope
from prep.folds.moments import Moments, MomentsResult
from prep.folds.rowwise import Rowwise, RowwiseResult
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import FEWEST, fields_of
from prep.symptoms.words import number, places, rebuild, square


class Padding:
    """The judgement of ``zero_padding`` for each field with a mask, and the other way round: samples of floats whose
    last counted entry is exactly 0 though the first is not, ten times as many as the other way (and 31 or more).
    """

    name = "padding"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for pair in _pairs(guess) for fold in _folds(guess, *pair))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field, mask in _pairs(guess):
            padded, last, first, flags = (measured[fold.key] for fold in _folds(guess, field, mask))
            yield from _no_flags(guess, field, mask, flags)
            yield from _filled(guess, field, mask, padded)
            yield from _empty(guess, field, mask, last, first)


def _pairs(guess: Guess) -> Iterator[tuple[FieldSpec, FieldSpec]]:
    for field in fields_of(guess, "input target aux", "fciu"):
        if not field.mask or field.mask not in guess.spec:
            continue
        mask = guess.spec[field.mask]
        try:
            ZeroPadding().folds(guess.spec, {"var": field.name, "mask": mask.name})
        except SchemaError:
            continue
        yield field, mask


def _folds(guess: Guess, field: FieldSpec, mask: FieldSpec) -> tuple[Rowwise, Rowwise, Rowwise, Moments]:
    scope, names = Scope.of(guess.spec), (field.name, mask.name)
    axes = [place for place, dim in enumerate(field.dims[1:], 1) if dim not in mask.dims]
    last, first = (
        Rowwise(f"counted zero {end}", names, counted_zero, 0.0, scope, {"axes": axes, "end": end}) for end in (-1, 0)
    )
    (padded,) = ZeroPadding().folds(guess.spec, {"var": field.name, "mask": mask.name})
    return padded, last, first, Moments(replace(mask, features=()), scope)


def counted_zero(arrays: Mapping[str, Array], axes: list[int], end: int) -> Array:
    """1 for each row whose last (-1) or first (0) counted entry is 0 in all further ``axes``, else 0; (rows,)."""
    values, mask = arrays.values()
    held = values != 0
    filled = held.any(axis=tuple(axes)) if axes else held
    counted = mask.reshape(len(mask), -1) != 0
    filled = filled.reshape(counted.shape)
    width = counted.shape[1]
    place = width - 1 - counted[:, ::-1].argmax(axis=1) if end else counted.argmax(axis=1)
    rows = np.arange(len(counted))
    return np.asarray(counted[rows, place] & ~filled[rows, place], np.float64)


def _no_flags(guess: Guess, field: FieldSpec, mask: FieldSpec, flags: MomentsResult) -> Iterator[Diagnostic]:
    low, high = float(flags.min.min()), float(flags.max.max())
    if (low >= 0 and high <= 1) or not flags.finite.any():
        return
    yield Diagnostic(
        code="mask-not-binary",
        severity="harmful",
        field=mask.name,
        evidence=f"{mask.name}, the mask of {field.name}, holds values from {number(low)} to {number(high)}",
        consequence=f"a loss that is multiplied with it weighs entries up to {number(max(abs(low), abs(high)))}-fold",
        remedy="store 1 for what counts and 0 for padding; weights belong in a field of their own",
        command=rebuild(guess),
    )


def _filled(guess: Guess, field: FieldSpec, mask: FieldSpec, padded: RowwiseResult) -> Iterator[Diagnostic]:
    if not padded.failing:
        return
    finite = np.isfinite(padded.worst)
    yield Diagnostic(
        code="padding-not-zero",
        severity="doubtful" if finite else "harmful",
        field=field.name,
        evidence=f"{padded.failing} of {padded.rows} samples of {field.name} hold something where {mask.name} says "
        f"that nothing is, up to {number(padded.worst) if finite else 'NaN or infinity'}: "
        f"{places(guess, padded.samples, padded.failing)}",
        consequence="a layer that reads the whole array sees it as data"
        + (
            f"; a loss without the mask counts {number(square(padded.worst))} for each such entry"
            if finite
            else "; a masked loss is NaN as well, since 0 times NaN is NaN"
        ),
        remedy="set padding to 0 after every step, and normalise with the mask, so that it is never shifted",
        command=rebuild(guess),
        samples=padded.samples,
        measured={"failing": padded.failing, "worst": padded.worst if finite else None},
    )


def _empty(
    guess: Guess, field: FieldSpec, mask: FieldSpec, last: RowwiseResult, first: RowwiseResult
) -> Iterator[Diagnostic]:
    if field.dtype.kind not in "fc" or last.failing < FEWEST or last.failing <= 10 * first.failing:
        return
    yield Diagnostic(
        code="padding-counted",
        severity="doubtful",
        field=field.name,
        evidence=f"in {last.failing} of {last.rows} samples the last entries that {mask.name} counts are exactly 0 in "
        f"{field.name} (the first are in {first.failing}): {places(guess, last.samples, last.failing)}",
        consequence="padding counts as data: it pulls the mean to 0 and shrinks the standard deviation, and a loss is "
        "averaged over entries that do not exist",
        remedy="let the mask end where the data end",
        command=rebuild(guess),
        samples=last.samples,
        measured={"failing": last.failing},
    )
