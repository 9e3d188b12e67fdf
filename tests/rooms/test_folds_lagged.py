"""The filter that the fold fits is the one that least squares on the lagged values fits."""

from __future__ import annotations

import numpy as np
import pytest

from prep.blocks import Array
from prep.folds import Scope
from prep.folds.gram import GramResult
from prep.folds.lagged import LaggedGram
from tests.measuring import field, measure

ROWS, STEPS = 30, 50
SIGNAL, ECHO = field("signal", "f4", ("step", STEPS)), field("echo", "f4", ("step", STEPS), role="target")


def data(noise: float = 0.2) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    signal = rng.standard_normal((ROWS, STEPS))
    echo = 0.5 + signal - 2 * np.roll(signal, 3, axis=1) + noise * rng.standard_normal((ROWS, STEPS))
    return {"signal": signal.astype("f4"), "echo": echo.astype("f4"), "tone": np.arange(ROWS) % 2}


def fold(taps: int = 2, spacing: int = 3, rows: tuple[int, int] = (0, ROWS), group: str = "") -> LaggedGram:
    return LaggedGram(SIGNAL, ECHO, Scope("", *rows), taps, spacing, group)


def residual(arrays: dict[str, Array], taps: int, spacing: int) -> Array:
    """What least squares leaves, row by row of an explicit table of lagged values."""
    reach = (taps - 1) * spacing
    table, wanted = [], []
    for signal, echo in zip(arrays["signal"].astype("f8"), arrays["echo"].astype("f8"), strict=True):
        for step in range(reach, STEPS):
            table.append([signal[step - lag * spacing] for lag in range(taps)] + [1.0])
            wanted.append(echo[step])
    design = np.array(table)
    fit = np.linalg.lstsq(design, np.array(wanted), rcond=None)[0]
    return np.asarray(np.array(wanted) - design @ fit)


@pytest.mark.parametrize(("taps", "spacing"), [(1, 1), (2, 3), (4, 1), (5, 2), (STEPS, 1)])
@pytest.mark.parametrize("cuts", [(), (7, 8, 22)])
def test_mse_is_that_of_least_squares_on_lagged_values(taps: int, spacing: int, cuts: tuple[int, ...]):
    arrays = data()
    left = residual(arrays, taps, spacing)

    found: GramResult = measure(fold(taps, spacing), arrays, cuts)

    assert found.rows == len(left) == ROWS * fold(taps, spacing).row_steps
    assert found.mse() == pytest.approx(np.mean(left**2), rel=1e-9, abs=1e-12)


def test_the_taps_are_the_values_that_went_before():
    weights, intercepts = measure(fold(4, 1), data(noise=0.0)).coefficients()

    # Oldest first: three steps ago -2, now 1.
    np.testing.assert_allclose(weights[0, :, 0], [-2, 0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(intercepts, 0.5, atol=1e-6)


def test_no_lag_reaches_over_the_border_of_a_sequence():
    arrays = data(noise=0.0)
    # np.roll brings the end of each sequence to its beginning: only steps without a whole past would see that.
    assert measure(fold(), arrays).mse() < 1e-12
    joined = {name: array.reshape(1, -1) for name, array in arrays.items() if name != "tone"}
    fields = (field(name, "f4", ("step", ROWS * STEPS)) for name in ("signal", "echo"))

    assert measure(LaggedGram(*fields, Scope("", 0, 1), 2, 3), joined).mse() > 0.1


def test_each_group_has_a_filter_of_its_own():
    arrays = data()
    arrays["echo"][1::2] *= -1

    assert measure(fold(group="tone"), arrays).mse() < 0.05
    assert measure(fold(), arrays).mse() > 1


def test_the_filter_of_one_split_is_scored_on_another():
    arrays = data()
    train, val = (measure(fold(rows=rows), arrays) for rows in ((0, 20), (20, ROWS)))

    assert val.mse(fit=train) == pytest.approx(0.2**2, rel=0.2)
    assert val.mse(fit=train) > val.mse()


def test_the_sums_are_those_of_the_rows_in_scope_only():
    arrays = data()
    arrays["signal"][20:] = np.nan

    assert measure(fold(rows=(0, 20)), arrays).nonfinite == 0
    assert measure(fold(), arrays).nonfinite == 10 * fold().row_steps
