"""From YAML text to a `Schema`: syntax, form (JSON Schema), the statistics of every check; errors have lines."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from prep.checks import CHECKS
from prep.errors import PrepError, Refusal, SchemaError, Where
from prep.schema.plan import CheckPlan, FieldPlan, Schema, VariablePlan
from prep.schema.rules import broken_rules
from prep.strict_yaml import Document, parse_yaml, read_yaml


def load_schema(source: Path | str, *, name: str = "", verify: bool = True) -> Schema:
    """The schema in file ``source`` (a `Path`) or in the text itself (a `str`, called ``name`` in messages).

    ``verify`` also sends it through pandera and back (`prep.schema.oracle.verify_with_pandera`, 1.5 s to import), which
    `stats` and `normalize` can do without. Raises `SchemaError` with file and line, or a `Refusal` of several, for
    anything that is unknown, missing, said twice, lost on the way through pandera or senseless: nothing is skipped.
    """
    if isinstance(source, Path):
        path, document = str(source), read_yaml(source, error=SchemaError)
    else:
        path = name or "<text>"
        document = parse_yaml(source, path=path, error=SchemaError)
    if not isinstance(document.value, dict):
        raise SchemaError(
            "a schema is a mapping of keys",
            where=Where(path=path, line=1),
            measured=type(document.value).__name__,
            allowed="schema_type, version, title, strict, sizes, data_vars, checks, prep",
            remedy="start from one of schemas/*.yaml or from the draft that `prep ingest` writes",
        )
    _refuse(_malformed(document, path))
    _refuse(_wrong_statistics(document, path))
    schema = _schema(document, path)
    _refuse(broken_rules(schema, document))
    if verify:
        from prep.schema.oracle import verify_with_pandera

        verify_with_pandera(schema)
    return schema


def _refuse(errors: Iterable[PrepError]) -> None:
    found = list(errors)
    if found:
        raise found[0] if len(found) == 1 else Refusal(found)


@cache
def _form() -> Any:
    return json.loads(files("prep.schema").joinpath("dataset-schema.schema.json").read_text(encoding="utf-8"))


def _malformed(document: Document, path: str) -> Iterator[SchemaError]:
    for place, value in _leaves(document.value, ()):
        if isinstance(value, float) and not math.isfinite(value):
            yield SchemaError(
                "a schema holds finite numbers only",
                where=_where(document, path, place),
                measured=value,
                allowed="a finite number",
                remedy="write the largest value that is right, or remove the check",
            )
    yield from _violations(_form(), document.value, document, path, ())


def _leaves(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*place, key))
    else:
        yield place, value


def _violations(
    form: Mapping[str, Any], value: Any, document: Document, path: str, above: tuple[str | int, ...]
) -> Iterator[SchemaError]:
    from jsonschema import Draft202012Validator

    said: set[tuple[Any, ...]] = set()
    for error in sorted(Draft202012Validator(form).iter_errors(value), key=lambda each: list(map(str, each.path))):
        place = (*above, *error.absolute_path)
        for what, at, allowed in _explain(error, place):
            # There is an error for each missing key, and each of them says what all keys are.
            if (what, at) in said:
                continue
            said.add((what, at))
            yield SchemaError(
                what,
                where=_where(document, path, at),
                measured=_short(error.instance) if at == place else None,
                allowed=allowed,
                remedy=_hint(str(at[-1]) if at and at != place else error.instance, allowed),
            )


def _explain(error: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
    """(what, place, allowed) of a JSON Schema error, one for each unknown or missing key."""
    form = error.schema
    if error.validator == "additionalProperties" and error.validator_value is False:
        known = form.get("properties", {})
        for key in (key for key in error.instance if key not in known):
            yield f"unknown key {key!r} in {_name(place)}", (*place, key), ", ".join(known)
    elif error.validator == "required":
        for key in (key for key in error.validator_value if key not in error.instance):
            yield f"{_name(place)} lacks {key!r}", place, f"all of {', '.join(error.validator_value)}"
    elif error.validator in ("enum", "const"):
        values = error.validator_value if error.validator == "enum" else [error.validator_value]
        yield f"{_name(place)} has a value that does not exist", place, ", ".join(map(str, values))
    elif error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        yield f"{_name(place)} is of the wrong type", place, " or ".join(kinds)
    elif error.validator == "pattern":
        yield f"{_name(place)} is no name", place, "a letter, then letters, digits, _ . -"
    else:
        yield f"{_name(place)} is out of range", place, f"{error.validator} {error.validator_value}"


def _wrong_statistics(document: Document, path: str) -> Iterator[SchemaError]:
    """Checks that do not exist, and statistics that a check does not have, lacks or cannot take."""
    for index, entry in enumerate(document.value["checks"]):
        name = entry["options"]["check_name"]
        if name not in CHECKS:
            yield SchemaError(
                f"there is no check {name!r}",
                where=_where(document, path, ("checks", index, "options", "check_name")),
                measured=name,
                allowed=", ".join(CHECKS.names()),
                remedy=_hint(name, ", ".join(CHECKS.names())),
            )
            continue
        known = CHECKS.load(name)().statistics
        form = {"type": "object", "properties": known, "required": list(known), "additionalProperties": False}
        yield from _violations(form, _statistics(entry), document, path, ("checks", index))


def _statistics(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "options"}


def _schema(document: Document, path: str) -> Schema:
    body = document.value
    checks = tuple(
        CheckPlan(
            name=entry["options"]["check_name"],
            statistics=_statistics(entry),
            severity="warning" if entry["options"].get("raise_warning", False) else "error",
            line=document.line("checks", index),
        )
        for index, entry in enumerate(body["checks"])
    )
    return Schema(
        name=body["prep"]["dataset"],
        text=document.text,
        path=path,
        variables={
            key: VariablePlan(
                np.dtype(entry["dtype"]),
                tuple(entry["dims"]),
                entry.get("required", True),
                document.line("data_vars", key),
            )
            for key, entry in body["data_vars"].items()
        },
        sizes=dict(body["sizes"]),
        strict=body["strict"],
        fields={key: _field(entry) for key, entry in body["prep"]["fields"].items()},
        checks=checks,
        body=body,
        loss=body["prep"].get("loss"),
        learnability=body["prep"].get("learnability", {}),
        drift=body["prep"].get("drift", {}),
    )


def _field(entry: Mapping[str, Any]) -> FieldPlan:
    transform = dict(entry.get("transform", {}))
    return FieldPlan(
        role=entry["role"],
        units=entry.get("units", "1"),
        long_name=entry.get("long_name", ""),
        mask=entry.get("mask", ""),
        features=tuple(entry.get("features", ())),
        transform=transform.pop("name", ""),
        options=transform,
        companion_of=entry.get("companion_of", ""),
    )


def _where(document: Document, path: str, place: Sequence[str | int]) -> Where:
    return Where(path=path, key=_name(place), line=document.line(*place))


def _name(place: Sequence[str | int]) -> str:
    return ".".join(map(str, place)) or "the schema"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "…"


def _hint(value: Any, allowed: str) -> str:
    close = difflib.get_close_matches(str(value), allowed.split(", "), n=1)
    return f"did you mean {close[0]!r}?" if close else "correct this line; what is allowed stands above"
