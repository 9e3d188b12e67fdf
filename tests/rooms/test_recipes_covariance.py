"""The covariance recipe: matrices, sources and snapshots obey the physics they are documented with."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from prep.blocks import SPLITS
from prep.recipes import RecipePlan
from prep.recipes.covariance import Covariance

SMOKE = {**Covariance.parameters["smoke"], "samples": 64, "task_rows": 32}
LAMBDA, N = 0.3, 144


@cache
def built(**changes: Any) -> tuple[RecipePlan, dict[str, Any]]:
    """The plan and all rows by field; lists are given as tuples."""
    recipe = Covariance()
    settled = {key: list(value) if isinstance(value, tuple) else value for key, value in changes.items()}
    plan = recipe.plan({**SMOKE, **settled}, 2)
    parts = [recipe.produce(plan, task).arrays for task in plan.tasks]
    return plan, {field.name: np.concatenate([part[field.name] for part in parts]) for field in plan.fields}


def steered(sources: Any) -> Any:
    """a_n = exp{jk₀(x sinφ cosθ + y sinθ - (x²+y²)/2r)}/√N on the centred 12 x 12 grid of λ/2: (…, 144)."""
    line = (np.arange(12) - 5.5) * LAMBDA / 2
    y, x = (axis.ravel() for axis in np.meshgrid(line, line, indexing="ij"))
    azimuth, elevation, distance = (sources[..., place, np.newaxis].astype(np.float64) for place in range(3))
    path = x * np.sin(azimuth) * np.cos(elevation) + y * np.sin(elevation) - (x**2 + y**2) / (2 * distance)
    return np.exp(2j * np.pi / LAMBDA * path) / np.sqrt(N)


def dictionaries(data: dict[str, Any]) -> Any:
    """For each sample its index and A (144, K), steering vectors times path loss."""
    for row, count in enumerate(data["num_sources"]):
        sources = data["sources"][row, :count]
        yield row, (steered(sources) * LAMBDA / (4 * np.pi * sources[:, 2:])).T


def snapshots_of(data: dict[str, Any], channel: Any, codes: Any) -> Any:
    """For each sample the (M·L, L, K) map from s to y, kept per snapshot: y_l = H diag(c_l) A s_l."""
    for row, a in dictionaries(data):
        h, c = (array[row] if array.ndim == 3 else array for array in (channel, codes))
        yield row, np.einsum("mn,ln,nk->lmk", h, c, a)


def symbols(data: dict[str, Any], channel: Any, codes: Any) -> Any:
    """For each sample: the symbols s (L, K) that explain y best, and how much of y they leave, relative."""
    for row, maps in snapshots_of(data, channel, codes):
        y = data["snapshots"][row].T
        found = np.stack([np.linalg.lstsq(each, line, rcond=None)[0] for each, line in zip(maps, y, strict=True)])
        left = y - np.einsum("lmk,lk->lm", maps, found)
        yield row, found, np.linalg.norm(left) / np.linalg.norm(y)


def constants(plan: RecipePlan) -> dict[str, Any]:
    return {field.name: array for field, array in plan.constants}


def test_covariances_are_exactly_hermitian_and_positive_semidefinite():
    _, data = built()
    r = data["covariance"]

    assert np.array_equal(r, np.conj(np.swapaxes(r, 1, 2)))
    values = np.linalg.eigvalsh(r.astype(np.complex128))
    assert (values[:, 0] >= -1e-6 * values[:, -1]).all()


def test_the_rank_of_a_covariance_is_its_number_of_sources():
    _, data = built()
    values = np.linalg.eigvalsh(data["covariance"].astype(np.complex128))
    trace = values.sum(axis=1, keepdims=True)
    count = data["num_sources"]

    # Sources that nearly coincide have an eigenvalue near 0, but never one too many.
    assert ((values > 1e-6 * trace).sum(axis=1) <= count).all()
    assert np.mean((values > 1e-6 * trace).sum(axis=1) == count) > 0.95
    assert set(np.unique(count)) == {1, 2, 3, 4, 5}


def test_a_covariance_is_its_trace_times_the_product_of_its_factor():
    _, data = built()
    factor = data["factor"].astype(np.complex128)
    trace = np.trace(data["covariance"].astype(np.complex128), axis1=1, axis2=2).real
    product = trace[:, np.newaxis, np.newaxis] * factor @ np.conj(np.swapaxes(factor, 1, 2))

    np.testing.assert_allclose(np.linalg.norm(factor, axis=(1, 2)), 1, rtol=1e-6)
    gap = np.linalg.norm(data["covariance"] - product, axis=(1, 2)) / trace
    assert gap.max() < 1e-6
    assert not np.swapaxes(data["factor"], 1, 2)[data["source_mask"] == 0].any()


def test_a_covariance_is_that_of_its_sources_with_powers_in_the_documented_range():
    _, data = built()
    for row, a in dictionaries(data):
        r = data["covariance"][row].astype(np.complex128)
        inverse = np.linalg.pinv(a)
        p = inverse @ r @ inverse.conj().T
        gap = np.linalg.norm(r - a @ np.diag(np.diag(p)) @ a.conj().T) / np.linalg.norm(r)
        assert gap < 1e-4, row
        separated = np.linalg.cond(a / np.linalg.norm(a, axis=0)) < 10
        if separated:
            assert (np.diag(p).real > 0.99e-4).all(), row
            assert (np.diag(p).real < 1.01e-2).all(), row


def test_sources_lie_in_the_documented_sector():
    _, data = built(samples=2_000, grid=(2, 2), task_rows=500)
    azimuth, elevation, distance = data["sources"][data["source_mask"] == 1].T

    for values, low, high in (
        (azimuth, -np.pi / 3, np.pi / 3),
        (elevation, -np.pi / 6, np.pi / 6),
        (distance, 0.5, 10.0),
        (data["snr_db"], -5.0, 20.0),
    ):
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high >= values.max() > high - 0.02 * (high - low)
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)
    counts = np.bincount(data["num_sources"], minlength=6)
    assert np.abs(counts[1:] - 400).max() < 80


def test_source_masks_count_the_sources_and_what_they_leave_out_is_zero():
    _, data = built()

    assert np.array_equal(data["source_mask"], np.arange(5) < data["num_sources"][:, np.newaxis])
    assert not data["sources"][data["source_mask"] == 0].any()


@pytest.mark.parametrize("scene", ["fixed", "sample"])
def test_without_noise_snapshots_are_channel_times_code_times_sources(scene: str):
    plan, data = built(snr_db=(200.0, 200.0), scene=scene)
    where = constants(plan) if scene == "fixed" else data

    assert max(left for *_, left in symbols(data, where["channel"], where["codes"])) < 1e-5


def test_snapshots_of_another_scene_or_other_sources_are_not_explained():
    plan, data = built(snr_db=(200.0, 200.0))
    scene = constants(plan)
    swapped = {**data, "sources": data["sources"] * np.float32([1, 1, 0.5])}

    for other, channel, codes in (
        (data, scene["channel"][::-1], scene["codes"]),
        (data, scene["channel"], scene["codes"][::-1]),
        (swapped, scene["channel"], scene["codes"]),
    ):
        assert np.median([left for *_, left in symbols(other, channel, codes)]) > 0.01


def test_symbols_are_drawn_anew_for_every_snapshot_with_the_power_of_their_source():
    plan, data = built(snr_db=(200.0, 200.0), max_sources=1, samples=160)
    scene = constants(plan)
    ratios, repeats = [], []
    for row, found, _ in symbols(data, scene["channel"], scene["codes"]):
        trace = np.trace(data["covariance"][row]).real
        power = trace * (4 * np.pi * data["sources"][row, 0, 2] / LAMBDA) ** 2
        ratios.append(np.abs(found[:, 0]) ** 2 / power)
        repeats.append(np.abs(np.vdot(found[1:, 0], found[:-1, 0])) / np.vdot(found, found).real)

    assert np.mean(ratios) == pytest.approx(1, abs=0.08)
    assert np.mean(np.square(ratios)) == pytest.approx(2, abs=0.3)  # E|s|⁴ = 2 E²|s|² for a circular normal
    assert np.median(repeats) < 0.5


def test_noise_has_the_stated_ratio_to_the_received_power():
    _, clean = built(snr_db=(200.0, 200.0))
    for level in (-5.0, 10.0):
        _, noisy = built(snr_db=(level, level))
        noise = noisy["snapshots"] - clean["snapshots"]
        ratio = np.mean(np.abs(clean["snapshots"]) ** 2, axis=(1, 2)) / np.mean(np.abs(noise) ** 2, axis=(1, 2))

        assert (noisy["snr_db"] == level).all()
        assert 10 * np.log10(np.mean(ratio)) == pytest.approx(level, abs=0.2)
        assert np.array_equal(noisy["covariance"], clean["covariance"])


@pytest.mark.parametrize("scene", ["fixed", "sample"])
def test_codes_are_distinct_columns_of_the_two_dimensional_dft_in_three_bits(scene: str):
    plan, data = built(scene=scene)
    sweeps = [constants(plan)["codes"]] if scene == "fixed" else list(data["codes"])
    line = np.arange(12) / 12
    exact = np.stack(
        [np.exp(2j * np.pi * np.add.outer(line * u, line * v)).ravel() for u in range(12) for v in range(12)]
    )

    for codes in sweeps:
        turns = np.angle(codes) / (2 * np.pi)
        assert codes.shape == (16, N)
        np.testing.assert_allclose(np.abs(codes), 1, rtol=1e-6)
        np.testing.assert_allclose(turns * 8, np.round(turns * 8), atol=1e-5)
        # Eight phases keep at least sinc²(1/8) = 95 % of the power of the column they round.
        powers = np.abs(codes @ exact.conj().T / N) ** 2
        assert powers.max(axis=1).min() > 0.9
        assert len(set(powers.argmax(axis=1).tolist())) == 16


@pytest.mark.parametrize(("kappa", "ranks"), [(1e6, {1}), (0.0, {16})])
def test_the_channel_is_one_plane_wave_at_a_large_rician_factor_and_full_scattering_at_zero(kappa: float, ranks: Any):
    channel = constants(built(rician_factor=(kappa, kappa), plane_wave="per_entry")[0])["channel"]
    values = np.linalg.svd(channel, compute_uv=False)

    assert {int((values > 0.1 * values[0]).sum())} == ranks
    assert np.mean(np.abs(channel) ** 2) == pytest.approx(1 / 16, rel=0.1)


def test_a_scene_of_its_own_for_each_sample_is_stored_with_the_sample():
    plan, data = built(scene="sample")

    assert plan.constants == ()
    assert data["channel"].shape == (64, 16, N)
    assert data["codes"].shape == (64, 16, N)
    assert len({row.tobytes() for row in data["channel"]}) == 64


def test_the_factor_is_left_out_on_demand_and_nothing_else_changes():
    _, with_factor = built()
    _, without = built(factor=False)

    assert set(with_factor) - set(without) == {"factor"}
    assert all(np.array_equal(without[name], with_factor[name]) for name in without)


def test_no_sample_comes_twice_whatever_the_split():
    plan, data = built(samples=3_000, grid=(2, 2), task_rows=256)

    assert {task.split for task in plan.tasks} == set(SPLITS)
    for name in ("snapshots", "covariance", "snr_db"):
        assert len({row.tobytes() for row in data[name]}) >= (2_990 if name == "snr_db" else 3_000), name


def test_raw_traces_are_positive_and_span_many_decades():
    _, data = built()
    trace = np.trace(data["covariance"], axis1=1, axis2=2).real

    assert trace.min() > 0
    assert 1e-11 < trace.min() < 1e-8
    assert 1e-7 < trace.max() < 1e-4


def test_the_scene_is_described_in_units():
    plan, _ = built()

    assert json.loads(plan.attributes["wavelength_m"]) == 0.3
    assert json.loads(plan.attributes["element_spacing_m"]) == 0.15
    assert json.loads(plan.attributes["element_grid"]) == [12, 12]
    assert {field.name: field.units for field in plan.fields} == {
        "snapshots": "V",
        "covariance": "W",
        "sources": "1",
        "source_mask": "1",
        "num_sources": "1",
        "snr_db": "dB",
        "factor": "1",
    }
