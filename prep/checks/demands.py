"""What a check may demand of the fields it is pointed at, said once as schema errors with a remedy."""

from __future__ import annotations

from collections.abc import Sequence

from prep.blocks import DatasetSpec, FieldSpec
from prep.errors import SchemaError, Where


def refuse(spec: DatasetSpec, field: str, check: str, *, measured: str, allowed: str) -> SchemaError:
    """The error for a check that makes no sense for a field."""
    return SchemaError(
        f"check {check!r} makes no sense for field {field!r}",
        where=Where(dataset=spec.name, field=field, key=f"checks.{check}"),
        measured=measured,
        allowed=allowed,
        remedy=f"point {check!r} at a field of that kind, or remove it from the schema",
    )


def demand_kind(spec: DatasetSpec, name: str, check: str, kinds: str, words: str) -> FieldSpec:
    """The field, whose dtype kind is one of ``kinds`` ("f" float, "c" complex, "iu" integer, "b" bool)."""
    field = spec[name]
    if field.dtype.kind not in kinds:
        raise refuse(spec, name, check, measured=f"dtype {field.dtype}", allowed=words)
    return field


def demand_matrices(spec: DatasetSpec, name: str, check: str) -> FieldSpec:
    """The field, which holds square matrices (sample, N, N) of real or complex floats."""
    field = demand_kind(spec, name, check, "fc", "float or complex")
    if len(field.shape) != 2 or field.shape[0] != field.shape[1]:
        raise refuse(
            spec, name, check, measured=f"dims {field.dims}, sizes {field.shape}", allowed="dims (sample, N, N)"
        )
    return field


def demand_positions(spec: DatasetSpec, name: str, check: str) -> FieldSpec:
    """The field, which holds positions (sample, points, 3) of real floats."""
    field = demand_kind(spec, name, check, "f", "float")
    if len(field.shape) != 2 or field.shape[1] != 3:
        raise refuse(spec, name, check, measured=f"sizes {field.shape}", allowed="dims (sample, n, 3)")
    return field


def demand_one_integer(spec: DatasetSpec, name: str, check: str) -> FieldSpec:
    """The field, which holds one integer for each sample."""
    field = demand_kind(spec, name, check, "biu", "integer")
    if field.shape:
        raise refuse(spec, name, check, measured=f"dims {field.dims}", allowed="dims (sample,)")
    return field


def demand_mask(spec: DatasetSpec, name: str, check: str, masked: FieldSpec) -> FieldSpec:
    """The mask field, whose dims are some of the masked field's, in the same order and size."""
    mask = demand_kind(spec, name, check, "biu", "bool or integer")
    sizes = dict(zip(masked.dims[1:], masked.shape, strict=True))
    own = dict(zip(mask.dims[1:], mask.shape, strict=True))
    order = [dim for dim in masked.dims[1:] if dim in own]
    if list(own) != order or any(sizes[dim] != size for dim, size in own.items()):
        raise refuse(
            spec,
            name,
            check,
            measured=f"dims {mask.dims}, sizes {mask.shape}",
            allowed=f"some of {masked.dims} with sizes {masked.shape}, in that order",
        )
    return mask


def demand_features(spec: DatasetSpec, field: FieldSpec, check: str, features: Sequence[str]) -> None:
    """``features`` are dims of the field other than ``sample``."""
    if missing := [dim for dim in features if dim not in field.dims[1:]]:
        raise refuse(spec, field.name, check, measured=f"features {missing}", allowed=f"some of {list(field.dims[1:])}")


def mask_line(field: FieldSpec, mask: FieldSpec) -> list[int]:
    """Sizes that the mask's rows take, 1 where it has no such dimension, to broadcast against the field's rows."""
    return [size if dim in mask.dims else 1 for dim, size in zip(field.dims[1:], field.shape, strict=True)]
