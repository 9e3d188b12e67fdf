"""Unit RMS keeps the shape of a sample, hands its scale to a companion, and refuses samples without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prep.blocks import Array
from prep.errors import DataError, SchemaError
from prep.transforms.unit_rms import UnitRms
from tests.measuring import dataset, field, fitted

ROWS, TRAIN = 60, 40
Y = field("snapshots", "c8", ("measurement", 4), ("snapshot", 5))
SPEC = dataset(Y, rows=ROWS, train=TRAIN)
OPTIONS = {"companion": "log_rms"}


def data() -> dict[str, Array]:
    random = np.random.default_rng(6)
    values = random.standard_normal((ROWS, 4, 5)) + 1j * random.standard_normal((ROWS, 4, 5))
    return {"snapshots": (values * 10.0 ** random.uniform(-9, 2, (ROWS, 1, 1))).astype("c8")}


def run(arrays: dict[str, Array], options: dict[str, Any] = OPTIONS) -> tuple[dict[str, Any], dict[str, Array]]:
    params = fitted(UnitRms(), SPEC, Y, options, arrays)
    return params, UnitRms().apply(Y, params, arrays)


def test_every_sample_has_rms_1() -> None:
    result = run(data())[1]["snapshots"]
    np.testing.assert_allclose(np.sqrt((np.abs(result.astype("c16")) ** 2).mean(axis=(1, 2))), 1, rtol=1e-6)


def test_the_companion_is_an_input_with_mean_0_and_std_1_over_the_train_split() -> None:
    params, result = run(data())
    companion = UnitRms().outputs(Y, params)[1]
    assert (companion.name, companion.dtype, companion.dims, companion.role) == ("log_rms", "f8", ("sample",), "input")
    assert result["log_rms"][:TRAIN].mean() == pytest.approx(0, abs=1e-12)
    assert result["log_rms"][:TRAIN].std() == pytest.approx(1, rel=1e-12)


def test_the_companion_is_named_after_the_field_unless_told_otherwise() -> None:
    assert set(run(data(), {})[1]) == {"snapshots", "snapshots_log_rms"}


def test_data_of_unit_rms_already_gets_a_companion_of_zeros_not_of_amplified_rounding() -> None:
    once = run(data())[1]["snapshots"]
    assert np.abs(run({"snapshots": once})[1]["log_rms"]).max() < 1e-6


@pytest.mark.parametrize("sample", [5, TRAIN + 5])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_sample_without_a_scale_is_refused_by_number(value: float, sample: int) -> None:
    arrays = data()
    arrays["snapshots"][sample] = value
    with pytest.raises(DataError, match="RMS of a sample must be positive") as caught:
        run(arrays)
    assert caught.value.where.samples == (sample,)
    assert "mend what made them" in caught.value.remedy


def test_masked_entries_neither_count_nor_survive() -> None:
    spec = field("x", "f4", ("step", 3), mask="m")
    mask = field("m", "u1", ("step", 3), role="mask")
    arrays = {"x": np.tile(np.array([3, 4, np.nan], "f4"), (8, 1)), "m": np.tile(np.array([1, 1, 0], "u1"), (8, 1))}
    params = fitted(UnitRms(), dataset(spec, mask, rows=8), spec, {}, arrays)
    result = UnitRms().apply(spec, params, arrays)["x"]
    np.testing.assert_allclose(result[0], np.array([3, 4, 0]) / np.sqrt(12.5), rtol=1e-6)
    assert (result[:, 2] == 0).all()


def test_integers_are_refused() -> None:
    spec = field("x", "i4", ("f", 3))
    with pytest.raises(SchemaError, match="for floats"):
        UnitRms().folds(dataset(spec, rows=2), spec, {})


def test_a_raw_field_with_the_name_of_the_companion_is_refused() -> None:
    with pytest.raises(SchemaError, match="would overwrite"):
        UnitRms().folds(dataset(Y, field("log_rms", "f8"), rows=2), Y, OPTIONS)


def test_an_empty_train_split_is_refused() -> None:
    with pytest.raises(DataError, match="no sample to fit on"):
        fitted(UnitRms(), dataset(Y, rows=ROWS, train=0), Y, OPTIONS, data())
