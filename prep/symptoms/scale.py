"""Columns that are not normalised: the loss that zero scores, the gradients that follow, scales that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import FieldSpec
from prep.folds import Fold
from prep.symptoms import Diagnostic, Guess, Severity
from prep.symptoms.codes import holds_codes, named_codes
from prep.symptoms.columns import Columns, columns, columns_fold, fields_of, listed
from prep.symptoms.words import normalise, number, rebuild, square, times

# A loss 100 times too large or small, and a gradient 10 times; harmful where the gradient is 100 times that of
# normalised data, of which a clip to norm 1 leaves a hundredth.
DOUBTFUL, HARMFUL = 10.0, 100.0
# Where the inputs' second moments have this condition number (2²³), a float32 gradient along the smallest is below the
# rounding of that along the largest.
_FLOAT32 = 2.0**23
# Its square, times some thousands of samples, still fits into float64.
_MOST = 1e150
# So many values do not lie within a hundredth of their size of each other by chance.
_FEWEST = 8


class Scale:
    """Root mean squares of the columns of inputs and targets in train, against the 1 of normalised data.

    Predicting zero scores the mean square; the gradient of a squared error at zero is proportional to the RMS of a
    target, that of a first layer to the RMS of its input. Gradient descent takes as many steps as the condition number
    of the inputs' second moments, which is at least the ratio of their largest to their smallest, and (mean/std)² + 1
    for a column far from zero (Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, Efficient BackProp, 1998). Flags, one-hot
    codes, codes (`prep.symptoms.codes`) and constant columns have no scale that counts, but for constants of 100 or
    more; of a scale, what is left after three standard errors does.
    """

    name = "scale"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(columns_fold(guess, field) for field in _scaled(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _scaled(guess):
            found = columns(guess, field, measured)
            if holds_codes(found):
                continue
            yield from _beyond(guess, found)
            some = (found.count > 1) & ~found.constant & ~found.binary & (found.rms > 0) & ~_huge(found)
            # A constant has no spread to be brought to 1, but may drown what has.
            drowning = (found.count > 1) & found.constant & (found.rms >= HARMFUL) & ~_huge(found)
            if (some | drowning).any():
                yield from _size(guess, found, some | drowning)
            if not some.any():
                continue
            yield from _mixed(guess, found, some)
            yield from _offset(guess, found, some)


def _scaled(guess: Guess) -> Iterator[FieldSpec]:
    for field in fields_of(guess):
        if not named_codes(field):
            yield field


def _may_be_codes(field: FieldSpec) -> bool:
    return field.dtype.kind in "iu" and field.role == "input" and field.row_values == 1


def _huge(found: Columns) -> Any:
    """Columns whose squares do not fit into float64."""
    return (found.count > 0) & (np.maximum(np.abs(found.low), np.abs(found.high)) > _MOST)


def _beyond(guess: Guess, found: Columns) -> Iterator[Diagnostic]:
    huge, field = _huge(found), found.field
    if not huge.any():
        return
    low, high = float(found.low[huge].min()), float(found.high[huge].max())
    yield Diagnostic(
        code=f"unnormalised-{field.role}",
        severity="harmful",
        field=field.name,
        evidence=f"{field.name} ({field.role}) is not normalised: {listed(found.names, huge)} of {len(huge)} from "
        f"{number(low)} to {number(high)}",
        consequence="squares of them overflow float64, and float32 cannot hold them: losses and gradients are infinite "
        "or NaN from the first step",
        remedy="find out where such numbers come from (units, a division by nearly 0, bytes read as the wrong type); "
        "scale them before anything is squared",
        command=rebuild(guess),
        harm=1e300,
        measured={"columns": int(huge.sum()), "low": low, "high": high},
    )


def _size(guess: Guess, found: Columns, some: Any) -> Iterator[Diagnostic]:
    rms = found.rms
    with np.errstate(all="ignore"):
        size = np.minimum(np.maximum(rms, 1 / np.where(rms > 0, rms, 1.0)), np.finfo(np.float64).max)
        factor = np.where(some, size * found.certain, 1.0)
    worst = int(np.argmax(factor))
    if factor[worst] < DOUBTFUL:
        return
    role, loss = found.field.role, found.loss
    large = rms[worst] > 1
    bad = some & (factor >= DOUBTFUL)
    spread = (
        f"{listed(found.names, bad)} of {len(rms)}: mean {number(found.mean[worst])}, std {number(found.std[worst])}, "
        f"{number(found.low[worst])} to {number(found.high[worst])} in {found.names[worst]}"
        if len(rms) > 1
        else f"mean {number(found.mean[worst])}, std {number(found.std[worst])}, "
        f"{number(found.low[worst])} to {number(found.high[worst])}"
    )
    if role == "target":
        told = f"predicting zero scores a loss of {number(loss)} where normalised targets score 1, and the first "
        told += f"gradients are {times(rms[worst])} as large: "
        told += "a clip leaves hardly any of them" if large else "weight decay and Adam's epsilon outweigh them"
    else:
        told = f"the gradients of the first layer are {times(rms[worst])} those of normalised inputs" + (
            ", and its activations start saturated" if large else ", so that the column is hardly seen"
        )
    yield Diagnostic(
        code=f"unnormalised-{role}",
        severity=_severity(float(factor[worst])),
        field=found.field.name,
        evidence=f"{found.field.name} ({role}) is not normalised: {spread}",
        consequence=told,
        remedy="normalise with mean and standard deviation of the train split; invert predictions with the same"
        + (" (if these numbers stand for kinds, embed them instead)" if _may_be_codes(found.field) else ""),
        command=normalise(guess),
        harm=square(factor[worst]),
        measured={"zero_loss": float(loss), "rms": float(rms[worst]), "columns": int(bad.sum())},
    )


def _mixed(guess: Guess, found: Columns, some: Any) -> Iterator[Diagnostic]:
    rms = np.where(some, found.rms, np.nan)
    sure = np.where(some, found.certain, 0.0)
    if not sure.any():
        return
    rms = np.where(sure > 0, rms, np.nan)
    with np.errstate(all="ignore"):
        low, high = int(np.nanargmin(rms / sure)), int(np.nanargmax(rms * sure))
        ratio = float(rms[high] * sure[high] / (rms[low] / sure[low]))
    if ratio < HARMFUL:
        return
    parts = (rms / rms[high]) ** 2
    share = float(np.nansum(np.where(parts > 0.01, parts, 0)) / np.nansum(parts))
    if found.field.role == "target":
        told = (
            f"{listed(found.names, some & (found.rms > rms[high] / 10))} make{'s' * (_ones(some, found, high) == 1)} "
            f"{share:.3%} of the loss: {found.names[low]} is "
            "never fitted, whatever the loss says"
        )
    else:
        told = (
            f"a first layer sees a condition number of {number(square(ratio))} or more; gradient descent needs that "
            f"many times the steps for {found.names[low]}"
            + (", and float32 gradients round it away" if square(ratio) > _FLOAT32 else "")
        )
    yield Diagnostic(
        code="mixed-scales",
        severity="harmful" if square(ratio) > _FLOAT32 else "doubtful",
        field=found.field.name,
        evidence=f"the columns of {found.field.name} differ {number(ratio)}-fold in size: RMS {number(rms[high])} in "
        f"{found.names[high]}, {number(rms[low])} in {found.names[low]}",
        consequence=told,
        remedy="normalise each column by its own standard deviation (features), not the field by one",
        command=normalise(guess),
        harm=square(ratio),
        measured={"ratio": ratio, "largest": float(rms[high]), "smallest": float(rms[low])},
    )


def _ones(some: Any, found: Columns, high: int) -> int:
    return int((some & (found.rms > found.rms[high] / 10)).sum())


def _offset(guess: Guess, found: Columns, some: Any) -> Iterator[Diagnostic]:
    far = np.where(some & (found.std > 0), np.abs(found.mean) / np.where(found.std > 0, found.std, 1.0), 0.0)
    worst = int(np.argmax(far))
    condition = square(far[worst]) + 1
    if far[worst] < HARMFUL or found.count[worst] < _FEWEST:
        return
    which = f"{listed(found.names, far >= HARMFUL)} of {found.field.name}"
    yield Diagnostic(
        code="large-offset",
        severity="harmful" if condition > _FLOAT32 else "doubtful",
        field=found.field.name,
        evidence=f"{which} far from zero: mean {number(found.mean[worst])}, std {number(found.std[worst])} in "
        f"{found.names[worst]}",
        consequence=f"the mean hides the signal: condition number {number(condition)}; of float32's seven digits "
        f"{min(np.log10(far[worst]), 7):.0f} go to the offset",
        remedy="subtract the mean of the train split, in float64, before anything is cast to float32",
        command=normalise(guess),
        harm=condition,
        measured={"mean_over_std": float(far[worst])},
    )


def _severity(factor: float) -> Severity:
    return "harmful" if factor >= HARMFUL else "doubtful"
