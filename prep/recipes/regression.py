"""Badly scaled vectors: a smooth regression hidden behind feature scales and offsets that span six decades."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.random import SeedSequence, default_rng

from prep.blocks import SPLITS, Array, FieldSpec, Role, row_ranges
from prep.recipes import Produced, RecipePlan, Task
from prep.recipes.parameters import (
    Fractions,
    Interval,
    Numbers,
    Real,
    Rule,
    Whole,
    bad_value,
    check_parameters,
    split_rows,
)

_DEFAULT: dict[str, Any] = {
    "samples": 8_000,
    "features": 16,
    "hidden": 16,
    "gain": 2.0,
    "noise": 0.05,
    "input_scale_decades": [-2.0, 4.0],
    "input_offset_decades": [0.0, 4.0],
    "target_scales": [1e3, 1e5, 1e6, 5e7],
    "target_offsets": [1e4, -1e5, 2e6, 3e7],
    "fractions": [0.7, 0.15, 0.15],
    "task_rows": 65_536,
}
_RULES: dict[str, Rule] = {
    "samples": Whole(10, 10**10),
    "features": Whole(1, 100_000),
    "hidden": Whole(1, 100_000),
    "gain": Real(0.0, 1e3, above=True),
    "noise": Real(0.0, 10.0),
    "input_scale_decades": Interval(-20.0, 20.0),
    "input_offset_decades": Interval(-20.0, 20.0),
    "target_scales": Numbers(1e-20, 1e20),
    "target_offsets": Numbers(-1e20, 1e20),
    "fractions": Fractions(),
    "task_rows": Whole(1, 10**7),
}
_REFERENCE_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class _Teacher:
    """What every task shares: the network z (n, features) → (n, targets), standardised, and the raw input scales."""

    inner: Array
    outer: Array
    mean: Array
    std: Array
    input_scale: Array
    input_offset: Array

    def __call__(self, latent: Array) -> Array:
        response = np.tanh(latent @ self.inner.T) @ self.outer.T
        standardised: Array = (response - self.mean) / self.std
        return standardised


class Regression:
    """inputs = 10^U(-2, 4)·Z + offset, targets = scale·(standardised W₂ tanh(W₁ Z) + 0.05 noise) + offset.

    Z is standard normal (features,); scales, offsets and the network are drawn from the seed, the same for every row.
    ``gain`` is the spread of the network's preactivations; at 2 a linear model leaves 17 % of the variance unexplained.
    The network's response is standardised with the moments of a fixed reference draw, so that tasks stay independent.
    Fields: ``inputs`` (sample, feature) float32 and ``targets`` (sample, target) float32, both in mixed units.
    Source: the data of SYSTEMS section 5; the zero predictor scores mean(scale² + offset²) = 8.5e14 on the raw targets.
    """

    name: ClassVar[str] = "regression"
    parameters: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {**_DEFAULT, "samples": 1_000},
        "default": _DEFAULT,
        "full": {**_DEFAULT, "samples": 800_000},
    }

    def plan(self, parameters: Mapping[str, Any], seed: int) -> RecipePlan:
        """Tasks of ``task_rows`` rows; raises `ConfigError` for an unknown, missing or senseless parameter."""
        check_parameters(self.name, parameters, _RULES)
        scales, offsets = list(parameters["target_scales"]), list(parameters["target_offsets"])
        if len(scales) != len(offsets):
            raise bad_value(
                self.name, "target_offsets", offsets, f"{len(scales)} numbers, one for each of target_scales"
            )
        features, samples = int(parameters["features"]), int(parameters["samples"])
        shared_seed, *seeds = SeedSequence(seed).spawn(1 + len(SPLITS))
        ranges = zip(SPLITS, split_rows(self.name, samples, parameters["fractions"]), seeds, strict=True)
        tasks = tuple(
            task for split, rows, root in ranges for task in _tasks(split, rows, int(parameters["task_rows"]), root)
        )
        teacher = _draw_teacher(parameters, features, len(scales), shared_seed)
        fields = (
            _field("inputs", "feature", features, "input", "features of very different scale and offset"),
            _field("targets", "target", len(scales), "target", "targets of very different scale and offset"),
        )
        attributes = {"noise_std_standardised": json.dumps(parameters["noise"])}
        shared = (teacher, np.array(scales), np.array(offsets), float(parameters["noise"]))
        return RecipePlan(fields, tasks, attributes, shared)

    def produce(self, plan: RecipePlan, task: Task) -> Produced:
        """``inputs`` (n, features) and ``targets`` (n, targets), float32."""
        teacher, scales, offsets, noise = plan.shared
        rows = int(task.arguments["rows"])
        rng = default_rng(task.seed)
        latent = rng.standard_normal((rows, teacher.input_scale.size))
        targets = teacher(latent) + noise * rng.standard_normal((rows, scales.size))
        return Produced(
            {
                "inputs": (latent * teacher.input_scale + teacher.input_offset).astype(np.float32),
                "targets": (targets * scales + offsets).astype(np.float32),
            }
        )


def _field(name: str, dim: str, size: int, role: Role, long_name: str) -> FieldSpec:
    return FieldSpec(name, np.dtype(np.float32), ("sample", dim), (size,), role, "1", long_name, features=(dim,))


def _tasks(split: str, rows: int, step: int, root: SeedSequence) -> Iterator[Task]:
    ranges = list(row_ranges(rows, step))
    for (start, stop), seed in zip(ranges, root.spawn(len(ranges)), strict=True):
        yield Task(split, seed, {"rows": stop - start})


def _draw_teacher(parameters: Mapping[str, Any], features: int, targets: int, seed: SeedSequence) -> _Teacher:
    weights_seed, scales_seed, reference_seed = seed.spawn(3)
    rng, scales_rng = default_rng(weights_seed), default_rng(scales_seed)
    hidden = int(parameters["hidden"])
    inner = parameters["gain"] * rng.standard_normal((hidden, features)) / np.sqrt(features)
    outer = rng.standard_normal((targets, hidden)) / np.sqrt(hidden)
    (low, high), (near, far) = parameters["input_scale_decades"], parameters["input_offset_decades"]
    scale = 10.0 ** scales_rng.uniform(low, high, features)
    sign = scales_rng.choice([-1.0, 1.0], features)
    offset = sign * 10.0 ** scales_rng.uniform(near, far, features)
    reference = default_rng(reference_seed).standard_normal((_REFERENCE_ROWS, features))
    response = np.tanh(reference @ inner.T) @ outer.T
    return _Teacher(inner, outer, response.mean(axis=0), response.std(axis=0), scale, offset)
