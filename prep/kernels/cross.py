"""Centred second sums of inputs and targets, merged exactly, and the least squares that they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_CONSTANT = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class CrossSums:
    """Means and centred second sums over ``n`` rows, float64.

    ``x`` (P,) and ``y`` (T,) are means of inputs and targets; ``xx`` (P, P), ``xy`` (P, T) and the diagonal ``yy`` (T,)
    are sums of products of distances from them.
    """

    n: int
    x: Array
    y: Array
    xx: Array
    xy: Array
    yy: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> CrossSums:
        """Sums over the rows of float64 ``x`` (rows, P) and ``y`` (rows, T), in two passes."""
        n = len(x)
        mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
        x, y = x - mean_x, y - mean_y
        rest_x, rest_y = x.mean(axis=0), y.mean(axis=0)
        return cls(
            n,
            mean_x + rest_x,
            mean_y + rest_y,
            x.T @ x - n * np.outer(rest_x, rest_x),
            x.T @ y - n * np.outer(rest_x, rest_y),
            np.maximum(np.einsum("ij,ij->j", y, y) - n * rest_y * rest_y, 0.0),
        )

    def merge(self, other: CrossSums) -> CrossSums:
        """Sums over both sets of rows (Chan, Golub, LeVeque 1979)."""
        n = self.n + other.n
        gap_x, gap_y, share = other.x - self.x, other.y - self.y, other.n / n
        weight = self.n * share
        return CrossSums(
            n,
            self.x + gap_x * share,
            self.y + gap_y * share,
            self.xx + other.xx + weight * np.outer(gap_x, gap_x),
            self.xy + other.xy + weight * np.outer(gap_x, gap_y),
            self.yy + other.yy + weight * gap_y * gap_y,
        )

    def targets(self, chosen: Array) -> CrossSums:
        """The same rows with only the ``chosen`` targets."""
        return CrossSums(self.n, self.x, self.y[chosen], self.xx, self.xy[:, chosen], self.yy[chosen])

    def solve(self, ridge: float) -> tuple[Array, Array]:
        """Weights (P, T) and intercepts (T,) of least squares on standardised inputs.

        ``ridge`` is added to the diagonal of their correlations.

        Constant inputs get weight 0; directions without spread (rank deficiency) are left out.
        """
        spread = np.sqrt(np.maximum(np.diagonal(self.xx), 0.0) / self.n)
        varies = spread > _CONSTANT * np.abs(self.x)
        scale = np.where(varies, spread, 1.0)
        correlation = np.where(np.outer(varies, varies), self.xx / self.n / np.outer(scale, scale), 0.0)
        values, vectors = np.linalg.eigh(correlation)
        held = values > 10 * np.finfo(np.float64).eps * len(values) * values.max(initial=0.0)
        inverse = np.where(held, 1 / np.where(held, values + ridge, 1.0), 0.0)
        right = np.where(varies[:, np.newaxis], self.xy / self.n / scale[:, np.newaxis], 0.0)
        weights = vectors @ (inverse[:, np.newaxis] * (vectors.T @ right)) / scale[:, np.newaxis]
        weights = np.where(varies[:, np.newaxis], weights, 0.0)
        return weights, self.y - weights.T @ self.x

    def residual(self, weights: Array, intercepts: Array) -> Array:
        """Sum of squared errors of that predictor over these rows, (T,)."""
        offset = self.y - intercepts - weights.T @ self.x
        with np.errstate(over="ignore", invalid="ignore"):  # squares of values beyond 1e154 are infinite
            explained = np.einsum("ij,ij->j", weights, 2 * self.xy - self.xx @ weights)
            return np.maximum(self.yy - explained, 0.0) + self.n * offset * offset  # type: ignore[no-any-return]
