"""`prep generate`: run a recipe and write its raw dataset, the same bytes for the same parameters and seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prep.blocks import DatasetSpec
from prep.canonical import canonical_json, value_digest
from prep.engine import Progress, available_workers, ordered, silent
from prep.errors import ConfigError, Where
from prep.recipes import RECIPES, SCALES, Recipe, RecipePlan
from prep.verbs.config import Config, DatasetConfig, load_config
from prep.verbs.rawdata import Rows, demand_output, is_made, versions, write_dataset


def generate(
    name: str,
    *,
    config: str | Path | None = None,
    scale: str | None = None,
    seed: int | None = None,
    output: str | Path | None = None,
    force: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Path:
    """Generate the raw dataset ``name`` of the configuration and return its path.

    ``config`` defaults to ``config/config.yaml``; ``scale`` (smoke, default, full), ``seed`` and ``output`` override
    it. An output made by the same recipe, parameters, seed and versions, whose stored bytes are still as they were
    written, is left as it is unless ``force``. Raises `ConfigError`, `StorageError`, and `UsageError` for an output
    that would replace what prep did not write.
    """
    settings = load_config(config)
    entry = settings.dataset(name)
    path = Path(output) if output else settings.raw_path(entry)
    demand_output(path)
    recipe: Recipe = RECIPES.load(entry.recipe)()
    parameters = recipe_parameters(recipe, entry, settings, scale)
    chosen_seed = entry.seed if seed is None else seed
    provenance = {
        "stage": "generate",
        "recipe": entry.recipe,
        "parameters": parameters,
        "seed": chosen_seed,
        "scale": scale or settings.scale,
        "versions": versions(),
    }
    identity = value_digest("generate", {**provenance, "version": entry.version, "compression": entry.compression})
    plan = recipe.plan(parameters, chosen_seed)
    if not force and is_made(path, identity, workers, progress):
        return path
    spec = DatasetSpec(
        name=name,
        fields=plan.fields,
        splits={},
        version=entry.version,
        attributes={**plan.attributes, "title": name, "source": f"prep recipe {entry.recipe}"},
        documents={
            "recipe": canonical_json({key: provenance[key] for key in ("recipe", "parameters", "seed")}).decode()
        },
    )
    rows = _produce(recipe, plan, workers or available_workers(), progress)
    provenance["identity"] = identity
    write_dataset(path, spec, plan.constants, rows, provenance, compression=entry.compression, workers=workers)
    return path


def recipe_parameters(
    recipe: Recipe, entry: DatasetConfig, settings: Config, scale: str | None = None
) -> dict[str, Any]:
    """The complete parameters of one build: the scale's, with those of the configuration on top."""
    chosen = scale or settings.scale
    if chosen not in SCALES:
        raise ConfigError(
            "there is no such scale",
            where=Where(path=str(settings.path), key="scale"),
            measured=chosen,
            allowed=", ".join(SCALES),
            remedy="use one of the scales",
        )
    defaults = recipe.parameters[chosen]
    for key in entry.parameters:
        if key not in defaults:
            raise ConfigError(
                f"recipe {recipe.name} has no parameter {key!r}",
                where=Where(path=str(settings.path), key=f"datasets.{entry.name}.parameters.{key}"),
                measured=key,
                allowed=", ".join(sorted(defaults)),
                remedy="remove it or name an existing parameter",
            )
    return {**defaults, **entry.parameters}


def _produce(recipe: Recipe, plan: RecipePlan, workers: int, progress: Progress) -> Iterator[Rows]:
    total = len(plan.tasks)
    progress(0, total)
    for index, (task, produced) in enumerate(
        zip(plan.tasks, ordered(lambda task: recipe.produce(plan, task), plan.tasks, workers), strict=True)
    ):
        yield Rows(task.split, produced.arrays, produced.counts)
        progress(index + 1, total)
