"""The vocabulary of a check's statistics: JSON Schemas for what a schema may write, and the field names among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prep.blocks import SPLITS

Statistics = Mapping[str, Any]

FIELD: Mapping[str, Any] = {"type": "string", "minLength": 1}
FIELDS: Mapping[str, Any] = {"type": "array", "items": FIELD, "uniqueItems": True}
OPTIONAL_FIELD: Mapping[str, Any] = {"type": "string"}
DIMS: Mapping[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
SPLIT: Mapping[str, Any] = {"enum": list(SPLITS)}
NUMBER: Mapping[str, Any] = {"type": "number"}
POSITIVE: Mapping[str, Any] = {"type": "number", "exclusiveMinimum": 0}
NOT_NEGATIVE: Mapping[str, Any] = {"type": "number", "minimum": 0}
FRACTION: Mapping[str, Any] = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 1}
GRID: Mapping[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}


def named(*values: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Field names out of statistics: lists flattened, the empty text (no field) left out, each name once."""
    flat = [name for value in values for name in ([value] if isinstance(value, str) else value)]
    return tuple(dict.fromkeys(name for name in flat if name))
