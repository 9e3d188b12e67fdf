"""What is measured about every field before and after normalisation, in one place: folds, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.engine import DatasetSource
from prep.folds import Scope
from prep.folds.moments import Moments
from prep.folds.sentinels import Sentinels
from prep.folds.sketch import Quantiles

SKETCHED_VALUES = 1 << 22


@dataclass(frozen=True, slots=True)
class FieldFolds:
    """The folds that describe one field on its train split."""

    field: FieldSpec
    moments: Moments
    quantiles: Quantiles


def described_fields(spec: DatasetSpec) -> tuple[FieldSpec, ...]:
    """Fields whose statistics are kept: every input and target of numbers, and whatever else is float or complex; never
    an id, a mask or the split flag.
    """
    kinds = {"input": "iufc", "target": "iufc", "aux": "fc"}
    return tuple(field for field in spec.fields if field.dtype.kind in kinds.get(field.role, ""))


def statistics_folds(source: DatasetSource, spec: DatasetSpec, groups: Mapping[str, str]) -> tuple[FieldFolds, ...]:
    """Moments and quantiles of each described field of ``spec``, train split, mask-aware, per group where ``groups``
    says.

    ``spec`` may describe the source's rows after a transform. Quantiles are counted relative to a pivot taken from the
    first train sample as stored, over every k-th sample such that about 4 M values of a field are counted.
    """
    scope = Scope.of(spec, "train")
    found = []
    for field in described_fields(spec):
        mask = spec[field.mask] if field.mask else None
        rows = max(scope.stop - scope.start, 1)
        stride = max(1, rows * field.row_values // SKETCHED_VALUES)
        group = groups.get(field.name, "")
        pivot = _pivot(source, field, scope) if field in source.spec.fields else ()
        found.append(
            FieldFolds(
                field,
                Moments(field, scope, mask=mask, group=group),
                Quantiles(field, scope, mask=mask, group=group, pivot=pivot, stride=stride),
            )
        )
    return tuple(found)


def sentinel_folds(spec: DatasetSpec) -> dict[str, Sentinels]:
    """What looks for values that mean "missing" in each described field of real numbers, train split."""
    scope = Scope.of(spec, "train")
    return {field.name: Sentinels(field, scope) for field in described_fields(spec) if field.dtype.kind in "iuf"}


def to_document(folds: FieldFolds, measured: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready statistics of one field."""
    moments = measured[folds.moments.key]
    return {
        "features": list(folds.field.features),
        "mask": folds.field.mask,
        "group": folds.moments.group,
        "split": folds.moments.scope.split,
        "moments": moments.to_dict(),
        "quantiles": measured[folds.quantiles.key].to_dict(),
    }


def _pivot(source: DatasetSource, field: FieldSpec, scope: Scope) -> tuple[float, ...]:
    if scope.start >= scope.stop:
        return ()
    return pivot_of(field, source.reader.rows(field.name, scope.start, scope.start + 1)[0])


def pivot_of(field: FieldSpec, first: Array) -> tuple[float, ...]:
    """What quantiles of a field may be counted relative to, a finite float for each feature, from one sample of it."""
    axes = tuple(index for index, dim in enumerate(field.dims[1:]) if dim not in field.features)
    parts = np.stack([first.real, first.imag], -1) if field.dtype.kind == "c" else first
    with np.errstate(over="ignore", invalid="ignore"):
        centre = np.asarray(parts, np.float64).mean(axis=axes) if axes else np.asarray(parts, np.float64)
    return tuple(np.nan_to_num(centre, nan=0.0, posinf=0.0, neginf=0.0).ravel().tolist())
