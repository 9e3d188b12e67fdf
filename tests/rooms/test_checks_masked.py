"""Checks on statistics: padding never counts, each group is judged by itself, and only the split that is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.laws.test_checks import CASES, ROWS, Arrays, Case, examine, linear, made, masked

TRAIN, VAL, TEST = slice(0, 24), slice(24, 32), slice(32, 40)
PROBES = ("learnability", "linear_fit")
MOMENTS = ("constant_feature", "loss_share", "standardised", "zero_baseline")


def probing(rng: np.random.Generator) -> Arrays:
    """u = -K x of two systems, the second without the last state and the last control."""
    data = linear(rng)
    own = np.ones((ROWS, 2), np.uint8)
    own[data["system"] == 1, 1] = 0
    return {**data, "u": data["u"] * own, "own": own}


def case_of(name: str) -> Case:
    """The case of a check on statistics with every mask it can take."""
    case = CASES[name]
    if name not in PROBES:
        return case
    statistics = {**case.statistics, "mask": "own", "input_mask": "mask"}
    return Case(statistics, {**case.dims, "own": "control"}, probing, case.defect)


def pollute(arrays: Arrays, value: float) -> None:
    """Put ``value`` wherever a mask leaves something out."""
    if "own" in arrays:
        arrays["u"][arrays["own"] == 0] = value
        arrays["x"][np.broadcast_to(arrays["mask"][:, np.newaxis] == 0, arrays["x"].shape)] = value
    else:
        arrays["x"][arrays["mask"] == 0] = value


@pytest.mark.parametrize("name", [*MOMENTS, *PROBES, "unit_rms"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -7.0])
@pytest.mark.parametrize("broken", [False, True])
def test_what_a_mask_leaves_out_never_counts(name: str, value: float, broken: bool):
    case = case_of(name)
    clean, polluted = made(case), made(case)
    for arrays in (clean, polluted):
        if broken:
            case.defect(arrays)
            pollute(arrays, 0.0)
    pollute(polluted, value)

    finding = examine(name, case, polluted)

    assert finding == examine(name, case, clean)
    assert finding.passed is not broken
    # What is examined is what the mask counts, no more (a probe counts samples, a sample's RMS is of the sample).
    if name in MOMENTS:
        assert finding.examined == finding.present == int(clean["mask"][TRAIN].sum())


@pytest.mark.parametrize("name", sorted(set(MOMENTS) - {"constant_feature"}))
def test_without_its_mask_the_padding_would_have_counted(name: str):
    case = case_of(name)
    arrays = made(case)
    pollute(arrays, 1e3)

    assert examine(name, case, arrays).passed
    assert not examine(name, replace(case, statistics={**case.statistics, "mask": ""}), arrays).passed


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("balanced", [False, True])
def test_a_mask_that_is_no_mask_gives_no_verdict(name: str, balanced: bool):
    arrays = made(CASES[name])
    arrays["mask"][2, 0] = 2
    if balanced:  # as many as before in sum
        arrays["mask"][4, 0] = 0

    finding = examine(name, CASES[name], arrays)

    assert not finding.passed
    assert "0 and 1" in finding.message + finding.remedy


@pytest.mark.parametrize("name", MOMENTS)
def test_a_value_that_counts_and_is_not_a_number_is_told_as_such(name: str):
    arrays = made(CASES[name])
    arrays["x"][4, 0] = np.nan

    finding = examine(name, CASES[name], arrays)

    assert not finding.passed
    assert "1 counted value of x is NaN or infinite" in finding.message


@pytest.mark.parametrize("name", [*MOMENTS, "linear_fit"])
def test_only_the_split_that_the_schema_names_is_judged(name: str):
    case = case_of(name)
    arrays = made(case)
    target = arrays["u" if name in PROBES else "x"]
    target[VAL], target[TEST] = np.nan, 1e9
    elsewhere = replace(case, statistics={**case.statistics, "split": "val"})

    assert examine(name, case, arrays) == examine(name, case, made(case))
    assert not examine(name, elsewhere, arrays).passed


def test_a_linear_probe_is_fitted_on_train_and_scored_on_val_and_never_sees_test():
    case = case_of("learnability")
    arrays, other = made(case), made(case)
    arrays["u"][TEST], arrays["x"][TEST] = np.nan, 1e9
    other["u"][VAL] *= -1

    assert examine("learnability", case, arrays) == examine("learnability", case, made(case))
    finding = examine("learnability", case, other)
    assert finding.worst == pytest.approx(4, rel=1e-3)  # (u - (-u))² / u²
    assert not finding.passed


def test_a_target_that_cannot_be_learnt_does_not_hide_behind_the_others():
    case = case_of("learnability")
    together = replace(case, statistics={**case.statistics, "nmse_max": 0.7, "judged": "together"})
    one_by_one = replace(case, statistics={**case.statistics, "nmse_max": 0.7})
    arrays = made(case)
    arrays["u"][:, 0] = np.roll(arrays["u"][:, 0], 3)
    arrays["u"][:, 1] *= 10

    assert examine("learnability", together, arrays).passed
    finding = examine("learnability", one_by_one, arrays)
    assert not finding.passed
    assert "for target 0 of system" in finding.message
    assert finding.measured["each"]["0"]["1"] < 0.01
    assert finding.measured["each"]["0"]["0"] > 0.7


def test_a_probe_is_scored_on_the_split_that_is_named():
    case = case_of("learnability")
    arrays = made(case)
    arrays["u"][TEST] *= -1
    test = replace(case, statistics={**case.statistics, "split": "test"})

    assert examine("learnability", case, arrays).passed
    assert not examine("learnability", test, arrays).passed


def test_a_group_that_lost_samples_is_named_and_so_is_one_that_is_gone():
    case = CASES["group_count"]
    arrays = made(case)
    arrays["system"][:24] = 0
    arrays["system"][:3] = 1
    finding = examine("group_count", case, arrays)
    assert not finding.passed
    assert "system 1 has 3 samples in the train split, where the average one has 12" in finding.message

    arrays["system"][:24] = 0
    finding = examine("group_count", case, arrays)
    assert "1 different system in the train split instead of 2 (1 of the other splits" in finding.message
    assert finding.worst == 0


def grouped(name: str, change: Callable[[Any, Any], None], **statistics: Any) -> tuple[Any, Any]:
    """The finding per system and without groups, after ``change(x, rows of system 1)``."""
    case = CASES[name]
    arrays = made(case)
    change(arrays["x"], arrays["system"] == 1)
    chosen = replace(case, statistics={**case.statistics, **statistics})
    pooled = replace(chosen, statistics={**chosen.statistics, "group": ""})
    return examine(name, chosen, arrays), examine(name, pooled, arrays)


def test_one_group_that_is_not_standardised_is_named_though_all_together_seem_so():
    def spread(x: Any, mine: Any) -> None:
        x[mine, :2] *= 0.6
        x[~mine, :2] *= np.sqrt(2 - 0.6**2)

    own, pooled = grouped("standardised", spread, features=["feature"])

    assert pooled.passed
    assert not own.passed
    assert "in feature 0 of system 1" in own.message or "in feature 1 of system 1" in own.message
    assert own.worst == pytest.approx(0.4, abs=1e-3)
    assert "4 of 5 features" in own.message
    assert "per system" in own.remedy


def test_groups_are_judged_one_by_one_without_a_mask_too():
    case = CASES["standardised"]
    arrays = made(case)
    arrays["x"], arrays["mask"] = arrays["x"][:, :2], arrays["mask"][:, :2]
    mine = arrays["system"] == 1
    arrays["x"][mine] *= 0.6
    arrays["x"][~mine] *= np.sqrt(2 - 0.6**2)

    own, pooled = (
        examine("standardised", replace(case, statistics={**case.statistics, "mask": "", "group": group}), arrays)
        for group in ("system", "")
    )

    assert pooled.passed
    assert not own.passed
    assert "4 of 4 features" in own.message
    assert "of system 1" in own.message


def test_the_worst_feature_is_named_with_its_mean_and_std():
    def shift(x: Any, mine: Any) -> None:
        x[mine, 1] += 0.5
        x[~mine, 2] *= 1.2

    own, _ = grouped("standardised", shift)

    assert "worst: mean 0.5, std 1 in feature 1 of system 1" in own.message
    assert own.worst == pytest.approx(0.5, abs=1e-5)


def test_a_feature_that_is_constant_in_one_group_is_named_with_its_value():
    def freeze(x: Any, mine: Any) -> None:
        x[mine, 1] = 0.25

    own, pooled = grouped("constant_feature", freeze)

    assert pooled.passed
    assert not own.passed
    assert own.worst == 1
    assert "first: feature 1 of system 1, always 0.25" in own.message


def test_a_group_that_hides_the_others_in_the_loss_is_named_with_its_share():
    case = CASES["loss_share"]
    arrays = made(case)
    arrays["x"][arrays["system"] == 1] *= 3

    finding = examine("loss_share", case, arrays)

    # System 0 has 12 rows of 3 values and mean square 1, system 1 12 rows of 2 values and mean square 9.
    share = 9 * 24 / (36 + 9 * 24)
    assert not finding.passed
    assert finding.worst == pytest.approx(9 / ((36 + 9 * 24) / 60), rel=1e-3)
    assert "system 1 weighs most" in finding.message
    assert f"{share:.1%}" in finding.message


def test_one_group_without_a_linear_law_is_named():
    case = CASES["linear_fit"]
    arrays = made(case)
    mine = np.flatnonzero(arrays["system"][TRAIN] == 1)
    arrays["u"][mine, 1] = np.random.default_rng(0).normal(size=len(mine))

    finding = examine("linear_fit", case, arrays)

    assert not finding.passed
    assert "fails for 1 of 4 targets" in finding.message
    assert "target 1 of system 1" in finding.message


def test_two_laws_in_one_group_are_no_linear_law():
    case = CASES["linear_fit"]
    pooled = replace(case, statistics={**case.statistics, "group": ""})

    assert examine("linear_fit", case, made(case)).passed
    assert not examine("linear_fit", pooled, made(case)).passed


def test_a_group_of_val_that_train_does_not_have_cannot_be_learnt():
    case = case_of("learnability")
    arrays = made(case)
    arrays["system"][VAL] = 9

    finding = examine("learnability", case, arrays)

    assert not finding.passed
    assert finding.worst == np.inf


def test_the_zero_baseline_is_the_mean_square_of_what_counts():
    case = CASES["zero_baseline"]
    arrays = made(case)
    arrays["x"] = arrays["mask"] * np.float32(2)
    pollute(arrays, 50.0)

    finding = examine("zero_baseline", case, arrays)

    assert finding.worst == pytest.approx(4)
    assert not finding.passed
    assert "scores 4 on the train split" in finding.message


def test_everything_left_out_is_nothing_examined():
    case = CASES["standardised"]
    arrays = masked(np.random.default_rng(0))
    arrays["mask"][:] = 0
    arrays["split"] = made(case)["split"]

    for name in MOMENTS:
        finding = examine(name, CASES[name], arrays)
        assert not finding.passed
        assert "nothing to examine" in finding.message
