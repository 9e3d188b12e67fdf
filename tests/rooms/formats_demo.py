"""A small dataset with every kind of variable, for the tests of the formats room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.formats import Container, create

FIELDS = (
    FieldSpec(
        "states",
        np.dtype("f4"),
        ("sample", "time", "state"),
        (5, 3),
        "input",
        "m",
        "positions",
        mask="state_mask",
        features=("state",),
        transform="standardize",
        transform_state="normalized",
    ),
    FieldSpec("matrix", np.dtype("c8"), ("sample", "row", "column"), (2, 2), "target"),
    FieldSpec("state_mask", np.dtype("?"), ("sample", "state"), (3,), "mask"),
    FieldSpec("episode", np.dtype("i8"), ("sample",), (), "id"),
    FieldSpec("split", np.dtype("u1"), ("sample",), (), "split"),
)
TIME = FieldSpec("time", np.dtype("f8"), ("time",), (), "constant", "s")
SCENE = FieldSpec("scene", np.dtype("f8"), ("point", "axis"), (3,), "constant", "m")
CONSTANTS = {"time": np.arange(5.0), "scene": np.arange(12.0).reshape(4, 3)}


def demo_spec(rows: int = 10, **changes: Any) -> DatasetSpec:
    """A spec of ``rows`` samples, half of them train."""
    splits = {"train": (0, rows // 2), "val": (rows // 2, rows - rows // 4), "test": (rows - rows // 4, rows)}
    spec = DatasetSpec("demo", FIELDS, splits, constants=(TIME, SCENE), documents={"recipe": '{"seed": 1}'})
    return replace(spec, **changes)


def demo_arrays(spec: DatasetSpec, seed: int = 0) -> dict[str, Array]:
    """Random values of every field."""
    generator = np.random.default_rng(seed)
    return {field.name: random_array(generator, spec.rows, field) for field in spec.fields}


def random_array(generator: np.random.Generator, rows: int, field: FieldSpec) -> Array:
    """Random values (rows, *shape): any bits of an integer, normal numbers otherwise."""
    shape = (rows, *field.shape)
    if field.dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(bool)
    if field.dtype.kind in "iu":
        return np.frombuffer(generator.bytes(rows * field.row_bytes), field.dtype).reshape(shape)
    values = generator.normal(size=shape)
    return (values + 1j * values[::-1] if field.dtype.kind == "c" else values).astype(field.dtype)


def write_demo(
    path: Path,
    spec: DatasetSpec | None = None,
    compression: str = "none",
    arrays: Mapping[str, Array] | None = None,
) -> Container:
    """The demo dataset at ``path``."""
    spec = spec or demo_spec()
    arrays = arrays or demo_arrays(spec)
    with create(path, spec, compression) as writer:
        for constant in spec.constants:
            writer.write_constant(constant, CONSTANTS[constant.name])
        for name, array in arrays.items():
            writer.write(name, array)
        return writer.commit(spec)
