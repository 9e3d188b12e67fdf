"""A group that occurs in two splits is found by all of its ids together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.errors import SchemaError
from prep.folds import groups
from prep.folds.groups import GroupRanges, GroupsResult
from tests.measuring import measure

SPLITS = {"train": (0, 60), "val": (60, 80), "test": (80, 100)}


def test_groups_that_keep_to_their_split_are_counted() -> None:
    fold = GroupRanges(("trajectory",), SPLITS)
    assert measure(fold, {"trajectory": np.arange(100) // 5}) == GroupsResult({"train": 12, "val": 4, "test": 4}, 0, ())


def test_a_shared_group_is_named_with_a_sample_of_each_split() -> None:
    system, trajectory = np.arange(100) // 50, np.arange(100) % 50
    fold = GroupRanges(("system", "trajectory"), SPLITS)
    assert measure(fold, {"system": system, "trajectory": trajectory}).shared_count == 0
    system[65], trajectory[65] = 0, 7
    result = measure(fold, {"system": system, "trajectory": trajectory}, (33, 65))
    assert result.shared_count == 1
    assert result.shared == (((0, 7), 7, 65),)


def test_ids_count_together_not_one_by_one() -> None:
    shared_system = {"system": np.zeros(100, int), "trajectory": np.arange(100)}
    assert measure(GroupRanges(("system", "trajectory"), SPLITS), shared_system).shared_count == 0
    assert measure(GroupRanges(("system",), SPLITS), shared_system).shared_count == 1


def test_a_group_in_three_splits_is_one_shared_group() -> None:
    result = measure(GroupRanges(("g",), SPLITS), {"g": np.full(100, -3)})
    assert result == GroupsResult({"train": 1, "val": 1, "test": 1}, 1, (((-3,), 0, 60),))


def test_ten_shared_groups_are_listed_and_all_are_counted() -> None:
    result = measure(GroupRanges(("g",), SPLITS), {"g": np.arange(100) % 40})
    assert (len(result.shared), result.shared_count) == (10, 40)


def test_the_shared_groups_that_are_listed_are_those_whose_later_sample_comes_first() -> None:
    ids = 1_000 - np.arange(100)
    ids[60:80] = ids[:20]
    result = measure(GroupRanges(("g",), SPLITS), {"g": ids}, (30, 70))
    assert [pair[1:] for pair in result.shared] == [(row, 60 + row) for row in range(10)]
    assert result.shared_count == 20


@settings(max_examples=20)
@given(ids=st.lists(st.integers(0, 30), min_size=100, max_size=100), limit=st.sampled_from([0, 5, 1 << 16]))
def test_what_is_found_does_not_depend_on_when_memory_is_compacted(ids: list[int], limit: int) -> None:
    array = np.asarray(ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "_COMPACT_ROWS", limit)
        result = measure(GroupRanges(("g",), SPLITS), {"g": array}, tuple(range(1, 100, 3)))
    own = [set(ids[start:stop]) for start, stop in SPLITS.values()]
    assert list(result.groups.values()) == [len(each) for each in own]
    assert result.shared_count == len((own[0] & own[1]) | (own[0] & own[2]) | (own[1] & own[2]))


def test_ids_that_are_no_integers_are_refused() -> None:
    with pytest.raises(SchemaError, match="identified by integers"):
        measure(GroupRanges(("g",), SPLITS), {"g": np.zeros(100)})
