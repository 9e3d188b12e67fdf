"""Errors of prep as data, so that one that is raised in the child is raised in the parent."""

from __future__ import annotations

import re
from typing import Any

from prep import errors
from prep.errors import PrepError, Where

_KINDS = {
    kind.__name__: kind
    for kind in (
        errors.ConfigError,
        errors.DataError,
        errors.IntegrityError,
        errors.SchemaError,
        errors.StorageError,
        errors.UnfinishedError,
        errors.UsageError,
    )
}
_TEXTS = ("path", "dataset", "field", "split", "key")
_LONGEST = 1 << 16
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def as_data(error: PrepError) -> dict[str, Any]:
    """What `from_data` makes the same error of."""
    where = {name: getattr(error.where, name) for name in (*_TEXTS, "chunk")} | {"samples": list(error.where.samples)}
    return {
        "kind": type(error).__name__,
        "what": error.what[:_LONGEST],
        "where": where,
        "measured": _plain(error.measured),
        "allowed": _plain(error.allowed),
        "remedy": error.remedy[:_LONGEST],
    }


def from_data(data: Any) -> PrepError:
    """The error that a child told of; `ValueError` where it is none."""
    if not isinstance(data, dict) or not isinstance(data.get("where"), dict) or data.get("kind") not in _KINDS:
        raise ValueError("an error that is none")
    where = data["where"]
    chunk, samples = where.get("chunk"), where.get("samples", [])
    if not (chunk is None or type(chunk) is int) or not isinstance(samples, list):
        raise ValueError("an error at no place")
    if any(type(sample) is not int for sample in samples):
        raise ValueError("an error at no place")
    path, dataset, field, split, key = (_text(where.get(name, "")) for name in _TEXTS)
    return _KINDS[data["kind"]](
        _text(data.get("what")),
        where=Where(path, dataset, field, split, tuple(samples), chunk, key),
        measured=_value(data.get("measured")),
        allowed=_value(data.get("allowed")),
        remedy=_text(data.get("remedy")),
    )


def printable(text: str) -> str:
    """A text that says nothing to the terminal but what is read."""
    return _CONTROL.sub("?", text)


def _plain(value: object) -> str | int | None:
    if value is None or type(value) is int:
        return value
    return str(value)[:_LONGEST]


def _value(value: object) -> str | int | None:
    return value if value is None or type(value) is int else _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError("an error without its texts")
    return printable(value)
