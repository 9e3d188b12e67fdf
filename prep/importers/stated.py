"""Statistics that lie beside the values of a source: arrays, attributes, and JSON files next to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.importers.columns import Column
from prep.importers.joined import read_whole
from prep.importers.mapping import field_name
from prep.importers.names import STATISTIC_FOLDERS, STATISTIC_WORDS, statistic_in

_MOST_VALUES = 1 << 16
_MOST_JSON = 16 << 20
Found = tuple[str, str, Array, str]


def statistics_beside(
    path: Path, fields: Sequence[tuple[FieldSpec, Column]], others: Sequence[Column]
) -> Iterator[Found]:
    """(field, kind, values, place) of everything found; ``kind`` is mean, std, min or max, values are float64.

    An array that names no field is of the first input whose sizes it has. Files that are no statistics are passed over.
    """
    for spec, column in fields:
        for kind, stated in column.statistics.items():
            yield spec.name, kind, np.array(stated, np.float64), f"attribute {kind} of {column.path}"
    known = [spec for spec, _ in fields]
    for column in others:
        kind, name = statistic_in(column.path)
        if kind and int(np.prod(column.shape, dtype=np.int64)) <= _MOST_VALUES and column.dtype.kind in "iuf":
            owner = _owner(known, name, column.shape)
            if owner:
                yield owner, kind, read_whole(column).astype(np.float64), f"array {column.path}"
    for place in _beside(path):
        for name, kind, values in _in_json(place):
            owner = _owner(known, name, values.shape)
            if owner:
                yield owner, kind, values, f"{place.name}, {'.'.join(filter(None, (name, kind)))}"


def _owner(fields: Sequence[FieldSpec], name: str, shape: tuple[int, ...]) -> str:
    wanted = field_name(name) if name else ""
    if wanted:
        for each in fields:
            if wanted in (each.name, f"{each.name}s") or f"{wanted}s" == each.name:
                return each.name
        return ""
    size = int(np.prod(shape, dtype=np.int64))
    fits = [each for each in fields if size in (each.row_values, *each.shape[-1:])]
    return next((each.name for role in ("input", "target") for each in fits if each.role == role), "")


def _beside(path: Path) -> Iterator[Path]:
    """JSON files next to a source that are called after it or after statistics."""
    stem = path.name.split(".")[0]
    folder = path if path.is_dir() else path.parent
    names = ["stats.json", "statistics.json", "normalizer.json", "dataset_stats.json", "meta/stats.json"]
    places = [folder / each for each in names]
    if not path.is_dir():
        places += [folder / f"{stem}{each}" for each in (".stats.json", "_stats.json", ".json")]
    for place in dict.fromkeys(places):
        try:
            if place.is_file() and not place.is_symlink() and place.stat().st_size <= _MOST_JSON:
                yield place
        except OSError:
            continue


def _in_json(place: Path) -> Iterator[tuple[str, str, Array]]:
    try:
        document = json.loads(place.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    yield from _walk(document, (), 0)


def _walk(value: Any, above: tuple[str, ...], depth: int) -> Iterator[tuple[str, str, Array]]:
    if not isinstance(value, Mapping) or depth > 4:
        return
    for key, each in value.items():
        kind = STATISTIC_WORDS.get(str(key).lower(), "")
        name = "/".join(part for part in above if part.lower() not in STATISTIC_FOLDERS)
        if kind and not isinstance(each, Mapping):
            numbers = _numbers(each)
            if numbers is not None:
                yield name, kind, numbers
        elif kind:
            for inner, numbers in each.items():
                if (found := _numbers(numbers)) is not None:
                    yield str(inner), kind, found
        elif isinstance(each, Mapping):
            yield from _walk(each, (*above, str(key)), depth + 1)
        else:
            kind, own = statistic_in(str(key))
            numbers = _numbers(each) if kind else None
            if numbers is not None:
                yield own, kind, numbers


def _numbers(value: Any) -> Array | None:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if 0 < array.size <= _MOST_VALUES else None
