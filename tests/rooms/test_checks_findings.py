"""Findings: which samples fail first, what is worst and where, however the rows were cut into blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from prep.blocks import SPLITS
from prep.checks import CHECKS, Finding
from prep.errors import SchemaError
from tests.laws.test_checks import CASES, ROWS, SIDE, Arrays, Case, describe, examine, in_memory, made

CUTS: Sequence[Sequence[int]] = ((), (1,), (39,), (13, 26), (7, 24, 25, 32), tuple(range(1, ROWS)))


def spoilt(name: str) -> Arrays:
    arrays = made(CASES[name])
    CASES[name].defect(arrays)
    return arrays


def unit(arrays: Arrays, row: int, size: float) -> None:
    """A sample whose RMS is 1 + size."""
    arrays["x"][row] = arrays["mask"][row] * np.float32(1 + size)


def skew(arrays: Arrays, row: int, size: float) -> None:
    matrix = np.eye(SIDE, dtype=np.complex64)
    matrix[0, 1] += size
    arrays["r"][row] = matrix


def negative(arrays: Arrays, row: int, size: float) -> None:
    arrays["r"][row] = np.diag([-SIDE * size] + [1.0] * (SIDE - 1))


def traced(arrays: Arrays, row: int, size: float) -> None:
    arrays["r"][row] = np.eye(SIDE) * (1 + size)


def longer(arrays: Arrays, row: int, size: float) -> None:
    arrays["r"][row] = np.eye(SIDE) * (1 + size) * np.sqrt(SIDE)


def more_eigenvalues(arrays: Arrays, row: int, size: float) -> None:
    """``size`` more eigenvalues than sources."""
    diagonal = (np.arange(SIDE) < arrays["count"][row] + size).astype(float)
    arrays["r"][row] = np.diag(diagonal / diagonal.sum() * SIDE)


def other_factor(arrays: Arrays, row: int, size: float) -> None:
    arrays["factor"][row] *= np.sqrt(1 + size)


def counts_more(arrays: Arrays, row: int, size: float) -> None:
    arrays["count"][row] += int(size)


def not_finite(arrays: Arrays, row: int, size: float) -> None:
    arrays["x"][row, : int(size)] = np.nan


def not_binary(arrays: Arrays, row: int, size: float) -> None:
    arrays["e"][row, : int(size)] = 0.5


def wrong_bits(arrays: Arrays, row: int, size: float) -> None:
    """The code of ``size`` more states than the mask counts."""
    arrays["states"][row] = np.arange(12) < 5
    arrays["e"][row, 3:] = [int(bit) for bit in f"{5 + int(size):04b}"]


def outside(arrays: Arrays, row: int, size: float) -> None:
    arrays["x"][row, 1] = -9 - size


def padded(arrays: Arrays, row: int, size: float) -> None:
    arrays["mask"][row, 1:] = 0
    arrays["x"][row] = [1.0, 0.0, -size]


def reordered(arrays: Arrays, row: int, size: float) -> None:
    arrays["mask"] = np.ones((ROWS, 6), np.uint8) if arrays["mask"].shape[1] != 6 else arrays["mask"]
    arrays["mask"][row] = [0, 1, 0, 1, 0, 1] if size == 3 else [0, 1, 1, 1, 1, 1]


def chooses_more(arrays: Arrays, row: int, size: float) -> None:
    """Both of two choices, or the other one."""
    arrays["selector"][row] = [1, 1] if size == 1 else 1 - arrays["selector"][row]


def late(arrays: Arrays, row: int, size: float) -> None:
    """Time stands still, then jumps by ``size`` steps."""
    arrays["time"][row, 12:] += size / 1000


# name: (how to spoil a sample by a size, a small and a large size, what the large one measures)
SPOIL: dict[str, tuple[Callable[[Arrays, int, float], None], float, float, float]] = {
    "binary": (not_binary, 1, 4, 4),
    "count_matches": (counts_more, 1, 3, 3),
    "encoding": (wrong_bits, 1, 4, 4),
    "factorised": (other_factor, 0.1, 0.5, 0.5),
    "finite": (not_finite, 1, 3, 3),
    "hermitian": (skew, 0.1, 3.0, np.sqrt(2 * 9 / (SIDE + 9))),
    "in_bounds": (outside, 0.5, 4.0, 4.0),
    "mask_prefix": (reordered, 1, 3, 3),
    "norm_bounds": (longer, 2.0, 4.0, 4.0),
    "one_hot": (chooses_more, 1, 2, 2),
    "psd": (negative, 0.1, 0.25, -0.25),
    "rank": (more_eigenvalues, 1, 4, 4),
    "time_steps": (late, 0.1, 3.0, 3.0),
    "trace_n": (traced, 0.1, 0.3, 0.3),
    "unit_rms": (unit, 0.1, 0.3, 0.3),
    "zero_padding": (padded, 1e-20, 0.5, 0.5),
}


def planted(name: str, rows: Sequence[int], largest: int) -> Arrays:
    spoil, small, large, _ = SPOIL[name]
    arrays = made(CASES[name])
    for row in rows:
        spoil(arrays, row, large if row == largest else small)
    return arrays


@pytest.mark.parametrize("name", SPOIL)
@pytest.mark.parametrize("rows", [(0,), (39,), (12, 13, 25, 26), (5, 23, 24, 31, 32)])
def test_a_finding_names_exactly_the_bad_samples_their_splits_and_the_worst_of_them(name: str, rows: tuple[int, ...]):
    worst = rows[len(rows) // 2]

    finding = examine(name, CASES[name], planted(name, rows, worst))

    assert not finding.passed
    assert (finding.failing, finding.samples) == (len(rows), rows)
    assert finding.splits == tuple(SPLITS[0 if row < 24 else 1 if row < 32 else 2] for row in rows)
    assert finding.worst_sample == worst
    assert finding.worst == pytest.approx(SPOIL[name][3], rel=1e-5)
    assert f"{len(rows)} of {ROWS} samples" in finding.message
    assert f"sample {worst}" in finding.message


@pytest.mark.parametrize("name", SPOIL)
def test_of_many_bad_samples_the_first_ten_are_named_and_all_are_counted(name: str):
    rows = range(3, ROWS, 2)

    finding = examine(name, CASES[name], planted(name, rows, 35))

    assert finding.failing == len(rows)
    assert finding.samples == tuple(rows)[:10]
    assert finding.worst_sample == 35


@pytest.mark.parametrize("name", SPOIL)
def test_of_equally_bad_samples_the_first_is_the_worst(name: str):
    spoil, _, large, _ = SPOIL[name]
    arrays = made(CASES[name])
    for row in (30, 9, 17):
        spoil(arrays, row, large)

    assert examine(name, CASES[name], arrays).worst_sample == 9


def bounded(low: float, high: float) -> Case:
    """Two values a sample between bounds."""
    return Case({"var": "n", "low": low, "high": high}, {"n": "pair"}, lambda rng: {}, lambda arrays: None)


def numbers(dtype: str, usual: float, rows: Sequence[int] = (), unusual: float = 0) -> Arrays:
    """``usual`` everywhere but in the second value of ``rows``."""
    array = np.full((ROWS, 2), usual, dtype)
    array[list(rows), 1] = unusual
    return {**made(bounded(0, 0)), "n": array}


BIG = 1 << 53
BEYOND = [
    # (dtype, low, high, a number inside, the nearest one outside, how far that is)
    ("i8", 0, BIG, BIG, BIG + 1, 1),
    ("i8", 0, float(BIG), BIG, BIG + 1, 1),
    ("i8", BIG + 1, 2 * BIG, BIG + 1, BIG, 1),
    ("i8", -BIG, 0, -BIG, -BIG - 1, 1),
    ("i8", -BIG - 1, 0, -BIG - 1, -BIG - 4, 3),
    ("i8", 0, 10**30, 2**63 - 1, -(2**63), 2.0**63),
    ("i8", 10**18 + 1, 10**30, 10**18 + 1, 10**18, 1),
    ("u8", 0, 2**64 - 1024, 2**64 - 1024, 2**64 - 1, 1023),
    ("u8", -(10**30), 2**64 - 2, 0, 2**64 - 1, 1),
    ("u8", 2**64 - 1, 2**64, 2**64 - 1, 2**64 - 2, 1),
    ("i4", 0.5, 2.5, 1, 3, 1),
    ("i1", -300, 126, -128, 127, 1),
    ("?", 0.5, 1, True, False, 1),
    ("?", -1, 0, False, True, 1),
    ("f8", 0, BIG + 1, BIG, BIG + 2, 2),
    ("f8", BIG + 1, 3 * BIG, BIG + 2, BIG, 2),
    ("f4", 0.1, 1, 0.125, 0.0999999, 1e-7),
]


@pytest.mark.parametrize(("dtype", "low", "high", "inside", "outside", "distance"), BEYOND)
@pytest.mark.parametrize("cuts", [(), (17, 18)])
@pytest.mark.parametrize("rows", [(), (17,), range(ROWS)])
def test_bounds_are_kept_to_the_last_integer_on_disk_and_in_memory(
    dtype: str, low: float, high: float, inside: float, outside: float, distance: float, cuts: tuple[int], rows
):
    case, arrays = bounded(low, high), numbers(dtype, inside, rows, outside)

    finding = examine("in_bounds", case, arrays, cuts)

    assert (finding.passed, finding.failing, finding.samples) == (not rows, len(rows), tuple(rows)[:10])
    assert finding.worst == pytest.approx(distance if rows else 0, rel=0.1 if dtype == "f4" else 1e-12)
    assert in_memory("in_bounds", case, arrays) == (not rows, list(rows))


def test_bounds_that_differ_by_one_are_two_measurements_and_are_told_apart_in_the_finding():
    arrays = numbers("i8", BIG + 1)
    check, spec = CHECKS.load("in_bounds")(), describe(bounded(0, 0), arrays)
    keys = {fold.key for high in (BIG, BIG + 1) for fold in check.folds(spec, bounded(0, high).statistics)}

    assert len(keys) == 2
    assert examine("in_bounds", bounded(0, BIG), arrays).limit == "0 outside 0 ≤ x ≤ 9007199254740992"
    assert examine("in_bounds", bounded(0, BIG + 1), arrays).passed


@pytest.mark.parametrize("dtype", ["i8", "u1", "?", "f4", "f8", "c8"])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        *((0, 10**400), (-(10**400), 0), (np.nan, 1), (0, np.nan), (-np.inf, 1), (0, np.inf)),
        *((2, 1), (BIG + 1, BIG), (BIG + 1, float(BIG))),
    ],
)
def test_bounds_that_are_not_finite_or_the_wrong_way_round_are_an_error_in_the_schema(
    dtype: str, low: float, high: float
):
    spec = describe(bounded(low, high), numbers(dtype, 1))

    with pytest.raises(SchemaError, match="makes no sense") as caught:
        CHECKS.load("in_bounds")().folds(spec, bounded(low, high).statistics)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("factorised", 1e-5),
        ("hermitian", 3e-6 / np.sqrt(2)),
        ("norm_bounds", 1e-5),
        ("psd", 1e-5),
        ("trace_n", 1e-5),
        ("unit_rms", 1e-5),
    ],
)
def test_a_tolerance_is_kept_to_a_tenth_of_itself(name: str, limit: float):
    for factor, failing in ((0.9, ()), (1.1, (17,))):
        arrays = made(CASES[name])
        SPOIL[name][0](arrays, 17, factor * limit)

        assert examine(name, CASES[name], arrays).samples == failing


@pytest.mark.parametrize(("name", "worst"), [("rank", np.inf), ("trace_n", 1.0), ("norm_bounds", np.inf)])
def test_a_matrix_of_zeros_that_an_exception_handler_left_is_refused(name: str, worst: float):
    arrays = made(CASES[name])
    arrays["r"][20] = 0

    finding = examine(name, CASES[name], arrays)

    assert (finding.samples, finding.worst_sample, finding.worst) == ((20,), 20, worst)


@pytest.mark.parametrize(
    ("step", "value"), [(0, 0), (7, 1), (23, 1), (0, 2)], ids=["none", "in the middle", "at the end", "scaled"]
)
def test_a_mark_elsewhere_than_at_the_first_step_is_refused(step: int, value: int):
    arrays = made(CASES["time_steps"])
    arrays["reset"][17, step] = value

    finding = examine("time_steps", CASES["time_steps"], arrays)

    assert (finding.samples, finding.worst) == ((17,), 1)


@pytest.mark.parametrize("order", ["reversed", "swapped", "repeated", "faster"])
def test_steps_out_of_order_or_at_another_rate_are_refused(order: str):
    arrays = made(CASES["time_steps"])
    time = arrays["time"]
    if order == "swapped":
        time[30, [4, 5]] = time[30, [5, 4]]
    else:
        time[30] = {
            "reversed": time[30, ::-1],
            "repeated": np.maximum(time[30], time[30, 1]),
            "faster": 1.1 * time[30],
        }[order]

    assert examine("time_steps", CASES["time_steps"], arrays).samples == (30,)


def test_a_sequence_may_begin_at_any_time():
    arrays = made(CASES["time_steps"])
    arrays["time"] += 5

    assert examine("time_steps", CASES["time_steps"], arrays).passed


@pytest.mark.parametrize("row", [[0, 0], [1, 1], [0, 2]])
def test_without_an_index_a_choice_is_still_one_of_several(row: list[int]):
    case = replace(CASES["one_hot"], statistics={"var": "selector", "index": ""})
    arrays = made(case)
    assert examine("one_hot", case, arrays).passed
    arrays["selector"][[3, 29]] = row

    assert examine("one_hot", case, arrays).samples == (3, 29)


def test_a_choice_of_nothing_does_not_fit_an_index_beyond_the_row():
    arrays = made(CASES["one_hot"])
    arrays["selector"][8], arrays["tone"][8] = 0, 2

    assert examine("one_hot", CASES["one_hot"], arrays).samples == (8,)


@pytest.mark.parametrize("how", ["other sequences", "noise", "shuffled in time", "one filter for all"])
def test_a_filter_that_sees_nothing_fails_and_says_what_it_scores(how: str):
    case, rng = CASES["fir_probe"], np.random.default_rng(1)
    arrays = made(case)
    if how == "other sequences":
        arrays["signal"] = np.roll(arrays["signal"], 1, axis=0)
    elif how == "noise":
        arrays["signal"] = rng.standard_normal(arrays["signal"].shape).astype(np.float32)
    elif how == "shuffled in time":
        arrays["signal"] = rng.permuted(arrays["signal"], axis=1)
    else:
        case = replace(case, statistics={**case.statistics, "group": ""})

    finding = examine("fir_probe", case, arrays)

    assert not finding.passed
    assert finding.worst is not None
    assert finding.worst > 10 * case.statistics["nmse_max"]
    assert "3 taps over 5 steps" in finding.message


def test_a_filter_is_scored_on_the_split_that_is_named():
    arrays = made(CASES["fir_probe"])
    arrays["echo"][32:] = np.roll(arrays["echo"][32:], 3, axis=1)
    passed = {}
    for split in SPLITS:
        case = replace(CASES["fir_probe"], statistics={**CASES["fir_probe"].statistics, "split": split})
        passed[split] = examine("fir_probe", case, arrays).passed

    assert passed == {"train": True, "val": True, "test": False}


def alike(left: Finding, right: Finding) -> bool:
    """Equal but for the last digits of a sum that was cut elsewhere."""
    plain = [replace(each, worst=None, message="", measured={}) for each in (left, right)]
    numbers = [{"worst": each.worst, **each.measured, **each.measured.get("shares", {})} for each in (left, right)]
    near = [{name: value for name, value in each.items() if isinstance(value, float)} for each in numbers]
    return plain[0] == plain[1] and near[0] == pytest.approx(near[1], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("good", [True, False])
def test_a_finding_does_not_depend_on_how_the_rows_were_cut(name: str, good: bool):
    arrays = made(CASES[name]) if good else spoilt(name)
    findings = [examine(name, CASES[name], arrays, cuts) for cuts in CUTS]

    for finding in findings[1:]:
        assert alike(finding, findings[0]), (findings[0], finding)


@pytest.mark.parametrize("name", sorted(set(SPOIL) - {"binary", "count_matches", "encoding", "mask_prefix", "one_hot"}))
def test_a_value_that_is_not_a_number_is_worse_than_any_number(name: str):
    field = next(each for each in ("x", "r", "time") if each in made(CASES[name]))
    arrays = planted(name, (4, 20), 20)
    index = (15, *([0] * (arrays[field].ndim - 1)))
    arrays[field][index] = np.nan
    if name == "zero_padding":
        arrays["mask"][15] = 0
        arrays["x"][15, 1:] = 0
    if name == "finite":
        arrays[field][15] = np.nan

    finding = examine(name, CASES[name], arrays)

    assert finding.samples == (4, 15, 20)
    assert finding.worst_sample == 15
    assert finding.worst == 3 if name == "finite" else not np.isfinite(finding.worst)
    if name in ("in_bounds", "zero_padding"):
        assert "(worst: NaN in sample 15)" in finding.message


@pytest.mark.parametrize(
    ("name", "bad", "failing"),
    [("standardised", (0, 24), 24), ("held_out", (0, 24), 24), ("held_out", (12, 32), 8)],
)
def test_checks_of_statistics_count_every_sample_that_has_none(name: str, bad: tuple[int, int], failing: int):
    arrays = made(CASES[name])
    arrays["x"][slice(*bad)] = np.nan

    finding = examine(name, CASES[name], arrays)

    first = bad[1] - failing
    assert (finding.failing, finding.samples) == (failing, tuple(range(first, min(first + 10, bad[1]))))


@pytest.mark.parametrize("name", ["learnability", "linear_fit", "fir_probe"])
@pytest.mark.parametrize("rows", [[3], range(ROWS)])
def test_a_probe_says_that_nan_kept_samples_from_it(name: str, rows: Sequence[int]):
    arrays = made(CASES[name])
    target = CASES[name].statistics["var"]
    arrays[target] = np.array(arrays[target], dtype=np.float64)
    arrays[target][list(rows)] = np.nan

    finding = examine(name, CASES[name], arrays)

    assert not finding.passed
    assert "are NaN or infinite" in finding.message
    assert "NaN" in finding.remedy
    assert "mask" not in finding.message + finding.remedy


def test_rows_in_two_splits_are_named_by_the_later_sample_and_say_which_they_equal():
    arrays = made(CASES["unique_rows"])
    for name in ("x", "mask", "system"):
        arrays[name][[25, 26, 33, 39]] = arrays[name][[3, 3, 24, 3]]

    finding = examine("unique_rows", CASES["unique_rows"], arrays)

    assert (finding.failing, finding.samples, finding.splits) == (4, (25, 26, 33, 39), ("val", "val", "test", "test"))
    assert "sample 25 (val) equals sample 3 (train)" in finding.message


def test_equal_rows_within_one_split_are_no_leak():
    arrays = made(CASES["unique_rows"])
    for name in ("x", "mask", "system"):
        arrays[name][1:20] = arrays[name][0]

    assert examine("unique_rows", CASES["unique_rows"], arrays).passed


def test_a_group_in_two_splits_is_named_with_a_sample_in_each():
    arrays = made(CASES["groups_disjoint"])
    arrays["trajectory"][[36, 29]] = [1, 5]

    finding = examine("groups_disjoint", CASES["groups_disjoint"], arrays)

    assert (finding.failing, finding.samples, finding.splits) == (2, (29, 36), ("val", "test"))
    assert "that of sample 20 (train) is also that of sample 29 (val)" in finding.message


def test_the_same_number_in_another_system_is_another_group():
    arrays = made(CASES["groups_disjoint"])
    arrays["trajectory"][36:] = 1
    arrays["system"][36:] = 7

    assert examine("groups_disjoint", CASES["groups_disjoint"], arrays).passed


def test_samples_flagged_for_another_split_are_named():
    arrays = made(CASES["split_flags"])
    arrays["split"][[5, 24, 39]] = [2, 0, 9]

    finding = examine("split_flags", CASES["split_flags"], arrays)

    assert (finding.failing, finding.samples, finding.splits) == (3, (5, 24, 39), ("train", "val", "test"))
