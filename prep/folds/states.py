"""States of folds as bytes and back, exactly: plain values, arrays, and the dataclasses of this package, no pickle.

Layout: u32 length of a JSON text, the text, then the bytes of the arrays one after the other, little-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.canonical import value_digest
from prep.folds import Fold, Scope

_HOMES = ("prep.folds.", "prep.kernels.")


def encode_states(states: Mapping[str, Any]) -> bytes:
    """The bytes of ``states``; `TypeError` for a state that holds anything else than the module's first line says."""
    arrays: list[Array] = []
    text = json.dumps({key: _encode(state, arrays) for key, state in states.items()}, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(array.tobytes() for array in arrays)])


def decode_states(data: bytes) -> dict[str, Any]:
    """What `encode_states` was given. Raises `ValueError`, `KeyError` or `TypeError` for other bytes."""
    (length,) = struct.unpack_from("<I", data)
    tree = json.loads(data[4 : 4 + length])
    arrays = _Arrays(data, 4 + length)
    return {key: _decode(node, arrays) for key, node in tree.items()}


Relation = tuple[tuple[int, int], ...]


def relation(fold: Fold, start: int, stop: int) -> Relation:
    """Which of the rows ``start:stop`` lie in the scope or splits of ``fold``, counted from ``start``."""
    scope, splits = getattr(fold, "scope", None), getattr(fold, "splits", None)
    bounds = [(scope.start, scope.stop)] if isinstance(scope, Scope) else []
    bounds += splits.values() if isinstance(splits, Mapping) else []
    clipped = ((max(low, start) - start, min(high, stop) - start) for low, high in bounds)
    return tuple((low, high) if low < high else (0, 0) for low, high in clipped)


def description(fold: Fold, related: Relation) -> str:
    """Identifies what ``fold`` measures of rows that have this `relation` to it, whatever other rows there are."""
    options = {item.name: getattr(fold, item.name) for item in fields(fold)}  # type: ignore[arg-type]
    if isinstance(options.get("scope"), Scope):
        options["scope"] = options["scope"].split
    if isinstance(options.get("splits"), Mapping):
        options["splits"] = list(options["splits"])
    return value_digest("fold", {"type": _name(type(fold)), "options": _described(options), "rows": related})


def _described(value: Any) -> Any:
    if isinstance(value, FieldSpec):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _described(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return [[str(key), _described(each)] for key, each in value.items()]
    if isinstance(value, tuple | list):
        return [_described(each) for each in value]
    if callable(value):
        return _name(value)
    return value if isinstance(value, str | int | bool | type(None)) else repr(value)


def _name(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__}"


def _encode(value: Any, arrays: list[Array]) -> Any:
    if isinstance(value, bool | int | str | type(None)) and not isinstance(value, np.generic):
        return value
    if isinstance(value, np.ndarray):
        plain = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        arrays.append(plain)
        return {"array": [plain.dtype.str, list(value.shape)]}
    if isinstance(value, np.generic):
        return {"scalar": _encode(np.asarray(value), arrays)["array"]}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_encode(each, arrays) for each in value]}
    if isinstance(value, Mapping):
        return {"dict": [[_encode(key, arrays), _encode(each, arrays)] for key, each in value.items()]}
    if is_dataclass(value) and type(value).__module__.startswith(_HOMES):
        content = [[item.name, _encode(getattr(value, item.name), arrays)] for item in fields(value)]
        return {"dataclass": [_name(type(value)), content]}
    raise TypeError(f"a state holds a {type(value).__name__}")


class _Arrays:
    """Takes arrays from where they lie, in the order in which they were written."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place

    def take(self, dtype: str, shape: list[int]) -> Array:
        kind = np.dtype(dtype)
        if kind.kind not in "biufcV":
            raise ValueError(f"an array of {kind}")
        count = int(np.prod(shape, dtype=np.int64))
        found = np.frombuffer(self._data, kind, count, self._place).reshape(shape).copy()
        self._place += count * kind.itemsize
        return found


def _decode(node: Any, arrays: _Arrays) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "array":
        return arrays.take(*content)
    if kind == "scalar":
        return arrays.take(*content)[()]
    if kind == "float":
        return float.fromhex(content)
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind in ("tuple", "list"):
        parts = [_decode(each, arrays) for each in content]
        return tuple(parts) if kind == "tuple" else parts
    if kind == "dict":
        return {_decode(key, arrays): _decode(each, arrays) for key, each in content}
    name, pairs = content
    module, _, attribute = name.partition(":")
    if kind != "dataclass" or not module.startswith(_HOMES):
        raise ValueError(f"a state of kind {kind} {name}")
    made = getattr(import_module(module), attribute)
    if not is_dataclass(made) or not isinstance(made, type):
        raise ValueError(f"{name} is no state")
    return made(**{key: _decode(each, arrays) for key, each in pairs})
