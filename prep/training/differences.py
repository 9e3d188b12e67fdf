"""What sets two lots of fitted transforms apart: the field, the statistic, and both values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One statistic of one field that is not the same on both sides; of a table of numbers the entry farthest off."""

    field: str
    statistic: str
    one: str
    other: str

    def __str__(self) -> str:
        return f"{self.field} {self.statistic}: {self.one} in the checkpoint, {self.other} in the data"


def differences(one: str, other: str) -> tuple[Difference, ...]:
    """Those between two documents of transforms (`Pipeline.to_document` as JSON), field by field."""
    return tuple(_differences(json.loads(one), json.loads(other)))


def described(found: tuple[Difference, ...]) -> str:
    """The first of them, and how many more there are."""
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(map(str, found[:_SHOWN])) + more


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Difference]:
    for field in sorted({*one, *other}):
        mine, theirs = one.get(field), other.get(field)
        if mine is None or theirs is None or mine["name"] != theirs["name"]:
            names = ("none" if each is None else str(each["name"]) for each in (mine, theirs))
            yield Difference(field, "transform", *names)
            continue
        params = mine["params"], theirs["params"]
        for name in sorted({*params[0], *params[1]} - {"operator"}):
            pair = tuple(each.get(name) for each in params)
            if pair[0] != pair[1]:
                yield _difference(field, name, pair[0], pair[1], params[0].get("groups") or ())


def _difference(field: str, name: str, one: Any, other: Any, groups: Any) -> Difference:
    try:
        tables = np.asarray(one, np.float64), np.asarray(other, np.float64)
    except (TypeError, ValueError):
        tables = np.zeros(()), np.zeros(1)
    if tables[0].shape != tables[1].shape:
        return Difference(field, name, _short(one), _short(other))
    apart = np.abs(tables[0] - tables[1]) / np.maximum(np.maximum(np.abs(tables[0]), np.abs(tables[1])), 1e-300)
    place = np.unravel_index(int(np.argmax(apart)), apart.shape)
    inner = [str(index) for index in place[1:]]
    group = f" of group {groups[int(place[0])]}" if len(groups) and len(place) else ""
    label = f"{name}[{', '.join(inner)}]{group}" if inner else f"{name}{group}"
    return Difference(field, label, f"{tables[0][place]:.6g}", f"{tables[1][place]:.6g}")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
