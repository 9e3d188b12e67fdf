"""What a workflow needs to know of each dataset: its files, and digests that change when a stage has to run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prep.canonical import value_digest
from prep.certificate import envelope, lock
from prep.recipes import RECIPES
from prep.schema import load_schema
from prep.verbs.config import Config
from prep.verbs.generate import recipe_parameters


@dataclass(frozen=True, slots=True)
class Targets:
    """Files of one dataset, stage by stage, and what its stages depend on beside files."""

    raw: str
    stats: str
    normalized: str
    report: str
    schema: str
    compression: str
    recipe_digest: str
    plan_digest: str


def dataset_targets(settings: Config, name: str) -> Targets:
    """The targets of dataset ``name``; `ConfigError` or `SchemaError` where configuration or schema are wrong.

    The recipe plans its build here already: a workflow removes the old data before it runs a stage, so parameters that
    make no sense have to be refused before.
    """
    entry = settings.dataset(name)
    recipe = RECIPES.load(entry.recipe)()
    parameters = recipe_parameters(recipe, entry, settings)
    recipe.plan(parameters, entry.seed)
    schema = load_schema(entry.schema, verify=False)
    return Targets(
        raw=str(settings.raw_path(entry)),
        stats=str(settings.data / "stats" / f"{name}.json"),
        normalized=str(settings.normalized_path(entry)),
        report=str(settings.data / "reports" / f"{name}.json"),
        schema=str(entry.schema),
        compression=entry.compression,
        recipe_digest=value_digest(
            "recipe", [entry.recipe, parameters, entry.seed, entry.version, entry.compression, settings.scale]
        ),
        plan_digest=schema.transform_digest(),
    )


def unlocked(targets: Mapping[str, Targets]) -> list[str]:
    """Datasets that have a certificate but no entry in the lock, because it was deleted or the entry was."""
    pinned = lock.read(lock.find())
    return [
        name
        for name, each in targets.items()
        if name not in pinned and envelope.path_of(Path(each.normalized)).exists()
    ]
