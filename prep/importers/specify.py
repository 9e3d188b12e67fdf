"""From columns to field specifications: roles, dimension names, units, and which mask belongs to which field."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from prep.blocks import FieldSpec, Role
from prep.errors import ConfigError, DataError, UsageError, Where
from prep.importers.columns import Column, storable
from prep.importers.mapping import FieldMapping, checked_roles, guess_role


def specify(
    path: str, chosen: Sequence[tuple[FieldMapping, Column]], roles: Mapping[str, str], group: str
) -> tuple[tuple[FieldSpec, ...], list[str]]:
    """One `FieldSpec` for each chosen column, in order, and warnings about what looks unintended."""
    checked = checked_roles(roles, [wanted.name for wanted, _ in chosen])
    masks = {wanted.mask for wanted, _ in chosen}
    warnings, specs = [], []
    for wanted, column in chosen:
        where = Where(path=path, field=wanted.name, key=column.path)
        dtype = storable(column.dtype, where)
        if column.dtype == np.float16:
            warnings.append(f"field {wanted.name!r} is float16 in the source and is stored as float32")
        shape = column.shape[1:]
        if 0 in shape:
            raise DataError(
                "this array has rows without values",
                where=where,
                measured=f"shape {column.shape}",
                allowed="at least one value in each row",
                remedy="leave it out with a mapping file",
            )
        role = checked.get(wanted.name) or wanted.role or ("mask" if wanted.name in masks else "")
        if wanted.name in masks and role != "mask":
            raise ConfigError(
                "a field that masks another cannot have another role",
                where=where,
                measured=f"role {role}",
                allowed="role mask",
                remedy="drop its role, or name another mask",
            )
        if wanted.name == group:
            role = _group_role(role, dtype, shape, where)
        role = role or guess_role(wanted.name, dtype, shape)
        dims = wanted.dims or ("sample", *(f"{wanted.name}_{axis}" for axis in range(len(shape))))
        if len(dims) != len(column.shape):
            raise ConfigError(
                "the mapping names another number of dimensions than the array has",
                where=where,
                measured=f"{len(dims)} names for shape {column.shape}",
                allowed=f"{len(column.shape)} names, `sample` first",
                remedy="correct `dims` in the mapping",
            )
        features = () if role in ("id", "mask") else dims[1:][-1:]
        units, title = wanted.units or column.units or "1", wanted.long_name or column.long_name
        specs.append(FieldSpec(wanted.name, dtype, dims, shape, cast(Role, role), units, title, wanted.mask, features))
    singles = {spec.shape: spec.name for spec in specs if spec.shape in ((), (1,)) and spec.role in ("input", "target")}
    if len(singles) == 2:
        warnings.append(
            f"{singles[()]!r} has shape (rows,) and {singles[1,]!r} has shape (rows, 1): "
            "subtracting one from the other gives (rows, rows)"
        )
    if not {"input", "target"} <= {spec.role for spec in specs}:
        warnings.append("no field has role input, or none has role target: set roles before training on this")
    placed = _place_masks(specs, {wanted.name for wanted, _ in chosen if wanted.dims}, warnings)
    _one_size_each(placed, path)
    return placed, warnings


def _group_role(role: str, dtype: np.dtype[Any], shape: tuple[int, ...], where: Where) -> str:
    if role in ("", "id") and dtype.kind in "iu" and shape in ((), (1,)):
        return "id"
    raise UsageError(
        "rows can only be grouped by an integer id",
        where=where,
        measured=f"role {role or 'id'}, dtype {dtype}, {shape or 'one'} value(s) a row",
        allowed="role id, an integer, one value a row",
        remedy="number the groups with integers, and group by that field",
    )


def _place_masks(specs: list[FieldSpec], stated: set[str], warnings: list[str]) -> tuple[FieldSpec, ...]:
    """Give each mask the dimension names of what it masks, where they are not stated and its sizes fit in only one way.

    A mask that no mapping mentions is linked to ``<field>`` by its name ``<field>_mask``, or left alone with a warning.
    """
    by_name = {spec.name: spec for spec in specs}
    for given in [spec for spec in specs if spec.role == "mask"]:
        owners = [spec for spec in by_name.values() if spec.mask == given.name]
        stem = given.name.removesuffix("_mask")
        named = (by_name.get(stem), by_name.get(f"{stem}s"))
        guess = next((each for each in named if each is not None and each.name != given.name), None)
        owner = owners[0] if owners else guess
        fits = _fitting_dims(given, owner) if owner and owner.role != "mask" and given.name not in stated else set()
        mask = replace(given, dims=("sample", *fits.pop())) if len(fits) == 1 else given
        by_name[mask.name] = mask
        if not owners and owner and set(mask.dims) <= set(owner.dims):
            by_name[owner.name] = replace(owner, mask=mask.name)
        elif not owners:
            warnings.append(f"mask {mask.name!r} masks no field: say which with `mask:` in a mapping file")
        for masked in owners:
            if not set(mask.dims) <= set(masked.dims):
                raise ConfigError(
                    f"it is not clear which dimensions of {masked.name!r} the mask {mask.name!r} is about",
                    where=Where(field=mask.name, key=f"fields.{masked.name}.mask"),
                    measured=f"dims {mask.dims}, sizes {mask.shape}",
                    allowed=f"dims out of {masked.dims}, sizes {masked.shape}",
                    remedy="state `dims` of both fields in the mapping",
                )
    return tuple(by_name.values())


def _fitting_dims(mask: FieldSpec, owner: FieldSpec) -> set[tuple[str, ...]]:
    count = len(mask.shape)
    names, sizes = itertools.combinations(owner.dims[1:], count), itertools.combinations(owner.shape, count)
    return {dims for dims, found in zip(names, sizes, strict=True) if found == mask.shape}


def _one_size_each(specs: Sequence[FieldSpec], path: str) -> None:
    sizes: dict[str, tuple[int, str]] = {}
    for spec in specs:
        for dim, size in zip(spec.dims[1:], spec.shape, strict=True):
            known, owner = sizes.setdefault(dim, (size, spec.name))
            if known != size:
                raise ConfigError(
                    f"dimension {dim!r} has two sizes",
                    where=Where(path=path, field=spec.name),
                    measured=f"{size} here, {known} in {owner!r}",
                    allowed="one size for each dimension name",
                    remedy="name the dimensions apart in the mapping",
                )
