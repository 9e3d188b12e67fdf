"""Equal rows are found wherever they are, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.blocks import Array
from prep.folds.duplicates import DuplicatesResult, RowHashes
from prep.kernels.hashing import row_hashes
from tests.measuring import measure

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
    assert found({"x": values}, (65,)) == DuplicatesResult(100, ((4, 61), (12, 70), (12, 95)), 3, 0)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_repeats_within_a_split_are_no_leak(width: int) -> None:
    values = rows(width)
    values[[20, 30]], values[90] = values[10], values[85]
    assert found({"x": values}) == DuplicatesResult(100, (), 0, 3)


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
