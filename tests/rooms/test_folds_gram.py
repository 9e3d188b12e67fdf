"""The linear probe scores what least squares on the rows would score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prep.blocks import Array
from prep.errors import DataError, SchemaError
from prep.folds import Scope
from prep.folds.gram import Gram, GramResult
from tests.measuring import field, measure

ROWS = 600
X, Y = field("x", "f4", ("f", 5)), field("y", "f4", ("t", 3), role="target")
MASK = field("m", "u1", ("t", 3), role="mask")


def data(noise: float = 0.3) -> dict[str, Array]:
    random = np.random.default_rng(8)
    x = random.standard_normal((ROWS, 5)) * [1, 100, 0.01, 5, 1] + [0, 1e4, 0, -3, 7]
    y = x / [1, 100, 0.01, 5, 1] @ random.standard_normal((5, 3)) + 4 + noise * random.standard_normal((ROWS, 3))
    return {"x": x.astype("f4"), "y": y.astype("f4"), "g": np.repeat([1, 2], ROWS // 2)}


def gram(
    arrays: dict[str, Array], split: tuple[int, int] = (0, ROWS), cuts: tuple[int, ...] = (), **more: Any
) -> GramResult:
    result: GramResult = measure(Gram(X, Y, Scope("", *split), **more), arrays, cuts)
    return result


def least_squares(x: Array, y: Array) -> Array:
    design = np.column_stack([x.astype("f8"), np.ones(len(x))])
    fit = np.linalg.lstsq(design / np.abs(design).max(axis=0), y.astype("f8"), rcond=None)[0]
    return np.asarray(y - design / np.abs(design).max(axis=0) @ fit)


def test_r2_is_that_of_least_squares_with_an_intercept() -> None:
    arrays = data()
    residual = least_squares(arrays["x"], arrays["y"])
    expected = 1 - residual.var(axis=0) / arrays["y"].astype("f8").var(axis=0)
    np.testing.assert_allclose(gram(arrays, cuts=(100, 101)).r2()[0], expected, rtol=1e-9)


def test_nmse_is_error_over_target_so_that_predicting_zero_scores_one() -> None:
    arrays = data()
    residual = least_squares(arrays["x"], arrays["y"])
    expected = (residual**2).sum() / (arrays["y"].astype("f8") ** 2).sum()
    assert gram(arrays).nmse() == pytest.approx(expected, rel=1e-9)
    unrelated = data() | {"y": np.random.default_rng(0).standard_normal((ROWS, 3)).astype("f4")}
    assert gram(unrelated).nmse() == pytest.approx(1, abs=0.05)


def test_an_exact_linear_law_is_recognised() -> None:
    assert (gram(data(noise=0.0)).r2() > 0.999999).all()


def test_padding_and_dependent_inputs_do_no_harm() -> None:
    arrays = data()
    arrays["x"][:, 1] = 0.0
    arrays["x"][:, 2] = 2 * arrays["x"][:, 0]
    residual = least_squares(arrays["x"][:, [0, 3, 4]], arrays["y"])
    expected = 1 - residual.var(axis=0) / arrays["y"].astype("f8").var(axis=0)
    result = gram(arrays)
    np.testing.assert_allclose(result.r2()[0], expected, rtol=1e-9)
    assert (result.coefficients()[0][0][1] == 0).all()


def test_every_group_is_fitted_on_its_own() -> None:
    arrays = data(noise=0.0)
    arrays["y"][ROWS // 2 :] *= -1
    assert (gram(arrays, group="g").r2() > 0.99999).all()
    assert gram(arrays, group="g").groups == (1, 2)
    assert (gram(arrays).r2() < 0.9).any()


def test_a_masked_target_counts_only_where_the_mask_says_so() -> None:
    arrays = data()
    arrays["m"] = np.ones((ROWS, 3), np.uint8)
    arrays["m"][::3, 1] = 0
    arrays["m"][: ROWS // 2, 2] = 0
    arrays["y"][arrays["m"] == 0] = np.nan
    result = gram(arrays, target_mask=MASK, cuts=(77,))
    errors, squares = 0.0, 0.0
    for target in range(3):
        rows = arrays["m"][:, target] == 1
        own = arrays["y"][rows, target].astype("f8")
        residual = least_squares(arrays["x"][rows], own)
        assert result.counts[0, target] == rows.sum()
        assert result.r2()[0, target] == pytest.approx(1 - residual.var() / own.var(), rel=1e-9)
        errors, squares = errors + (residual**2).sum(), squares + (own**2).sum()
    assert result.nmse() == pytest.approx(errors / squares, rel=1e-9)
    assert result.nonfinite == 0


def test_a_target_masked_out_everywhere_has_no_score() -> None:
    arrays = data() | {"m": np.tile(np.array([1, 1, 0], np.uint8), (ROWS, 1))}
    arrays["m"][ROWS // 2 :, 1] = 0
    score = gram(arrays, group="g", target_mask=MASK).r2()
    assert np.isnan(score).tolist() == [[False, False, True], [False, True, True]]


def test_only_the_last_step_is_read_where_asked() -> None:
    arrays = data(noise=0.0)
    windows = np.random.default_rng(9).standard_normal((ROWS, 4, 5)).astype("f4")
    windows[:, -1] = arrays["x"]
    spec = field("x", "f4", ("time", 4), ("f", 5))
    fold = Gram(spec, Y, Scope("", 0, ROWS), last=("time",))
    result = measure(fold, arrays | {"x": windows})
    assert result.inputs == 5
    np.testing.assert_allclose(result.r2(), gram(arrays).r2(), rtol=1e-12)


def test_a_probe_fitted_on_train_is_scored_on_val() -> None:
    arrays = data()
    train, val = (gram(arrays, split) for split in ((0, 400), (400, ROWS)))
    weights, intercepts = (part[0] for part in train.coefficients(ridge=0.1))
    errors = arrays["y"][400:] - arrays["x"][400:].astype("f8") @ weights - intercepts
    expected = (errors**2).sum() / (arrays["y"][400:].astype("f8") ** 2).sum()
    assert val.nmse(ridge=0.1, fit=train) == pytest.approx(expected, rel=1e-9)
    assert val.nmse(ridge=0.1, fit=train) > val.nmse()


def test_ridge_is_that_of_standardised_inputs() -> None:
    arrays = data()
    x, y = arrays["x"].astype("f8"), arrays["y"].astype("f8")
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    weights = np.linalg.solve(z.T @ z / ROWS + 0.5 * np.eye(5), z.T @ (y - y.mean(axis=0)) / ROWS)
    np.testing.assert_allclose(gram(arrays).coefficients(ridge=0.5)[0][0], weights / x.std(axis=0)[:, None], rtol=1e-7)


def test_complex_fields_are_probed_by_their_parts() -> None:
    random = np.random.default_rng(10)
    x = random.standard_normal((ROWS, 2)) + 1j * random.standard_normal((ROWS, 2))
    fold = Gram(field("x", "c16", ("f", 2)), field("y", "c16", ("t", 1), role="target"), Scope("", 0, ROWS))
    result = measure(fold, {"x": x, "y": (x @ [1 + 2j, -1j]).reshape(-1, 1)})
    assert (result.inputs, result.targets) == (4, 2)
    assert (result.r2() > 1 - 1e-12).all()


def test_rows_that_are_not_finite_are_left_out_and_counted() -> None:
    arrays = data()
    arrays["x"][3, 1] = np.nan
    arrays["y"][9, 0] = np.inf
    result = gram(arrays)
    assert (result.rows, result.nonfinite) == (ROWS - 2, 2)
    assert np.isfinite(result.r2()).all()


def test_a_group_without_a_fit_is_refused() -> None:
    arrays = data()
    train, val = (gram(arrays, split, group="g") for split in ((0, ROWS // 2), (ROWS // 2, ROWS)))
    with pytest.raises(DataError, match="other groups"):
        val.nmse(fit=train)


def test_a_probe_beyond_memory_is_refused_before_it_starts() -> None:
    large = field("x", "c8", ("row", 144), ("column", 144))
    with pytest.raises(SchemaError, match="too large"):
        Gram(large, Y, Scope("", 0, 1)).empty()
