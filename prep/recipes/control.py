"""Windows of closed-loop trajectories of many linear systems, padded to one shape, and the control at their end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import SeedSequence, default_rng

from prep.blocks import SPLITS, Array, FieldSpec, Role, row_ranges
from prep.recipes import Produced, RecipePlan, Task, sized_field
from prep.recipes.parameters import (
    Choice,
    Fractions,
    Names,
    Real,
    Rule,
    Whole,
    bad_value,
    check_parameters,
    split_rows,
)
from prep.recipes.plants import PLANTS, Plant
from prep.recipes.regulator import Loop, close_loop, simulate

MAX_STATES, MAX_CONTROLS = 12, 6
CONTROL_BITS, STATE_BITS = 3, 4

_DEFAULT: dict[str, Any] = {
    "systems": [],
    "variants": 16,
    "trajectories": 24,
    "steps": 263,
    "dt": 0.02,
    "window": 32,
    "stride": 21,
    "variation": 0.2,
    "gain": "nominal",
    "process_noise": 0.05,
    "divergence": 1e4,
    "fractions": [0.7, 0.15, 0.15],
    "task_trajectories": 512,
}
_RULES: dict[str, Rule] = {
    "systems": Names(tuple(PLANTS)),
    "variants": Whole(1, 10**6),
    "trajectories": Whole(1, 10**6),
    "steps": Whole(2, 10**6),
    "dt": Real(0.0, 10.0, above=True),
    "window": Whole(1, 10**6),
    "stride": Whole(1, 10**6),
    "variation": Real(0.0, 0.9),
    "gain": Choice(("nominal", "variant")),
    "process_noise": Real(0.0, 10.0),
    "divergence": Real(0.0, 1e30, above=True),
    "fractions": Fractions(),
    "task_trajectories": Whole(1, 65_536),
}


class Control:
    """ẋ = A x + B u with u = -K x held over each step of dt: trajectories of `prep.recipes.plants`, cut into windows.

    Each system has ``variants`` sets of physical parameters, the nominal ones times (1 + U(±``variation``)), and the
    gain K of the nominal plant (of each variant with ``gain: variant``); see `prep.recipes.regulator`. Every step adds
    normal noise, ``process_noise`` times the half-width of the state's initial range. Trajectories that reach ‖x‖ ≥
    ``divergence`` or stop being finite are dropped and counted. The split of a (system, variant, trajectory) is
    decided before anything is simulated; every system is in every split.

    Fields: ``states`` (sample, 32, 12) and ``controls`` (sample, 6) float32, zero beyond the system's dimensions;
    ``encoding`` (sample, 7) uint8, n_u in 3 bits then n_x in 4, most significant first; ``state_mask`` and
    ``control_mask`` uint8; ``system`` (place in `PLANTS`), ``variant``, ``trajectory`` (within its variant) int32.
    Source: SYSTEMS section 1.
    """

    name: ClassVar[str] = "control"
    parameters: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {**_DEFAULT, "variants": 2, "trajectories": 4},
        "default": _DEFAULT,
        "full": {**_DEFAULT, "variants": 50, "trajectories": 320},
    }

    def plan(self, parameters: Mapping[str, Any], seed: int) -> RecipePlan:
        """One task for every split, system and ``task_trajectories`` trajectories; raises `ConfigError`."""
        check_parameters(self.name, parameters, _RULES)
        if parameters["window"] > parameters["steps"]:
            limit = f"a whole number from 1 to steps, which is {parameters['steps']}"
            raise bad_value(self.name, "window", parameters["window"], limit)
        ids = {name: index for index, name in enumerate(PLANTS)}
        names = [name for name in PLANTS if not parameters["systems"] or name in parameters["systems"]]
        loops = {ids[name]: _loop(name, parameters, SeedSequence(seed, spawn_key=(0, ids[name]))) for name in names}
        groups = {ids[name]: _split_groups(self.name, parameters, seed, ids[name]) for name in names}
        tasks = tuple(
            task
            for number, split in enumerate(SPLITS)
            for system, parts in groups.items()
            for task in _tasks(parameters, split, system, parts[number], (seed, number))
        )
        attributes = {
            "systems": json.dumps([_describe(ids[name], name, PLANTS[name]) for name in names], ensure_ascii=False),
            "encoding_bits": f"controls in {CONTROL_BITS} bits, states in {STATE_BITS}, most significant bit first",
            "dt_s": json.dumps(parameters["dt"]),
            "redrawn_variants": str(sum(loop.redrawn for loop in loops.values())),
        }
        return RecipePlan(_fields(int(parameters["window"])), tasks, attributes, loops)

    def produce(self, plan: RecipePlan, task: Task) -> Produced:
        """All windows of the task's trajectories; counts what was simulated and what was dropped."""
        arguments = task.arguments
        loop: Loop = plan.shared[arguments["system"]]
        variants, trajectories = arguments["variants"], arguments["trajectories"]
        states = simulate(
            loop, variants, default_rng(task.seed), int(arguments["steps"]), float(arguments["process_noise"])
        )
        with np.errstate(over="ignore", invalid="ignore"):
            kept = (np.linalg.norm(states, axis=2) < arguments["divergence"]).all(axis=1)
        states, variants, trajectories = states[kept], variants[kept], trajectories[kept]
        windows = sliding_window_view(states, int(arguments["window"]), axis=1)[:, :: int(arguments["stride"])]
        last = windows[..., -1]
        controls = -np.einsum("nux,nwx->nwu", loop.gains[variants], last)
        n_controls, n_states = loop.gains.shape[1:]
        count, each = windows.shape[:2]
        rows = count * each
        state_mask, control_mask = np.arange(MAX_STATES) < n_states, np.arange(MAX_CONTROLS) < n_controls
        padded = np.zeros((rows, int(arguments["window"]), MAX_STATES), np.float32)
        padded[..., :n_states] = np.swapaxes(windows, 2, 3).reshape(padded[..., :n_states].shape)
        padded_controls = np.zeros((rows, MAX_CONTROLS), np.float32)
        padded_controls[:, :n_controls] = controls.reshape(rows, n_controls)
        arrays = {
            "states": padded,
            "encoding": _constant_rows(encode(n_controls, n_states), rows),
            "controls": padded_controls,
            "state_mask": _constant_rows(state_mask.astype(np.uint8), rows),
            "control_mask": _constant_rows(control_mask.astype(np.uint8), rows),
            "system": np.full(rows, arguments["system"], np.int32),
            "variant": np.repeat(variants, each),
            "trajectory": np.repeat(trajectories, each),
        }
        return Produced(arrays, {"trajectories": len(kept), "diverged_trajectories": int(np.count_nonzero(~kept))})


