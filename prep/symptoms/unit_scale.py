"""Samples that have unit root mean square already: their scale was taken out, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import FieldSpec
from prep.folds import Fold, Scope
from prep.folds.scales import Scales, ScalesResult
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import FEWEST, fields_of


class UnitScale:
    """Every sample of a field has RMS 1 to within 64 roundings of its type."""

    name = "unit_scale"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(_fold(guess, field) for field in _fields(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _fields(guess):
            found: ScalesResult = measured[_fold(guess, field).key]
            near = 64 * float(np.finfo(field.dtype).eps)
            if found.rows >= FEWEST and abs(found.low - 1) < near and abs(found.high - 1) < near:
                yield Diagnostic(
                    code="already-unit-rms",
                    severity="note",
                    field=field.name,
                    evidence=f"every sample of {field.name} has a root mean square of 1",
                    consequence="how strong a sample was is not in it any more; dividing again does nothing",
                    remedy="do not normalise again; keep the scales that were divided by as a field",
                )


def _fields(guess: Guess) -> Iterator[FieldSpec]:
    for field in fields_of(guess, kinds="fc"):
        if field.row_values > 1 and field.transform_state != "normalized":
            yield field


def _fold(guess: Guess, field: FieldSpec) -> Scales:
    mask = guess.spec[field.mask] if field.mask and field.mask in guess.spec else None
    return Scales(field, Scope.of(guess.spec, "train"), "rms", mask)
