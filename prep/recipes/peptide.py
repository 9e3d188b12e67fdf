"""Molecular dynamics of zwitterionic Ala-Ala at two temperatures: aligned frames with their potential energies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from numpy.random import SeedSequence

from prep.blocks import SPLITS, Array, FieldSpec, Role
from prep.errors import DataError, Where
from prep.kernels.alignment import align
from prep.recipes import Produced, RecipePlan, Task
from prep.recipes.dipeptide import (
    ATOMS,
    FORCE_FIELD,
    REFERENCE,
    Energies,
    make_context,
    make_system,
    openmm,
    topology_digest,
)
from prep.recipes.parameters import Fractions, Numbers, Real, Rule, Whole, bad_value, check_parameters, split_rows

_DEFAULT: dict[str, Any] = {
    "temperatures": [300.0, 450.0],
    "replicas": 4,
    "frames": 320,
    "frame_ps": 1.0,
    "burn_in_ps": 20.0,
    "block_frames": 16,
    "gap_frames": 10,
    "step_fs": 2.0,
    "friction_per_ps": 1.0,
    "fractions": [0.7, 0.15, 0.15],
}
_RULES: dict[str, Rule] = {
    "temperatures": Numbers(1.0, 2000.0),
    "replicas": Whole(1, 10_000),
    "frames": Whole(3, 10**8),
    "frame_ps": Real(0.0, 1e6, above=True),
    "burn_in_ps": Real(0.0, 1e6),
    "block_frames": Whole(1, 10**8),
    "gap_frames": Whole(0, 10**8),
    "step_fs": Real(0.0, 4.0, above=True),
    "friction_per_ps": Real(0.0, 1e4, above=True),
    "fractions": Fractions(),
}
_CONSTRAINT_TOLERANCE = 1e-6


class Peptide:
    """Langevin dynamics with OpenMM (``friction_per_ps``, steps of ``step_fs``, bonds to hydrogen rigid; amber99sbildn,
    OBC1 implicit solvent, no cutoff): ``replicas`` independent simulations of each temperature.

    Every replica starts from `prep.recipes.dipeptide.REFERENCE`, is equilibrated for ``burn_in_ps``, and then gives a
    frame each ``frame_ps``. Its ``frames`` are cut into time blocks of ``block_frames``: the first are train, then come
    val and test, so that every split has every replica; the ``gap_frames`` before val and before test are dropped and
    counted. A task is one split of one replica; a replica is simulated once.

    Fields: ``positions`` (sample, 23, 3) float32 nm, centred and rotated onto ``reference`` (constant (23, 3), nm);
    ``energy`` (sample,) float64 kJ/mol of these very positions, without constraints; ``temperature`` (sample,) float64
    K of the thermostat; ``replica`` and ``time_block`` (within its replica) int32; ``time`` (sample,) float64 ps since
    the end of burn-in of its replica, so that frames of two splits are (``gap_frames`` + 1) · ``frame_ps`` apart or
    more. Source: SYSTEMS section 4.
    """

    name: ClassVar[str] = "peptide"
    parameters: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Half of the frames for val and test, so that something is left of them after the gaps.
        "smoke": {
            **_DEFAULT,
            "replicas": 2,
            "frames": 64,
            "burn_in_ps": 4.0,
            "block_frames": 4,
            "fractions": [0.5, 0.25, 0.25],
        },
        "default": _DEFAULT,
        "full": {**_DEFAULT, "replicas": 16, "frames": 6_400, "burn_in_ps": 100.0},
    }

    def plan(self, parameters: Mapping[str, Any], seed: int) -> RecipePlan:
        """One task for every split and replica, temperatures in turn; raises `ConfigError`."""
        check_parameters(self.name, parameters, _RULES)
        temperatures = [float(each) for each in parameters["temperatures"]]
        if len(set(temperatures)) != len(temperatures):
            raise bad_value(self.name, "temperatures", parameters["temperatures"], "temperatures that differ")
        seeds = SeedSequence(seed).spawn(int(parameters["replicas"]) * len(temperatures))
        parts = _parts(self.name, parameters)
        tasks = tuple(
            Task(
                split,
                own,
                {
                    **parameters,
                    "parts": parts,
                    "replica": replica,
                    "temperature": temperatures[replica % len(temperatures)],
                },
            )
            for split in SPLITS
            for replica, own in enumerate(seeds)
        )
        attributes = {
            "force_field": json.dumps(list(FORCE_FIELD)),
            "energy_constraints": "none",
            "topology_digest": topology_digest(),
            "atoms": json.dumps(list(ATOMS)),
        }
        reference = FieldSpec(
            "reference", np.dtype(np.float64), ("atom", "axis"), (3,), "constant", "nm", "what positions are aligned to"
        )
        return RecipePlan(_fields(), tasks, attributes, _Simulated(), ((reference, REFERENCE.copy()),))

    def produce(self, plan: RecipePlan, task: Task) -> Produced:
        """The frames of one split of one replica, in the order of time; counts the frames dropped before it."""
        simulated: _Simulated = plan.shared
        positions, energies = simulated.take(task)
        (start, stop), dropped = task.arguments["parts"][task.split]
        rows, frames = stop - start, np.arange(start, stop)
        arrays = {
            "positions": positions,
            "energy": energies,
            "temperature": np.full(rows, task.arguments["temperature"]),
            "replica": np.full(rows, task.arguments["replica"], np.int32),
            "time_block": (frames // task.arguments["block_frames"]).astype(np.int32),
            "time": (frames + 1) * _frame_steps(task.arguments) * task.arguments["step_fs"] / 1000.0,
        }
        return Produced(arrays, {"frames_simulated": rows + dropped, "frames_dropped_in_gaps": dropped})


class _Simulated:
    """Trajectories whose first split was asked for, kept until the others are. A split that is asked for again is
    simulated again, to the same bits.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[int, Lock] = {}
        self._kept: dict[tuple[int, str], tuple[Array, Array]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process nothing has been simulated yet."""
        return type(self), ()

    def take(self, task: Task) -> tuple[Array, Array]:
        """Positions and energies of the task's split of its replica."""
        replica = task.arguments["replica"]
        with self._lock:
            running = self._running.setdefault(replica, Lock())
        with running:
            if (replica, task.split) not in self._kept:
                for split, part in _simulate(task).items():
                    self._kept[replica, split] = part
            return self._kept.pop((replica, task.split))


def _simulate(task: Task) -> dict[str, tuple[Array, Array]]:
    """Aligned positions float32 and energies of each split of one replica."""
    arguments, library = task.arguments, openmm()
    dynamics, velocities = (int(each) for each in task.seed.generate_state(2) >> 1)
    integrator = library.LangevinMiddleIntegrator(
        arguments["temperature"], arguments["friction_per_ps"], arguments["step_fs"] / 1000.0
    )
    integrator.setConstraintTolerance(_CONSTRAINT_TOLERANCE)
    # OpenMM reads 0 as "draw a seed".
    integrator.setRandomNumberSeed(dynamics or 1)
    context = make_context(make_system(rigid=True), integrator)
    context.setPositions(REFERENCE)
    context.applyConstraints(_CONSTRAINT_TOLERANCE)
    context.setVelocitiesToTemperature(arguments["temperature"], velocities or 1)
    frames = np.empty((max(stop for (_, stop), _ in arguments["parts"].values()), *REFERENCE.shape))
    try:
        integrator.step(_steps(arguments, "burn_in_ps"))
        for frame in frames:
            integrator.step(_frame_steps(arguments))
            frame[...] = context.getState(getPositions=True).getPositions(asNumpy=True)._value
    except library.OpenMMException as error:
        raise _unstable(task, str(error)) from error
    if not np.isfinite(frames).all():
        raise _unstable(task, "a position is not finite")
    measure = Energies()
    result = {}
    for split, ((start, stop), _) in arguments["parts"].items():
        positions = align(frames[start:stop], REFERENCE).astype(np.float32)
        result[split] = positions, measure(positions)
    return result


def _frame_steps(arguments: Mapping[str, Any]) -> int:
    return max(_steps(arguments, "frame_ps"), 1)


def _steps(arguments: Mapping[str, Any], key: str) -> int:
    return round(float(arguments[key]) * 1000.0 / float(arguments["step_fs"]))


def _unstable(task: Task, measured: str) -> DataError:
    return DataError(
        f"the simulation of replica {task.arguments['replica']} came apart",
        where=Where(dataset="peptide", split=task.split),
        measured=measured,
        allowed="finite positions",
        remedy=f"lower step_fs ({task.arguments['step_fs']:g}), or the temperature",
    )


def _parts(recipe: str, parameters: Mapping[str, Any]) -> dict[str, tuple[tuple[int, int], int]]:
    """Frames of each split, and how many were dropped before the first of them."""
    size, gap = int(parameters["block_frames"]), int(parameters["gap_frames"])
    blocks = int(parameters["frames"]) // size
    if blocks < len(SPLITS):
        allowed = f"at most a third of frames, which is {parameters['frames']}"
        raise bad_value(recipe, "block_frames", parameters["block_frames"], allowed)
    parts, block = {}, 0
    for split, count in zip(SPLITS, split_rows(recipe, blocks, parameters["fractions"]), strict=True):
        dropped = gap if block else 0
        start, stop = block * size + dropped, (block + count) * size
        if stop <= start:
            raise bad_value(
                recipe, "gap_frames", gap, f"fewer than the {count * size} frames of {split}", remedy="simulate longer"
            )
        parts[split] = (start, stop), dropped
        block += count
    return parts


def _fields() -> tuple[FieldSpec, ...]:
    table: tuple[tuple[str, Any, Role, str, str], ...] = (
        ("energy", np.float64, "aux", "kJ/mol", "potential energy without constraints"),
        ("temperature", np.float64, "aux", "K", "temperature of the thermostat"),
        ("replica", np.int32, "id", "1", "independent simulation"),
        ("time_block", np.int32, "id", "1", "time block within the replica"),
        ("time", np.float64, "aux", "ps", "time since the end of burn-in within the replica"),
    )
    positions = FieldSpec(
        "positions",
        np.dtype(np.float32),
        ("sample", "atom", "axis"),
        REFERENCE.shape,
        "input",
        "nm",
        "atoms, centred and aligned to the reference",
        features=("atom", "axis"),
    )
    return positions, *(
        FieldSpec(name, np.dtype(dtype), ("sample",), (), role, units, text) for name, dtype, role, units, text in table
    )
