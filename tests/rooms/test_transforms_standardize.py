"""Standardised data has mean 0 and deviation 1 where it counts, exact zeros where it does not, and no silent gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prep.blocks import Array
from prep.errors import DataError, PrepError, SchemaError
from prep.transforms.standardize import Standardize
from tests.measuring import dataset, field, fitted

pytestmark = pytest.mark.usefixtures("both_kernels")

ROWS, TRAIN = 120, 90
STATES = field("states", "f4", ("time", 4), ("state", 3), features=("state",), mask="mask", units="m")
MASK = field("mask", "u1", ("state", 3), role="mask")
SYSTEM = field("system", "i4", role="id")
SPEC = dataset(STATES, MASK, SYSTEM, rows=ROWS, train=TRAIN)
PER_SYSTEM = {"group": "system", "constant": "unit"}


def data() -> dict[str, Array]:
    random = np.random.default_rng(5)
    system = np.resize([4, 9], ROWS)
    mask = np.where(system[:, np.newaxis] == 4, [1, 1, 0], [1, 1, 1]).astype("u1")
    states = random.standard_normal((ROWS, 4, 3)) * [1e-3, 1, 1e3] + [5, -1e4, 0] * system[:, np.newaxis, np.newaxis]
    return {"states": np.where(mask[:, np.newaxis] != 0, states, 0).astype("f4"), "mask": mask, "system": system}


def run(arrays: dict[str, Array], options: dict[str, Any] = PER_SYSTEM) -> tuple[dict[str, Any], Array]:
    params = fitted(Standardize(), SPEC, STATES, options, arrays)
    return params, Standardize().apply(STATES, params, arrays)["states"]


def refused(arrays: dict[str, Array], options: dict[str, Any] = PER_SYSTEM) -> PrepError:
    with pytest.raises(PrepError) as caught:
        run(arrays, options)
    assert caught.value.where.field in ("states", "system")
    assert caught.value.remedy
    return caught.value


def test_each_system_has_mean_0_and_std_1_over_the_train_split_and_padding_stays_0() -> None:
    arrays = data()
    _, result = run(arrays)
    for system, features in ((4, 2), (9, 3)):
        own = result[:TRAIN][arrays["system"][:TRAIN] == system].astype("f8")
        np.testing.assert_allclose(own[:, :, :features].mean(axis=(0, 1)), 0, atol=1e-5)
        np.testing.assert_allclose(own[:, :, :features].std(axis=(0, 1)), 1, rtol=1e-5)
    assert (result[arrays["system"] == 4][:, :, 2] == 0).all()


def test_one_scale_for_all_systems_is_another_map() -> None:
    arrays = data()
    _, result = run(arrays, {"constant": "unit"})
    assert abs(result[:TRAIN][arrays["system"][:TRAIN] == 4][:, :, 0].mean()) > 0.5


def test_junk_in_padding_is_gone_afterwards() -> None:
    arrays, dirty = data(), data()
    dirty["states"][arrays["system"] == 4, :, 2] = np.nan
    np.testing.assert_array_equal(run(dirty)[1], run(arrays)[1])


def test_a_feature_masked_out_in_a_whole_group_keeps_mean_0_and_std_1() -> None:
    params, _ = run(data())
    assert (params["mean"][0][2], params["std"][0][2]) == (0.0, 1.0)


def test_a_group_that_the_train_split_lacks_is_refused_by_name() -> None:
    arrays = data()
    arrays["system"][[TRAIN + 3, TRAIN + 7]] = 11
    error = refused(arrays)
    assert isinstance(error, DataError)
    assert "system 11 has no parameters" in error.what
    assert error.where.samples == (TRAIN + 3, TRAIN + 7)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.25])
def test_a_constant_feature_is_refused_by_name_unless_a_policy_says_otherwise(value: float) -> None:
    arrays = data()
    arrays["states"][arrays["system"] == 9, :, 1] = value
    error = refused(arrays, {"group": "system"})
    assert error.what == "feature 1 of system 9 is constant"
    assert repr(float(np.float32(value))) in str(error.measured)
    assert "constant: unit" in error.remedy


def test_policy_unit_centres_a_constant_and_keeps_its_units() -> None:
    arrays = data()
    own = arrays["system"] == 9
    arrays["states"][own, :, 1] = 0.1
    arrays["states"][TRAIN + 1, 0, 1] = 0.1 + 0.5
    assert arrays["system"][TRAIN + 1] == 9
    params, result = run(arrays)
    assert (result[:TRAIN][own[:TRAIN]][:, :, 1] == 0).all()
    assert result[TRAIN + 1, 0, 1] == pytest.approx(0.5, rel=1e-6)
    back = Standardize().invert(STATES, params, arrays | {"states": result})
    assert back[TRAIN + 1, 0, 1] == pytest.approx(0.6, rel=1e-6)


def test_policy_center_holds_a_constant_to_its_value_in_every_split() -> None:
    arrays = data()
    own = arrays["system"] == 9
    arrays["states"][own, :, 1] = 0.1
    _, result = run(arrays, {"group": "system", "constant": "center"})
    assert (result[own][:, :, 1] == 0).all()
    arrays["states"][TRAIN + 1, 0, 1] = 0.1 + 0.5
    error = refused(arrays, {"group": "system", "constant": "center"})
    assert error.where.samples == (TRAIN + 1,)
    assert "constant in the train split takes another value" in error.what


def test_nan_in_the_train_split_is_refused_before_anything_is_written() -> None:
    arrays = data()
    arrays["states"][17, 2, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinity in the train split") as caught:
        fitted(Standardize(), SPEC, STATES, PER_SYSTEM, arrays)
    assert caught.value.where.samples == (17,)


def test_a_result_beyond_the_stored_dtype_is_refused() -> None:
    spec = field("x", "f2")
    values = np.resize([1.0, 1.001], ROWS).astype("f2")
    values[100] = 6e4
    params = fitted(Standardize(), dataset(spec, rows=ROWS, train=TRAIN), spec, {}, {"x": values})
    with pytest.raises(DataError, match="what standardising makes of it") as caught:
        Standardize().apply(spec, params, {"x": values})
    assert caught.value.where.samples == (100,)


def test_values_too_small_for_their_squares_are_refused() -> None:
    spec = field("x", "f8")
    values = np.resize([1e-200, 2e-200], ROWS)
    with pytest.raises(DataError, match="cannot be used"):
        fitted(Standardize(), dataset(spec, rows=ROWS), spec, {}, {"x": values})


@pytest.mark.parametrize(("dtype", "stored"), [("u1", "f4"), ("i2", "f4"), ("i8", "f8"), ("f2", "f2"), ("f8", "f8")])
def test_integers_become_floats_and_floats_keep_their_width(dtype: str, stored: str) -> None:
    spec = field("x", dtype)
    values = np.arange(ROWS).astype(dtype)
    params = fitted(Standardize(), dataset(spec, rows=ROWS), spec, {}, {"x": values})
    result = Standardize().apply(spec, params, {"x": values})["x"]
    assert result.dtype == Standardize().outputs(spec, params)[0].dtype == np.dtype(stored)
    np.testing.assert_allclose(Standardize().invert(spec, params, {"x": result}), values, rtol=0.01, atol=0.05)


def test_units_are_gone_with_the_scale() -> None:
    params, _ = run(data())
    assert Standardize().outputs(STATES, params)[0].units == "1"


def test_complex_fields_are_refused_with_an_alternative() -> None:
    spec = field("x", "c8")
    with pytest.raises(SchemaError, match="complex field") as caught:
        Standardize().folds(dataset(spec, rows=3), spec, {})
    assert "unit_rms" in caught.value.remedy


@pytest.mark.parametrize(
    "options", [{"constant": "drop"}, {"constant": None}, {"group": "states"}, {"group": "nobody"}]
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        Standardize().folds(SPEC, STATES, options)


def test_an_empty_train_split_is_refused() -> None:
    spec = field("x", "f4")
    with pytest.raises(DataError, match="no value to fit on"):
        fitted(Standardize(), dataset(spec, rows=4, train=0), spec, {}, {"x": np.ones(4, "f4")})


def test_the_operator_tells_apart_options_but_not_data() -> None:
    other = data()
    other["states"][0, 0, 0] += 1
    same = {run(data())[0]["operator"], run(other)[0]["operator"]}
    assert len(same) == 1
    assert run(data(), {"constant": "unit"})[0]["operator"] not in same
