"""What can be stored so that HDF5, Zarr and xarray all read it back the same: names, types, sizes, texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import get_args

import numpy as np

from prep.blocks import SPLITS, DatasetSpec, FieldSpec, TransformState
from prep.errors import SchemaError, Where

CHUNK_LIMIT = 1 << 31
MARK = "prep_format"  # the root attribute by which a dataset of prep is recognised
RESERVED_ATTRIBUTES = ("name", "version", "Conventions", MARK, "splits", "prep_fields", "prep_constants")
_TYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_DTYPES = frozenset(np.dtype(name) for name in _TYPES)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")
_RESERVED_NAMES = frozenset({"prep", "zarr.json"})


def check_spec(spec: DatasetSpec) -> None:
    """`SchemaError` where a spec cannot be stored so that HDF5, Zarr and xarray all read it back the same."""
    sizes: dict[str, int] = {}
    names: dict[str, str] = {}
    variables = (*spec.fields, *spec.constants)
    for field in variables:
        _check_name(field.name, "field", field.name)
        if field.name.endswith(".original"):
            _refuse("'.original' is kept for what checks call the original values of a field", field.name, field.name)
        if field.name.casefold() in names:
            _refuse("two variables have the same name, apart from case", field.name, names[field.name.casefold()])
        names[field.name.casefold()] = field.name
        _check_field(field)
        for dim, size in zip(field.dims[1:], field.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                _refuse(f"dimension {dim!r} has two sizes", field.name, f"{size} and {sizes[dim]}")
    own = {dim for field in variables for dim in field.dims}
    for field in variables:
        if field.name in own and field.dims != (field.name,):
            _refuse("a variable named like a dimension has to be its coordinate", field.name, f"dims {field.dims}")
    for wrong in [field for field in spec.fields if field.role == "constant"]:
        _refuse("a constant is listed among the fields", wrong.name, "role constant")
    for wrong in [field for field in spec.constants if field.role != "constant"]:
        _refuse("a field is listed among the constants", wrong.name, f"role {wrong.role}")
    _check_texts(spec)


def check_rows(spec: DatasetSpec, rows: Mapping[str, int]) -> None:
    """`SchemaError` unless every field has the rows that the splits add up to and the splits tile them."""
    stop = 0
    for name, (start, end) in sorted(spec.splits.items(), key=lambda item: item[1]):
        if name not in SPLITS or start != stop or end < start:
            _refuse("splits have to follow one another without gaps", "", dict(spec.splits), ", ".join(SPLITS))
        stop = end
    for field in spec.fields:
        if rows[field.name] != spec.rows:
            _refuse("a field does not have one row per sample", field.name, rows[field.name], spec.rows)
    sizes = {
        dim: size
        for field in (*spec.fields, *spec.constants)
        for dim, size in zip(field.dims[1:], field.shape, strict=True)
    }
    for field in spec.constants:
        size = sizes.setdefault(field.dims[0], rows[field.name])
        if size != rows[field.name]:
            _refuse(f"dimension {field.dims[0]!r} has two sizes", field.name, f"{size} and {rows[field.name]}")


def dimension_sizes(spec: DatasetSpec, rows: Mapping[str, int]) -> dict[str, int]:
    """Every dimension of the dataset with its size, in order of first use; ``sample`` first."""
    sizes = {"sample": spec.rows}
    for field in (*spec.fields, *spec.constants):
        whole: Iterable[int] = (rows[field.name], *field.shape)
        sizes.update(zip(field.dims, whole, strict=True))
    return sizes


def _check_field(field: FieldSpec) -> None:
    for label in (*field.dims, *field.features, *([field.mask] if field.mask else [])):
        _check_name(label, "dimension, feature or mask", field.name)
    if len(set(field.dims)) != len(field.dims) or "sample" in field.dims[1:]:
        _refuse("a dimension is used twice", field.name, field.dims)
    if any(size < 1 for size in field.shape):
        _refuse("a dimension has no entries", field.name, field.shape, "sizes of at least 1")
    if field.dtype not in _DTYPES:
        _refuse(
            "this number type cannot be stored portably", field.name, field.dtype, "at most 64 bits per real number"
        )
    if field.transform_state not in get_args(TransformState):
        _refuse("unknown transform state", field.name, field.transform_state, ", ".join(get_args(TransformState)))
    if field.row_bytes > CHUNK_LIMIT:
        _refuse("one row is too large for one chunk", field.name, f"{field.row_bytes} bytes", f"{CHUNK_LIMIT} bytes")


def _check_texts(spec: DatasetSpec) -> None:
    clash = sorted(set(spec.attributes) & set(RESERVED_ATTRIBUTES))
    if clash:
        _refuse("attributes have names that prep uses itself", "", ", ".join(clash))
    texts: list[str] = [spec.name, spec.version, *spec.attributes, *spec.attributes.values()]
    texts += [*spec.documents, *spec.documents.values()]
    for field in (*spec.fields, *spec.constants):
        texts += [field.units, field.long_name, field.transform]
    for text in texts:
        if "\0" in text or not _encodes(text):
            _refuse("a text holds a NUL or half a surrogate pair", "", repr(text[:40]), "UTF-8 without NUL")
    if "" in spec.attributes or "" in spec.documents:
        _refuse("an attribute or document has no name", "", "''")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_name(name: str, kind: str, field: str) -> None:
    if not _NAME.fullmatch(name) or name in _RESERVED_NAMES:
        rule = "a letter, then letters, digits, '_', '.', '-'; not " + ", ".join(sorted(_RESERVED_NAMES))
        _refuse(f"this cannot be the name of a {kind}", field, repr(name), rule)


def _refuse(what: str, field: str, measured: object, allowed: object = None) -> None:
    raise SchemaError(
        what,
        where=Where(field=field),
        measured=measured,
        allowed=allowed,
        remedy="change the recipe, schema or mapping that describes the dataset",
    )
