"""Boltzmann slopes: one wrong thermostat among many right ones is found by name, and memory widens errors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from prep.blocks import Array, FieldSpec
from prep.checks import Finding
from prep.checks.boltzmann_slope import BoltzmannSlope
from prep.checks.slopes import GAS_CONSTANT, Slope
from tests.measuring import dataset, measure

FRAMES = 300
STATISTICS = {
    "var": "energy",
    "temperature": "temperature",
    "group": "replica",
    "temperatures": [300.0, 450.0],
    "tolerance": 0.2,
    "sigmas": 3.0,
    "group_sigmas": 4.0,
    "max_lag": 64,
}


def energies(kelvin: float, frames: int = FRAMES, seed: int = 0) -> Array:
    """Of 55 harmonic degrees of freedom at a temperature, above a minimum of -605 kJ/mol."""
    chances = (np.random.default_rng(seed).permutation(frames) + 0.5) / frames
    pool = np.sort(np.random.default_rng(99).gamma(55 / 2, GAS_CONSTANT * kelvin, 200_000))
    return np.asarray(pool[(chances * len(pool)).astype(int)] - 605.0)


def judged(labels: list[float], true: list[float], **changes: object) -> Finding:
    """The finding for one replica a label, simulated at the true temperatures."""
    arrays = {
        "energy": np.concatenate([energies(each, seed=seed) for seed, each in enumerate(true)]),
        "temperature": np.repeat(np.array(labels), FRAMES),
        "replica": np.repeat(np.arange(len(labels), dtype=np.int32), FRAMES),
    }
    fields = [FieldSpec(name, array.dtype, ("sample",), (), "aux") for name, array in arrays.items()]
    spec, check = dataset(*fields, rows=len(arrays["energy"])), BoltzmannSlope()
    statistics = {**STATISTICS, **changes}
    measured = {fold.key: measure(fold, arrays, [500, 1100]) for fold in check.folds(spec, statistics)}
    return check.judge(spec, statistics, measured)


LABELS = [300.0, 450.0] * 4


def test_right_thermostats_pass_with_what_the_identity_scores():
    found = judged(LABELS, LABELS)

    assert found.passed, found.message
    assert found.measured["slope"] == pytest.approx(0.1336, rel=0.05)
    cold, hot = (-605.0 + 55 / 2 * GAS_CONSTANT * each for each in (300.0, 450.0))
    assert found.measured["identity"] == pytest.approx((hot / 300 + cold / 450) / GAS_CONSTANT, abs=0.2)


@pytest.mark.parametrize("wrong", [[1], [7], [3, 5]])
def test_replicas_at_400_kelvin_with_the_label_of_450_are_refused_by_name(wrong: list[int]):
    found = judged(LABELS, [400.0 if place in wrong else label for place, label in enumerate(LABELS)])

    assert not found.passed
    for replica in wrong:
        assert f"replica {replica} is labelled 450 K, but alone ln p(300 K)/p(450 K) falls by 0.10" in found.message
    assert found.message.count("as at 40") + found.message.count("as at 39") == len(wrong)
    assert set(found.samples) == {FRAMES * replica for replica in wrong}


def test_the_pooled_slope_alone_would_not_know():
    """What the rule of single replicas is for: the slope of all is within its tolerance."""
    found = judged(LABELS, [400.0 if place == 1 else label for place, label in enumerate(LABELS)])

    assert abs(found.measured["slope"] / found.measured["slope_expected"] - 1) < 0.1


def test_every_neighbour_of_a_temperature_is_compared():
    ladder = [300.0, 400.0, 533.0] * 2
    assert judged(ladder, ladder, temperatures=[300.0, 400.0, 533.0]).passed

    found = judged(ladder, [300.0, 430.0, *ladder[2:]], temperatures=[300.0, 400.0, 533.0])

    assert not found.passed
    assert "replica 1 is labelled 400 K" in found.message
    assert "identity" not in found.measured


def test_energies_that_do_not_overlap_their_neighbours_are_refused():
    found = judged(LABELS, [5000.0 if place == 1 else label for place, label in enumerate(LABELS)])

    assert not found.passed
    assert "replica 1 is labelled 450 K" in found.message


def test_errors_are_those_of_independent_samples():
    one, other = ((energies(each), np.ones(FRAMES)) for each in (300.0, 450.0))
    alone, remembering = (Slope.between(300.0, 450.0, one, other, each) for each in (1.0, 4.0))

    assert remembering.value == alone.value
    assert remembering.error == pytest.approx(2 * alone.error)
    assert alone.meaning(of_cold=False).startswith("as at 4")
    for low, high in pairwise([0.0, 0.1, 0.3]):
        assert alone.right(low, 1.0) <= alone.right(high, 1.0)
