"""Recipes generate raw datasets: a plan of independent tasks, each producing rows from its own seed sequence.

A recipe is one file here and one line in `RECIPES`. The same parameters and seed give the same bytes whatever the
number of workers, because every task draws from its own spawned `numpy.random.SeedSequence` and tasks are stored in
plan order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.random import SeedSequence

from prep.blocks import Array, FieldSpec, Role
from prep.registry import Table

RECIPES = Table(
    "recipes",
    {
        "control": "prep.recipes.control:Control",
        "covariance": "prep.recipes.covariance:Covariance",
        "peptide": "prep.recipes.peptide:Peptide",
        "regression": "prep.recipes.regression:Regression",
        "tones": "prep.recipes.tones:Tones",
    },
)
SCALES = ("smoke", "default", "full")


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of generation: a split, its own seed, and whatever the recipe needs to produce its rows."""

    split: str
    seed: SeedSequence
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Produced:
    """What a task produced: arrays by field name (equal leading length) and counts of what was dropped or clipped."""

    arrays: Mapping[str, Array]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecipePlan:
    """Fields and tasks of one build, tasks in stored order (all of train, then val, then test).

    ``fields`` do not include ``split``; the engine writes it. ``attributes`` are dataset attributes (strings).
    ``shared`` holds values that every task reads (a channel matrix, a gain), handed to `Recipe.produce` unchanged.
    ``constants`` are arrays stored once beside the samples, such as a fixed scene: (spec of role ``constant``, array).
    """

    fields: tuple[FieldSpec, ...]
    tasks: tuple[Task, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)
    shared: Any = None
    constants: tuple[tuple[FieldSpec, Array], ...] = ()


class Recipe(Protocol):
    """A generator of one family of datasets.

    ``parameters`` maps each scale (`SCALES`) to the complete parameters of that scale: JSON-ready, no nesting beyond
    lists; a user's config may override any of them and no others.
    """

    name: str
    parameters: Mapping[str, Mapping[str, Any]]

    def plan(self, parameters: Mapping[str, Any], seed: int) -> RecipePlan:
        """What to build; `ConfigError` (naming the parameter) for a value that makes no sense."""

    def produce(self, plan: RecipePlan, task: Task) -> Produced:
        """The rows of one task: pure, thread-safe, vectorised over samples."""


def sized_field(
    sizes: Mapping[str, int],
    name: str,
    dtype: Any,
    dims: str,
    role: Role,
    units: str,
    long_name: str,
    *,
    mask: str = "",
    features: tuple[str, ...] = (),
) -> FieldSpec:
    """A field of samples whose further ``dims`` (names with spaces between) are as large as ``sizes`` says."""
    own = tuple(dims.split())
    shape = tuple(sizes[dim] for dim in own)
    return FieldSpec(name, np.dtype(dtype), ("sample", *own), shape, role, units, long_name, mask, features)