def encode(n_controls: int, n_states: int) -> Array:
    """The dimension code (7,) uint8: n_controls in 3 bits, then n_states in 4, most significant bit first."""
    number = (n_controls << STATE_BITS) | n_states
    return (number >> np.arange(CONTROL_BITS + STATE_BITS)[::-1] & 1).astype(np.uint8)


def _split_groups(recipe: str, parameters: Mapping[str, Any], seed: int, system: int) -> tuple[Array, ...]:
    """(variant, trajectory) pairs of one system for train, val and test: (n, 2) int32 each, in ascending order."""
    variants, trajectories = int(parameters["variants"]), int(parameters["trajectories"])
    train, val, _ = split_rows(recipe, variants * trajectories, parameters["fractions"])
    order = default_rng(SeedSequence(seed, spawn_key=(1, system))).permutation(variants * trajectories)
    parts = (np.sort(part) for part in np.split(order, [train, train + val]))
    return tuple(np.stack(np.divmod(part, trajectories), axis=1).astype(np.int32) for part in parts)


def _loop(name: str, parameters: Mapping[str, Any], seed: SeedSequence) -> Loop:
    return close_loop(
        name,
        PLANTS[name],
        default_rng(seed),
        variants=int(parameters["variants"]),
        variation=float(parameters["variation"]),
        own_gain=parameters["gain"] == "variant",
        dt=float(parameters["dt"]),
    )


def _tasks(
    parameters: Mapping[str, Any], split: str, system: int, pairs: Array, keys: tuple[int, int]
) -> Iterator[Task]:
    seed, number = keys
    passed_on = {name: parameters[name] for name in ("steps", "window", "stride", "process_noise", "divergence")}
    for part, (start, stop) in enumerate(row_ranges(len(pairs), int(parameters["task_trajectories"]))):
        variants, trajectories = pairs[start:stop].T
        arguments = {**passed_on, "system": system, "variants": variants, "trajectories": trajectories}
        yield Task(split, SeedSequence(seed, spawn_key=(2, system, number, part)), arguments)


def _constant_rows(row: Array, rows: int) -> Array:
    return np.tile(row, (rows, 1))


def _describe(index: int, name: str, plant: Plant) -> dict[str, Any]:
    return {"id": index, "name": name, "states": list(plant.states), "controls": list(plant.controls)}


def _fields(window: int) -> tuple[FieldSpec, ...]:
    sizes = {"time": window, "state": MAX_STATES, "control": MAX_CONTROLS, "bit": CONTROL_BITS + STATE_BITS}
    table: list[tuple[str, Any, str, Role, str, str, str]] = [
        (
            "states",
            np.float32,
            "time state",
            "input",
            "state_mask",
            "state",
            "states, mixed units",
        ),
        ("encoding", np.uint8, "bit", "input", "", "", "number of controls (3 bits) and of states (4 bits)"),
        (
            "controls",
            np.float32,
            "control",
            "target",
            "control_mask",
            "control",
            "controls at the last step, mixed units",
        ),
        ("state_mask", np.uint8, "state", "mask", "", "", "1 where the system has a state"),
        ("control_mask", np.uint8, "control", "mask", "", "", "1 where the system has a control"),
        ("system", np.int32, "", "id", "", "", "system, an index into the attribute systems"),
        ("variant", np.int32, "", "id", "", "", "parameter variant within its system"),
        ("trajectory", np.int32, "", "id", "", "", "trajectory within its variant"),
    ]
    return tuple(
        sized_field(sizes, name, dtype, dims, role, "1", text, mask=mask, features=tuple(features.split()))
        for name, dtype, dims, role, mask, features, text in table
    )
