"""What snapshots say of the covariance that is stored beside them, and of the symbols they were made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from prep.checks import CHECKS
from prep.errors import SchemaError
from tests.laws.test_checks import CASES, ROWS, Arrays, changed, describe, examine, made, one_draw, set_to

POWER, FRESH = CASES["whitened_power"], CASES["fresh_symbols"]


def failing(name: str, defect: Callable[[Arrays], None], seed: int = 0) -> int:
    arrays = made(CASES[name], seed)
    defect(arrays)
    return examine(name, CASES[name], arrays).failing


def noise(arrays: Arrays) -> None:
    drawn = np.random.default_rng(1).standard_normal((*arrays["y"].shape, 2)).view(np.complex128)[..., 0]
    rms = np.sqrt(np.mean(np.abs(drawn) ** 2, axis=(1, 2), keepdims=True))
    arrays["y"] = (drawn / rms).astype(np.complex64)


@pytest.mark.parametrize(
    "defect",
    [
        noise,
        changed("snr", lambda snr: snr + 20),
        changed("snr", lambda snr: snr - 20),
        changed("y", lambda y: 2 * y),
        changed("y", np.conj),
        changed("codes", lambda codes: codes[:, ::-1]),
        changed("factor", lambda factor: np.roll(factor, 1, axis=0)),
    ],
    ids=["noise", "SNR too high", "SNR too low", "no unit RMS", "conjugate", "codes reversed", "another covariance"],
)
def test_snapshots_that_the_covariance_does_not_cause_are_refused(defect: Callable[[Arrays], None]):
    assert failing("whitened_power", defect) >= ROWS / 5


@pytest.mark.parametrize(
    "defect",
    [
        set_to("snr", 7, np.nan),
        set_to("snr", 7, 4000.0),
        set_to("factor", 7, 0),
        set_to("channel", 7, np.inf),
        set_to("codes", 7, np.nan),
        set_to("y", 7, 0),
    ],
)
def test_a_sample_that_cannot_be_whitened_fails_alone(defect: Callable[[Arrays], None]):
    assert failing("whitened_power", defect) == 1


def test_a_source_with_the_power_of_another_is_found_though_the_whole_power_is_right():
    def exchanged(arrays: Arrays) -> None:
        both = arrays["count"] == 2
        strong = arrays["factor"][both]
        strong[..., 1] *= 30
        arrays["factor"][both] = strong / np.linalg.norm(strong, axis=(1, 2), keepdims=True)

    assert failing("whitened_power", exchanged) > 0
    alone = {**POWER.statistics, "surprise_max": 1e6, "low": 1e-3}
    arrays = made(POWER)
    exchanged(arrays)
    assert examine("whitened_power", replace(POWER, statistics=alone), arrays).failing < failing(
        "whitened_power", exchanged
    )


def test_the_order_of_the_sources_does_not_matter():
    arrays = made(POWER)
    before = examine("whitened_power", POWER, arrays).worst
    arrays["factor"] = arrays["factor"][..., ::-1].copy()

    assert examine("whitened_power", POWER, arrays).worst == pytest.approx(before, rel=1e-6)


def test_bounds_the_wrong_way_round_are_refused():
    spec = describe(POWER, made(POWER))
    with pytest.raises(SchemaError, match="makes no sense"):
        CHECKS.load("whitened_power")().folds(spec, {**POWER.statistics, "low": 3.0, "high": 2.0})


def test_constant_symbols_are_found_where_a_quarter_of_the_power_is_noise():
    low = replace(FRESH, statistics={**FRESH.statistics, "snr_min": 5.0, "share_max": 0.85})
    arrays = made(FRESH)
    one_draw(arrays)

    assert (arrays["snr"] == 5.0).sum() == ROWS / 4
    assert examine("fresh_symbols", low, arrays).failing == ROWS


def test_a_sample_without_a_signal_to_noise_ratio_is_not_left_out():
    assert failing("fresh_symbols", set_to("snr", 7, np.nan)) == 1
