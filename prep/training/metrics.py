"""What predictions are judged by: additive float64 sums of a batch, and what their totals over a split come to.

Sums of a batch are plain numbers or arrays; those of several batches are added, in any order, and finished once. So a
metric of a split is exactly that, never a mean of the metrics of its batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array


def squared_error(predicted: Array, true: Array, counted: Array | None = None) -> Array:
    """|predicted - true|² of every value, 0 where ``counted`` is 0; finish sums of it with `mean`."""
    error = np.abs(predicted - true) ** 2 if np.iscomplexobj(predicted - true) else (predicted - true) ** 2
    return error if counted is None else counted * error


def mean(total: Array | float, count: Array | float) -> Array:
    """Totals by how many values they are of, such as a mean squared error; 0 where there is none."""
    result: Array = np.asarray(total) / np.maximum(np.asarray(count, np.float64), 1.0)
    return result


def normalised_error(predicted: Array, true: Array) -> tuple[Array, Array]:
    """‖predicted - true‖² and ‖true‖² of each row (rows,), real or complex, over everything but the first axis.

    The NMSE of a sample is their ratio: the mean of ratios weighs samples alike, the ratio of sums as what they hold.
    """
    rows = len(true)
    gap = (np.abs(predicted - true) ** 2).reshape(rows, -1)
    return gap.sum(1, dtype=np.float64), (np.abs(true) ** 2).reshape(rows, -1).sum(1, dtype=np.float64)


def gaussian_nll(mean_square: float, variance: float = 1.0) -> float:
    """Mean negative log-likelihood of errors of ``mean_square`` under a normal distribution, constant included.

    ½ (ln 2πσ² + mse/σ²): unit normal errors under σ = 1 give ½ (1 + ln 2π) = 1.4189.
    """
    return 0.5 * (mean_square / variance + math.log(2.0 * math.pi * variance))


@dataclass(frozen=True, slots=True)
class R2:
    """What R² needs, of any shape: one value for each feature, or each feature of each group.

    ``first`` and ``second`` are sums of true values and of their squares about a fixed offset, since offsets may be far
    larger than spreads; ``residual`` are sums of squared errors.
    """

    count: Array
    residual: Array
    first: Array
    second: Array

    @staticmethod
    def terms(predicted: Array, true: Array, counted: Array, offset: Array | float = 0.0) -> dict[str, Array]:
        """The four parts of every value, to be summed over samples by the name of the part."""
        about = true - offset
        return {
            "count": counted,
            "residual": squared_error(predicted, true, counted),
            "first": counted * about,
            "second": counted * about**2,
        }

    @property
    def spread(self) -> Array:
        """Σ (true - mean)²."""
        result: Array = self.second - self.first**2 / np.maximum(self.count, 1.0)
        return result

    @property
    def known(self) -> Array:
        """Where there are two values or more and they differ: elsewhere no R² is defined."""
        result: Array = (np.asarray(self.count) > 1) & (self.spread > 0)
        return result

    def finish(self) -> Array:
        """1 - residual / spread; 0 where no R² is `known`."""
        spread = np.where(self.known, self.spread, 1.0)
        return np.where(self.known, 1.0 - self.residual / spread, 0.0)


def right(predicted: Array, true: Array) -> Array:
    """1.0 where a class was found, 0.0 where not; finish sums of it with `mean` for the accuracy."""
    result: Array = (predicted == true).astype(np.float64)
    return result


@dataclass(frozen=True, slots=True)
class EnergyBins:
    """Bins of equal ``width`` (kJ/mol) from ``lowest`` on; energies beyond the ends count in the bins there."""

    lowest: float
    width: float
    bins: int

    def rows(self, energy: Array) -> Array:
        """(rows, bins) with a 1 in each row: sums of it are histograms. An energy that is not finite is in the last."""
        place = np.floor((np.nan_to_num(energy, nan=np.inf) - self.lowest) / self.width)
        return np.eye(self.bins)[np.clip(place, 0, self.bins - 1).astype(np.int64)]

    @property
    def edges(self) -> Array:
        """The bins + 1 borders in kJ/mol."""
        return self.lowest + self.width * np.arange(self.bins + 1.0)


def overlap(one: Array, other: Array) -> float:
    """Share of two histograms that lies under both: 1 for equal shapes, 0 for disjoint ones. (Energy overlap.)"""
    whole = float(np.sum(one)), float(np.sum(other))
    if not min(whole) > 0.0:
        return 0.0
    return float(np.minimum(np.asarray(one) / whole[0], np.asarray(other) / whole[1]).sum())


@dataclass(frozen=True, slots=True)
class Weights:
    """Importance weights by their logarithms, each about a fixed ``offset`` so that sums of batches can be added.

    Choose it near the largest logarithm that is expected: e⁷⁰⁰ above it is the end of float64.
    """

    offset: float = 0.0

    def terms(self, log_weights: Array) -> dict[str, Array]:
        """Σ w and Σ w² are sums of these; a weight of NaN counts as 0."""
        weights = np.exp(np.minimum(np.nan_to_num(log_weights, nan=-np.inf) - self.offset, 300.0))
        return {"weight": weights, "squared_weight": weights**2}

    @staticmethod
    def finish(weight: Array | float, squared: Array | float) -> float:
        """Effective sample size (Σw)² / Σw² (Kish 1965): of n equal weights n, of one that outweighs all others 1."""
        total, square = float(weight), float(squared)
        return total**2 / square if square > 0.0 else 0.0
