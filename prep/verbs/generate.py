"""`prep generate`: run a recipe and write its raw dataset, the same bytes for the same parameters and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prep.blocks import DatasetSpec
from prep.canonical import canonical_json, value_digest
from prep.engine import Progress, Workers, ordered, silent
from prep.errors import ConfigError, UsageError, Where
from prep.importers import IngestOptions
from prep.importers.mapping import load_mapping
from prep.recipes import RECIPES, SCALES, Recipe, RecipePlan
from prep.verbs.config import Config, DatasetConfig, load_config
from prep.verbs.ingest import Ingested, ingest
from prep.verbs.rawdata import Rows, demand_output, is_made, versions, write_dataset


def generate(
    name: str,
    *,
    config: str | Path | None = None,
    scale: str | None = None,
    seed: int | None = None,
    output: str | Path | None = None,
    force: bool = False,
    workers: Workers = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> Path:
    """Make the raw dataset ``name`` of the configuration by its recipe or, where it has a source, by `ingest`; return
    its path.

    ``config`` defaults to ``config/config.yaml``; ``scale`` (smoke, default, full), ``seed`` and ``output`` override
    it. An output made by the same recipe, parameters, seed and versions, whose stored bytes are still as they were
    written, is left as it is unless ``force``. ``say`` gets what a person has to know. Raises `ConfigError`,
    `StorageError`, and `UsageError` for an output that would replace what prep did not write.
    """
    settings = load_config(config)
    entry = settings.dataset(name)
    path = Path(output) if output else settings.raw_path(entry)
    if entry.ingest:
        found = _bring_in(entry, settings, path, scale, seed, force=force, workers=workers, progress=progress)
        for remark in found.remarks():
            say(remark)
        return found.path
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
    plan = recipe.plan(parameters, chosen_seed)
    identity = value_digest("generate", {**provenance, "version": entry.version, "compression": entry.compression})
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
    rows = _produce(recipe, plan, workers, progress)
    provenance["identity"] = identity
    write_dataset(path, spec, plan.constants, rows, provenance, compression=entry.compression)
    return path


def _bring_in(
    entry: DatasetConfig,
    settings: Config,
    path: Path,
    scale: str | None,
    seed: int | None,
    *,
    force: bool,
    workers: Workers,
    progress: Progress,
) -> Ingested:
    if scale is not None:
        raise UsageError(
            "data that are brought in have no scale",
            where=Where(path=str(settings.path), key=f"datasets.{entry.name}.ingest"),
            measured=f"--scale {scale}",
            allowed="no --scale",
            remedy="leave --scale out",
        )
    return ingest(
        entry.ingest["source"],
        output=path,
        layout=entry.ingest.get("as"),
        options=ingest_options(entry, entry.seed if seed is None else seed),
        schema=entry.schema,
        version=entry.version,
        compression=entry.compression,
        force=force,
        workers=workers,
        progress=progress,
    )


def ingest_options(entry: DatasetConfig, seed: int) -> IngestOptions:
    """What the configuration says about the source of a dataset that is brought in; `ConfigError` for a bad mapping."""
    said = entry.ingest
    options = IngestOptions(seed=seed, roles=said.get("roles", {}), group=said.get("group", ""))
    if "mapping" in said:
        options = replace(options, mapping=load_mapping(Path(said["mapping"])))
    if "fractions" in said:
        options = replace(options, fractions=tuple(said["fractions"]))
    return options


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


def _produce(recipe: Recipe, plan: RecipePlan, workers: Workers, progress: Progress) -> Iterator[Rows]:
    total = len(plan.tasks)
    progress(0, total)
    made = ordered(partial(recipe.produce, plan), plan.tasks, workers)
    for index, (task, produced) in enumerate(zip(plan.tasks, made, strict=True)):
        yield Rows(task.split, produced.arrays, produced.counts)
        progress(index + 1, total)
