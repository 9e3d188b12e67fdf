"""Moments are right to the last digits that matter, whatever is masked, grouped, constant, complex or not finite."""

from __future__ import annotations

import json
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.blocks import Array, Block
from prep.errors import SchemaError
from prep.folds import Scope
from prep.folds.moments import Moments, MomentsResult
from tests.measuring import field, measure

pytestmark = pytest.mark.usefixtures("both_kernels")


def exact(values: Array) -> tuple[float, float, float, float]:
    """Mean, population std, skewness, excess kurtosis with `math.fsum` about an exact rational mean."""
    flat = [float(value) for value in values.ravel()]
    n = len(flat)
    mean = sum(map(Fraction, flat), Fraction(0)) / n
    distances = [float(Fraction(value) - mean) for value in flat]
    m2, m3, m4 = (math.fsum(distance**power for distance in distances) / n for power in (2, 3, 4))
    return float(mean), math.sqrt(m2), m3 / m2**1.5, m4 / m2**2 - 3


def moments_of(values: Array, cuts: tuple[int, ...] = (), **more: str) -> MomentsResult:
    spec = field("x", values.dtype.str, *[(f"d{axis}", size) for axis, size in enumerate(values.shape[1:])], **more)
    result: MomentsResult = measure(Moments(spec, Scope("", 0, len(values))), {"x": values}, cuts)
    return result


@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 700, 1999)])
@pytest.mark.parametrize("order", ["shuffled", "sorted"])
@pytest.mark.parametrize("offset", [0.0, 1e6, -1e6])
def test_an_offset_of_a_million_deviations_costs_no_digits(offset: float, order: str, cuts: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).gamma(2.0, size=2000) * 0.25
    values = (np.sort(values) if order == "sorted" else values) + offset * values.std()
    mean, std, skewness, kurtosis = exact(values)
    found = moments_of(values, cuts)
    assert found.mean.item() == pytest.approx(mean, rel=1e-15)
    assert found.std.item() ** 2 == pytest.approx(std**2, rel=1e-10)
    assert found.skewness.item() == pytest.approx(skewness, rel=1e-8)
    assert found.kurtosis.item() == pytest.approx(kurtosis, rel=1e-8)


@pytest.mark.parametrize("offset", [1e9, 1e12])
def test_digits_are_those_of_the_spread_even_where_the_stored_values_barely_tell_it(offset: float) -> None:
    values = np.sort(np.random.default_rng(1).gamma(2.0, size=2000)) + offset
    _, std, skewness, kurtosis = exact(values)
    found = moments_of(values, (7, 300, 1700))
    assert found.std.item() ** 2 == pytest.approx(std**2, rel=1e-12)
    assert found.skewness.item() == pytest.approx(skewness, rel=1e-10)
    assert found.kurtosis.item() == pytest.approx(kurtosis, rel=1e-10)


def test_float32_offset_by_a_million_deviations_is_measured_where_the_naive_formula_fails() -> None:
    values = (1e6 + np.random.default_rng(2).standard_normal(300_000)).astype(np.float32)
    naive = np.mean(values**2, dtype=np.float32) - np.mean(values, dtype=np.float32) ** 2
    found = moments_of(values)
    assert not 0.5 < naive < 2
    assert found.std.item() == pytest.approx(values.astype(np.float64).std(), rel=1e-11)


