"""Statistics that lie beside the data, against the data: right, or those of something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.folds import Fold, Scope
from prep.folds.moments import Moments, MomentsResult
from prep.symptoms import Diagnostic, Guess, Severity, Stored
from prep.symptoms.words import normalise, number

# float32 statistics of float32 values: a few roundings, and the running sum's (n values lose log2(n)/2 bits at worst
# with pairwise summation; N. Higham, The accuracy of floating point summation, 1993).
_TOLERANCE = 1e-4
_FLOAT32 = float(np.finfo(np.float32).eps)


class StoredStatistics:
    """Stored mean, standard deviation, minimum and maximum against what is measured now: of the train split with its
    mask, of all samples, of each other split, and with padding counted.

    A standard deviation of either denominator (n or n−1) is right. One that differs by no more than E[x²] − E[x]² can
    be wrong in float32 (ε·E[x²] of the variance) is put down to that. Where the stored values are standardised (mean
    0 and std 1 to within a tenth, or five standard errors), statistics of raw values are expected beside them.
    """

    name = "stored_statistics"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for stored in _usable(guess) for fold in _candidates(guess, stored).values())

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for stored in _usable(guess):
            found = {what: measured[fold.key] for what, fold in _candidates(guess, stored).items()}
            told = _verdict(guess, stored, found)
            if told is not None:
                yield told


def _usable(guess: Guess) -> Iterator[Stored]:
    for stored in guess.stored:
        if (
            stored.field not in guess.spec
            or guess.spec[stored.field].dtype.kind not in "fiu"
            or not guess.spec[stored.field].row_values
        ):
            continue
        if _features(guess.spec[stored.field], stored.values) is not None:
            yield stored


def _features(field: FieldSpec, values: Array) -> tuple[str, ...] | None:
    """The dims of the field that statistics of this shape keep; None where they fit none."""
    shape = tuple(size for size in np.shape(values) if size != 1)
    if not shape:
        return () if np.size(values) == 1 else None
    for keep in range(1, len(field.shape) + 1):
        if tuple(size for size in field.shape[-keep:] if size != 1) == shape:
            return field.dims[-keep:]
    return None


def _candidates(guess: Guess, stored: Stored) -> dict[str, Moments]:
    field = guess.spec[stored.field]
    described = replace(field, features=_features(field, stored.values) or ())
    mask = guess.spec[field.mask] if field.mask and field.mask in guess.spec else None
    found = {"train": Moments(described, Scope.of(guess.spec, "train"), mask)}
    if guess.divided:
        found["all splits together"] = Moments(described, Scope.of(guess.spec), mask)
        found |= {
            f"the {split} split": Moments(described, Scope.of(guess.spec, split), mask)
            for split, (start, stop) in guess.spec.splits.items()
            if split != "train" and stop > start
        }
    if mask is not None:
        found["train with padding counted"] = Moments(described, Scope.of(guess.spec, "train"))
    return found


def _verdict(guess: Guess, stored: Stored, found: Mapping[str, MomentsResult]) -> Diagnostic | None:
    values = np.asarray(stored.values, np.float64).reshape(-1)
    train = found["train"]
    if not train.finite.any() or _matches(stored.kind, values, train):
        return None
    other = next((what for what, each in found.items() if what != "train" and _matches(stored.kind, values, each)), "")
    mean, std = train.mean.reshape(-1), train.std.reshape(-1)
    real = train.finite.reshape(-1) > 0
    near = np.maximum(0.1, 5 / np.sqrt(train.finite.reshape(-1)[real]))
    if not other and (np.abs(mean[real]) < near).all() and (np.abs(std[real] - 1) < near).all():
        return None  # statistics of the raw values
    now = _of(stored.kind, train)
    with np.errstate(all="ignore"):
        off = np.abs(values - now) / np.where(std > 0, std, 1.0)
    usable = np.isfinite(off)
    if not usable.any():
        return None  # columns of NaN, which are told as such
    worst = int(np.argmax(np.where(usable, off, -1.0)))
    code, severity, cause = "statistics-unlike-data", "harmful", "they are those of other data, or of an older version"
    if other:
        code = "statistics-with-padding" if "padding" in other else "statistics-of-another-split"
        severity, cause = ("harmful", f"they are those of {other}")
        if other == "all splits together":
            code, severity = "statistics-of-all-rows", "doubtful"
    elif stored.kind == "std" and _cancelled(values, train):
        code = "statistics-of-float32"
        cause = "the difference is what E[x²] − E[x]² loses in float32"
    kind = "standard deviation" if stored.kind == "std" else stored.kind
    scaled = number(float(std[worst] / values[worst]) if values[worst] else np.inf)
    told: Severity = "doubtful" if severity == "doubtful" else "harmful"
    return Diagnostic(
        code=code,
        severity=told,
        field=stored.field,
        evidence=f"the stored {kind} ({stored.place}) of {stored.field} is {number(values[worst])} where train has "
        f"{number(now[worst])}: {cause}",
        consequence=f"normalised with it, values are off by {number(float(off[worst]))} standard deviations"
        if stored.kind in ("mean", "min", "max")
        else f"normalised with it, the standard deviation is {scaled} "
        "instead of 1, and predictions are inverted wrongly by the same factor",
        remedy="measure again on the train split, in float64, with the mask; store statistics with the data's digest",
        command=normalise(guess),
        harm=float(np.nan_to_num(off[worst] + 1, posinf=1e300)),
        measured={"stored": float(values[worst]), "measured": float(now[worst]), "matches": other},
    )


def _of(kind: str, found: MomentsResult) -> Array:
    return np.asarray(getattr(found, kind), np.float64).reshape(-1)


def _matches(kind: str, values: Array, found: MomentsResult) -> bool:
    some = found.finite.reshape(-1) > 0
    now, std = _of(kind, found), found.std.reshape(-1)
    allowed = _TOLERANCE * np.where(std > 0, std, np.abs(now)) + _FLOAT32 * np.abs(now)
    close = np.abs(values - now) <= allowed
    if kind == "std":
        n = np.maximum(found.finite.reshape(-1), 2)
        close |= np.abs(values - now * np.sqrt(n / (n - 1))) <= allowed
        close |= (now == 0) & ((values == 1) | (values <= 1e-6))  # what constant columns are divided by
    return bool(some.any() and np.all(close[some]))


def _cancelled(values: Array, found: MomentsResult) -> bool:
    mean, std = np.clip(found.mean.reshape(-1), -1e150, 1e150), np.minimum(found.std.reshape(-1), 1e150)
    values = np.clip(values, -1e150, 1e150)
    lost = np.abs(np.nan_to_num(values) ** 2 - std**2)
    # A plain sum of n values in float32 errs by √n roundings or so, each of the size of the sum.
    bound = _FLOAT32 * np.sqrt(np.maximum(found.finite.reshape(-1), 1)) * (mean**2 + std**2)
    return bool(np.all((lost <= bound) | (lost <= 2 * _TOLERANCE * std**2)))
