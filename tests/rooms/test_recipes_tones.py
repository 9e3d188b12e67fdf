"""The tones recipe: sums, noise and phases are the documented ones, and a linear filter sees what it should see."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from prep.blocks import SPLITS, Block
from prep.errors import ConfigError
from prep.folds import Scope
from prep.folds.lagged import LaggedGram
from prep.recipes.tones import Tones

DEFAULT, SMOKE = (dict(Tones.parameters[scale]) for scale in ("default", "smoke"))
TONES = np.array([1.0, 3.0, 5.0, 7.0])
TIME = np.arange(10_000) / 1000


@cache
def built(seed: int = 0, **changes: Any) -> dict[str, dict[str, Any]]:
    """All sequences of each split by field; lists are given as tuples."""
    recipe = Tones()
    settled = {key: list(value) if isinstance(value, tuple) else value for key, value in changes.items()}
    plan = recipe.plan({**SMOKE, **settled}, seed)
    parts = {split: [recipe.produce(plan, task) for task in plan.tasks if task.split == split] for split in SPLITS}
    return {
        split: {field.name: np.concatenate([part.arrays[field.name] for part in found]) for field in plan.fields}
        for split, found in parts.items()
    }


def phases(targets: Any, tone: Any) -> Any:
    """θ of each target, in turns from 0 to 1, from its projections on sine and cosine."""
    angle = 2 * np.pi * TONES[tone][:, np.newaxis] * TIME
    return np.arctan2((targets * np.cos(angle)).mean(axis=1), (targets * np.sin(angle)).mean(axis=1)) / (2 * np.pi) % 1


def angles(data: dict[str, Any]) -> Any:
    """2π f t + θ of every tone, (sequences, tones, steps)."""
    theta = 2 * np.pi * phases(data["target"], data["tone"])
    return 2 * np.pi * TONES[:, np.newaxis] * TIME + theta[:, np.newaxis, np.newaxis]


def test_by_default_there_are_24_sequences_of_each_tone_to_train_on_and_two_each_to_validate_and_test():
    data = built(**{key: DEFAULT[key] for key in ("sequences_per_tone", "held_out_per_tone")})

    assert {split: found["signal"].shape for split, found in data.items()} == {
        "train": (96, 10_000),
        "val": (8, 10_000),
        "test": (8, 10_000),
    }
    for found in data.values():
        assert len(set(np.bincount(found["tone"]))) == 1
        assert np.array_equal(np.sort(np.unique(found["tone"])), range(4))


def test_the_signal_is_the_mean_of_all_tones_at_one_phase_and_the_target_the_selected_one():
    clean = built(amplitude=(1.0, 1.0), phase_span=0.0)
    for data in clean.values():
        parts = np.sin(angles(data))

        np.testing.assert_allclose(data["signal"], parts.mean(axis=1), atol=2e-6)
        np.testing.assert_allclose(data["target"], parts[np.arange(len(parts)), data["tone"]], atol=2e-6)


def test_the_target_has_no_noise_and_predicting_zero_scores_a_half():
    assert all(np.mean(data["target"].astype(float) ** 2) == pytest.approx(0.5, abs=1e-6) for data in built().values())


@pytest.mark.parametrize(("span", "decibels"), [(0.5, 6.0), (0.2, 13.0), (0.02, 18.7)])
def test_the_signal_stands_above_the_noise_by_the_documented_ratio(span: float, decibels: float):
    data = built(phase_span=span * np.pi)["train"]
    clean = np.sin(angles(data) + span * np.pi / 2).mean(axis=1)
    share = (data["signal"] * clean).mean() / (clean**2).mean()
    noise = np.mean((data["signal"] - share * clean) ** 2)

    assert 10 * np.log10(share**2 * np.mean(clean**2) / noise) == pytest.approx(decibels, abs=0.5)


def test_at_a_span_of_a_whole_turn_no_signal_is_left():
    data = built(phase_span=2 * np.pi)["train"]
    clean = np.sin(angles(data)).mean(axis=1)

    assert abs(np.corrcoef(data["signal"].ravel(), clean.ravel())[0, 1]) < 0.01


@pytest.mark.parametrize(
    ("span", "low", "high"),
    [(2.0, 0.49, 0.53), (0.5, 0.004, 0.006), (0.2, 0.0007, 0.0013), (0.02, 0.0002, 0.0004)],
)
def test_a_linear_filter_scores_what_the_noise_allows(span: float, low: float, high: float):
    data, results = built(phase_span=span * np.pi), []
    for split in ("train", "val"):
        rows, steps = data[split]["signal"].shape
        plan = Tones().plan(DEFAULT, 0)
        signal, target = (next(field for field in plan.fields if field.name == name) for name in ("signal", "target"))
        fold = LaggedGram(signal, target, Scope("", 0, rows), 200, 5, "tone")
        block = Block(0, rows, {name: data[split][name].copy() for name in ("signal", "target", "tone")})
        results.append(fold.finish(fold.absorb(fold.empty(), block)))
        assert results[-1].rows == rows * (steps - 995)

    assert low < results[1].mse(1e-6, results[0]) < high


def test_every_sequence_has_a_phase_of_its_own_in_its_part_of_the_circle():
    data = built(sequences_per_tone=12)
    for split, per_tone in (("train", 12), ("val", 1), ("test", 1)):
        found = phases(data[split]["target"], data[split]["tone"])
        for tone in range(4):
            own = found[data[split]["tone"] == tone]
            assert np.array_equal(np.sort((own * per_tone).astype(int)), np.arange(per_tone))
    everything = np.concatenate([phases(found["target"], found["tone"]) for found in data.values()])
    assert np.diff(np.sort(everything)).min() > 1e-5


def test_a_clock_that_knows_tone_and_time_but_not_the_signal_scores_no_better_than_zero():
    data = built(sequences_per_tone=12)
    for tone in range(4):
        mean = data["train"]["target"][data["train"]["tone"] == tone].mean(axis=0)
        own = data["test"]["target"][data["test"]["tone"] == tone]
        assert np.mean((own - mean) ** 2) > 0.45


def test_noise_is_drawn_anew_for_every_step_tone_and_sequence():
    data = built()["train"]
    noise = data["signal"] - np.sin(angles(data) + 0.01 * np.pi).mean(axis=1)
    noise = noise / noise.std()

    correlations = np.corrcoef(noise) - np.eye(len(noise))
    assert np.abs(correlations).max() < 0.05
    assert all(abs(np.mean(noise[:, lag:] * noise[:, :-lag])) < 0.02 for lag in (1, 2, 100, 1000))


def test_selector_marks_time_and_ids_say_what_they_should():
    data = built()
    for found in data.values():
        np.testing.assert_array_equal(found["selector"], np.eye(4)[found["tone"]])
        np.testing.assert_array_equal(found["reset"], np.broadcast_to(np.arange(10_000) == 0, found["reset"].shape))
        np.testing.assert_array_equal(found["time"], np.broadcast_to(TIME.astype(np.float32), found["time"].shape))
    ids = np.concatenate([found["sequence_id"] for found in data.values()])
    np.testing.assert_array_equal(ids, np.arange(20))


@pytest.mark.parametrize("tasks", [1, 5, 7])
def test_the_size_of_a_task_changes_only_what_is_drawn(tasks: int):
    data = built(task_sequences=tasks)["train"]

    np.testing.assert_array_equal(data["tone"], np.arange(12) % 4)
    np.testing.assert_array_equal(data["sequence_id"], np.arange(12))
    found = phases(data["target"], data["tone"])
    assert np.array_equal((found * 3).astype(int), np.arange(12) // 4)


def test_a_tone_that_the_rate_cannot_carry_is_refused():
    with pytest.raises(ConfigError, match="tones_hz") as caught:
        Tones().plan({**DEFAULT, "rate_hz": 14.0}, 0)

    assert "below rate_hz / 2, which is 7" in str(caught.value.allowed)
