"""Trace N removes the scale of each matrix and nothing else, however small the trace, and hides no broken matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prep.blocks import Array
from prep.errors import DataError, SchemaError
from prep.transforms.trace_n import TraceN, trace_normalise
from tests.measuring import dataset, field, fitted

N, ROWS, TRAIN = 12, 60, 50
R = field("R", "c8", ("row", N), ("column", N), role="target", units="W")
SPEC = dataset(R, rows=ROWS, train=TRAIN)


def shapes() -> Array:
    random = np.random.default_rng(2)
    factor = random.standard_normal((ROWS, N, 3)) + 1j * random.standard_normal((ROWS, N, 3))
    return np.asarray(factor @ factor.conj().swapaxes(1, 2))


def data() -> dict[str, Array]:
    scale = 10.0 ** np.random.default_rng(3).uniform(-11, -4, (ROWS, 1, 1))
    return {"R": (scale * shapes()).astype("c8")}


def run(arrays: dict[str, Array], **options: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    params = fitted(TraceN(), SPEC, R, options, arrays)
    return params, TraceN().apply(R, params, arrays)


@pytest.mark.parametrize("loading", [0.0, 1.0])
def test_every_trace_is_n_and_every_matrix_hermitian(loading: float) -> None:
    result = run(data(), loading=loading)[1]["R"]
    traces = np.trace(result.astype("c16"), axis1=1, axis2=2)
    assert np.abs(traces - N).max() / N < 1e-6
    assert np.abs(result - result.conj().swapaxes(1, 2)).max() == 0


def test_a_tiny_trace_is_divided_out_like_any_other() -> None:
    large = {"R": shapes().astype("c8")}
    small = {"R": large["R"] * np.float32(2.0**-70)}
    assert np.abs(np.trace(small["R"], axis1=1, axis2=2)).max() < 1e-17
    np.testing.assert_array_equal(run(small)[1]["R"], run(large)[1]["R"])


def test_the_companion_keeps_the_standardised_log_trace_for_other_uses_than_input() -> None:
    params, result = run(data())
    companion = TraceN().outputs(R, params)[1]
    assert (companion.name, companion.dtype, companion.dims, companion.role) == (
        "R_log_trace",
        "f8",
        ("sample",),
        "aux",
    )
    train = result["R_log_trace"][:TRAIN]
    assert train.mean() == pytest.approx(0, abs=1e-12)
    assert train.std() == pytest.approx(1, rel=1e-12)
    traces = np.trace(data()["R"].astype("c16"), axis1=1, axis2=2).real
    np.testing.assert_allclose(np.exp(result["R_log_trace"] * params["std"] + params["mean"]), traces, rtol=1e-12)


def test_equal_traces_are_no_spread_to_divide_by() -> None:
    params, result = run({"R": trace_normalise(shapes()).astype("c8")})
    assert params["std"] == 1.0
    assert np.abs(result["R_log_trace"]).max() < 1e-6


@pytest.mark.parametrize("sample", [5, TRAIN + 5])
@pytest.mark.parametrize(("value", "measured"), [(0.0, "0.0"), (-1.0, "-12.0"), (np.nan, "nan"), (np.inf, "inf")])
def test_a_trace_that_cannot_be_divided_out_is_refused(value: float, measured: str, sample: int) -> None:
    arrays = data()
    arrays["R"][sample] = np.eye(N) * value if np.isfinite(value) else np.diag(np.full(N, value))
    with pytest.raises(DataError, match="trace of a sample must be positive") as caught:
        run(arrays)
    assert caught.value.where.samples == (sample,)
    assert measured in str(caught.value.measured)
    assert caught.value.exit_code == 1


def test_bad_train_samples_are_found_before_anything_is_written() -> None:
    arrays = data()
    arrays["R"][[3, 40]] = 0
    with pytest.raises(DataError) as caught:
        fitted(TraceN(), SPEC, R, {}, arrays)
    assert caught.value.where.samples == (3, 40)
    assert caught.value.where.split == "train"


def test_a_matrix_that_is_not_hermitian_is_refused_and_not_mended_in_silence() -> None:
    arrays = data()
    arrays["R"][55, 0, 1] *= 1.1
    with pytest.raises(DataError, match="not Hermitian") as caught:
        run(arrays)
    assert caught.value.where.samples == (55,)
    run(arrays, asymmetry=1.0)


def test_rounding_is_not_asymmetry() -> None:
    arrays = data()
    arrays["R"] *= 1 + np.random.default_rng(0).uniform(-1e-6, 1e-6, arrays["R"].shape).astype("f4")
    result = run(arrays)[1]["R"]
    assert np.abs(result - result.conj().swapaxes(1, 2)).max() == 0


def test_target_and_prediction_share_an_operator_exactly_when_their_loading_is_equal() -> None:
    params, _ = run(data())
    assert params["operator"] == TraceN().operator({})
    assert params["operator"] == run({"R": shapes().astype("c8")}, asymmetry=0.5)[0]["operator"]
    assert params["operator"] != TraceN().operator({"loading": 1.0})


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_the_pure_function_takes_any_leading_dims(lead: tuple[int, ...]) -> None:
    matrices = np.broadcast_to(shapes()[0] * 1e-9, (*lead, N, N))
    result = trace_normalise(matrices, 0.5)
    assert result.shape == matrices.shape
    expected = (shapes()[0] * N / np.trace(shapes()[0]).real + 0.5 * np.eye(N)) / 1.5
    np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), atol=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [field("R", "c8", ("row", 3), ("column", 4)), field("R", "i4", ("row", 3), ("column", 3)), field("R", "c8")],
)
def test_fields_that_are_no_square_matrices_are_refused(wrong: Any) -> None:
    with pytest.raises(SchemaError, match="square matrices"):
        TraceN().folds(dataset(wrong, rows=2), wrong, {})


@pytest.mark.parametrize("options", [{"loading": -1}, {"loading": np.inf}, {"loading": "much"}, {"asymmetry": 0.0}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="out of range"):
        TraceN().folds(SPEC, R, options)


def test_a_raw_field_with_the_name_of_the_companion_is_refused() -> None:
    spec = dataset(R, field("R_log_trace", "f8"), rows=ROWS)
    with pytest.raises(SchemaError, match="would overwrite"):
        TraceN().folds(spec, R, {})
