"""Centred sums to the fourth order in float64: taken about a mean within a block, merged by the formulas of Pébay.

Merging follows P. Pébay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
statistical moments", Sandia report SAND2008-6212 (2008), equations 2.1 and 3.1; for the second order it is Chan,
Golub and LeVeque (1979). A mean is held as ``pivot + shift`` with a pivot near the data, so that the difference of
two means is exact to the last bits of the *spread*, not of the offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PIECE_VALUES = 1 << 17
_LANE = 1024
_LEAST_ROWS = 16
_COUNTS = ("finite", "nan", "inf")
_SUMS = ("pivot", "shift", "m2", "m3", "m4", "low", "high")
_START = {"low": np.inf, "high": -np.inf}


@dataclass(slots=True)
class PowerSums:
    """Counts (int64) and centred sums (float64) of many columns, all arrays of one shape, usually (groups, features).

    ``finite``, ``nan``, ``inf`` count values; the mean is ``pivot + shift``; ``m2``, ``m3``, ``m4`` are sums of
    powers of the distance from the mean; ``low``, ``high`` the extremes of the finite values (+inf, -inf where there
    are none).
    """

    finite: Array
    nan: Array
    inf: Array
    pivot: Array
    shift: Array
    m2: Array
    m3: Array
    m4: Array
    low: Array
    high: Array

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> Self:
        """Sums over nothing."""
        counts = {name: np.zeros(shape, np.int64) for name in _COUNTS}
        return cls(**counts, **{name: np.full(shape, _START.get(name, 0.0)) for name in _SUMS})

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Every array with its name."""
        for name in (*_COUNTS, *_SUMS):
            yield name, getattr(self, name)

    def take(self, index: Any) -> PowerSums:
        """The sums at ``index`` of the leading axis."""
        return PowerSums(**{name: array[index] for name, array in self.arrays()})

    def put(self, index: Any, other: PowerSums) -> None:
        """Overwrite the sums at ``index`` of the leading axis."""
        for name, array in other.arrays():
            getattr(self, name)[index] = array

    def mean(self) -> Array:
        """Mean of the finite values; NaN where there are none."""
        return np.where(self.finite > 0, self.pivot + self.shift, np.nan)