@settings(max_examples=30)
@given(
    dtype=st.sampled_from(["b1", "u1", "i4", "i8", "f2", "f4", "f8"]),
    features=st.sampled_from([(), ("d0",), ("d1",), ("d0", "d1")]),
    seed=st.integers(0, 1000),
    rows=st.integers(1, 40),
)
def test_every_dtype_and_choice_of_features_agrees_with_numpy(
    dtype: str, features: tuple[str, ...], seed: int, rows: int
) -> None:
    values = (np.random.default_rng(seed).standard_normal((rows, 4, 3)) * 20 + 5).astype(dtype)
    found = moments_of(values, features=features)
    wide = values.astype(np.float64)
    axes = tuple(axis for axis, name in ((0, ""), (1, "d0"), (2, "d1")) if name not in features)
    shape = (1, *(size for name, size in (("d0", 4), ("d1", 3)) if name in features))
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(np, name)(wide, axis=axes).reshape(shape), rtol=1e-13, atol=1e-13
        )
    assert (found.count == values.size // found.count.size).all()


@pytest.mark.parametrize("features", [(), ("d1",)])
def test_complex_values_count_as_real_and_imaginary_parts(features: tuple[str, ...]) -> None:
    random = np.random.default_rng(3)
    values = (random.standard_normal((50, 4, 3)) + 1j * (2 + 3 * random.standard_normal((50, 4, 3)))).astype("c8")
    found = moments_of(values, features=features)
    axes = (0, 1) if features else (0, 1, 2)
    expected = np.stack([part.astype("f8").std(axis=axes) for part in (values.real, values.imag)], axis=-1)
    np.testing.assert_allclose(found.std, expected[np.newaxis], rtol=1e-12)


MASKS = {
    "whole features, the same in a group": lambda ids, random: np.arange(3) <= ids[:, np.newaxis] % 3,
    "whole features, another for each sample": lambda ids, random: random.random((len(ids), 3)) < 0.6,
    "everything": lambda ids, random: np.ones((len(ids), 3), bool),
}


@pytest.mark.parametrize("groups", ["sorted", "shuffled", "mostly single"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("steps", [1, 400], ids=["short rows", "long rows"])
def test_masked_moments_per_group_are_those_of_the_counted_values(steps: int, mask: str, groups: str) -> None:
    random = np.random.default_rng(4)
    ids = random.integers(-2, 60 if groups == "mostly single" else 3, 90)
    ids = np.sort(ids) if groups == "sorted" else ids
    counted = MASKS[mask](ids, random)
    values = random.standard_normal((90, steps, 3)) * 7 + ids[:, np.newaxis, np.newaxis]
    values[~np.broadcast_to(counted[:, np.newaxis], values.shape)] = np.nan
    spec = field("x", "f8", ("t", steps), ("f", 3), features=("f",))
    fold = Moments(spec, Scope("", 0, 90), field("m", "u1", ("f", 3), role="mask"), "g")
    found = measure(fold, {"x": values, "m": counted.astype("u1"), "g": ids}, (31,))
    assert found.groups == tuple(np.unique(ids).tolist())
    assert found.nonfinite_samples == ()
    for place, group in enumerate(found.groups):
        for feature in range(3):
            own = values[ids == group][counted[ids == group, feature], :, feature]
            assert found.count[place, feature] == own.size
            if own.size:
                expected = [own.mean(), own.std(), own.min(), own.max()]
                actual = [getattr(found, name)[place, feature] for name in ("mean", "std", "min", "max")]
                np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
            else:
                assert np.isnan(found.mean[place, feature])


@pytest.mark.parametrize("lasting", [False, True], ids=["another mask for each sample", "one mask for all"])
def test_a_mask_over_averaged_dims_counts_single_steps(lasting: bool) -> None:
    values = np.random.default_rng(5).standard_normal((3000, 6, 2)).astype("f4")
    steps = (np.arange(3000) * (not lasting))[:, np.newaxis] % 6 >= np.arange(6)
    spec = field("x", "f4", ("t", 6), ("f", 2), features=("f",))
    fold = Moments(spec, Scope("", 0, 3000), field("m", "b1", ("t", 6), role="mask"))
    found = measure(fold, {"x": values, "m": steps})
    np.testing.assert_allclose(found.mean[0], values[steps].astype("f8").mean(axis=0), rtol=1e-10)
    assert (found.count == steps.sum()).all()


@pytest.mark.parametrize("cuts", [(), (4, 500)])
def test_nan_and_infinity_are_counted_and_located_and_never_averaged(cuts: tuple[int, ...]) -> None:
    values = np.random.default_rng(6).standard_normal((2000, 8)).astype("f4")
    clean = values[:, 0].astype("f8")
    values[[3, 7, 1500], 2], values[7, 3], values[1999, 4] = np.nan, np.inf, -np.inf
    found = moments_of(values, cuts, features=("d0",))
    assert found.nan.tolist() == [[0, 0, 3, 0, 0, 0, 0, 0]]
    assert found.inf.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]]
    assert (found.count == 2000).all()
    assert (found.nonfinite_samples, found.nonfinite_rows) == ((3, 7, 1500, 1999), 4)
    assert np.isfinite(found.std).all()
    assert found.mean[0, 0] == pytest.approx(clean.mean(), rel=1e-12)


def test_the_first_ten_bad_samples_are_named_in_order_although_groups_are_shuffled() -> None:
    values = np.full((200, 100), np.nan)
    fold = Moments(field("x", "f8", ("f", 100)), Scope("", 0, 200), group="g")
    found = measure(fold, {"x": values, "g": np.arange(200) * 7 % 5}, (60,))
    assert (found.nonfinite_samples, found.nonfinite_rows) == (tuple(range(10)), 200)
    assert found.finite.sum() == 0


def test_one_nan_among_long_rows_of_shuffled_groups_costs_only_itself() -> None:
    values = np.random.default_rng(12).standard_normal((300, 3000))
    group = np.arange(300) % 2
    values[4, 9] = np.nan
    fold = Moments(field("x", "f8", ("f", 3000)), Scope("", 0, 300), group="g")
    found = measure(fold, {"x": values, "g": group})
    assert found.finite.tolist() == [450_000 - 1, 450_000]
    assert (found.nonfinite_samples, found.nonfinite_rows) == ((4,), 1)
    np.testing.assert_allclose(found.std[0], np.nanstd(values[::2]), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("value", [0.1, -1e30, 1e-40, 12345678.9])
def test_a_constant_has_exactly_no_spread(value: float, dtype: str) -> None:
    values = np.full(3001, value, dtype)
    found = moments_of(values, (1000, 1001))
    assert found.std.item() == 0.0
    assert found.mean.item() == float(values[0])
    assert found.constant.item()
    assert np.isnan(found.skewness.item())
    assert not moments_of(np.append(values, np.nextafter(values[0], values.dtype.type(np.inf)))).constant.item()


@pytest.mark.parametrize("values", [np.array([1.0, np.nan, 2.0]), np.array([0.1, 0.2, 0.7]), np.zeros((0, 3))])
def test_a_result_comes_back_from_json_bit_for_bit(values: Array) -> None:
    found = moments_of(values, features=("d0",) if values.ndim > 1 else ())
    text = json.dumps(found.to_dict(), allow_nan=False)
    back = MomentsResult.from_dict(json.loads(text))
    assert json.dumps(back.to_dict()) == text
    for name in ("count", "mean", "std", "kurtosis", "constant"):
        assert getattr(back, name).tobytes() == getattr(found, name).tobytes()
        assert getattr(back, name).shape == getattr(found, name).shape


@pytest.mark.parametrize("masked", [False, True], ids=["all counted", "masked"])
@pytest.mark.parametrize("features", [("d1",), ("d0",)], ids=["features last", "features first"])
def test_a_large_block_is_measured_in_a_few_mebibytes(features: tuple[str, ...], masked: bool) -> None:
    values = np.ones((2048, 64, 64), np.float32)
    mask = field("m", "u1", ("d0", 64), ("d1", 64), role="mask") if masked else None
    spec = field("x", "f4", ("d0", 64), ("d1", 64), features=features)
    fold = Moments(spec, Scope("", 0, 2048), mask)
    block = Block(0, 2048, {"x": values, "m": np.random.default_rng(0).integers(0, 2, values.shape, "u1")})
    tracemalloc.start()
    fold.absorb(fold.empty(), block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values.nbytes == 32 << 20
    assert peak < 16 << 20


def test_a_feature_that_is_no_dimension_is_refused() -> None:
    with pytest.raises(SchemaError, match="features must be dimensions"):
        moments_of(np.zeros((3, 2)), features=("joint",))


@pytest.mark.parametrize("ids", [np.zeros(4), np.zeros((4, 1), int), np.full(4, 2**63, np.uint64)])
def test_group_ids_must_be_one_integer_for_each_sample(ids: Array) -> None:
    fold = Moments(field("x", "f8"), Scope("", 0, 4), group="g")
    with pytest.raises(SchemaError) as caught:
        measure(fold, {"x": np.zeros(4), "g": ids})
    assert caught.value.where.field == "g"


@pytest.mark.parametrize("scale", [1e3, 1e17, 1e20, 1e160])
@pytest.mark.parametrize("hidden", ["masked", "nan"])
def test_a_group_is_measured_as_if_no_other_were_there(hidden: str, scale: float) -> None:
    # 1 MiB and more, and a first value that says nothing: the pivot is found in the other group
    rows = 80_000
    spread = np.random.default_rng(0).standard_normal(rows)
    values = np.concatenate([scale * spread, spread])
    keep = np.ones(2 * rows, bool)
    keep[rows] = hidden != "masked"
    values[rows] = np.nan
    mask = field("m", "?", role="mask")
    fold = Moments(field("x", "f8", mask="m"), Scope("", 0, 2 * rows), mask, "g")
    found = measure(fold, {"x": values, "m": keep, "g": np.repeat([0, 1], rows)}, ())
    mean, std, skewness, kurtosis = exact(spread[1:])
    assert found.mean[1] == pytest.approx(mean, abs=1e-12)
    assert found.std[1] == pytest.approx(std, rel=1e-10)
    assert found.skewness[1] == pytest.approx(skewness, abs=1e-8)
    assert found.kurtosis[1] == pytest.approx(kurtosis, abs=1e-8)


@pytest.mark.parametrize("rows", [100, 20_000])
def test_a_mask_with_a_dimension_that_the_field_does_not_have_is_refused(rows: int) -> None:
    mask = field("m", "u1", ("other", 16), role="mask")
    fold = Moments(field("x", "f4", ("f", 16), mask="m", features=("f",)), Scope("", 0, rows), mask)
    arrays = {"x": np.ones((rows, 16), np.float32), "m": np.ones((rows, 16), np.uint8)}
    with pytest.raises(SchemaError, match="only have dimensions of the field"):
        measure(fold, arrays, ())
