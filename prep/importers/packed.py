"""What the attributes and the storage of a foreign array say against taking its values as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prep.errors import DataError, Where

STATED = ("mean", "std", "min", "max")
_MOST_STATED = 4096
# An array of this size may be as empty as its owner likes.
_SMALL = 1 << 30
_LEAST_STORED = 0.01


def plain_values(attributes: Mapping[str, Any], path: Path, place: str, warnings: list[str]) -> None:
    """Refuse packed values: what is stored is then not what was measured."""
    scale, offset = attributes.get("scale_factor", 1), attributes.get("add_offset", 0)
    if not (np.all(np.asarray(scale) == 1) and np.all(np.asarray(offset) == 0)):
        raise DataError(
            "the array is packed: its stored values stand for others",
            where=Where(path=str(path), key=place),
            measured=f"scale_factor {scale}, add_offset {offset}",
            allowed="neither attribute",
            remedy="unpack it first: xarray.open_dataset(SOURCE) decodes, .to_netcdf with an empty encoding writes",
        )
    for name in ("_FillValue", "missing_value"):
        value = attributes.get(name)
        if value is not None and not (isinstance(value, float | np.ndarray) and np.all(np.isnan(value))):
            warnings.append(
                f"{place}: values equal to {value!r} are declared missing ({name}); they were kept as they are"
            )


def all_stored(stored: tuple[int, int], nbytes: int, fill: object, path: Path, place: str, warnings: list[str]) -> None:
    """Report chunks that were never written; refuse an array of ``nbytes`` bytes of which nothing was, or next to
    nothing (its size is a claim, not data).
    """
    present, total = stored
    least = total * _LEAST_STORED if nbytes > _SMALL else 0
    if total and (not present or present < least):
        raise DataError(
            f"{'none' if not present else 'next to none'} of the array's values were ever written",
            where=Where(path=str(path), key=place),
            measured=f"{present} of {total} chunks stored; the rest of {nbytes} bytes would read as {fill}",
            allowed=f"{_LEAST_STORED:.0%} of the chunks" if present else "at least one stored chunk",
            remedy="write the data again, or leave the array out of the mapping",
        )
    if present < total:
        warnings.append(f"{place}: {total - present} of {total} chunks are not stored and read as {fill}")


def described(attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Units and long name, empty where they are not stated."""
    units, unit, title = (
        value if isinstance(value := attributes.get(name), str) else "" for name in ("units", "unit", "long_name")
    )
    return units or unit, title


def statistics_of(attributes: Mapping[str, Any]) -> dict[str, list[float]]:
    """Attributes called mean, std, min or max that hold finite numbers, at most `_MOST_STATED` of each."""
    found = {}
    for name in STATED:
        values = np.asarray(attributes.get(name, ()))
        if values.dtype.kind in "iuf" and 0 < values.size <= _MOST_STATED and np.isfinite(values).all():
            found[name] = values.reshape(-1).astype(np.float64).tolist()
    return found
