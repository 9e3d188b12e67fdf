"""Moments of what a mask counts, and how many values that must be: the measurement behind the checks on statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks.demands import demand_features, demand_kind, demand_mask, demand_one_integer
from prep.checks.verdict import rows_in
from prep.errors import counted
from prep.folds import Scope
from prep.folds.moments import Moments, MomentsResult


def moment_folds(
    spec: DatasetSpec, check: str, *, var: str, mask: str, group: str, split: str, features: Sequence[str]
) -> tuple[Moments, ...]:
    """Moments of ``var``; with a mask, also moments of the mask itself, from which `present_values` are counted."""
    field = demand_kind(spec, var, check, "biufc", "numbers")
    demand_features(spec, field, check, features)
    if group:
        demand_one_integer(spec, group, check)
    scope = Scope.of(spec, split)
    described = replace(field, features=tuple(features))
    if not mask:
        return (Moments(described, scope, None, group),)
    flags = demand_mask(spec, mask, check, field)
    return Moments(described, scope, flags, group), Moments(replace(flags, features=()), scope)


def present_values(folds: Sequence[Moments], measured: Mapping[str, Any]) -> int:
    """Real values that should have been counted: every one in scope, or as many as the whole mask says."""
    field, rows = folds[0].field, rows_in(folds[0].scope)
    parts = 2 if field.dtype.kind == "c" else 1
    if len(folds) == 2:
        mask = folds[1].field
        flags: MomentsResult = measured[folds[1].key]
        # A mask not read to its end, or that is none, says nothing: all values count as present; the verdict falls.
        if int(flags.finite.sum()) == rows * mask.row_values > 0 and _are_flags(flags):
            return round(float(flags.mean.sum()) * rows * field.row_values) * parts
    return rows * field.row_values * parts


def unusable(folds: Sequence[Moments], measured: Mapping[str, Any]) -> str:
    """Why the moments mean nothing, if they do not: counted values that are NaN or infinite, or a mask that is none."""
    moments: MomentsResult = measured[folds[0].key]
    bad = int(moments.nan.sum() + moments.inf.sum())
    if bad:
        told = f"{counted(bad, 'counted value')} of {folds[0].field.name} {'is' if bad == 1 else 'are'}"
        return f"{told} NaN or infinite, so their statistics mean nothing"
    if len(folds) == 2:
        flags: MomentsResult = measured[folds[1].key]
        if not _are_flags(flags):
            return f"{folds[1].field.name} holds something other than 0 and 1, so it is not clear what counts"
    return ""


def _are_flags(flags: MomentsResult) -> bool:
    return bool(np.all(flags.min >= 0) and np.all(flags.max <= 1))


def place_of(folds: Sequence[Moments], moments: MomentsResult, place: Sequence[int]) -> str:
    """Words for an index into a result's arrays: "feature 3 of system 5"."""
    words = f"feature {', '.join(str(index) for index in place[1:])}" if len(place) > 1 else "the field"
    return f"{words} of {folds[0].group} {moments.groups[place[0]]}" if moments.groups else words
