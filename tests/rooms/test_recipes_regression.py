"""The regression recipe: scales, offsets, noise and baselines are the documented ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from prep.blocks import SPLITS
from prep.errors import ConfigError
from prep.recipes.regression import Regression

DEFAULT = dict(Regression.parameters["default"])
SCALES = np.array([1e3, 1e5, 1e6, 5e7])
OFFSETS = np.array([1e4, -1e5, 2e6, 3e7])


@cache
def built(seed: int = 0, **changes: Any) -> dict[str, dict[str, Any]]:
    """All rows of each split by field; lists are given as tuples."""
    recipe = Regression()
    settled = {key: list(value) if isinstance(value, tuple) else value for key, value in changes.items()}
    plan = recipe.plan({**DEFAULT, **settled}, seed)
    parts = {split: [recipe.produce(plan, task) for task in plan.tasks if task.split == split] for split in SPLITS}
    return {
        split: {
            field.name: np.concatenate([part.arrays[field.name] for part in found]).astype(np.float64)
            for field in plan.fields
        }
        for split, found in parts.items()
    }


def standard(targets: Any) -> Any:
    return (targets - OFFSETS) / SCALES


def test_there_are_8000_samples_divided_70_15_15():
    assert {split: data["inputs"].shape for split, data in built().items()} == {
        "train": (5_600, 16),
        "val": (1_200, 16),
        "test": (1_200, 16),
    }
    assert built()["train"]["targets"].shape == (5_600, 4)


@pytest.mark.parametrize("seed", range(4))
def test_input_scales_span_six_decades_and_offsets_four_of_either_sign(seed: int):
    inputs = built(seed)["train"]["inputs"]
    scale, offset = inputs.std(axis=0), inputs.mean(axis=0)

    assert scale.min() > 0.97e-2
    assert scale.max() < 1.03e4
    assert scale.max() / scale.min() > 1e3
    # The mean of a wide feature says nothing about its offset.
    known = np.abs(offset) > 0.2 * scale
    assert (np.abs(offset[known]) > 0.7).all()
    assert (np.abs(offset[known]) < 1.05e4).all()
    assert {-1.0, 1.0} == set(np.sign(offset[known]).tolist())


def test_inputs_are_normal_and_independent():
    inputs = built()["train"]["inputs"]
    z = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)

    assert np.abs((z**3).mean(axis=0)).max() < 0.15
    assert np.abs((z**4).mean(axis=0) - 3).max() < 0.4
    assert np.abs(np.corrcoef(z.T) - np.eye(16)).max() < 0.07


def test_targets_have_the_documented_scales_and_offsets():
    for seed in range(3):
        targets = standard(built(seed)["train"]["targets"])

        assert np.abs(targets.mean(axis=0)).max() < 0.05
        np.testing.assert_allclose(targets.std(axis=0), np.sqrt(1 + 0.05**2), rtol=0.04)


def test_the_noise_is_a_twentieth_of_the_standardised_response():
    noisy, clean = built(), built(noise=0.0)
    for split in SPLITS:
        gap = standard(noisy[split]["targets"]) - standard(clean[split]["targets"])

        np.testing.assert_allclose(gap.std(axis=0), 0.05, rtol=0.08)
        assert np.abs(gap.mean(axis=0)).max() < 0.006
        assert np.array_equal(noisy[split]["inputs"], clean[split]["inputs"])


def test_predicting_zero_scores_the_documented_error_on_raw_targets():
    targets = np.concatenate([built()[split]["targets"] for split in SPLITS])

    assert np.mean(targets**2) == pytest.approx(8.5e14, rel=0.03)


def test_a_linear_model_leaves_the_documented_part_of_the_variance():
    train, test = built()["train"], built()["test"]
    mean, std = train["inputs"].mean(axis=0), train["inputs"].std(axis=0)
    design = [np.column_stack([(data["inputs"] - mean) / std, np.ones(len(data["inputs"]))]) for data in (train, test)]
    weights = np.linalg.lstsq(design[0], standard(train["targets"]), rcond=None)[0]
    left = np.mean((standard(test["targets"]) - design[1] @ weights) ** 2)

    assert 0.1 < left < 0.25


def test_splits_share_the_network_and_no_row():
    data = built()
    rows = {split: {row.tobytes() for row in data[split]["inputs"]} for split in SPLITS}

    assert sum(map(len, rows.values())) == len(set().union(*rows.values())) == 8_000
    scales = [data[split]["inputs"].std(axis=0) for split in SPLITS]
    np.testing.assert_allclose(scales[1], scales[0], rtol=0.1)
    np.testing.assert_allclose(scales[2], scales[0], rtol=0.1)


def test_scales_and_offsets_of_different_length_are_refused():
    with pytest.raises(ConfigError, match="target_offsets") as caught:
        Regression().plan({**DEFAULT, "target_offsets": [0.0]}, 0)

    assert "4 numbers" in str(caught.value.allowed)


def test_shares_that_leave_a_split_empty_are_refused():
    with pytest.raises(ConfigError) as caught:
        Regression().plan({**DEFAULT, "samples": 10, "fractions": [0.98, 0.01, 0.01]}, 0)

    assert caught.value.where.key == "fractions"
