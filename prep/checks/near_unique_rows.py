"""No row is repeated in two splits even up to rounding: a copy in float32, or one computed again by another BLAS."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind
from prep.checks.statistics import FIELD, POSITIVE, Statistics
from prep.checks.verdict import across_verdict
from prep.errors import counted
from prep.folds.duplicates import Part, RowHashes
from prep.kernels.matrices import real_view

_PROJECTIONS = 8
# Rows this wide are projected in their own float32 (noise below 1e-6 of their RMS), stretch by stretch, not as float64.
_WIDE, _STRETCH = 4096, 256
_PIECE_BYTES = 4 << 20


class NearUniqueRows:
    """No sample of ``var`` has the same eight projections, to ``tolerance``, as a sample of another split.

    A row of w real values (a complex one is its real and imaginary part) is projected on eight fixed pseudo-random
    normal vectors of a generator seeded by w, over √w, so that a projection is of the size of the row's RMS. Each is
    rounded down to a grid of ``tolerance``; rows with all eight equal are suspects. So that no border parts equal ones,
    this is done on two grids, half a cell apart, and either suffices (locality-sensitive hashing: M. Datar et al., SoCG
    2004).

    Rows whose projections differ by less than about ``tolerance`` / 1000 (their RMS difference is about that size) are
    found almost surely: one in twenty thousand is missed. At ``tolerance`` / 30 one in thirty is missed, at
    ``tolerance`` / 10 one in five, and beyond twice ``tolerance`` hardly any is found. Rows that differ by less than
    this in all projections are called the same, so ``tolerance`` has to stay below what tells good rows apart. Rows
    that hold NaN or infinity equal no other.
    """

    name = "near_unique_rows"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "tolerance": POSITIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[RowHashes]:
        field = demand_kind(spec, statistics["var"], self.name, "fc", "float or complex")
        arguments = {"tolerance": float(statistics["tolerance"])}
        return (RowHashes((field.name,), dict(spec.splits), self.name, cells, arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        name = statistics["var"]
        return across_verdict(
            spec,
            fold,
            measured,
            parts=2,  # a sample counts on each of the two grids, but near a border of one
            limit=f"no row in two splits within {statistics['tolerance']:g}",
            good=f"no row of {name} is in two splits, even up to rounding",
            bad=lambda count, second, first: (
                f"at least {counted(count, 'row')} of {name} in two splits up to rounding; "
                f"first: {second} is nearly {first}"
            ),
            remedy="draw each split from its own seeds and remove repeated rows before splitting, then build again",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, tolerance: float) -> bool:
        table = memory.flat(ds, var)
        wide = table.astype(np.complex128 if table.dtype.kind == "c" else np.float64).view(np.float64)
        finite = np.asarray(np.isfinite(wide).all(axis=1))
        vectors = np.random.default_rng(wide.shape[1]).standard_normal((wide.shape[1], 8)) / np.sqrt(wide.shape[1])
        places = np.where(finite[:, np.newaxis], wide, 0.0) @ vectors / tolerance
        splits = memory.values(ds, "split")
        for shift in (0.0, 0.5):
            home: dict[tuple[float, ...], int] = {}
            for row in np.flatnonzero(finite).tolist():
                own = int(splits[row])
                if home.setdefault(tuple(np.floor(places[row] + shift).tolist()), own) != own:
                    return False
        return len(table) > 0


def cells(arrays: Mapping[str, Array], tolerance: float) -> list[Part]:
    """Which cell of each of the two grids the projections of each row lie in, (rows, 9) float64 with the grid last."""
    (values,) = arrays.values()
    return on_grids(projections(values) / tolerance)


def on_grids(places: Array) -> list[Part]:
    """The cells of ``places`` (rows, 8), in cells' widths, on each of the two grids."""
    finite = np.asarray(np.isfinite(places).all(axis=1))
    places[~finite] = 0.0
    numbered = (np.full((len(places), 1), float(grid)) for grid in range(2))
    grids = (np.floor(places), np.floor(places + 0.5))
    return [Part(np.concatenate(pair, axis=1), finite) for pair in zip(grids, numbered, strict=True)]


def projections(values: Array) -> Array:
    """The eight projections of each row, (rows, 8) float64, of the size of the row's RMS."""
    return _projected(real_view(values).reshape(len(values), -1))


def _projected(table: Array) -> Array:
    """The projections (rows, 8) float64 of a table (rows, width), by pieces of its rows that fit into the cache."""
    rows, width = table.shape
    single = table.dtype == np.float32 and width >= _WIDE
    dtype = np.dtype(np.float32 if single else np.float64)
    vectors = _vectors(width, dtype)
    step = max(_PIECE_BYTES // max(width * dtype.itemsize, 1), 1)
    result = np.empty((rows, _PROJECTIONS))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, rows, step):
            piece = table[start : start + step].astype(dtype, copy=False)
            result[start : start + step] = _by_stretches(piece, vectors) if single else piece @ vectors
    result /= np.sqrt(width)
    return result


def _by_stretches(piece: Array, vectors: Array) -> Array:
    """``piece @ vectors`` with sums of 256 products in float32 and the sum of those in float64."""
    whole = piece.shape[1] // _STRETCH * _STRETCH
    stretches = np.swapaxes(piece[:, :whole].reshape(len(piece), -1, _STRETCH), 0, 1)
    sums = np.matmul(stretches, vectors[:whole].reshape(-1, _STRETCH, _PROJECTIONS))
    return np.asarray(sums.sum(axis=0, dtype=np.float64) + piece[:, whole:] @ vectors[whole:])


@lru_cache(maxsize=8)
def _vectors(width: int, dtype: np.dtype[Any]) -> Array:
    """The fixed directions (width, 8), the same in every process."""
    vectors: Array = np.random.default_rng(width).standard_normal((width, _PROJECTIONS)).astype(dtype)
    vectors.setflags(write=False)
    return vectors
