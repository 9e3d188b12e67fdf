"""The identity: values pass bit for bit, because the schema says so (encoding bits, masks, ids are never scaled)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.folds import Fold
from prep.kernels.matrices import wide_type
from prep.transforms import settle


class Identity:
    """Leaves a field as it is, whatever it holds; it judges nothing and has no parameters."""

    name = "identity"
    options: Mapping[str, Any] = {}

    def folds(self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any]) -> tuple[Fold, ...]:
        settle(self, field, options)
        return ()

    def fit(
        self, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> dict[str, Any]:
        settle(self, field, options)
        return {"operator": self.operator({})}

    def operator(self, params: Mapping[str, Any]) -> str:
        """The same for every field: two raw sides of a loss do share an operator."""
        return self.name

    def outputs(self, field: FieldSpec, params: Mapping[str, Any]) -> tuple[FieldSpec, ...]:
        return (replace(field, transform=self.name, transform_state="normalized"),)

    def needs(self, field: FieldSpec, params: Mapping[str, Any]) -> frozenset[str]:
        return frozenset()

    def apply(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {field.name: arrays[field.name]}

    def invert(self, field: FieldSpec, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Array:
        """The values in float64 or complex128; 64-bit integers beyond 2⁵³ lose their last bits."""
        values = arrays[field.name]
        return values.astype(wide_type(values.dtype))
