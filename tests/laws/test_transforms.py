"""Every transform comes back to what it was given, touches nothing it was given, and lets nothing strange pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.blocks import Array, Block, DatasetSpec, FieldSpec
from prep.errors import DataError, PrepError, SchemaError, UsageError
from prep.transforms import TRANSFORMS, Transform
from tests.measuring import dataset, field, fitted

ROWS, TRAIN = 40, 30


@dataclass(frozen=True)
class Example:
    """A raw dataset, the field to transform and how, and what exact values the way back should find (float64)."""

    spec: DatasetSpec
    field: FieldSpec
    arrays: Mapping[str, Array]
    options: Mapping[str, Any]
    expected: Array
    slack: Array | float


def numbers(random: np.random.Generator, dtype: str, shape: tuple[int, ...], offset: float, scale: float) -> Array:
    values = random.standard_normal((ROWS, *shape)) * scale + offset
    if np.dtype(dtype).kind == "c":
        values = values + 1j * (random.standard_normal((ROWS, *shape)) * scale - offset)
    return values.astype(dtype)


def resolution(dtype: str) -> float:
    return float(np.finfo(np.dtype(dtype)).eps)


offsets = st.sampled_from([0.0, -3.5, 1e4, -1e6])
scales = st.sampled_from([1e-5, 1.0, 3e4])
seeds = st.integers(0, 2**32 - 1)


@st.composite
def identities(draw: st.DrawFn) -> Example:
    dtype = draw(st.sampled_from(["u1", "i4", "f2", "f4", "f8", "c8"]))
    shape = draw(st.sampled_from([(), (7,), (3, 2)]))
    random = np.random.default_rng(draw(seeds))
    values = random.integers(0, 2, (ROWS, *shape)).astype(dtype)
    name = field("x", dtype, *[(f"d{place}", size) for place, size in enumerate(shape)])
    wide = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    return Example(dataset(name, rows=ROWS, train=TRAIN), name, {"x": values}, {}, wide, 0.0)


@st.composite
def standardisations(draw: st.DrawFn) -> Example:
    dtype = draw(st.sampled_from(["f2", "f4", "f8"]))
    random = np.random.default_rng(draw(seeds))
    features = draw(st.sampled_from([(), ("f",), ("t", "f"), ("t",)]))
    masked, grouped = draw(st.booleans()), draw(st.booleans())
    offset, scale = (draw(offsets), draw(scales)) if dtype != "f2" else (3.0, 1.0)
    values = numbers(random, dtype, (4, 3), offset, scale)
    name = field("x", dtype, ("t", 4), ("f", 3), features=features, mask="m" if masked else "")
    mask = field("m", "u1", ("f", 3), role="mask")
    group = field("g", "i2", role="id")
    ids = np.resize([5, -2, 5, 9], ROWS)
    counted = np.ones((ROWS, 3), np.uint8)
    if masked:
        counted = (np.arange(3) <= (ids % 3)[:, np.newaxis]).astype(np.uint8) if grouped else counted
        counted[:, 2] = 0
        values = np.where(counted[:, np.newaxis, :] != 0, values, 0).astype(dtype)
    options = {"group": "g" if grouped else "", "constant": "unit"}
    spec = dataset(name, mask, group, rows=ROWS, train=TRAIN)
    arrays = {"x": values, "m": counted, "g": ids.astype("i2")}
    wide = values.astype(np.float64)
    # The stored z-score is rounded once, and its distance from the mean is at most that of the farthest value.
    slack = resolution(dtype) * (np.ptp(wide) + 1e-30) + 4e-16 * np.abs(wide)
    return Example(spec, name, arrays, options, wide, slack)


@st.composite
def trace_normalisations(draw: st.DrawFn) -> Example:
    dtype = draw(st.sampled_from(["f4", "f8", "c8", "c16"]))
    size = draw(st.integers(1, 5))
    random = np.random.default_rng(draw(seeds))
    factor = numbers(random, np.dtype(dtype).str[1:], (size, size), 0.0, 1.0).astype(
        np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    )
    scale = 10.0 ** random.uniform(-11, -4, (ROWS, 1, 1))
    matrices = (scale * (factor @ factor.conj().swapaxes(1, 2))).astype(dtype)
    name = field("x", dtype, ("row", size), ("column", size))
    wide = matrices.astype(np.complex128 if np.dtype(dtype).kind == "c" else np.float64)
    expected = (wide + wide.conj().swapaxes(1, 2)) / 2
    trace = np.trace(expected, axis1=1, axis2=2).real[:, np.newaxis, np.newaxis]
    loading = draw(st.sampled_from([0.0, 0.5, 1.0]))
    slack = (2 + 4 * loading) * (resolution(dtype) + 1e-14) * trace
    return Example(dataset(name, rows=ROWS, train=TRAIN), name, {"x": matrices}, {"loading": loading}, expected, slack)


@st.composite
def unit_scalings(draw: st.DrawFn) -> Example:
    dtype = draw(st.sampled_from(["f4", "f8", "c8", "c16"]))
    random = np.random.default_rng(draw(seeds))
    values = numbers(random, dtype, (4, 3), draw(offsets), draw(scales))
    masked = draw(st.booleans())
    name = field("x", dtype, ("t", 4), ("f", 3), mask="m" if masked else "")
    mask = field("m", "u1", ("t", 4), role="mask")
    counted = np.ones((ROWS, 4), np.uint8)
    if masked:
        counted[:, 1:] = random.integers(0, 2, (ROWS, 3))
        values = np.where(counted[:, :, np.newaxis] != 0, values, 0).astype(dtype)
    wide = values.astype(np.complex128 if np.dtype(dtype).kind == "c" else np.float64)
    slack = (resolution(dtype) + 1e-14) * np.abs(wide)
    spec = dataset(name, mask, rows=ROWS, train=TRAIN)
    return Example(spec, name, {"x": values, "m": counted}, {"companion": "log_rms"}, wide, slack)


EXAMPLES: dict[str, Callable[[], st.SearchStrategy[Example]]] = {
    "identity": identities,
    "standardize": standardisations,
    "trace_n": trace_normalisations,
    "unit_rms": unit_scalings,
}
every_transform = pytest.mark.parametrize("name", TRANSFORMS.names())


def load(name: str) -> Transform:
    transform: Transform = TRANSFORMS.load(name)()
    return transform


def transformed(example: Example, transform: Transform) -> tuple[dict[str, Any], dict[str, Array]]:
    params = fitted(transform, example.spec, example.field, example.options, example.arrays)
    return params, transform.apply(example.field, params, example.arrays)


@every_transform
@settings(max_examples=40)
@given(data=st.data())
def test_the_inverse_finds_what_was_there(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    params, result = transformed(example, transform)
    back = transform.invert(example.field, params, {**example.arrays, **result})
    assert back.dtype in (np.float64, np.complex128)
    assert back.shape == example.expected.shape
    assert (np.abs(back - example.expected) <= example.slack).all()


@every_transform
@settings(max_examples=20)
@given(data=st.data())
def test_parameters_survive_being_written_as_json(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    params, result = transformed(example, transform)
    again = transform.apply(example.field, json.loads(json.dumps(params, allow_nan=False)), example.arrays)
    assert {key: value.tobytes() for key, value in again.items()} == {k: v.tobytes() for k, v in result.items()}


@every_transform
@settings(max_examples=20)
@given(data=st.data())
def test_what_comes_out_is_what_was_announced(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    params, result = transformed(example, transform)
    outputs = transform.outputs(example.field, params)
    assert [spec.name for spec in outputs] == list(result)
    assert outputs[0].name == example.field.name
    assert all(spec.transform == name and spec.transform_state == "normalized" for spec in outputs)
    for spec in outputs:
        assert (result[spec.name].dtype, result[spec.name].shape) == (spec.dtype, (ROWS, *spec.shape))
    assert params["operator"].startswith(name)


@every_transform
@settings(max_examples=20)
@given(data=st.data())
def test_rows_are_transformed_alike_in_any_block(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    params, result = transformed(example, transform)
    cut = data.draw(st.integers(1, ROWS - 1))
    parts = [
        transform.apply(example.field, params, {key: value[rows] for key, value in example.arrays.items()})
        for rows in (slice(0, cut), slice(cut, None))
    ]
    for key, value in result.items():
        assert np.concatenate([part[key] for part in parts]).tobytes() == value.tobytes()


@every_transform
@settings(max_examples=20)
@given(data=st.data())
def test_what_goes_in_stays_as_it_is(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    before = {key: value.tobytes() for key, value in example.arrays.items()}
    Block(0, ROWS, example.arrays)  # read-only from here on
    params, result = transformed(example, transform)
    transform.invert(example.field, params, {**example.arrays, **result})
    assert {key: value.tobytes() for key, value in example.arrays.items()} == before


@every_transform
@settings(max_examples=10)
@given(data=st.data())
def test_only_the_named_fields_are_needed(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    params, result = transformed(example, transform)
    needed = {key: example.arrays[key] for key in {example.field.name} | transform.needs(example.field, params)}
    assert set(transform.apply(example.field, params, needed)) == set(result)


@every_transform
@settings(max_examples=10)
@given(data=st.data())
def test_val_and_test_rows_do_not_move_the_parameters(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    params, _ = transformed(example, transform)
    others = {key: value.copy() for key, value in example.arrays.items()}
    others["x"][TRAIN:] = others["x"][:1]
    assert fitted(transform, example.spec, example.field, example.options, others) == params


@pytest.mark.parametrize("junk", [np.nan, np.inf])
@pytest.mark.parametrize("place", [3, TRAIN + 2], ids=["train", "val"])
@pytest.mark.parametrize("name", [name for name in TRANSFORMS.names() if name != "identity"])
@settings(max_examples=10)
@given(data=st.data())
def test_nan_and_infinity_are_refused_and_located(name: str, place: int, junk: float, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    broken = {key: value.copy() for key, value in example.arrays.items()}
    first = (place, *[0] * (broken["x"].ndim - 1))
    broken["x"][first] = junk
    with pytest.raises(DataError) as caught:
        transformed(replace(example, arrays=broken), transform)
    assert caught.value.where.field == "x"
    assert caught.value.where.samples == (place,)


@every_transform
@settings(max_examples=5)
@given(data=st.data())
def test_unknown_options_are_refused(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    with pytest.raises(SchemaError, match="no option 'centre'"):
        transform.folds(example.spec, example.field, {**example.options, "centre": True})


@every_transform
@settings(max_examples=5)
@given(data=st.data())
def test_normalising_twice_is_refused(name: str, data: st.DataObject) -> None:
    example, transform = data.draw(EXAMPLES[name]()), load(name)
    params, result = transformed(example, transform)
    once = transform.outputs(example.field, params)[0]
    with pytest.raises(UsageError, match="already normalised") as caught:
        fitted(transform, example.spec, once, example.options, {**example.arrays, **result})
    assert isinstance(caught.value, PrepError)
    assert "raw dataset" in caught.value.remedy


def test_every_transform_has_examples_here() -> None:
    assert set(EXAMPLES) == set(TRANSFORMS.names())
