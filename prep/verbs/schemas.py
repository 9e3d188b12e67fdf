"""Which schema judges a dataset: the one named, else the project's, else the one embedded when it was ingested."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from prep.blocks import DatasetSpec
from prep.certificate import lock
from prep.certificate.policy import Policy
from prep.errors import SchemaError, UsageError, Where
from prep.gate import CertifiedDataset
from prep.schema import Schema, load_schema
from prep.verbs.config import DEFAULT_PATH, load_config


def in_project(place: Path) -> Path:
    """A relative path as the caller's project means it, whose lock counts too: as it is where the caller works at its
    top.
    """
    folder = lock.project()
    return place if folder == Path.cwd().resolve() else folder / place


def schema_for(spec: DatasetSpec, named: str | Path | None = None, *, verify: bool = False) -> Schema:
    """The schema of a dataset: ``named``, else ``schemas/<dataset>.yaml`` of the project, else the embedded one.

    ``verify`` also compares with vanilla pandera. Raises `SchemaError` where there is none or it is of another dataset.
    """
    place = Path(named) if named else in_project(Path("schemas") / f"{spec.name}.yaml")
    if named or place.exists():
        schema = load_schema(place, verify=verify)
    elif "schema" in spec.documents:
        schema = load_schema(spec.documents["schema"], name=f"{spec.name} (embedded)", verify=verify)
    else:
        raise SchemaError(
            f"there is no schema for dataset {spec.name!r}",
            where=Where(path=str(place), dataset=spec.name),
            allowed="schemas/<dataset>.yaml, an embedded schema, or --schema FILE",
            remedy="write the schema or name it with --schema",
        )
    if schema.name != spec.name:
        raise SchemaError(
            "this schema is of another dataset",
            where=Where(path=str(schema.path), dataset=spec.name, key="prep.dataset"),
            measured=schema.name,
            allowed=spec.name,
            remedy="name the schema of this dataset with --schema",
        )
    return schema


def demand_present_schema(data: CertifiedDataset, config: str | Path | None = None) -> None:
    """`CertificateError` where the project that the caller works in has a schema of this dataset now, and another one
    than the data were certified by: they may not pass it any more.
    """
    place = in_project(Path("schemas") / f"{data.id}.yaml")
    if config or in_project(DEFAULT_PATH).exists():
        entry = load_config(config or in_project(DEFAULT_PATH)).datasets.get(data.id)
        place = in_project(entry.schema) if entry and not config else entry.schema if entry else place
    if place.exists():
        digest = load_schema(place, verify=False).digest
        reasons = Policy(schema=digest).judge(data.statement, str(data.path))
        if reasons:
            raise reasons[0]


def demand_name(name: str, path: Path) -> None:
    """`UsageError` unless ``name``, which the output ``path`` gives a dataset, is one that its schema may state."""
    if not re.fullmatch(_name_pattern(), name):
        raise UsageError(
            "the name of the output does not name a dataset",
            where=Where(path=str(path)),
            measured=name,
            allowed=f"a name matching {_name_pattern()}",
            remedy="name the output with a letter or _ first, then letters, digits, _ or -, before its ending",
        )


@cache
def _name_pattern() -> str:
    form = json.loads(files("prep.schema").joinpath("dataset-schema.schema.json").read_text())
    return str(form["$defs"]["name"]["pattern"])
