"""Quantiles lie within their stated error of the exact order statistic, wherever the data lies."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.blocks import Array
from prep.errors import UsageError
from prep.folds import Scope
from prep.folds.sketch import Quantiles, QuantilesResult
from tests.measuring import field, measure

pytestmark = pytest.mark.usefixtures("both_kernels")


def quantiles_of(values: Array, *, stride: int = 1, pivot: tuple[float, ...] = (), **more: str) -> QuantilesResult:
    spec = field("x", values.dtype.str, *[(f"d{axis}", size) for axis, size in enumerate(values.shape[1:])], **more)
    result: QuantilesResult = measure(
        Quantiles(spec, Scope("", 0, len(values)), pivot=pivot, stride=stride), {"x": values}, (len(values) // 3,)
    )
    return result


DRAWS = {
    "normal": lambda random, n: random.standard_normal(n),
    "over thirty decades": lambda random, n: 10.0 ** random.uniform(-15, 15, n) * random.choice([-1, 1], n),
    "few values": lambda random, n: random.integers(-2, 3, n).astype(float),
    "float32 extremes": lambda random, n: random.choice([-3.4e38, 3.4e38, 1e-38], n),
    "float64 extremes": lambda random, n: random.choice([-1.7e308, 1.7e308, 2.3e-308], n),
}


@pytest.mark.parametrize("draw", DRAWS)
@settings(max_examples=20)
@given(
    n=st.integers(1, 300),
    q=st.floats(0, 1) | st.sampled_from([0.0, 1.0]),
    pivot=st.sampled_from([0.0, 1.5]),
    seed=st.integers(0, 99),
)
def test_a_quantile_is_within_its_stated_error(draw: str, n: int, q: float, pivot: float, seed: int) -> None:
    values = DRAWS[draw](np.random.default_rng(seed), n)
    found = quantiles_of(values, pivot=(pivot,))
    exact = np.sort(values)[max(int(np.ceil(q * n)), 1) - 1]
    allowed = found.relative_error * abs(exact - pivot) * (1 + 1e-12) + 4e-16 * (abs(exact) + abs(pivot))
    assert abs(found.quantile(q).item() - exact) <= allowed
    assert found.relative_error <= 2**-6


def test_a_pivot_finds_quantiles_of_data_far_from_zero() -> None:
    values = 1e6 + np.random.default_rng(0).standard_normal(5000)
    exact = np.quantile(values, 0.95, method="inverted_cdf")
    assert abs(quantiles_of(values).quantile(0.95).item() - exact) > 1
    assert abs(quantiles_of(values, pivot=(1e6,)).quantile(0.95).item() - exact) < 0.01


def test_each_feature_and_group_has_its_own_quantiles() -> None:
    random = np.random.default_rng(1)
    group = random.integers(3, 6, 900)
    values = random.standard_normal((900, 2, 3)) + 10 * group[:, np.newaxis, np.newaxis] + np.arange(3)
    counted = random.random((900, 3)) < 0.8
    fold = Quantiles(
        field("x", "f8", ("t", 2), ("f", 3), features=("f",)),
        Scope("", 0, 900),
        field("m", "b1", ("f", 3), role="mask"),
        "g",
        pivot=(30.0, 31.0, 32.0),
    )
    found = measure(fold, {"x": values, "m": counted, "g": group})
    assert found.groups == (3, 4, 5)
    for place, own in enumerate(found.groups):
        for feature in range(3):
            chosen = values[(group == own) & counted[:, feature], :, feature]
            exact = np.quantile(chosen, 0.25, method="inverted_cdf")
            assert found.quantile(0.25)[place, feature] == pytest.approx(
                exact, abs=(abs(exact - 30 - feature) / 256) * 1.001
            )
            assert found.count[place, feature] == chosen.size


@pytest.mark.parametrize("dtype", ["f4", "i8", "c16"])
def test_a_group_counts_from_a_pivot_of_its_own(dtype: str) -> None:
    random = np.random.default_rng(2)
    group = np.arange(60_000) % 3
    values = (random.normal(0, 300, (60_000, 2)) + 1e6 * group[:, np.newaxis]).astype(dtype)
    if dtype != "i8":
        values[5, 0] = np.inf
    spec = field("x", dtype, ("f", 2), features=("f",))
    width = 4 if dtype == "c16" else 2
    own = tuple((each, (1e6 * each, 0.0) * 2 if width == 4 else (1e6 * each,) * 2) for each in (0, 2))
    fold = Quantiles(spec, Scope("", 0, 60_000), group="g", own_pivots=own)
    found = measure(fold, {"x": values, "g": group}, (17, 30_001))

    q = found.quantile(0.25)[..., 0] if width == 4 else found.quantile(0.25)
    for place, near in ((0, 2), (1, 4000), (2, 2)):
        column = np.real(values[group == place, 1])
        assert q[place, 1] == pytest.approx(np.quantile(column, 0.25, method="inverted_cdf"), abs=near)
    assert found.count[2, 0].min() == 20_000 - (dtype != "i8")


@pytest.mark.parametrize("start", [0, 5])
def test_only_every_kth_sample_of_the_scope_is_looked_at(start: int) -> None:
    values = np.arange(100.0)
    fold = Quantiles(field("x", "f8"), Scope("train", start, 95), stride=10)
    found = measure(fold, {"x": values}, (3, 17, 18, 60))
    assert found.count.item() == len(range(start, 95, 10))
    assert found.quantile(0).item() == pytest.approx(start, rel=2**-8)
    assert found.to_dict()["stride"] == 10


def test_values_that_are_not_finite_are_left_out() -> None:
    found = quantiles_of(np.array([np.nan, 1.0, np.inf, 2.0, -np.inf, 3.0]))
    assert found.count.item() == 3
    assert found.quantile(1).item() == pytest.approx(3, rel=2**-8)


def test_infinity_is_not_counted_beside_the_largest_number_there_is() -> None:
    values = np.linspace(-1, 1, 150_000)
    values[0], values[1], values[1000:2000] = np.finfo(np.float64).max, np.inf, np.nan
    found = quantiles_of(values)
    assert found.count.item() == 150_000 - 1001
    assert found.quantile(0.995).item() == pytest.approx(0.99, rel=2**-7)


def test_the_document_says_what_was_measured_and_how_wrong_it_may_be() -> None:
    found = quantiles_of(np.array([[1.0, np.nan]] * 20), features=("d0",))
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["q50"][0] == [pytest.approx(1, rel=2**-8), None]
    assert document["count"] == [[20, 0]]
    assert document["relative_error"] == 2**-8
    assert "log-linear" in document["method"]


@pytest.mark.parametrize(
    "wrong", [{"stride": 0}, {"pivot": (1.0, 2.0)}, {"pivot": (np.nan,)}, {"own_pivots": ((1, (1.0,)),)}]
)
def test_impossible_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="stride of at least 1 and finite pivots"):
        Quantiles(field("x", "f8", ("f", 3), features=("f",)), Scope("", 0, 1), **wrong)  # type: ignore[arg-type]


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        quantiles_of(np.zeros(3)).quantile(95)