def merge(left: PowerSums, right: PowerSums) -> PowerSums:
    """Sums over the union of two disjoint sets of values; exact where one side is empty. Neither side is changed."""
    a, b = left.finite.astype(np.float64), right.finite.astype(np.float64)
    n = np.maximum(a + b, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = (right.pivot - left.pivot) + (right.shift - left.shift)
        gap = np.where((a > 0) & (b > 0), gap, 0.0)
        share = gap * b / n
        cross = gap * share * a
        m3 = left.m3 + right.m3 + cross * gap * (a - b) / n + 3 * gap * (a * right.m2 - b * left.m2) / n
        m4 = (
            (left.m4 + right.m4)
            + cross * gap * gap * (a * a - a * b + b * b) / (n * n)
            + 6 * gap * gap * (a * a * right.m2 + b * b * left.m2) / (n * n)
            + 4 * gap * (a * right.m3 - b * left.m3) / n
        )
        return PowerSums(
            finite=left.finite + right.finite,
            nan=left.nan + right.nan,
            inf=left.inf + right.inf,
            pivot=np.where(a > 0, left.pivot, right.pivot),
            shift=np.where(a > 0, left.shift + share, right.shift),
            m2=left.m2 + right.m2 + cross,
            m3=m3,
            m4=m4,
            low=np.minimum(left.low, right.low),
            high=np.maximum(left.high, right.high),
        )


def dense_sums(values: Array, keep: Array | None = None) -> PowerSums | None:
    """Sums down the columns of ``values`` (rows, columns), any real dtype, as shape (1, columns).

    ``keep`` (columns,) bool leaves whole columns out (count 0). Returns None where a kept value is NaN or infinite:
    then ask `masked_sums`. Works in pieces of one MiB of float64 that stay in the cache (16 rows at least, so that
    wide rows do not spend their time on merging).
    """
    rows, columns = values.shape
    total = PowerSums.zeros((1, columns))
    step = max(PIECE_VALUES // max(columns, 1), _LEAST_ROWS)
    size = (min(step, rows), columns)
    buffers = np.empty(size), np.empty(size)
    for start in range(0, rows, step):
        piece = _dense_piece(values[start : start + step], keep, *buffers)
        if piece is None:
            return None
        total = merge(total, piece)
    if keep is not None:
        total.put((slice(None), ~keep), PowerSums.zeros((1, int((~keep).sum()))))
    return total


def _dense_piece(values: Array, keep: Array | None, centred: Array, squared: Array) -> PowerSums | None:
    count = len(values)
    centred, squared = centred[:count], squared[:count]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        np.copyto(centred, values)
        pivot = down(np.add, centred) / count
        # A sum is finite exactly when every term is, so that no pass of its own has to look for NaN.
        if not np.isfinite(pivot if keep is None else pivot[keep]).all():
            return None
        _subtract(centred, pivot)
        np.multiply(centred, centred, out=squared)
        s1, s2 = down(np.add, centred), down(np.add, squared)
        s3, s4 = _product_sum(squared, centred), _product_sum(squared, squared)
        low, high = down(np.minimum, values), down(np.maximum, values)
        return centre(np.full(len(pivot), count), pivot, (s1, s2, s3, s4), low, high)


def masked_sums(values: Array, counted: Array, starts: Array) -> PowerSums:
    """Sums down the columns of ``values`` (rows, columns) within runs of rows, as shape (runs, columns).

    ``counted`` (rows, columns) bool says which values exist; NaN and infinite ones among them are counted apart. Run
    ``i`` is rows ``starts[i]`` to ``starts[i + 1]`` (none is empty, ``starts[0] == 0``).
    """
    lengths = np.diff(starts, append=len(values))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        x = values.astype(np.float64)
        ordinary = np.isfinite(x)
        finite = counted & ordinary
        n = _in_runs(np.add, finite.astype(np.int64), starts)
        nan = inf = np.zeros_like(n)
        if not ordinary.all():
            nan = _in_runs(np.add, (counted & np.isnan(x)).astype(np.int64), starts)
            inf = _in_runs(np.add, (counted & np.isinf(x)).astype(np.int64), starts)
        low = _in_runs(np.minimum, np.where(finite, x, np.inf), starts)
        high = _in_runs(np.maximum, np.where(finite, x, -np.inf), starts)
        x = np.where(finite, x, 0.0)
        pivot = _in_runs(np.add, x, starts) / np.maximum(n, 1)
        x -= np.repeat(pivot, lengths, axis=0)
        x[~finite] = 0.0
        squared = x * x
        powers = tuple(_in_runs(np.add, term, starts) for term in (x, squared, squared * x, squared * squared))
        sums = centre(n, pivot, powers, low, high)
    sums.nan, sums.inf = nan, inf
    return sums


def centre(n: Array, pivot: Array, powers: tuple[Array, ...], low: Array, high: Array) -> PowerSums:
    """Sums of the first four powers about ``pivot`` as sums about the mean (binomial theorem).

    Digits are lost as the distance of the pivot from the mean outgrows the spread.
    """
    s1, s2, s3, s4 = powers
    shift = s1 / np.maximum(n, 1)
    m2 = np.maximum(s2 - shift * s1, 0.0)
    m3 = s3 - 3 * shift * s2 + 2 * shift * shift * s1
    m4 = s4 - 4 * shift * s3 + 6 * shift * shift * s2 - 3 * shift * shift * shift * s1
    # A column of equal values has no spread at all; what rounding of its mean leaves behind is not a measurement.
    equal = low >= high
    exact = np.where(equal & (n > 0), low, 0.0).astype(np.float64)
    fields = {
        "finite": n.astype(np.int64),
        "nan": np.zeros(n.shape, np.int64),
        "inf": np.zeros(n.shape, np.int64),
        "pivot": np.where(equal, exact, pivot),
        "low": low.astype(np.float64),
        "high": high.astype(np.float64),
    }
    for name, array in {"shift": shift, "m2": m2, "m3": m3, "m4": m4}.items():
        fields[name] = np.where(equal, 0.0, array)
    sums = PowerSums(**fields)
    return sums if n.ndim == 2 else sums.take(np.newaxis)


def down(operator: np.ufunc, values: Array) -> Array:
    """``operator.reduce(values, axis=0)`` for tall narrow (rows, columns) arrays at the speed of wide ones.

    Rows are viewed side by side until a line is about a thousand values, so that NumPy's inner loop runs over
    contiguous memory.
    """
    rows, columns = values.shape
    beside = max(_LANE // max(columns, 1), 1)
    head = rows - rows % beside
    if beside == 1 or head == 0 or not values.flags.c_contiguous:
        return operator.reduce(values, axis=0)  # type: ignore[no-any-return]
    wide = operator.reduce(values[:head].reshape(-1, beside * columns), axis=0)
    result: Array = operator.reduce(wide.reshape(beside, columns), axis=0)
    if head < rows:
        result = operator(result, operator.reduce(values[head:], axis=0))
    return result


def _product_sum(a: Array, b: Array) -> Array:
    """Column sums of ``a * b``, blocked as in `down`, without the product in memory."""
    rows, columns = a.shape
    beside = max(_LANE // max(columns, 1), 1)
    head = rows - rows % beside
    total = np.einsum("ij,ij->j", a[head:], b[head:])
    if head:
        shape = (-1, beside * columns)
        wide = np.einsum("ij,ij->j", a[:head].reshape(shape), b[:head].reshape(shape))
        total = total + np.add.reduce(wide.reshape(beside, columns), axis=0)
    return total  # type: ignore[no-any-return]


def _subtract(values: Array, line: Array) -> None:
    """``values -= line`` in place, row by row, blocked as in `down`."""
    rows, columns = values.shape
    beside = max(_LANE // max(columns, 1), 1)
    head = rows - rows % beside
    if head:
        wide = values[:head].reshape(-1, beside * columns)
        np.subtract(wide, np.tile(line, beside), out=wide)
    if head < rows:
        np.subtract(values[head:], line, out=values[head:])


def _in_runs(operator: np.ufunc, values: Array, starts: Array) -> Array:
    if len(starts) == 1:
        return down(operator, values)[np.newaxis]
    return operator.reduceat(values, starts, axis=0)
