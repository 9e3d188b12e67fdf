"""Equal rows are found wherever they are, and no others."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.blocks import Array, Block
from prep.errors import StorageError
from prep.folds import duplicates
from prep.folds.duplicates import DuplicatesResult, RowHashes
from prep.kernels.hashing import row_hashes
from tests.measuring import measure

pytestmark = pytest.mark.usefixtures("both_kernels")

SPLITS = {"train": (0, 60), "val": (60, 80), "test": (80, 100)}
WIDTHS = {"narrow rows, mixed together": 3, "odd number of bytes": 5, "wide rows, hashed one by one": 400}


def found(arrays: dict[str, Array], cuts: tuple[int, ...] = ()) -> DuplicatesResult:
    result: DuplicatesResult = measure(RowHashes(tuple(arrays), SPLITS), arrays, cuts)
    return result


def rows(width: int, dtype: str = "f4") -> Array:
    return np.random.default_rng(3).standard_normal((100, width)).astype(dtype)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_a_row_in_two_splits_is_named_with_its_twin(width: int) -> None:
    values = rows(width)
    values[70], values[95], values[61] = values[12], values[12], values[4]
    result = found({"x": values}, (65,))
    assert result.across == ((4, 61), (12, 70), (12, 95))
    assert (result.rows, result.across_count, result.within_count) == (100, 3, 0)


def test_a_sample_of_contents_keeps_all_rows_of_each_and_is_the_same_whatever_the_cut() -> None:
    values = np.repeat(np.arange(25.0), 4)[np.random.default_rng(5).permutation(100)]
    fold = RowHashes(("x",), {"train": (0, 100)}, every=3)
    whole, cut = (measure(fold, {"x": values}, cuts) for cuts in ((), (1, 45, 46)))
    assert whole == cut
    assert 0 < whole.repeated < 25
    assert (whole.rows, whole.within_count) == (4 * whole.repeated, 3 * whole.repeated)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_repeats_within_a_split_are_no_leak(width: int) -> None:
    values = rows(width)
    values[[20, 30]], values[90] = values[10], values[85]
    result = found({"x": values})
    assert (result.across, result.across_count, result.within_count) == ((), 0, 3)


def test_only_the_first_ten_leaks_are_listed_but_all_are_counted() -> None:
    values = rows(4)
    values[60:] = values[:40]
    result = found({"x": values})
    assert result.across_count == 40
    assert result.across == tuple((place, 60 + place) for place in range(10))


def test_a_split_made_of_one_row_repeated_counts_every_copy() -> None:
    result = found({"x": np.zeros((100, 2))})
    assert (result.across_count, result.within_count) == (40, 59 + 19 + 19)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_rows_are_equal_only_if_all_fields_are(width: int) -> None:
    values = np.repeat(rows(width)[:1], 100, axis=0)
    other = np.arange(100)
    assert found({"x": values, "y": other}).across_count == 0
    other[90] = 0
    assert found({"x": values, "y": other}).across == ((0, 90),)


@settings(max_examples=40)
@given(
    width=st.sampled_from([1, 2, 7, 9, 255, 300]),
    first=st.integers(0, 299),
    second=st.integers(0, 299),
    bit=st.integers(0, 31),
)
def test_one_bit_or_two_swapped_values_make_another_row(width: int, first: int, second: int, bit: int) -> None:
    first, second = first % width, second % width
    row = np.arange(1, width + 1, dtype=np.uint32)
    flipped, swapped = row.copy(), row.copy()
    flipped[first] ^= np.uint32(1 << bit)
    swapped[[first, second]] = swapped[[second, first]]
    hashes = {bytes(line) for line in row_hashes([np.stack([row, flipped, swapped])])}
    assert len(hashes) == (2 if first == second else 3)


def test_structured_rows_do_not_collide_in_either_half() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(40.0)] * 3), axis=-1).reshape(-1, 3)
    hashes = row_hashes([grid])
    for lane in (0, 1):
        assert len(np.unique(hashes[:, lane])) == len(grid)
        # Every bit is set in about half of the rows.
        shares = np.unpackbits(hashes[:, lane].copy().view(np.uint8).reshape(len(grid), 8), axis=1).mean(axis=0)
        assert np.abs(shares - 0.5).max() < 0.02


def test_a_hash_does_not_depend_on_the_rows_around_it() -> None:
    values = rows(7)
    np.testing.assert_array_equal(row_hashes([values])[50:60], row_hashes([values[50:60]]))


@pytest.mark.parametrize("repeats", [1, 3, 40], ids=["all different", "in threes", "forty of each"])
@pytest.mark.parametrize("limit", [0, 7, 64])
def test_rows_that_wait_on_disk_are_found_all_the_same(
    repeats: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(5).permutation(np.arange(100) // repeats)
    expected = found({"x": values})
    assert (repeats > 1) == (expected.across_count > 0)
    monkeypatch.setattr(duplicates, "_ROWS_IN_MEMORY", limit)
    assert found({"x": values}, tuple(range(1, 100, 3))) == expected


def test_two_states_that_both_wait_on_disk_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_ROWS_IN_MEMORY", 4)
    values = rows(2)
    values[90] = values[10]
    fold = RowHashes(("x",), SPLITS)
    left, right = (
        fold.merge(fold.absorb(fold.empty(), Block(start, stop, {"x": values[start:stop].view()})), fold.empty())
        for start, stop in ((0, 50), (50, 100))
    )
    assert left.spilled
    assert right.spilled
    assert fold.finish(fold.merge(left, right)).across == ((10, 90),)


def test_a_full_disk_for_temporary_files_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(duplicates, "_ROWS_IN_MEMORY", 4)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError) as caught:
        found({"x": rows(2)})
    assert "TMPDIR" in caught.value.where.path


def test_groups_that_keep_to_their_split_are_counted() -> None:
    result = found({"trajectory": np.arange(100) // 5})
    assert (result.distinct, result.shared_count) == ({"train": 12, "val": 4, "test": 4}, 0)


def test_a_shared_group_is_named_with_a_sample_of_each_split_by_all_its_ids_together() -> None:
    system, trajectory = np.arange(100) // 50, np.arange(100) % 50
    assert found({"system": system, "trajectory": trajectory}).shared_count == 0
    system[65], trajectory[65] = 0, 7
    result = found({"system": system, "trajectory": trajectory}, (33, 65))
    assert (result.shared_count, result.shared) == (1, ((7, 65),))
    assert found({"system": system}).shared_count == 2


def test_a_group_in_three_splits_is_one_shared_group() -> None:
    result = found({"g": np.full(100, -3)})
    assert result.distinct == {"train": 1, "val": 1, "test": 1}
    assert (result.shared_count, result.shared) == (1, ((0, 60),))


def test_ten_shared_groups_are_listed_those_whose_later_sample_comes_first() -> None:
    ids = 1_000 - np.arange(100)
    ids[60:80] = ids[:20]
    result = found({"g": ids}, (30, 70))
    assert result.shared == tuple((row, 60 + row) for row in range(10))
    assert result.shared_count == 20


@settings(max_examples=20)
@given(ids=st.lists(st.integers(0, 30), min_size=100, max_size=100), limit=st.sampled_from([0, 5, 1 << 16]))
def test_groups_do_not_depend_on_how_much_fits_into_memory(ids: list[int], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_ROWS_IN_MEMORY", limit)
        result = found({"g": np.asarray(ids)}, tuple(range(1, 100, 3)))
    own = [set(ids[start:stop]) for start, stop in SPLITS.values()]
    assert list(result.distinct.values()) == [len(each) for each in own]
    assert result.shared_count == len((own[0] & own[1]) | (own[0] & own[2]) | (own[1] & own[2]))
    assert result.within_count == 100 - sum(map(len, own))


def test_rows_that_differ_in_the_sign_of_zero_are_equal():
    values = rows(3)
    values[70], values[12] = [-0.0, 1.0, 2.0], [0.0, 1.0, 2.0]
    assert found({"x": values}).across == ((12, 70),)
    assert found({"x": values.astype(np.complex64)}).across == ((12, 70),)
