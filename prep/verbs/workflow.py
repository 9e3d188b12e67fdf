"""What a workflow needs to know of each dataset: its files, and digests that change when a stage has to run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from prep.canonical import canonical_json, value_digest
from prep.certificate import envelope, lock
from prep.errors import PrepError, UsageError, Where
from prep.importers.splitting import checked_fractions
from prep.recipes import RECIPES
from prep.schema import load_schema
from prep.verbs.config import Config, DatasetConfig
from prep.verbs.generate import ingest_options, recipe_parameters
from prep.verbs.ingest import open_source, source_files
from prep.verbs.rawdata import demand_output, read_manifest
from prep.verbs.stats import demand_statistics_output

CAPTION = str(files("prep.verbs").joinpath("page-caption.rst"))


@dataclass(frozen=True, slots=True)
class Targets:
    """Files of one dataset, stage by stage, and what its stages depend on beside files."""

    raw: str
    stats: str
    normalized: str
    report: str
    failed: str
    page: str
    schema: str
    compression: str
    origin: str
    origin_digest: str
    plan_digest: str


def dataset_targets(settings: Config, name: str) -> Targets:
    """The targets of dataset ``name``; `ConfigError` or `SchemaError` where configuration or schema are wrong.

    A workflow removes the old data before it runs a stage. So what a stage would refuse is refused here already: a
    recipe's parameters, a source that cannot be opened as the configuration says, a file of somebody else's at an
    output. Raw data that were made otherwise than the configuration asks are marked to be built again.
    """
    entry = settings.dataset(name)
    stats = settings.data / "stats" / f"{name}.json"
    inputs = [entry.schema, *(source_files(entry.ingest["source"]) if entry.ingest else ())]
    for output in (settings.raw_path(entry), settings.normalized_path(entry)):
        demand_output(output, inputs)
    demand_statistics_output(stats, inputs)
    if entry.ingest and not entry.schema.exists():
        raise UsageError(
            "own data need a schema before a workflow can build on them",
            where=Where(path=str(entry.schema), dataset=name),
            remedy=f"run `prep generate {name}` once: it drafts the schema, which is then yours to read and edit",
        )
    place = settings.data / "raw" / f"{name}.origin"
    origin, wanted = _ingested(entry) if entry.ingest else _generated(entry, settings)
    digest = value_digest("origin", [origin, entry.seed, entry.version, entry.compression])
    _prepare_build(entry, settings.raw_path(entry), place, digest, wanted)
    schema = load_schema(entry.schema, verify=False)
    return Targets(
        raw=str(settings.raw_path(entry)),
        stats=str(stats),
        normalized=str(settings.normalized_path(entry)),
        report=str(settings.data / "reports" / f"{name}.json"),
        failed=str(settings.data / "reports" / f"{name}.failed.json"),
        page=str(settings.data / "reports" / f"{name}.html"),
        schema=str(entry.schema),
        compression=entry.compression,
        origin=str(place),
        origin_digest=digest,
        plan_digest=schema.transform_digest(),
    )


def _generated(entry: DatasetConfig, settings: Config) -> tuple[list[Any], dict[str, Any]]:
    recipe = RECIPES.load(entry.recipe)()
    parameters = recipe_parameters(recipe, entry, settings)
    recipe.plan(parameters, entry.seed)
    wanted = {"stage": "generate", "recipe": entry.recipe, "parameters": parameters, "seed": entry.seed}
    return [entry.recipe, parameters, settings.scale], wanted


def _ingested(entry: DatasetConfig) -> tuple[list[Any], dict[str, Any]]:
    options = ingest_options(entry, entry.seed)
    fractions = checked_fractions(options.fractions, options.seed)
    states = [each.stat() for each in source_files(entry.ingest["source"])]
    files = [[each.st_size, each.st_mtime_ns] for each in states]
    wanted = {"stage": "ingest", "fractions": list(fractions), "seed": entry.seed}
    return [dict(entry.ingest), dict(options.mapping), files], wanted


def _prepare_build(entry: DatasetConfig, raw: Path, origin: Path, digest: str, wanted: Mapping[str, Any]) -> None:
    """Open a source that is about to be read; forget the origin of raw data that were not made as ``wanted``."""
    known = origin.read_text().strip() if origin.is_file() else ""
    if entry.ingest and (known != digest or not raw.exists()):
        open_source(entry.ingest["source"], entry.ingest.get("as"), ingest_options(entry, entry.seed))
    try:
        spec = read_manifest(raw).spec
        provenance = json.loads(spec.documents["provenance"])
        stated = {key: provenance.get(key) for key in wanted} | {"version": spec.version}
    except (PrepError, OSError, KeyError, ValueError, AttributeError):
        return
    if known == digest and canonical_json(stated) != canonical_json({**wanted, "version": entry.version}):
        origin.unlink(missing_ok=True)


def unlocked(targets: Mapping[str, Targets]) -> list[str]:
    """Datasets that have a certificate but no entry in the lock, because it was deleted or the entry was."""
    pinned = lock.read(lock.find())
    return [name for name in _certificates(targets) if name not in pinned]


def mispinned(targets: Mapping[str, Targets]) -> list[str]:
    """A line for each dataset whose certificate is another one than the lock pins: nothing will train on it."""
    pinned = lock.read(lock.find())
    return [
        f"prep.lock pins another certificate of {name} than {place} holds, so nothing trains on it. If you trust the "
        f"data, run `prep certify {targets[name].normalized}`; else restore what was pinned"
        for name, place in _certificates(targets).items()
        if name in pinned and _digest(place) != pinned[name].certificate
    ]


def _certificates(targets: Mapping[str, Targets]) -> dict[str, Path]:
    places = {name: envelope.path_of(Path(each.normalized)) for name, each in targets.items()}
    return {name: place for name, place in places.items() if place.exists()}


def _digest(place: Path) -> str:
    try:
        return envelope.open_envelope(place.read_bytes(), path=str(place)).digest
    except (PrepError, OSError):
        return ""
