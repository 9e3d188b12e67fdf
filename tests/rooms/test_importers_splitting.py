"""How rows and groups are divided: by the seed alone, in the asked shares, every part of the source in every split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prep.errors import DataError, UsageError, Where
from prep.importers.splitting import (
    STRATUM,
    RowSplit,
    checked_fractions,
    divide_groups,
    given_codes,
    shares,
    shuffled,
)

FRACTIONS = (
    st.tuples(*[st.integers(1, 98)] * 2)
    .filter(lambda pair: sum(pair) < 100)
    .map(lambda pair: (1 - sum(pair) / 100, pair[0] / 100, pair[1] / 100))
)


@given(st.integers(3, 10_000), FRACTIONS)
def test_every_split_gets_its_share_and_at_least_one(count: int, fractions: tuple[float, float, float]):
    counts = shares(count, fractions, "rows", Where())
    assert sum(counts) == count
    assert min(counts) >= 1
    assert all(abs(part - fraction * count) <= 2 for part, fraction in zip(counts, fractions, strict=True))


@given(st.integers(3, 5 * STRATUM), FRACTIONS, st.integers(0, 2**40))
def test_row_by_row_splits_keep_their_counts(rows: int, fractions: tuple[float, float, float], seed: int):
    split = RowSplit(shares(rows, fractions, "rows", Where()), seed)
    codes = split.codes(0, rows)
    assert tuple(np.bincount(codes, minlength=3)) == split.counts


@given(st.integers(0, 3 * STRATUM), st.integers(0, 3 * STRATUM))
def test_any_range_of_rows_gets_the_same_splits_as_the_whole(first: int, second: int):
    split = RowSplit(shares(3 * STRATUM - 5, (0.7, 0.2, 0.1), "rows", Where()), 3)
    start, stop = sorted((min(first, 3 * STRATUM - 5), min(second, 3 * STRATUM - 5)))
    assert np.array_equal(split.codes(start, stop), split.codes(0, 3 * STRATUM - 5)[start:stop])


def test_every_stretch_of_a_long_source_is_in_every_split():
    split = RowSplit(shares(10 * STRATUM, (0.8, 0.1, 0.1), "rows", Where()), 0)
    codes = split.codes(0, 10 * STRATUM).reshape(10, STRATUM)
    held_out = np.stack([np.bincount(stretch, minlength=3) for stretch in codes])
    assert np.ptp(held_out, axis=0).max() <= 1


def test_rows_are_drawn_without_a_pattern():
    codes = RowSplit((8000, 1000, 1000), 1).codes(0, 10_000)
    held_out = (codes > 0).astype(float) - 0.2
    assert abs(np.mean(held_out[1:] * held_out[:-1])) < 0.01
    assert len(np.unique(np.flatnonzero(codes == 2) % 10)) == 10


def test_splits_outlive_upgrades_of_numpy():
    # Written down from the first version: a changed value means that everybody's splits change.
    assert shuffled(8, 42, 0).tolist() == [5, 3, 7, 2, 1, 0, 4, 6]
    assert divide_groups(10, (0.6, 0.2, 0.2), 7, "groups", Where()).tolist() == [2, 0, 0, 2, 1, 0, 0, 1, 0, 0]


def test_split_names_are_read_in_any_usual_form():
    names = np.array(["Train", " validation", "TEST", "val"])
    assert given_codes(names, 0, Where()).tolist() == [0, 1, 2, 1]
    assert given_codes(np.array([b"train", b"test"], object), 0, Where()).tolist() == [0, 2]
    with pytest.raises(DataError, match=r"sample 101[\s\S]*'dev'"):
        given_codes(np.array(["train", "dev"]), 100, Where())


@pytest.mark.parametrize("fractions", [(0.8, 0.2, 0.0), (0.5, 0.5), (0.9, 0.2, -0.1), (float("nan"), 0.5, 0.5)])
def test_fractions_that_make_no_split_are_refused(fractions: tuple[float, ...]):
    with pytest.raises(UsageError, match="three positive numbers"):
        checked_fractions(fractions, 0)


def test_a_negative_seed_is_refused():
    with pytest.raises(UsageError, match="negative"):
        checked_fractions((0.8, 0.1, 0.1), -1)
