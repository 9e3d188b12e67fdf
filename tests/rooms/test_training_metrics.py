"""Metrics give what a hand, torch and torchmetrics give, and the same however a split is cut into batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torchmetrics.functional as reference

from prep.training.metrics import (
    R2,
    EnergyBins,
    effective_samples,
    gaussian_nll,
    mean,
    normalised_error,
    overlap,
    right,
    squared_error,
    weight_terms,
)

RNG = np.random.default_rng(0)
PREDICTED, TRUE = RNG.standard_normal((2, 1000, 3))
MASK = (RNG.random((1000, 3)) < 0.7).astype(np.float64)


def parts(count: int = 7) -> list[slice]:
    edges = np.linspace(0, 1000, count + 1).astype(int)
    return [slice(low, high) for low, high in itertools.pairwise(edges)]


def test_mse_is_the_mean_of_squares_however_it_is_cut():
    assert float(mean(squared_error(np.array([1.0, 3.0]), np.array([0.0, 1.0])).sum(), 2)) == 2.5
    total = sum(squared_error(PREDICTED[each], TRUE[each]).sum() for each in parts())
    expected = reference.mean_squared_error(torch.from_numpy(PREDICTED).flatten(), torch.from_numpy(TRUE).flatten())
    assert float(mean(total, PREDICTED.size)) == pytest.approx(float(expected), rel=1e-12)


def test_masked_mse_counts_what_the_mask_counts_and_nothing_else():
    predicted, true, mask = np.array([[1.0, 99.0]]), np.array([[3.0, 0.0]]), np.array([[1.0, 0.0]])
    assert float(mean(squared_error(predicted, true, mask).sum(), mask.sum())) == 4.0
    chosen = torch.from_numpy(MASK) > 0
    expected = reference.mean_squared_error(torch.from_numpy(PREDICTED)[chosen], torch.from_numpy(TRUE)[chosen])
    assert float(mean(squared_error(PREDICTED, TRUE, MASK).sum(), MASK.sum())) == pytest.approx(float(expected))


def test_nothing_counted_scores_0_not_nan():
    assert float(mean(0.0, 0)) == 0.0


def test_nmse_of_complex_rows_is_error_over_energy():
    true = np.array([[3.0 + 4.0j, 0.0]], np.complex64)
    error, energy = normalised_error(np.array([[3.0 + 2.0j, 1.0]], np.complex64), true)
    assert (error.tolist(), energy.tolist()) == ([5.0], [25.0])
    assert error.dtype == np.float64
    zero, whole = normalised_error(np.zeros_like(true), true)
    assert zero == whole

    predicted, other = (RNG.standard_normal((4, 5, 6)) + 1j * RNG.standard_normal((4, 5, 6)) for _ in range(2))
    found, scale = normalised_error(predicted, other)
    for row in range(4):
        one, two = (torch.view_as_real(torch.from_numpy(each[row])).flatten() for each in (predicted, other))
        expected = reference.normalized_root_mean_squared_error(one, two, normalization="l2")
        assert found[row] / scale[row] == pytest.approx(one.numel() * float(expected) ** 2, rel=1e-6)


def test_unit_normal_errors_have_a_likelihood_of_1_4189_as_torch_has_it():
    assert gaussian_nll(1.0) == pytest.approx(1.4189, abs=5e-5)
    square, variance = float(np.mean((PREDICTED - TRUE) ** 2)), 0.3
    expected = torch.nn.functional.gaussian_nll_loss(
        torch.from_numpy(PREDICTED),
        torch.from_numpy(TRUE),
        torch.full((1000, 3), variance, dtype=torch.double),
        full=True,
    )
    assert gaussian_nll(square, variance) == pytest.approx(float(expected), rel=1e-12)


def r2(offset: float, predicted: np.ndarray, true: np.ndarray, counted: np.ndarray) -> R2:
    total = {name: np.zeros(3) for name in R2.__slots__}
    for each in parts():
        for name, values in R2.terms(predicted[each], true[each], counted[each], offset).items():
            total[name] += values.sum(0)
    return R2(**total)


def test_r2_of_each_feature_is_what_torchmetrics_says():
    found = r2(0.0, TRUE + 0.3 * PREDICTED, TRUE, np.ones((1000, 3))).finish()
    one, two = torch.from_numpy(TRUE + 0.3 * PREDICTED), torch.from_numpy(TRUE)
    np.testing.assert_allclose(found, reference.r2_score(one, two, multioutput="raw_values").numpy(), rtol=1e-10)


def test_r2_survives_an_offset_a_hundred_million_times_the_spread():
    far = 1e8 + TRUE
    found = r2(1e8, far + 0.3 * PREDICTED, far, np.ones((1000, 3))).finish()
    np.testing.assert_allclose(found, r2(0.0, TRUE + 0.3 * PREDICTED, TRUE, np.ones((1000, 3))).finish(), atol=1e-6)


def test_r2_is_by_hand_one_minus_residual_over_spread_and_0_where_nothing_varies():
    one = R2(*(np.array(value) for value in (3.0, 1.0, 6.0, 14.0)))  # true 1, 2, 3
    assert float(one.finish()) == 0.5
    constant = R2(*(np.array(value) for value in (3.0, 1.0, 6.0, 12.0)))  # true 2, 2, 2
    assert not constant.known
    assert float(constant.finish()) == 0.0


def test_accuracy_is_the_share_of_right_classes():
    predicted, true = RNG.integers(0, 5, (2, 1000))
    expected = reference.accuracy(torch.from_numpy(predicted), torch.from_numpy(true), "multiclass", num_classes=5)
    assert float(mean(right(predicted, true).sum(), 1000)) == pytest.approx(float(expected))


def test_histograms_overlap_by_the_area_under_both():
    bins = EnergyBins(lowest=0.0, width=1.0, bins=4)
    one, other = bins.rows(np.array([0.5, 1.5])).sum(0), bins.rows(np.array([1.1, 1.9, 2.5, 3.5])).sum(0)
    assert (one.tolist(), other.tolist()) == ([1, 1, 0, 0], [0, 2, 1, 1])
    assert overlap(one, other) == 0.5
    assert overlap(one, 10.0 * one) == 1.0
    assert overlap(one, np.zeros(4)) == 0.0


def test_energies_beyond_the_bins_and_broken_ones_are_counted_at_the_ends():
    bins = EnergyBins(lowest=0.0, width=1.0, bins=4)
    assert bins.rows(np.array([-1e9, 1e9, np.nan, np.inf])).sum(0).tolist() == [1, 0, 0, 3]
    assert bins.edges.tolist() == [0, 1, 2, 3, 4]


def ess(*batches: np.ndarray) -> float:
    terms = [weight_terms(logs) for logs in batches]
    weight, squared = (sum(each[name].sum(0) for each in terms) for name in ("weight", "squared_weight"))
    return effective_samples(weight, squared)


def test_effective_samples_are_all_of_equal_weights_and_one_of_a_single_heavy_one():
    assert ess(np.full(50, -3.0)) == pytest.approx(50.0)
    assert ess(np.array([0.0, -800.0, -800.0])) == pytest.approx(1.0)
    assert ess(np.log([1.0, 2.0, 3.0])) == pytest.approx(36.0 / 14.0)
    assert ess(np.array([np.nan, 0.0])) == 1.0
    assert ess(np.array([np.nan, -np.inf])) == 0.0


def test_effective_samples_are_the_same_however_large_the_weights_and_however_they_are_cut():
    logs = 40.0 * RNG.standard_normal(1000)
    shifted = np.exp(logs - logs.max())
    expected = shifted.sum() ** 2 / (shifted**2).sum()
    for offset in (-5000.0, -400.0, 0.0, 99.9, 400.0, 5000.0):
        assert ess(logs[:300] + offset, logs[300:] + offset) == pytest.approx(expected, rel=1e-9)
    assert ess(np.array([400.0, 350.0])) == pytest.approx(1.0)
    assert ess(np.array([-400.0, -400.0])) == pytest.approx(2.0)


def test_small_types_neither_overflow_nor_wrap():
    large = np.full((1, 3), 300.0, np.float16)
    assert squared_error(large, -large).sum() == 3 * 600.0**2
    assert float(squared_error(np.array([127], np.int8), np.array([-127], np.int8))[0]) == 254.0**2
    assert normalised_error(large, -large)[0].tolist() == [3 * 600.0**2]


def test_what_a_mask_leaves_out_may_be_anything():
    predicted, true, mask = np.array([[1.0, np.nan]]), np.array([[3.0, np.inf]]), np.array([[1.0, 0.0]])
    assert squared_error(predicted, true, mask).tolist() == [[4.0, 0.0]]
    assert all(np.isfinite(values).all() for values in R2.terms(predicted, true, mask, 0.0).values())


def test_a_batch_without_rows_adds_nothing():
    assert [each.shape for each in normalised_error(np.zeros((0, 4, 4)), np.zeros((0, 4, 4)))] == [(0,), (0,)]


def test_a_constant_that_float64_cannot_hold_exactly_has_no_r2():
    true = np.full((1000, 3), 0.33)
    assert not r2(0.0, true + 1e-9, true, np.ones((1000, 3))).known.any()
