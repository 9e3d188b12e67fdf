"""Laws of every recipe: seed and parameters decide every byte, and nothing else does; rows are what was declared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest

from prep.blocks import SPLITS, expand_mask
from prep.canonical import blake3_hex
from prep.errors import ConfigError
from prep.recipes import RECIPES, SCALES, Produced, Recipe, RecipePlan

SMALLER: Mapping[str, Mapping[str, Any]] = {
    "covariance": {"samples": 60, "grid": [6, 6], "task_rows": 16},
    "peptide": {"frame_ps": 0.02, "burn_in_ps": 0.02},
}
GIVEN = ("peptide",)  # constants that are the molecule's, whatever the seed


def recipe_of(name: str) -> Recipe:
    recipe: Recipe = RECIPES.load(name)()
    return recipe


def parameters_of(name: str) -> dict[str, Any]:
    return {**recipe_of(name).parameters["smoke"], **SMALLER.get(name, {})}


def digest(produced: Produced) -> str:
    return blake3_hex(b"".join(produced.arrays[name].tobytes() for name in sorted(produced.arrays)))


@cache
def built(name: str, seed: int = 0) -> tuple[RecipePlan, tuple[Produced, ...]]:
    recipe = recipe_of(name)
    plan = recipe.plan(parameters_of(name), seed)
    return plan, tuple(recipe.produce(plan, task) for task in plan.tasks)


def digests(name: str, seed: int = 0) -> list[str]:
    """The digest of every task, in plan order, planned and produced anew."""
    recipe = recipe_of(name)
    plan = recipe.plan(parameters_of(name), seed)
    return [digest(recipe.produce(plan, task)) for task in plan.tasks]


def rows_of(produced: Sequence[Produced], field: str) -> Any:
    return np.concatenate([part.arrays[field] for part in produced])


everyone = pytest.mark.parametrize("name", RECIPES.names())


@everyone
def test_the_same_seed_gives_the_same_bytes(name: str):
    assert digests(name) == [digest(part) for part in built(name)[1]]
    assert built(name)[0].attributes == recipe_of(name).plan(parameters_of(name), 0).attributes


def test_the_same_seed_gives_the_same_bytes_in_another_process_with_other_threads():
    code = "from tests.laws.test_recipes import *; print(json.dumps([digests(name) for name in RECIPES.names()]))"
    surroundings = {**os.environ, "PYTHONHASHSEED": "7", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=surroundings, timeout=120
    )

    assert json.loads(done.stdout) == [[digest(part) for part in built(name)[1]] for name in RECIPES.names()]


@everyone
def test_another_seed_gives_other_data(name: str):
    assert not set(digests(name, seed=1)) & {digest(part) for part in built(name)[1]}


@everyone
def test_the_constants_come_from_the_seed_too(name: str):
    recipe, parameters = recipe_of(name), parameters_of(name)
    first, again, other = (recipe.plan(parameters, seed).constants for seed in (0, 0, 1))

    assert [array.tobytes() for _, array in first] == [array.tobytes() for _, array in again]
    changed = [array.tobytes() for _, array in first] != [array.tobytes() for _, array in other]
    assert changed == (bool(first) and name not in GIVEN)


@everyone
def test_tasks_may_be_produced_in_any_order_by_any_thread(name: str):
    recipe, (plan, produced) = recipe_of(name), built(name)
    order = np.random.default_rng(5).permutation(len(plan.tasks))
    expected = [digest(produced[place]) for place in order]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: digest(recipe.produce(plan, plan.tasks[place])), order))

    assert found == expected


@everyone
def test_every_task_has_a_seed_of_its_own(name: str):
    plan, produced = built(name)
    found = [digest(part) for part in produced]

    assert len(set(found)) == len(plan.tasks)


@everyone
def test_every_declared_field_is_there_with_its_dtype_and_shape_and_no_other(name: str):
    plan, produced = built(name)
    for part in produced:
        assert set(part.arrays) == {field.name for field in plan.fields}
        lengths = {len(array) for array in part.arrays.values()}
        assert len(lengths) == 1
        for field in plan.fields:
            array = part.arrays[field.name]
            assert (array.dtype, array.shape[1:]) == (field.dtype, field.shape), field.name
            assert np.isfinite(array).all(), field.name
    for field, array in plan.constants:
        assert field.role == "constant"
        assert (array.dtype, array.shape[1:]) == (field.dtype, field.shape), field.name


@everyone
def test_splits_come_one_after_the_other_and_none_is_empty(name: str):
    plan, produced = built(name)
    order = [SPLITS.index(task.split) for task in plan.tasks]
    counts = dict.fromkeys(SPLITS, 0)
    for task, part in zip(plan.tasks, produced, strict=True):
        counts[task.split] += len(next(iter(part.arrays.values())))

    assert order == sorted(order)
    assert min(counts.values()) > 0
    assert counts["train"] > counts["val"] + counts["test"]


@everyone
def test_masks_hold_0_and_1_and_what_they_leave_out_is_0(name: str):
    plan, produced = built(name)
    specs = {field.name: field for field in plan.fields}
    for field in plan.fields:
        if field.role == "mask":
            assert set(np.unique(rows_of(produced, field.name))) <= {0, 1}
        if field.mask:
            counted = expand_mask(rows_of(produced, field.mask), specs[field.mask], field)
            assert not np.any(rows_of(produced, field.name)[~counted]), field.name


@everyone
def test_no_row_of_an_input_comes_twice(name: str):
    plan, produced = built(name)
    for field in plan.fields:
        if field.role in ("input", "target") and field.dtype.kind in "fc":
            values = rows_of(produced, field.name)
            assert len({row.tobytes() for row in values}) == len(values), field.name


@everyone
def test_every_scale_has_the_same_parameters_ready_for_json_and_a_larger_scale_has_more_work(name: str):
    recipe = recipe_of(name)
    scales = recipe.parameters

    assert tuple(scales) == SCALES
    assert len({frozenset(scales[scale]) for scale in SCALES}) == 1
    assert all(json.loads(json.dumps(dict(scales[scale]))) == dict(scales[scale]) for scale in SCALES)
    assert len({json.dumps(dict(scales[scale]), sort_keys=True) for scale in SCALES}) == len(SCALES)


@everyone
def test_an_unknown_parameter_is_refused_with_the_nearest_known_one(name: str):
    recipe, parameters = recipe_of(name), parameters_of(name)
    known = next(iter(parameters))

    with pytest.raises(ConfigError, match=f"did you mean '{known}'") as caught:
        recipe.plan({**parameters, f"{known}s_": 1}, 0)

    assert caught.value.where.key == f"{known}s_"


@pytest.mark.parametrize(("name", "key"), [(name, key) for name in RECIPES.names() for key in parameters_of(name)])
def test_a_parameter_that_is_missing_or_makes_no_sense_is_refused_by_name(name: str, key: str):
    recipe, parameters = recipe_of(name), parameters_of(name)

    for value in (None, "nonsense", float("nan"), {}, [[]], -1):
        with pytest.raises(ConfigError) as caught:
            recipe.plan({**parameters, key: value}, 0)
        assert caught.value.where.key == key
        assert caught.value.measured == repr(value)
    with pytest.raises(ConfigError, match="needs the parameter") as caught:
        recipe.plan({each: value for each, value in parameters.items() if each != key}, 0)
    assert caught.value.where.key == key
