"""How far two distributions are from each other, from two sketches that counted in the same buckets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array
from prep.errors import UsageError
from prep.folds.sketch import QuantilesResult

BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """Distances of each feature, float64 of one shape (*feature sizes).

    ``jensen_shannon`` is the divergence in bits, 0 to 1 (J. Lin, IEEE Trans. Inf. Theory 37, 1991; its root is the
    distance). ``psi`` is the population stability index, the symmetrised Kullback-Leibler divergence in nats
    (B. Yurdakul, J. Naranjo, J. Risk Model Validation 14, 2020), half a value added to each bin so that an empty one
    gives no infinity. Both are taken over the same ten bins, each a tenth of the two distributions together; equal
    values stay in one bin. ``l_inf`` is the largest distance of the two distribution functions (the two-sample
    statistic of Kolmogorov and Smirnov), at the borders of the sketches' buckets. Where one side has values and the
    other none, they are 1, infinity and 1; where neither has, 0.
    """

    jensen_shannon: Array
    psi: Array
    l_inf: Array


def distances(one: QuantilesResult, other: QuantilesResult) -> Distances:
    """Distances of ``other`` from ``one``, symmetric, of every group and feature of the sketches.

    `UsageError` unless both counted relative to the same pivots, for as many groups and features.
    """
    if (one.shape, one.pivot, one.own_pivots) != (other.shape, other.pivot, other.own_pivots):
        raise UsageError(
            "two sketches can be compared where they counted in the same buckets",
            measured=f"shapes {one.shape} and {other.shape}",
            allowed="equal shapes and pivots",
            remedy="measure both with the pivots of one of them",
        )
    found = np.zeros((3, int(one.count.size)))
    pairs = zip(one.cells(), other.cells(), strict=True)
    for cell, ((left, n), (right, m)) in enumerate(pairs):
        found[:, cell] = _distances(left, n, right, m)
    js, psi, l_inf = found.reshape(3, *one.shape)
    return Distances(js, psi, l_inf)


def _distances(left: Array, n: Array, right: Array, m: Array) -> tuple[float, float, float]:
    if not len(left) or not len(right):
        empty = len(left) == len(right)
        return (0.0, 0.0, 0.0) if empty else (1.0, np.inf, 1.0)
    buckets = np.union1d(left, right)
    counts = np.zeros((2, len(buckets)))
    counts[0, np.searchsorted(buckets, left)] = n
    counts[1, np.searchsorted(buckets, right)] = m
    shares = counts / counts.sum(axis=1, keepdims=True)
    l_inf = float(np.abs(np.cumsum(shares[0]) - np.cumsum(shares[1])).max())
    pooled = shares.mean(axis=0)
    middle = np.minimum(np.cumsum(pooled) - pooled / 2, 1 - 1e-12)
    _, bins = np.unique(np.floor(BINS * middle), return_inverse=True)
    binned = np.stack([np.bincount(bins, weights=each) for each in counts])
    p, q = binned / binned.sum(axis=1, keepdims=True)
    js = (_relative_entropy(p, (p + q) / 2) + _relative_entropy(q, (p + q) / 2)) / 2
    smooth = (binned + 0.5) / (binned + 0.5).sum(axis=1, keepdims=True)
    psi = float(((smooth[0] - smooth[1]) * np.log(smooth[0] / smooth[1])).sum())
    return min(max(js, 0.0), 1.0), psi, min(l_inf, 1.0)


def _relative_entropy(p: Array, q: Array) -> float:
    """Kullback-Leibler divergence in bits; what has no share adds nothing."""
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())
