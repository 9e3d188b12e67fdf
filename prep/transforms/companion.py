"""The companion of a per-sample scale: its logarithm, standardised, so that the scale can be put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec, Role
from prep.errors import DataError, SchemaError, Where
from prep.folds.scales import ScalesResult
from prep.kernels.finite import all_finite

LEAST_STD = 1e-6


def companion_spec(name: str, field: FieldSpec, role: Role, transform: str) -> FieldSpec:
    """The companion as a field: float64, dims (sample,)."""
    return FieldSpec(
        name=name,
        dtype=np.dtype(np.float64),
        dims=("sample",),
        shape=(),
        role=role,
        long_name=f"standardised natural logarithm of the scale removed from {field.name}",
        transform=transform,
        transform_state="normalized",
    )


def refuse_existing(spec: DatasetSpec, name: str, field: FieldSpec) -> None:
    """`SchemaError` where the raw dataset already has a field of the companion's name."""
    if name in spec:
        raise SchemaError(
            f"the companion of {field.name!r} would overwrite the field {name!r}",
            where=Where(dataset=spec.name, field=name),
            measured=f"{name!r} exists in the raw dataset",
            allowed="a name that is free",
            remedy="rename the raw field; the transform computes the companion itself",
        )


def fit_scale(field: FieldSpec, measured: ScalesResult, what: str) -> dict[str, float]:
    """``mean`` and ``std`` of ln(scale) over the train split.

    A spread below 1e-6 is the rounding of float32, not a signal: it is divided by 1. `DataError` where a sample has
    no scale.
    """
    if measured.bad:
        shown = ", ".join(repr(value) for value in measured.values[:5])
        refuse_scale(field, what, measured.samples, f"{shown} ({measured.bad} samples)", split="train")
    if not measured.rows:
        raise DataError(
            "the train split has no sample to fit on",
            where=Where(field=field.name, split="train"),
            measured="0 samples",
            allowed="at least 1",
            remedy="generate or ingest a train split that is not empty",
        )
    return {"mean": measured.mean, "std": measured.std if measured.std >= LEAST_STD else 1.0}


def refuse_scale(field: FieldSpec, what: str, samples: tuple[int, ...], measured: str, split: str = "") -> None:
    """`DataError` for samples whose scale cannot be divided out."""
    raise DataError(
        f"the {what} of a sample must be positive and finite to be divided out",
        where=Where(field=field.name, split=split, samples=samples),
        measured=f"{what} {measured}",
        allowed=f"0 < {what} < infinity",
        remedy="drop these samples or mend what made them; an all-zero or non-finite sample is no measurement",
    )


def usable_scales(field: FieldSpec, what: str, scales: Array) -> Array:
    """``scales`` (rows,) unchanged; `DataError` naming the rows without a usable one, counted from the first given."""
    bad = np.flatnonzero(~((scales > 0) & np.isfinite(scales)))
    if len(bad):
        shown = ", ".join(repr(value) for value in scales[bad[:5]].tolist())
        refuse_scale(field, what, tuple(bad[:10].tolist()), shown)
    return scales


def to_companion(scales: Array, params: Mapping[str, Any]) -> Array:
    """Standardised ln(scale), float64 (rows,)."""
    return (np.log(scales) - params["mean"]) / params["std"]  # type: ignore[no-any-return]


def from_companion(values: Array, params: Mapping[str, Any]) -> Array:
    """The scales that `to_companion` was given."""
    return np.exp(values.astype(np.float64) * params["std"] + params["mean"])  # type: ignore[no-any-return]


def refuse_nonfinite(field: FieldSpec, values: Array, what: str) -> None:
    """`DataError` naming the rows of (rows, …) ``values`` that are not finite throughout."""
    if all_finite(values):
        return
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    raise DataError(
        f"{what} is not finite",
        where=Where(field=field.name, samples=tuple(bad[:10].tolist())),
        measured=f"NaN or infinity in {len(bad)} samples",
        allowed="finite values",
        remedy="drop these samples or mend what made them before normalising",
    )
