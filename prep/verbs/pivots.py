"""Where the sketches of a field count from: near the median of rows from all over a split, feature by feature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.engine import DatasetSource
from prep.folds import Scope
from prep.folds.sketch import Quantiles
from prep.transforms.original import SUFFIX, Originals

_BYTES = 8 << 20
_ROWS, _PLACES = 512, 32
# No round number, so that values which are the same but for rounding are not parted by the border of a bucket.
OFF = (1 + 1 / 256) / 1024


def rounding_of(dtype: np.dtype[Any]) -> float:
    """The relative rounding of stored numbers of a dtype; 0 of integers."""
    return float(np.finfo(dtype).eps) if dtype.kind in "fc" else 0.0


def spread_rows(start: int, stop: int, most: int) -> list[tuple[int, int]]:
    """Bounds of at most 32 stretches of rows, ``most`` rows together, evenly from ``start`` to ``stop``."""
    if stop - start <= most:
        return [(start, stop)] if stop > start else []
    places = min(_PLACES, most)
    length = most // places
    firsts = np.linspace(start, stop - length, places).astype(np.int64).tolist()
    return [(first, first + length) for first in firsts]


def pivots(source: DatasetSource, originals: Originals, fold: Quantiles, rounding: float) -> tuple[float, ...]:
    """For each feature of ``fold`` a number near the median of at most 512 rows of its scope (8 MiB of them), so that
    its buckets are narrow where its values are; 0 where none of these is finite, () where the scope has no rows.

    ``originals`` undo the transform, where the fold looks at original values; ``rounding`` is relative to the values.
    """
    name = fold.field.name
    bound = originals.inverses.get(name.removesuffix(SUFFIX))
    names = fold.fields - {name, fold.group} | {name.removesuffix(SUFFIX)}
    names |= bound.reads if bound is not None else frozenset()
    arrays: Mapping[str, Array] = sampled(source, names, fold.scope)
    if not arrays:
        return ()
    with np.errstate(all="ignore"):
        if bound is not None:
            arrays = Originals(originals.spec, {bound.field.name: bound})(arrays)
    return middles(fold, arrays, rounding)


def sampled(source: DatasetSource, names: frozenset[str], scope: Scope) -> dict[str, Array]:
    """At most 512 rows of fields, 8 MiB or one row, from all over a scope; nothing where that has no rows."""
    most = min(_ROWS, max(1, _BYTES // max(sum(source.spec[each].row_bytes for each in names), 1)))
    parts = spread_rows(scope.start, scope.stop, most)
    if not parts:
        return {}
    return {each: np.concatenate([source.reader.rows(each, *part) for part in parts]) for each in names}


def middles(fold: Quantiles, arrays: Mapping[str, Array], rounding: float) -> tuple[float, ...]:
    """A number near the median of each feature of ``fold`` in rows of its field (and mask); 0 where none is finite."""
    layout = fold.layout
    with np.errstate(all="ignore"):
        lines = layout.values(arrays[fold.field.name]).astype(np.float64)
        counted = np.isfinite(lines)
        if fold.mask is not None:
            counted &= layout.lines(layout.counted(arrays[fold.mask.name], fold.mask))
        return tuple(_middle(line[keep], rounding) for line, keep in zip(lines.T, counted.T, strict=True))


def _middle(values: Array, rounding: float) -> float:
    if not len(values):
        return 0.0
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    # About a constant the buckets are as wide as values that differ by rounding alone may be apart, and no wider.
    unit = high - low or float(values.std()) or abs(median) * min(1.0, rounding * 2.0**20)
    middle = median + OFF * unit
    return float(middle) if np.isfinite(middle) else 0.0
