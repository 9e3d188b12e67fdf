"""What a workflow needs to know of each dataset: its files, and digests that change when a stage has to run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.canonical import value_digest
from prep.certificate import envelope, lock
from prep.errors import UsageError, Where
from prep.importers.splitting import checked_fractions
from prep.recipes import RECIPES
from prep.schema import load_schema
from prep.verbs.config import Config, DatasetConfig
from prep.verbs.generate import ingest_options, recipe_parameters


@dataclass(frozen=True, slots=True)
class Targets:
    """Files of one dataset, stage by stage, and what its stages depend on beside files."""

    raw: str
    stats: str
    normalized: str
    report: str
    failed: str
    schema: str
    compression: str
    origin: str
    sources: tuple[str, ...]
    origin_digest: str
    plan_digest: str


def dataset_targets(settings: Config, name: str) -> Targets:
    """The targets of dataset ``name``; `ConfigError` or `SchemaError` where configuration or schema are wrong.

    A recipe plans its build here already: a workflow removes the old data before it runs a stage, so parameters that
    make no sense have to be refused before.
    """
    entry = settings.dataset(name)
    if entry.ingest and not entry.schema.exists():
        raise UsageError(
            "own data need a schema before a workflow can build on them",
            where=Where(path=str(entry.schema), dataset=name),
            remedy=f"run `prep generate {name}` once: it drafts the schema, which is then yours to read and edit",
        )
    origin = _ingested(entry) if entry.ingest else _generated(entry, settings)
    places = [entry.ingest.get(key, "").removeprefix("minari:") for key in ("source", "mapping")]
    schema = load_schema(entry.schema, verify=False)
    return Targets(
        raw=str(settings.raw_path(entry)),
        stats=str(settings.data / "stats" / f"{name}.json"),
        normalized=str(settings.normalized_path(entry)),
        report=str(settings.data / "reports" / f"{name}.json"),
        failed=str(settings.data / "reports" / f"{name}.failed.json"),
        schema=str(entry.schema),
        compression=entry.compression,
        origin=str(settings.data / "raw" / f"{name}.origin"),
        sources=tuple(place for place in places if place and Path(place).exists()),
        origin_digest=value_digest("origin", [origin, entry.seed, entry.version, entry.compression]),
        plan_digest=schema.transform_digest(),
    )


def _generated(entry: DatasetConfig, settings: Config) -> list[Any]:
    recipe = RECIPES.load(entry.recipe)()
    parameters = recipe_parameters(recipe, entry, settings)
    recipe.plan(parameters, entry.seed)
    return [entry.recipe, parameters, settings.scale]


def _ingested(entry: DatasetConfig) -> list[Any]:
    options = ingest_options(entry, entry.seed)
    checked_fractions(options.fractions, options.seed)
    return [dict(entry.ingest), dict(options.mapping)]


def unlocked(targets: Mapping[str, Targets]) -> list[str]:
    """Datasets that have a certificate but no entry in the lock, because it was deleted or the entry was."""
    pinned = lock.read(lock.find())
    return [
        name
        for name, each in targets.items()
        if name not in pinned and envelope.path_of(Path(each.normalized)).exists()
    ]
