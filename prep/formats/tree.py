"""The one tree that both formats store: how a spec becomes attributes, and how they become a spec again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from prep.blocks import SPLITS, DatasetSpec, FieldSpec
from prep.errors import PrepError
from prep.formats.layout import FieldLayout, damaged, foreign
from prep.formats.rules import MARK, RESERVED_ATTRIBUTES, check_rows, check_spec

FORMAT_VERSION = "1"
CONVENTIONS = "CF-1.11"
DOCUMENTS = "prep"
_FLAGS: dict[str, Any] = {"flag_values": list(range(len(SPLITS))), "flag_meanings": " ".join(SPLITS)}

Attributes = dict[str, Any]


def field_attributes(spec: FieldSpec) -> Attributes:
    """CF-style attributes of one variable: texts, and for the split variable also ``flag_values`` (list of int)."""
    texts = {
        "units": spec.units,
        "long_name": spec.long_name,
        "role": spec.role,
        "mask": spec.mask,
        "features": " ".join(spec.features),
        "transform": spec.transform,
        "transform_state": spec.transform_state,
    }
    flags = _FLAGS if spec.role == "split" else {}
    return {**{key: text for key, text in texts.items() if text}, **flags}


def field_from(
    path: Path,
    name: str,
    dtype: np.dtype[Any],
    *,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    attributes: Attributes,
) -> FieldSpec:
    """The inverse of `field_attributes`; `IntegrityError` where the attributes are not exactly what that writes."""
    texts = {key: str(attributes.get(key, "")) for key in ("units", "long_name", "mask", "transform")}
    try:
        spec = FieldSpec(
            name=name,
            dtype=dtype,
            dims=dims,
            shape=shape,
            role=cast(Any, attributes.get("role", "")),
            features=tuple(str(attributes.get("features", "")).split()),
            transform_state=cast(Any, attributes.get("transform_state", "")),
            **texts,
        )
    except PrepError as error:
        raise damaged(path, error.what, field=name, measured=error.measured, allowed=error.allowed) from error
    expected = field_attributes(spec)
    if attributes != expected:
        odd = sorted(key for key in {*attributes, *expected} if attributes.get(key, key) != expected.get(key, (key,)))
        raise damaged(
            path,
            "a variable has attributes that prep does not write; such attributes can change what readers see",
            field=name,
            measured=", ".join(odd),
            allowed=", ".join(sorted(expected)),
        )
    return spec


def root_attributes(spec: DatasetSpec) -> Attributes:
    """Attributes of the dataset itself, all texts."""
    own = {
        "name": spec.name,
        "version": spec.version,
        "Conventions": CONVENTIONS,
        MARK: FORMAT_VERSION,
        "splits": json.dumps({name: list(span) for name, span in spec.splits.items()}),
        "prep_fields": " ".join(field.name for field in spec.fields),
        "prep_constants": " ".join(field.name for field in spec.constants),
    }
    return {**own, **spec.attributes}


def dataset_from(
    path: Path, attributes: Attributes, documents: Attributes, found: Mapping[str, FieldLayout]
) -> tuple[DatasetSpec, dict[str, FieldLayout]]:
    """The inverse of `root_attributes`: the spec of what was found, and the layouts in its order.

    Raises `IntegrityError` where the parts do not fit together.
    """
    texts = {**attributes, **{f"{DOCUMENTS}/{key}": text for key, text in documents.items()}}
    odd = [key for key, text in texts.items() if not isinstance(text, str)]
    missing = [key for key in RESERVED_ATTRIBUTES if key not in attributes]
    if odd or missing:
        raise damaged(path, "attributes of the dataset are missing or are no texts", measured=", ".join(odd + missing))
    names = {kind: attributes[f"prep_{kind}"].split() for kind in ("fields", "constants")}
    listed = names["fields"] + names["constants"]
    if sorted(listed) != sorted(found):
        different = ", ".join(sorted(set(listed) ^ set(found)))
        raise damaged(path, "the variables are not those that the dataset lists", measured=different)
    spec = DatasetSpec(
        name=attributes["name"],
        version=attributes["version"],
        fields=tuple(found[name].spec for name in names["fields"]),
        constants=tuple(found[name].spec for name in names["constants"]),
        splits=_splits(path, attributes["splits"]),
        attributes={key: text for key, text in attributes.items() if key not in RESERVED_ATTRIBUTES},
        documents=documents,
    )
    try:
        check_spec(spec)
        check_rows(spec, {name: layout.rows for name, layout in found.items()})
    except PrepError as error:
        raise damaged(
            path, error.what, field=error.where.field, measured=error.measured, allowed=error.allowed
        ) from error
    if attributes["Conventions"] != CONVENTIONS:
        raise damaged(path, "unknown conventions", measured=attributes["Conventions"], allowed=CONVENTIONS)
    return spec, {name: found[name] for name in listed}


def check_written_by_prep(path: Path, attributes: Mapping[str, Any]) -> None:
    """`IntegrityError` unless the root attributes are of a dataset in the tree of this version."""
    version = attributes.get(MARK)
    if version is None:
        raise foreign(path)
    if version != FORMAT_VERSION:
        raise damaged(
            path,
            "this dataset has a tree that this version of prep does not know",
            measured=f"prep_format {version}",
            allowed=f"prep_format {FORMAT_VERSION}",
            remedy="use the version of prep that wrote it, or write it again",
        )


def _splits(path: Path, text: str) -> dict[str, tuple[int, int]]:
    try:
        parsed = json.loads(text)
        spans = {str(name): (int(start), int(stop)) for name, (start, stop) in parsed.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise damaged(path, f"the attribute 'splits' is unreadable: {error}", measured=text[:80]) from error
    if json.dumps({name: list(span) for name, span in spans.items()}) != text:
        raise damaged(path, "the attribute 'splits' is not as prep writes it", measured=text[:80])
    return spans
