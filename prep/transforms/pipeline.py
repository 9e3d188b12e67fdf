"""The transforms of a whole dataset, fitted and bound to their fields: raw rows in, normalised rows out, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.errors import DataError, SchemaError, Where
from prep.transforms import TRANSFORMS, Transform


@dataclass(frozen=True, slots=True)
class BoundTransform:
    """One fitted transform of one raw field; ``params`` are what `Transform.fit` returned."""

    field: FieldSpec
    name: str
    params: Mapping[str, Any]

    @property
    def transform(self) -> Transform:
        """The family this belongs to."""
        member: Transform = TRANSFORMS.load(self.name)()
        return member

    @property
    def operator(self) -> str:
        """What two sides of a loss must share: the family and its fixed options (not its fitted parameters)."""
        return str(self.params.get("operator", self.name))

    def outputs(self) -> tuple[FieldSpec, ...]:
        """The normalised field and its companions."""
        return self.transform.outputs(self.field, self.params)

    @property
    def reads(self) -> frozenset[str]:
        """The further fields that `invert` needs of the same rows: mask, group ids, companions."""
        return self.transform.needs(self.field, self.params) | {spec.name for spec in self.outputs()[1:]}

    def apply(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Normalised arrays by name from raw rows."""
        return self.transform.apply(self.field, self.params, arrays)

    def invert(self, values: Array, **arrays: Array) -> Array:
        """The values in original units, (rows, *shape) float64 or complex128.

        ``values`` are normalised rows of the field; ``arrays`` are the same rows of what it `reads`, by name. A missing
        one is a `SchemaError`.
        """
        missing = sorted(self.reads - set(arrays))
        if missing:
            raise SchemaError(
                f"the inverse of {self.name} needs more than the values",
                where=Where(field=self.field.name),
                measured=f"missing {', '.join(missing)}",
                allowed="every field the transform reads",
                remedy=f"call invert(values, {', '.join(f'{name}=…' for name in missing)}) with the same rows",
            )
        return self.transform.invert(self.field, self.params, {self.field.name: values, **arrays})


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Every field's bound transform. Fields without one are carried over as they are only if they are no input or
    target.
    """

    spec: DatasetSpec
    transforms: Mapping[str, BoundTransform]

    @classmethod
    def bind(cls, spec: DatasetSpec, fitted: Mapping[str, Mapping[str, Any]]) -> Pipeline:
        """Bind fitted parameters ({field: {"name", "params"}}) to a raw dataset.

        Raises `DataError` for an input or target without parameters, and for parameters of a field that is not there.
        """
        for name in fitted:
            _ = spec[name]
        bound = {}
        for field in spec.fields:
            entry = fitted.get(field.name)
            if entry is not None:
                bound[field.name] = BoundTransform(field, entry["name"], entry["params"])
            elif field.role in ("input", "target"):
                raise DataError(
                    f"the statistics say nothing about {field.role} field {field.name!r}",
                    where=Where(dataset=spec.name, field=field.name),
                    measured="no transform",
                    allowed="one transform for each input and target (identity, if meant)",
                    remedy="add the field to the schema's prep.fields with its transform and run `prep stats` again",
                )
        return cls(spec, bound)

    def output_spec(self) -> DatasetSpec:
        """The dataset after normalisation: each field, followed by its companions."""
        fields: list[FieldSpec] = []
        for field in self.spec.fields:
            bound = self.transforms.get(field.name)
            fields.extend(bound.outputs() if bound else (field,))
        return self.spec.with_fields(tuple(fields))

    def apply(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Normalised arrays of every output field from raw arrays of every field."""
        result: dict[str, Array] = {}
        for field in self.spec.fields:
            bound = self.transforms.get(field.name)
            result.update(bound.apply(arrays) if bound else {field.name: arrays[field.name]})
        return result

    def to_document(self) -> dict[str, Any]:
        """JSON-ready form that is embedded in the dataset; `bound_transforms` takes it back."""
        return {
            name: {"name": bound.name, "params": dict(bound.params), "field": bound.field.to_dict()}
            for name, bound in self.transforms.items()
        }


def bound_transforms(document: Mapping[str, Any]) -> dict[str, BoundTransform]:
    """The transforms that `Pipeline.to_document` described, by raw field."""
    return {
        name: BoundTransform(FieldSpec.from_dict(entry["field"]), entry["name"], entry["params"])
        for name, entry in document.items()
    }
