"""The control recipe: stable regulated plants with the documented constants, and windows that say what they claim."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.linalg import schur
from scipy.signal import cont2discrete

from prep.blocks import SPLITS
from prep.errors import ConfigError
from prep.recipes import RecipePlan
from prep.recipes.control import Control, encode
from prep.recipes.plants import PLANTS
from prep.recipes.regulator import gain, spectral_radius

SMOKE = Control.parameters["smoke"]
WINDOWS = (263 - 32) // 21 + 1


@cache
def built(**changes: Any) -> tuple[RecipePlan, dict[str, dict[str, Any]], dict[str, int]]:
    """The plan, the rows of each split by field, and what was counted."""
    recipe = Control()
    plan = recipe.plan({**SMOKE, **{key: _listed(value) for key, value in changes.items()}}, 3)
    parts: dict[str, list[Any]] = {split: [] for split in SPLITS}
    counts: dict[str, int] = {}
    for task in plan.tasks:
        produced = recipe.produce(plan, task)
        parts[task.split].append(produced.arrays)
        for name, count in produced.counts.items():
            counts[name] = counts.get(name, 0) + count
    rows = {
        split: {field.name: np.concatenate([part[field.name] for part in found]) for field in plan.fields}
        for split, found in parts.items()
    }
    return plan, rows, counts


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def together(rows: dict[str, dict[str, Any]], field: str) -> Any:
    return np.concatenate([rows[split][field] for split in SPLITS])


def systems(plan: RecipePlan) -> list[dict[str, Any]]:
    return list(json.loads(plan.attributes["systems"]))


def trajectories(rows: dict[str, Any]) -> Iterator[tuple[tuple[int, int, int], Any]]:
    """(system, variant, trajectory) and its row numbers, in stored order."""
    keys = np.stack([rows[name] for name in ("system", "variant", "trajectory")], axis=1)
    for key in np.unique(keys, axis=0):
        yield tuple(key.tolist()), np.flatnonzero((keys == key).all(axis=1))


def independent_gain(name: str) -> Any:
    """K = R⁻¹BᵀP with P from the stable invariant subspace of the Hamiltonian matrix."""
    plant = PLANTS[name]
    a, b = plant.model(plant.nominal)
    inverse = np.diag(1 / np.asarray(plant.r))
    hamiltonian = np.block([[a, -b @ inverse @ b.T], [-np.diag(plant.q), -a.T]])
    _, vectors, _ = schur(hamiltonian, sort="lhp")
    n = len(a)
    return inverse @ b.T @ np.linalg.solve(vectors[:n, :n].T, vectors[n:, :n].T).T


def test_there_are_at_least_24_systems_of_every_documented_size():
    sizes = {(len(plant.states), len(plant.controls)) for plant in PLANTS.values()}

    assert len(PLANTS) >= 24
    assert {states for states, _ in sizes} == set(range(2, 13))
    assert {controls for _, controls in sizes} == set(range(1, 7))
    assert {(12, 4), (12, 6)} <= sizes


@pytest.mark.parametrize(
    ("name", "nominal", "q", "r", "x0"),
    [
        ("mass-spring-damper", {"m": 1, "c": 0.5, "k": 2}, (10, 1), (1,), (2, 2)),
        ("double-integrator", {"m": 1}, (10, 1), (1,), (5, 3)),
        ("inverted-pendulum", {"m": 0.5, "l": 0.5, "b": 0.05}, (50, 5), (10,), (0.4, 1)),
        ("cart-pole", {"M": 1, "m": 0.3, "l": 0.5, "b": 0.1}, (10, 1, 100, 10), (10,), (2, 1, 0.5, 1)),
        ("quadrotor-hover", {"m": 0.8, "Ix": 0.03, "Iy": 0.03, "Iz": 0.05}, None, (10, 10, 10, 10), None),
    ],
)
def test_a_documented_system_has_its_documented_constants(name: str, nominal: Any, q: Any, r: Any, x0: Any):
    plant = PLANTS[name]

    assert {key: plant.nominal[key] for key in nominal} == nominal
    assert plant.r == r
    assert q is None or plant.q == q
    assert x0 is None or plant.x0 == x0


@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_is_consistent_and_its_regulator_is_the_optimal_one(name: str):
    plant = PLANTS[name]
    a, b = plant.model(plant.nominal)
    k = gain(plant, plant.nominal)

    assert a.shape == (len(plant.states),) * 2
    assert b.shape == (len(plant.states), len(plant.controls))
    assert (len(plant.q), len(plant.r), len(plant.x0)) == (len(a), b.shape[1], len(a))
    assert min(*plant.r, *plant.x0) > 0 <= min(plant.q)
    assert all("[" in text for text in (*plant.states, *plant.controls))
    assert np.linalg.eigvals(a - b @ k).real.max() < 0
    np.testing.assert_allclose(k, independent_gain(name), rtol=1e-5, atol=1e-6 * np.abs(k).max())


def test_every_variant_of_every_closed_loop_is_stable():
    plan, _, counts = built()

    for loop in plan.shared.values():
        assert max(spectral_radius(transition) for transition in loop.transitions) < 1
    assert counts["diverged_trajectories"] == 0


def test_without_noise_a_step_is_the_exact_zero_order_hold_of_the_plant():
    plan, rows, _ = built(process_noise=0.0, variation=0.0)
    data = rows["train"]
    for system in systems(plan):
        plant = PLANTS[system["name"]]
        a, b = plant.model(plant.nominal)
        n = len(a)
        ad, bd, *_ = cont2discrete((a, b, np.eye(n), np.zeros_like(b)), 0.02)
        closed = ad - bd @ independent_gain(system["name"])
        states = data["states"][data["system"] == system["id"]][..., :n].astype(np.float64)
        gap = np.abs(states[:, 1:] - states[:, :-1] @ closed.T)
        size = np.abs(closed).sum() * np.abs(states).max(axis=(0, 1), keepdims=True) + 1e-6
        assert (gap / size).max() < 1e-5, system["name"]


def test_the_control_is_minus_k_times_the_last_state_of_the_window():
    plan, rows, _ = built()
    for split in SPLITS:
        data = rows[split]
        for system in systems(plan):
            mine = data["system"] == system["id"]
            k = independent_gain(system["name"])
            last = data["states"][mine][:, -1, : k.shape[1]].astype(np.float64)
            size = np.abs(last) @ np.abs(k).T + 1e-9
            assert (np.abs(data["controls"][mine][:, : len(k)] + last @ k.T) / size).max() < 1e-5, system["name"]


def test_with_its_own_gain_each_variant_has_another_regulator():
    plan, _, _ = built(gain="variant")

    for loop in plan.shared.values():
        assert not np.array_equal(loop.gains[0], loop.gains[1])
    for loop in built()[0].shared.values():
        assert np.array_equal(loop.gains[0], loop.gains[1])


def test_every_physical_parameter_varies_by_at_most_a_fifth_each_entry_of_a_list_by_itself():
    rng = np.random.default_rng(0)
    for plant in PLANTS.values():
        varied = plant.vary(0.2, rng)
        factors = [np.atleast_1d(varied[name]) / np.atleast_1d(value) for name, value in plant.nominal.items()]
        assert all(np.abs(each - 1).max() <= 0.2 for each in factors)
        assert all((each != 1).all() for each in factors)
        assert all(len(set(each.tolist())) == len(each) for each in factors)
        assert {name: np.shape(value) for name, value in varied.items()} == {
            name: np.shape(value) for name, value in plant.nominal.items()
        }


def test_process_noise_is_scaled_to_the_range_of_each_state():
    plan, rows, _ = built(process_noise=0.05)
    data = rows["train"]
    for system, loop in plan.shared.items():
        n = loop.reach.size
        mine = data["system"] == system
        states = data["states"][mine][..., :n].astype(np.float64)
        steps = loop.transitions[data["variant"][mine]]
        noise = states[:, 1:] - np.einsum("rij,rtj->rti", steps, states[:, :-1])
        np.testing.assert_allclose(noise.std(axis=(0, 1)) / loop.reach, 0.05, rtol=0.15)


def test_trajectories_begin_within_the_initial_range():
    plan, rows, _ = built()
    for split in SPLITS:
        for (system, _, _), numbers in trajectories(rows[split]):
            reach = plan.shared[system].reach
            assert (np.abs(rows[split]["states"][numbers[0], 0, : reach.size]) <= reach * (1 + 1e-6)).all()


def test_windows_are_cut_from_one_trajectory_in_order():
    _, rows, _ = built()
    for split in SPLITS:
        for key, numbers in trajectories(rows[split]):
            states = rows[split]["states"][numbers]
            assert len(states) == WINDOWS, key
            assert np.array_equal(np.diff(numbers), np.ones(WINDOWS - 1)), key
            assert np.array_equal(states[:-1, 21:], states[1:, : 32 - 21]), key


def test_no_trajectory_and_no_step_of_one_is_in_two_splits():
    _, rows, _ = built()
    keys = {split: {key for key, _ in trajectories(rows[split])} for split in SPLITS}
    steps = {
        split: {step.tobytes() for step in rows[split]["states"].reshape(-1, 12) if step.any()} for split in SPLITS
    }

    assert sum(map(len, keys.values())) == len(set().union(*keys.values())) == len(PLANTS) * 2 * 4
    assert sum(map(len, steps.values())) == len(set().union(*steps.values()))
    assert all({system for system, _, _ in found} == set(range(len(PLANTS))) for found in keys.values())


def test_padding_is_zero_masks_and_encoding_say_the_size():
    plan, rows, _ = built()
    sizes = {system["id"]: (len(system["controls"]), len(system["states"])) for system in systems(plan)}
    n_u, n_x = np.array([sizes[system] for system in together(rows, "system").tolist()]).T
    states, controls = together(rows, "states"), together(rows, "controls")
    bits = together(rows, "encoding")

    assert np.array_equal(together(rows, "state_mask"), np.arange(12) < n_x[:, np.newaxis])
    assert np.array_equal(together(rows, "control_mask"), np.arange(6) < n_u[:, np.newaxis])
    assert not np.swapaxes(states, 1, 2)[np.arange(12) >= n_x[:, np.newaxis]].any()
    assert not controls[np.arange(6) >= n_u[:, np.newaxis]].any()
    assert np.array_equal(bits[:, :3] @ [4, 2, 1], n_u)
    assert np.array_equal(bits[:, 3:] @ [8, 4, 2, 1], n_x)
    assert encode(6, 12).tolist() == [1, 1, 0, 1, 1, 0, 0]


def test_trajectories_that_diverge_are_dropped_and_counted():
    _, rows, counts = built(divergence=3.0, systems=("double-integrator", "mass-spring-damper"), trajectories=64)
    kept = len(together(rows, "system")) // WINDOWS
    norms = np.linalg.norm(together(rows, "states"), axis=2)

    assert 0 < counts["diverged_trajectories"] < counts["trajectories"] == 2 * 2 * 64
    assert kept == counts["trajectories"] - counts["diverged_trajectories"]
    assert norms.max() < 3.0


def test_a_plant_that_overflows_is_dropped_and_not_stored_as_infinity():
    recipe = Control()
    plan = recipe.plan({**SMOKE, "systems": ["double-integrator"], "trajectories": 8}, 0)
    loop = plan.shared[next(iter(plan.shared))]
    loop.transitions[0] *= 1e3

    produced = [recipe.produce(plan, task) for task in plan.tasks]

    assert sum(part.counts["diverged_trajectories"] for part in produced) == 8
    assert set(np.concatenate([part.arrays["variant"] for part in produced]).tolist()) == {1}
    assert all(np.isfinite(part.arrays["states"]).all() for part in produced)


def test_a_step_too_long_for_a_closed_loop_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"is too stiff for steps of 0\.5 s") as caught:
        Control().plan({**SMOKE, "dt": 0.5, "stride": 1}, 0)

    assert caught.value.where.key == "dt"
    assert float(str(caught.value.measured).split()[2]) > 1


def test_a_window_longer_than_its_trajectory_is_refused():
    with pytest.raises(ConfigError, match="window") as caught:
        Control().plan({**SMOKE, "steps": 31}, 0)

    assert (caught.value.where.key, caught.value.measured) == ("window", "32")


def test_a_chosen_system_keeps_its_number_and_its_data():
    _, everything, _ = built()
    _, chosen, _ = built(systems=("cart-pole",))
    number = list(PLANTS).index("cart-pole")

    for split in SPLITS:
        mine = everything[split]["system"] == number
        assert set(chosen[split]["system"].tolist()) == {number}
        assert np.array_equal(chosen[split]["states"], everything[split]["states"][mine])


def test_a_task_all_of_whose_trajectories_diverge_gives_no_rows_and_is_counted():
    _, rows, counts = built(divergence=1.0)

    assert counts["diverged_trajectories"] > 0
    assert {len(rows[split][field]) for split in SPLITS for field in rows[split]} == {
        len(rows[split]["states"]) for split in SPLITS
    }
    assert all(rows[split]["states"].shape[1:] == (32, 12) for split in SPLITS)
