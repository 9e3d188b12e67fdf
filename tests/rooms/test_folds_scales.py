"""Scales of samples are measured in float64 by their logarithm, and samples without one are named."""

from __future__ import annotations

import numpy as np
import pytest

from prep.folds import Scope
from prep.folds.scales import Scales
from tests.measuring import field, measure

MATRICES = field("x", "c8", ("row", 3), ("column", 3))


def test_traces_over_many_decades_are_measured_by_their_logarithm() -> None:
    traces = 10.0 ** np.random.default_rng(0).uniform(-11, -4, 200)
    matrices = (traces[:, np.newaxis, np.newaxis] * np.eye(3) / 3).astype("c8")
    found = measure(Scales(MATRICES, Scope("", 0, 200), "trace"), {"x": matrices}, (50,))
    assert found.mean == pytest.approx(np.log(traces).mean(), rel=1e-7)
    assert found.std == pytest.approx(np.log(traces).std(), rel=1e-7)
    assert (found.low, found.high) == (pytest.approx(traces.min(), rel=1e-6), pytest.approx(traces.max(), rel=1e-6))
    assert (found.rows, found.bad) == (200, 0)


def test_samples_without_a_scale_are_named_with_what_they_have() -> None:
    matrices = np.tile(np.eye(3, dtype="c8"), (40, 1, 1))
    matrices[7] = 0
    matrices[31] *= -1
    matrices[35, 0, 0] = np.nan
    found = measure(Scales(MATRICES, Scope("", 0, 40), "trace"), {"x": matrices}, (10, 20))
    assert (found.bad, found.samples, found.rows) == (3, (7, 31, 35), 37)
    assert found.values[:2] == (0.0, -3.0)
    assert found.mean == pytest.approx(np.log(3))


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_rms_neither_overflows_nor_vanishes(scale: float) -> None:
    values = np.full((5, 4), scale) * [1, -1, 1, -1]
    found = measure(Scales(field("x", "f8", ("f", 4)), Scope("", 0, 5), "rms"), {"x": values})
    assert found.mean == pytest.approx(np.log(scale), rel=1e-12, abs=1e-12)


def test_rms_counts_only_what_the_mask_counts() -> None:
    values = np.array([[3.0, 1e9], [5.0, np.nan]])
    fold = Scales(field("x", "f8", ("f", 2)), Scope("", 0, 2), "rms", field("m", "u1", ("f", 2), role="mask"))
    mask = np.array([[1, 0], [1, 0]], np.uint8)
    found = measure(fold, {"x": values, "m": mask})
    assert (found.low, found.high) == (pytest.approx(3), pytest.approx(5))
    assert measure(fold, {"x": values, "m": np.zeros((2, 2), np.uint8)}).samples == (0, 1)


def test_rms_of_complex_values_is_that_of_their_magnitudes() -> None:
    values = np.array([[3 + 4j, 3 - 4j]], np.complex64)
    found = measure(Scales(field("x", "c8", ("f", 2)), Scope("", 0, 1), "rms"), {"x": values})
    assert found.mean == pytest.approx(np.log(5), rel=1e-12)
