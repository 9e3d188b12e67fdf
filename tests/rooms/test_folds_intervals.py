"""Stretches of time: as few as there are blocks of it, and of splits they say what every pair of samples says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prep.blocks import Array, FieldSpec
from prep.checks import Finding
from prep.checks.separated import Separated
from prep.errors import SchemaError
from prep.folds.intervals import Intervals
from tests.measuring import dataset, measure

TRAIN = 12


def judged(time: Array, group: Array, gap: float, cuts: tuple[int, ...] = ()) -> Finding:
    """The finding for the first twelve samples in train and the others in val."""
    arrays = {"time": time.astype(np.float64), "run": group.astype(np.int32)}
    fields = [
        FieldSpec(name, array.dtype, ("sample",), (), "aux", units="ps" if name == "time" else "1")
        for name, array in arrays.items()
    ]
    spec, check = dataset(*fields, rows=len(time), train=TRAIN), Separated()
    statistics = {"var": "time", "group": "run", "gap": gap}
    measured = {fold.key: measure(fold, arrays, cuts) for fold in check.folds(spec, statistics)}
    return check.judge(spec, statistics, measured)


@given(
    st.lists(st.integers(0, 60), min_size=18, max_size=18),
    st.lists(st.integers(0, 1), min_size=18, max_size=18),
    st.sampled_from([1.0, 3.0, 7.0]),
    st.lists(st.integers(1, 17), max_size=4),
)
def test_stretches_say_what_every_pair_of_samples_says(
    times: list[int], groups: list[int], gap: float, cuts: list[int]
):
    time, group = np.array(times), np.array(groups)
    pairs = [(a, b) for a, b in itertools.product(range(TRAIN), range(TRAIN, 18)) if group[a] == group[b]]
    least = min((abs(int(time[a] - time[b])) for a, b in pairs), default=100)

    found = judged(time, group, gap, tuple(cuts))

    assert found.passed == (least >= gap)
    if found.passed and pairs:
        assert found.worst == least


def test_a_trajectory_without_a_gap_is_one_stretch_however_long_it_is():
    fold = Intervals("time", "", {"train": (0, 90_000), "val": (90_000, 100_000)}, 1.5)
    random = np.random.default_rng(0).permutation(90_000)
    time = np.concatenate([random, np.arange(95_000, 105_000)]).astype(np.float64)

    result = measure(fold, {"time": time}, range(1000, 100_000, 1000))

    assert {cell: each.ends.tolist() for cell, each in result.stretches.items()} == {
        (0, 0): [[0.0, 89_999.0]],
        (0, 1): [[95_000.0, 104_999.0]],
    }
    assert result.stretches[0, 0].rows.tolist() == [[int(random.argmin()), int(random.argmax())]]


def test_the_nearest_samples_are_named_with_their_splits():
    time = np.concatenate([np.arange(12), np.arange(15, 21)])

    found = judged(time, np.zeros(18), 5.0)

    assert not found.passed
    assert found.worst == 4.0
    assert found.message.endswith("nearest: run 0: sample 11 (train) and sample 12 (val) are 4 ps apart")
    assert found.limit == "≥ 5 ps between samples of two splits in a run"


def test_a_time_that_is_no_number_is_refused():
    time = np.concatenate([np.arange(12.0), np.arange(50.0, 56.0)])
    time[3] = np.nan

    found = judged(time, np.zeros(18), 5.0)

    assert not found.passed
    assert found.samples == (3,)
    assert "1 sample of time not finite" in found.message


def test_more_stretches_than_memory_has_room_for_are_an_error_in_the_schema(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("prep.folds.intervals.MOST_STRETCHES", 4)
    fold = Intervals("time", "", {"train": (0, 10)}, 0.5)

    with pytest.raises(SchemaError, match="too many stretches") as caught:
        measure(fold, {"time": np.arange(10.0)})
    assert "longer than the distance of neighbouring samples" in caught.value.remedy
