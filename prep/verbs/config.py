"""`config/config.yaml`: which datasets exist, how each is made and stored; every key is checked before anything
runs.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from prep.errors import ConfigError, PrepError, Refusal, Where
from prep.strict_yaml import Document, read_yaml

DEFAULT_PATH = Path("config/config.yaml")
_ENDINGS = {"hdf5": ".h5", "zarr": ".zarr"}


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    """One dataset of the configuration, defaults filled in; made by ``recipe`` or, where empty, by ``ingest``."""

    name: str
    recipe: str
    ingest: Mapping[str, Any]
    version: str
    format: str
    compression: str
    schema: Path
    seed: int
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration."""

    path: Path
    scale: str
    data: Path
    datasets: Mapping[str, DatasetConfig]

    def dataset(self, name: str) -> DatasetConfig:
        """The dataset ``name``; `ConfigError` listing what exists for an unknown one."""
        if name in self.datasets:
            return self.datasets[name]
        close = difflib.get_close_matches(name, self.datasets, n=1)
        raise ConfigError(
            f"the configuration has no dataset {name!r}",
            where=Where(path=str(self.path), key="datasets"),
            measured=name,
            allowed=", ".join(self.datasets),
            remedy=f"did you mean {close[0]!r}?" if close else "name one of them, or add it to the configuration",
        )

    def raw_path(self, entry: DatasetConfig) -> Path:
        """Where the raw dataset lies."""
        return self.data / "raw" / (entry.name + _ENDINGS[entry.format])

    def normalized_path(self, entry: DatasetConfig) -> Path:
        """Where the normalised dataset lies."""
        return self.data / "normalized" / (entry.name + _ENDINGS[entry.format])


def load_config(path: str | Path | None = None) -> Config:
    """Read and check a configuration (default ``config/config.yaml``).

    Raises `ConfigError`, or a `Refusal` of several, each naming file, line, key, what is allowed and the closest known
    key.
    """
    place = Path(path) if path else DEFAULT_PATH
    document = read_yaml(place)
    if errors := list(_errors(document, place)):
        raise errors[0] if len(errors) == 1 else Refusal(errors)
    body = document.value
    seed = body.get("seed", 0)
    datasets = {
        name: DatasetConfig(
            name=name,
            recipe=entry.get("recipe", ""),
            ingest=entry.get("ingest", {}),
            version=entry.get("version", "0.1.0"),
            format=entry.get("format", "hdf5"),
            compression=entry.get("compression", "none"),
            schema=Path(entry.get("schema", f"schemas/{name}.yaml")),
            seed=entry.get("seed", seed),
            parameters=entry.get("parameters", {}),
        )
        for name, entry in body["datasets"].items()
    }
    return Config(place, body.get("scale", "default"), Path(body.get("data", "data")), datasets)


def config_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration."""
    schema: dict[str, Any] = json.loads(files("prep.verbs").joinpath("config.schema.json").read_text())
    return schema


def _errors(document: Document, path: Path) -> Iterator[PrepError]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # JSON Schema takes 1.0 for an integer, and a seed of 1.0 is no seed.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = extend(Draft202012Validator, type_checker=types)(config_schema())  # type: ignore[no-untyped-call]
    for problem in sorted(validator.iter_errors(document.value), key=lambda e: list(map(str, e.path))):
        keys: tuple[str | int, ...] = tuple(problem.absolute_path)
        if problem.validator in ("oneOf", "dependentRequired"):
            if not isinstance(problem.instance, Mapping):
                continue  # that it is no mapping is an error of its own
            yield _no_single_origin(problem, document, path)
            continue
        unknown = _unknown_keys(problem)
        for key in unknown or ("",):
            place = (*keys, key) if key else keys
            known = sorted(problem.schema.get("properties", {}))
            close = difflib.get_close_matches(key, known, n=1) if key else []
            yield ConfigError(
                f"there is no key {key!r} here" if key else f"this value is not allowed: {problem.message}",
                where=Where(
                    path=str(path), line=document.line(*place), key=".".join(map(str, place)) or "(the whole file)"
                ),
                measured=key if key else _shown(problem.instance),
                allowed=", ".join(known) if key else _allowed(problem),
                remedy=f"did you mean {close[0]!r}?" if close else "correct the file at that line",
            )


def _no_single_origin(problem: Any, document: Document, path: Path) -> PrepError:
    keys = tuple(problem.absolute_path)
    origins = [key for key in ("recipe", "ingest", "parameters") if key in problem.instance]
    return ConfigError(
        "a dataset is made by a recipe, with parameters or without, or by ingest",
        where=Where(path=str(path), line=document.line(*keys), key=".".join(map(str, keys))),
        measured=", ".join(origins) or "none of them",
        allowed="recipe, or ingest",
        remedy="give it `recipe: NAME`, or `ingest: {source: PATH}`, and not both",
    )


def _unknown_keys(problem: Any) -> list[str]:
    if problem.validator != "additionalProperties" or not isinstance(problem.instance, Mapping):
        return []
    return [key for key in problem.instance if key not in problem.schema.get("properties", {})]


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "…"


def _allowed(problem: Any) -> str:
    rule = problem.validator_value
    return f"{problem.validator} {_shown(rule)}" if problem.validator != "enum" else ", ".join(map(str, rule))
