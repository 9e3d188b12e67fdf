"""Masks and padding that disagree: padding that holds something, and counted entries that hold nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.checks.zero_padding import ZeroPadding
from prep.errors import SchemaError
from prep.folds import Fold, Scope
from prep.folds.rowwise import Rowwise, RowwiseResult
from prep.importers.names import role_of
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.codes import named_codes
from prep.symptoms.columns import FEWEST, Columns, columns, columns_fold, fields_of, two_valued
from prep.symptoms.words import number, places, rebuild, square

_FEW = 0.01


class Padding:
    """The judgement of ``zero_padding`` for each field with a mask, and the other way round: samples of floats whose
    last counted entry is exactly 0 though the first is not, ten times as many as the other way (and 31 or more). And
    masks that hold other than 0 and 1, be they masks by their name only: then in 1 % of the samples at most, or 0 and
    one other number everywhere; of whole numbers those of one value a step (of more they may be pictures of classes).
    """

    name = "padding"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        pairs = (fold for pair in _pairs(guess) for fold in _folds(guess, *pair))
        masks = (fold for mask in _masks(guess) for fold in (_flags(guess, mask), columns_fold(guess, mask)))
        return (*pairs, *masks)

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for mask in _masks(guess):
            yield from _no_flags(guess, mask, measured[_flags(guess, mask).key], columns(guess, mask, measured))
        for field, mask in _pairs(guess):
            padded, last, first = (measured[fold.key] for fold in _folds(guess, field, mask))
            yield from _filled(guess, field, mask, padded)
            yield from _empty(guess, field, mask, last, first)


def _masks(guess: Guess) -> Iterator[FieldSpec]:
    """Fields that mask others, and those that are only named so: of floats, or of one whole number a step."""
    used = {field.mask for field in guess.spec.fields}
    for field in fields_of(guess, "mask aux", "fiu"):
        named = (field.dtype.kind == "f" or len(field.shape) == 1) and role_of(field.name, field.dtype, field.shape)[
            0
        ] == "mask"
        if field.name in used or named:
            yield field


def _flags(guess: Guess, mask: FieldSpec) -> Rowwise:
    return Rowwise("not a flag", (mask.name,), not_a_flag, 0.0, Scope.of(guess.spec))


def _pairs(guess: Guess) -> Iterator[tuple[FieldSpec, FieldSpec]]:
    for field in fields_of(guess, "input target aux", "fciu"):
        # Codes have one of their own for padding, or for what a loss leaves out (-100).
        if not field.mask or field.mask not in guess.spec or named_codes(field):
            continue
        mask = guess.spec[field.mask]
        try:
            ZeroPadding().folds(guess.spec, {"var": field.name, "mask": mask.name})
        except SchemaError:
            continue
        yield field, mask


def _folds(guess: Guess, field: FieldSpec, mask: FieldSpec) -> tuple[Rowwise, Rowwise, Rowwise]:
    scope, names = Scope.of(guess.spec), (field.name, mask.name)
    axes = [place for place, dim in enumerate(field.dims[1:], 1) if dim not in mask.dims]
    last, first = (
        Rowwise(f"counted zero {end}", names, counted_zero, 0.0, scope, {"axes": axes, "end": end}) for end in (-1, 0)
    )
    (padded,) = ZeroPadding().folds(guess.spec, {"var": field.name, "mask": mask.name})
    return padded, last, first


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


def not_a_flag(arrays: Mapping[str, Array]) -> Array:
    """The largest value (absolute) of each row that is neither 0 nor 1, NaN counting as infinite, else 0; (rows,)."""
    (mask,) = arrays.values()
    flat = mask.reshape(len(mask), -1)
    other = (flat != 0) & (flat != 1)
    rows = np.flatnonzero(other.any(axis=1))
    result = np.zeros(len(flat))
    found = np.abs(flat[rows].astype(np.float64))
    result[rows] = np.where(other[rows], np.where(np.isnan(found), np.inf, found), 0.0).max(axis=1, initial=0.0)
    return result


def _no_flags(guess: Guess, mask: FieldSpec, flags: RowwiseResult, values: Columns) -> Iterator[Diagnostic]:
    masked = [field.name for field in guess.spec.fields if field.mask == mask.name]
    # What is only named a mask may hold weights or shades, in most samples.
    shades = not masked and flags.failing > _FEW * flags.rows
    if not flags.failing or (shades and not _scaled_flags(values)):
        return
    whose = f"the mask of {', '.join(masked)}" if masked else "a mask by its name"
    finite, weights = bool(np.isfinite(flags.worst)), flags.worst < 1
    yield Diagnostic(
        code="mask-not-binary",
        severity="doubtful" if weights or shades else "harmful",
        field=mask.name,
        evidence=f"{mask.name}, {whose}, holds other than 0 and 1 in {flags.failing} of {flags.rows} "
        f"samples, {f'up to {number(flags.worst)} in size' if finite else 'NaN or infinity'}: "
        f"{places(guess, flags.samples, flags.failing)}",
        consequence="a loss that is multiplied with it weighs entries "
        + (f"{number(flags.worst)}-fold or less" if weights else f"up to {number(flags.worst)}-fold")
        + ", and one that asks whether it is 0 counts them whole"
        if finite
        else "a loss that is multiplied with it is NaN",
        remedy="store 1 for what counts and 0 for padding; weights belong in a field of their own",
        command=rebuild(guess),
        samples=flags.samples,
        measured={"failing": flags.failing, "worst": flags.worst if finite else None},
    )


def _scaled_flags(values: Columns) -> bool:
    """Whether all is 0 or one other number: flags in another unit."""
    ends = np.unique(np.concatenate([values.low, values.high])[np.tile(values.count > 0, 2)])
    return len(ends) == 2 and ends[0] == 0 and two_valued(values)


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
