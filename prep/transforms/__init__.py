"""Invertible maps with fitted parameters: fit on train measurements, apply to blocks, invert exactly.

A transform is one file here and one line in `TRANSFORMS`. It maps one field, and may add one *companion* field that
keeps what it removed from each sample (the log of a trace, of an RMS), so that the inverse needs nothing but the
normalised dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.errors import SchemaError, UsageError, Where
from prep.folds import Fold
from prep.registry import Table

TRANSFORMS = Table(
    "transforms",
    {
        "identity": "prep.transforms.identity:Identity",
        "standardize": "prep.transforms.standardize:Standardize",
        "trace_n": "prep.transforms.trace_n:TraceN",
        "unit_rms": "prep.transforms.unit_rms:UnitRms",
    },
)


class Transform(Protocol):
    """One family of maps. ``options`` are those of the schema's transform plan, ``params`` what `fit` returned
    (JSON-ready).

    Class attribute ``options`` lists every option with its default; an unknown one is a `SchemaError`.
    ``operator`` of two sides of a loss must agree: it is the identity that scale contracts compare.
    """

    name: str
    options: Mapping[str, Any]

    def folds(self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any]) -> tuple[Fold, ...]:
        """What `fit` needs measured, over the train split only."""

    def fit(
        self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Parameters from ``measured`` (fold key → finished measurement); `DataError` where there can be none."""

    def outputs(self, field: FieldSpec, params: Mapping[str, Any]) -> tuple[FieldSpec, ...]:
        """The field as it is after the transform, first; then companions that it adds."""

    def needs(self, field: FieldSpec, params: Mapping[str, Any]) -> frozenset[str]:
        """Fields that `apply` reads beside the field itself: its mask, its group ids."""

    def apply(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Transformed arrays of `outputs`, float64 arithmetic, stored dtype; ``arrays`` are raw rows. Never in
        place.
        """

    def invert(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Array:
        """The original field, (rows, *shape) in float64 or complex128, from normalised arrays (field, companions,
        mask, ids).
        """


def settle(transform: Transform, field: FieldSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options completed with the defaults of ``transform``, for a field that is still raw.

    `SchemaError` for an option that does not exist, `UsageError` for a field that was normalised before.
    """
    unknown = sorted(set(options) - set(transform.options))
    if unknown:
        raise SchemaError(
            f"transform {transform.name!r} has no option {unknown[0]!r}",
            where=Where(field=field.name),
            measured=", ".join(unknown),
            allowed=", ".join(transform.options) or "no options",
            remedy="correct the transform's options in the schema",
        )
    if field.transform_state == "normalized":
        raise UsageError(
            "this field is already normalised",
            where=Where(field=field.name),
            measured=f"transform_state normalized by {field.transform!r}",
            allowed="transform_state raw",
            remedy="normalise the raw dataset; a transform is applied exactly once",
        )
    complete = {**transform.options, **options}
    return {key: _like(transform.options[key], value) for key, value in complete.items()}


def _like(default: Any, value: Any) -> Any:
    """``loading: 0`` and ``loading: 0.0`` are one option."""
    return float(value) if isinstance(default, float) and type(value) is int else value
