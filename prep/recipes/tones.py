"""Noisy sums of four tones, one of which is to be extracted: whole sequences, each from its own phase on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.random import SeedSequence, default_rng

from prep.blocks import SPLITS, Array, FieldSpec, Role, row_ranges
from prep.recipes import Produced, RecipePlan, Task, sized_field
from prep.recipes.parameters import Interval, Numbers, Real, Rule, Whole, bad_value, check_parameters

_DEFAULT: dict[str, Any] = {
    "sequences_per_tone": 24,
    "held_out_per_tone": 2,
    "tones_hz": [1.0, 3.0, 5.0, 7.0],
    "rate_hz": 1000.0,
    "steps": 10_000,
    "amplitude": [0.8, 1.2],
    "phase_span": 0.02 * np.pi,
    "task_sequences": 16,
}
_RULES: dict[str, Rule] = {
    "sequences_per_tone": Whole(1, 10**7),
    "held_out_per_tone": Whole(1, 10**7),
    "tones_hz": Numbers(1e-6, 1e9),
    "rate_hz": Real(0.0, 1e9, above=True),
    "steps": Whole(2, 10**6),
    "amplitude": Interval(0.0, 1e6),
    "phase_span": Real(0.0, 2 * np.pi),
    "task_sequences": Whole(1, 10**5),
}


class Tones:
    """signal = mean over the tones i of A(t)·sin(2π fᵢ t + θ + φ(t)), target = sin(2π f t + θ) of the selected tone.

    A ~ U(amplitude) and φ ~ U(0, phase_span), in radians, are drawn anew for every step and tone. At a span of 2π no
    signal is left (-36 dB); at 0.02π there are 18.7 dB. θ is a sequence's own: the n sequences of a tone in a split
    have one in every n-th part of the circle, so that a clock, which knows the time and not the signal, scores what
    zero scores. It is one phase for all tones, which the first few steps tell; with a phase for each tone even the best
    linear estimator would need half a second and average 0.005 over ten seconds.
    Fields, a sample being one sequence: ``signal`` and ``target`` (sample, step) float32; ``selector`` (sample,
    candidate) uint8, one-hot; ``reset`` (sample, step) uint8, 1 at the first step; ``time`` (sample, step) float32, s;
    ``sequence_id`` and ``tone`` (sample,) int32. Every split has as many sequences of each tone, in turn.
    Source: SYSTEMS section 3.
    """

    name: ClassVar[str] = "tones"
    parameters: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {**_DEFAULT, "sequences_per_tone": 3, "held_out_per_tone": 1},
        "default": _DEFAULT,
        "full": {**_DEFAULT, "sequences_per_tone": 256, "held_out_per_tone": 16},
    }

    def plan(self, parameters: Mapping[str, Any], seed: int) -> RecipePlan:
        """Tasks of ``task_sequences`` sequences; raises `ConfigError` for an unknown, missing or senseless value."""
        check_parameters(self.name, parameters, _RULES)
        tones, rate = np.array(parameters["tones_hz"], np.float64), float(parameters["rate_hz"])
        if tones.max() >= rate / 2:
            raise bad_value(
                self.name, "tones_hz", parameters["tones_hz"], f"frequencies below rate_hz / 2, which is {rate / 2:g}"
            )
        held_out = int(parameters["held_out_per_tone"])
        counts = (int(parameters["sequences_per_tone"]), held_out, held_out)
        step = int(parameters["task_sequences"])
        tasks: list[Task] = []
        first = 0
        for split, per_tone, root in zip(SPLITS, counts, SeedSequence(seed).spawn(len(SPLITS)), strict=True):
            rows = per_tone * len(tones)
            tasks += _tasks(split, rows, step, root, {"first": first, "per_tone": per_tone})
            first += rows
        attributes = {
            "tones_hz": json.dumps(tones.tolist()),
            "rate_hz": json.dumps(rate),
            "phase_span_rad": json.dumps(parameters["phase_span"]),
        }
        return RecipePlan(_fields(int(parameters["steps"]), len(tones)), tuple(tasks), attributes, dict(parameters))

    def produce(self, plan: RecipePlan, task: Task) -> Produced:
        """The task's sequences, all at once; the noise needs 50 bytes for each step and tone."""
        parameters, arguments = plan.shared, task.arguments
        tones, steps = np.array(parameters["tones_hz"], np.float64), int(parameters["steps"])
        places = np.arange(arguments["start"], arguments["stop"])
        slot, tone = np.divmod(places, len(tones))
        low, high = parameters["amplitude"]
        rng = default_rng(task.seed)
        theta = 2 * np.pi * (slot + rng.random(len(places))) / arguments["per_tone"]
        time = np.arange(steps) / float(parameters["rate_hz"])
        angles = 2 * np.pi * tones[:, np.newaxis] * time + theta[:, np.newaxis, np.newaxis]
        amplitude = rng.uniform(low, high, angles.shape)
        jitter = rng.uniform(0.0, parameters["phase_span"], angles.shape)
        signal = (amplitude * np.sin(angles + jitter)).mean(axis=1)
        chosen = angles[np.arange(len(places)), tone]
        reset = np.zeros((len(places), steps), np.uint8)
        reset[:, 0] = 1
        return Produced(
            {
                "signal": signal.astype(np.float32),
                "selector": (tone[:, np.newaxis] == np.arange(len(tones))).astype(np.uint8),
                "target": np.sin(chosen).astype(np.float32),
                "reset": reset,
                "time": _rows_of(time.astype(np.float32), len(places)),
                "sequence_id": (arguments["first"] + places).astype(np.int32),
                "tone": tone.astype(np.int32),
            }
        )


def _rows_of(row: Array, rows: int) -> Array:
    return np.tile(row, (rows, 1))


def _tasks(split: str, rows: int, step: int, root: SeedSequence, arguments: Mapping[str, int]) -> Iterator[Task]:
    ranges = list(row_ranges(rows, step))
    for (start, stop), seed in zip(ranges, root.spawn(len(ranges)), strict=True):
        yield Task(split, seed, {**arguments, "start": start, "stop": stop})


def _fields(steps: int, tones: int) -> tuple[FieldSpec, ...]:
    sizes = {"step": steps, "candidate": tones}
    table: list[tuple[str, Any, str, Role, str, str]] = [
        ("signal", np.float32, "step", "input", "1", "noisy sum of all tones"),
        ("selector", np.uint8, "candidate", "input", "1", "1 at the tone to extract, else 0"),
        ("target", np.float32, "step", "target", "1", "the selected tone, without noise, of amplitude 1"),
        ("reset", np.uint8, "step", "aux", "1", "1 where a sequence begins and states are zeroed"),
        ("time", np.float32, "step", "aux", "s", "time since the sequence began"),
        ("sequence_id", np.int32, "", "id", "1", "sequence, in stored order"),
        ("tone", np.int32, "", "id", "1", "tone to extract, an index into the attribute tones_hz"),
    ]
    return tuple(sized_field(sizes, *line) for line in table)
