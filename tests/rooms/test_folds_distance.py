"""Distances of distributions are those of scipy within the width of a bucket, and 0 where only rounding differs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from prep.blocks import Array
from prep.errors import UsageError
from prep.folds import Scope
from prep.folds.distance import BINS, Distances, distances
from prep.folds.sketch import Quantiles
from tests.measuring import field, measure


def apart(one: Array, other: Array, pivot: float = 0.01) -> Distances:
    found = []
    for values in (one, other):
        spec = field(
            "x", values.dtype.str, *[("d", size) for size in values.shape[1:]], features=("d",) * (values.ndim - 1)
        )
        width = int(np.prod(values.shape[1:]))
        fold = Quantiles(spec, Scope("", 0, len(values)), pivot=(pivot,) * width)
        found.append(measure(fold, {"x": values}, (len(values) // 2,)))
    return distances(*found)


def normal(n: int, seed: int, mean: float = 0.0, std: float = 1.0) -> Array:
    return mean + std * np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.3, 1.0), (0.0, 2.0), (5.0, 0.1)])
def test_distances_are_those_of_scipy(mean: float, std: float) -> None:
    one, other = normal(4000, 1), normal(3000, 2, mean, std)
    found = apart(one, other)

    assert found.l_inf.item() == pytest.approx(ks_2samp(one, other).statistic, abs=0.01)
    edges = np.quantile(np.concatenate([one[:3000], other]), np.linspace(0, 1, BINS + 1)[1:-1])
    p, q = (np.bincount(np.searchsorted(edges, each), minlength=BINS) / len(each) for each in (one, other))
    assert found.jensen_shannon.item() == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=0.01)
    p, q = p + 0.5 / len(one), q + 0.5 / len(other)
    assert found.psi.item() == pytest.approx(((p - q) * np.log(p / q)).sum(), abs=0.05, rel=0.1)


def test_distances_are_symmetric_and_zero_of_the_same_values() -> None:
    one, other = normal(500, 1), normal(700, 2, 1.0)
    there, back, none = apart(one, other), apart(other, one), apart(one, one[::-1])
    for name in ("jensen_shannon", "psi", "l_inf"):
        assert getattr(there, name) == getattr(back, name) > 0.1
        assert getattr(none, name) == 0


def test_each_feature_has_its_own_distance() -> None:
    one = np.stack([normal(900, 1), normal(900, 2), np.zeros(900)], axis=1)
    other = one[::-1].copy()
    other[:, 1] += 3
    found = apart(one, other)
    assert found.l_inf.shape == (1, 3)
    assert (found.l_inf[0] > 0.5).tolist() == [False, True, False]


def test_constants_and_fields_without_values_have_distances_too() -> None:
    five, nothing = np.full(50, 5.0), np.full(50, np.nan)
    for one, other, expected in (
        (five, five, (0.0, 0.0, 0.0)),
        (nothing, nothing, (0.0, 0.0, 0.0)),
        (five, nothing, (1.0, np.inf, 1.0)),
        (nothing, five, (1.0, np.inf, 1.0)),
    ):
        found = apart(one, other)
        assert (found.jensen_shannon.item(), found.psi.item(), found.l_inf.item()) == expected
    moved = apart(five, np.full(50, 6.0))
    assert (moved.jensen_shannon.item(), moved.l_inf.item()) == (1.0, 1.0)
    assert 5 < moved.psi.item() < np.inf


def test_a_new_value_that_is_rare_is_seen() -> None:
    found = apart(np.ones(1000), np.append(np.ones(990), np.full(10, 7.0)))
    assert found.l_inf.item() == pytest.approx(0.01)
    assert found.jensen_shannon.item() == pytest.approx(0.005, abs=0.002)


def test_sketches_that_counted_otherwise_are_not_compared() -> None:
    spec = field("x", "f8")
    one, other = (measure(Quantiles(spec, Scope("", 0, 5), pivot=(p,)), {"x": np.ones(5)}, ()) for p in (0.0, 1.0))
    with pytest.raises(UsageError, match="same buckets"):
        distances(one, other)
