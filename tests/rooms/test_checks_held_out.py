"""What val and test are judged by: the distribution of train, rows and windows of train, a clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.checks import CHECKS, Finding
from prep.checks.near_unique_rows import _WIDE
from prep.errors import SchemaError
from prep.kernels.matrices import traces
from tests.measuring import measure

BOUNDS = {"train": (0, 600), "val": (600, 800), "test": (800, 1000)}


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((1000, *shape))


def describe(arrays: dict[str, Array]) -> DatasetSpec:
    dims = ("sample", "time", "feature")
    fields = (FieldSpec(name, a.dtype, dims[: a.ndim], a.shape[1:], "aux") for name, a in arrays.items())
    return DatasetSpec("d", tuple(fields), BOUNDS)


def examined(check: str, arrays: dict[str, Array], **statistics: Any) -> Finding:
    judge, spec = CHECKS.load(check)(), describe(arrays)
    folds = judge.folds(spec, statistics)
    return judge.judge(spec, statistics, {fold.key: measure(fold, arrays, (333, 700)) for fold in folds})


def in_memory(check: str, arrays: dict[str, Array], **statistics: Any) -> bool:
    import xarray as xr

    split = np.repeat(np.arange(3, dtype=np.uint8), [stop - start for start, stop in BOUNDS.values()])
    fields = {field.name: (field.dims, arrays[field.name]) for field in describe(arrays).fields}
    dataset = xr.Dataset({**fields, "split": ("sample", split)})
    return bool(CHECKS.load(check).pandera_function(dataset, **statistics))


def held_out(values: Array, **statistics: Any) -> Finding:
    given = {"var": "x", "mask": "", "group": "", "features": ["time"], "split": "val", "shift_max": 0.6}
    given |= {"ratio_max": 1.5, **statistics}
    finding = examined("held_out", {"x": values}, **given)
    assert in_memory("held_out", {"x": values}, **given) == finding.passed
    return finding


def standardised_by(values: Array, rows: slice) -> Array:
    return (values - values[rows].mean(axis=0)) / values[rows].std(axis=0)


def test_a_split_of_the_same_distribution_normalised_by_train_passes() -> None:
    assert held_out(standardised_by(random(5), slice(0, 600)).astype(np.float32)).passed


@pytest.mark.parametrize(
    ("change", "worst", "first"),
    [
        (lambda column: column / column.std() - column.mean() / column.std() + 0.3, 0.3, "|mean − mean_train|"),
        (lambda column: 0.8 * (column - column.mean()) / column.std(), 0.8, "0.5 ≤ std / std_train ≤ 2"),
    ],
)
def test_the_worst_of_shift_and_ratio_is_told_as_its_limit_is_worded(change: Any, worst: float, first: str) -> None:
    values = standardised_by(random(1), slice(0, 600))
    values[600:800] = change(values[600:800])
    finding = held_out(values, shift_max=0.4 if worst == 0.3 else 0.9, ratio_max=2.0)
    assert finding.worst == pytest.approx(worst)
    assert finding.limit.startswith(first)


def test_each_split_normalised_by_its_own_statistics_is_refused_for_being_too_good() -> None:
    values = random(5)
    for start, stop in BOUNDS.values():
        values[start:stop] = standardised_by(values[start:stop], slice(None))
    finding = held_out(values.astype(np.float32))
    assert not finding.passed
    assert "its own statistics" in finding.message


def test_one_feature_alone_may_be_that_close_to_the_norm_by_chance() -> None:
    values = random(1)
    values[600:800] = standardised_by(values[600:800], slice(None))
    assert held_out(values).passed


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda column: column * 0.0, "std 0 "),
        (lambda column: column * 1.6, "feature 3"),
        (lambda column: column / 1.6, "feature 3"),
        (lambda column: column + 0.8, "feature 3"),
        (lambda column: column * 1e30, "feature 3"),
    ],
    ids=["dead", "wider", "narrower", "shifted", "raw"],
)
def test_one_column_that_is_another_in_val_is_named(change: Any, place: str) -> None:
    values = random(5)
    values[600:800, 3] = change(values[600:800, 3])
    finding = held_out(values)
    assert not finding.passed
    assert place in finding.message
    assert "feature 3" in finding.message
    assert held_out(values, split="test").passed


def test_what_train_never_varied_must_not_move_elsewhere() -> None:
    values = random(5)
    values[:, 2] = 0.1
    assert held_out(values).passed
    values[700, 2] = 0.2
    assert not held_out(values).passed


def test_a_group_that_train_does_not_have_is_refused() -> None:
    statistics = {"mask": "", "group": "g", "features": ["time"], "split": "val", "shift_max": 2.0, "ratio_max": 2.0}
    arrays = {"x": random(2), "g": np.arange(1000) % 2}
    assert examined("held_out", arrays, var="x", **statistics).passed
    arrays["g"] = np.where((arrays["g"] == 1) & (np.arange(1000) < 600), 0, arrays["g"])
    assert not examined("held_out", arrays, var="x", **statistics).passed
    assert not in_memory("held_out", arrays, var="x", **statistics)


def test_train_is_not_held_out() -> None:
    with pytest.raises(SchemaError, match="makes no sense"):
        held_out(random(2), split="train")


@pytest.mark.parametrize("width", [3, 100, _WIDE + 37], ids=["narrow", "wide", "projected in float32"])
@pytest.mark.parametrize("dtype", ["f4", "c8"])
def test_rows_a_rounding_apart_are_found_and_no_others(width: int, dtype: str) -> None:
    values = random(width * (2 if dtype == "c8" else 1)).astype("f4").view(dtype)
    assert examined("near_unique_rows", {"x": values}, var="x", tolerance=1e-4).passed
    values[800:1000] = values[:200] * np.float32(1 + 2e-7)
    finding = examined("near_unique_rows", {"x": values}, var="x", tolerance=1e-4)
    assert not finding.passed
    assert 190 <= finding.failing <= 200
    assert finding.samples == tuple(range(800, 810))
    assert "sample 800 (test) is nearly sample 0 (train)" in finding.message


@pytest.mark.parametrize(("apart", "least", "most"), [(1e-7, 0.99, 1.0), (1e-5, 0.4, 0.95), (3e-4, 0.0, 0.01)])
def test_how_near_rows_are_found_is_as_documented(apart: float, least: float, most: float) -> None:
    values = random(50)
    values[800:1000] = values[:200] + apart * random(50, seed=1)[:200]
    finding = examined("near_unique_rows", {"x": values}, var="x", tolerance=1e-4)
    assert least <= finding.failing / 200 <= most


def test_rows_that_are_not_finite_equal_no_other() -> None:
    values = random(4)
    values[[3, 700, 900]] = np.nan
    values[[4, 701, 901]] = np.inf
    assert examined("near_unique_rows", {"x": values}, var="x", tolerance=1e-4).passed


def cut(walks: Array) -> Array:
    """Five windows of eight steps, five apart, of each walk (n, 28, 2)."""
    return np.stack([walks[:, start : start + 8] for start in range(0, 25, 5)], axis=1).reshape(-1, 8, 2)


def test_windows_of_one_series_in_two_splits_are_found_whatever_their_ids() -> None:
    values = cut(np.random.default_rng(0).standard_normal((200, 28, 2)).cumsum(axis=1))
    statistics = {"var": "x", "dim": "time", "overlap": 3}
    assert examined("windows_disjoint", {"x": values}, **statistics).passed
    # The last window of a series of train, then one from its middle, which has two neighbours.
    for own, failing in ((9, 1), (7, 2)):
        changed = values.copy()
        changed[[own, 905]] = values[[905, own]]
        finding = examined("windows_disjoint", {"x": changed}, **statistics)
        assert not finding.passed
        assert 905 in finding.samples
        assert finding.failing >= failing


def test_windows_at_rest_are_no_evidence_and_moving_ones_are() -> None:
    statistics = {"var": "x", "dim": "time", "overlap": 3}
    values = cut(np.random.default_rng(0).standard_normal((200, 28, 2)).cumsum(axis=1))
    values[::2, -3:] = 0.25
    values[:, :, 1] = -0.0
    assert examined("windows_disjoint", {"x": values}, **statistics).passed
    values[[0, 900], -1, 0] = 0.5
    assert examined("windows_disjoint", {"x": values}, **statistics).samples == (900,)


def test_an_overlap_longer_than_a_window_is_an_error_in_the_schema() -> None:
    with pytest.raises(SchemaError, match="makes no sense"):
        examined("windows_disjoint", {"x": random(8, 2)}, var="x", dim="time", overlap=9)


def test_the_mean_at_each_place_is_scored_as_by_hand() -> None:
    group, values = np.arange(1000) % 3, random(6) + np.arange(6)
    finding = examined("mean_probe", {"x": values, "g": group}, var="x", group="g", split="val", mse_min=0.5)
    guess = np.stack([values[:600][group[:600] == each].mean(axis=0) for each in range(3)])[group[600:800]]
    assert finding.passed
    assert finding.worst == pytest.approx(np.mean((values[600:800] - guess) ** 2), rel=1e-12)


def test_a_negative_eigenvalue_is_told_with_its_sign() -> None:
    factors = random(3, 3)
    values = factors @ np.swapaxes(factors, 1, 2)
    values /= traces(values)[:, np.newaxis, np.newaxis]
    values[70] -= 0.6 * np.eye(3)
    finding = examined("psd", {"x": values}, var="x", tolerance=1e-5)
    lowest = np.linalg.eigvalsh(values[70])[0] / 3
    assert lowest < 0
    assert finding.worst == pytest.approx(lowest)
    assert f"worst: {lowest:.6g} in sample 70" in finding.message
    values[70] = np.eye(3)
    assert examined("psd", {"x": values}, var="x", tolerance=1e-5).worst == 0
