"""What predictions are judged by: additive float64 sums of a batch, and what their totals over a split come to.

Sums of a batch are plain numbers or arrays; those of several batches are added, in any order, and finished once. So a
metric of a split is exactly that, never a mean of the metrics of its batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array

_ROUNDING = 1e-13  # of a sum of squares
# Weights are summed at the scale of e^(100 k), so that sums of batches can be added and none of them overflows.
_STEP, _SCALES = 100.0, np.arange(-60, 61)


def squared_error(predicted: Array, true: Array, counted: Array | None = None) -> Array:
    """|predicted - true|² of every value in float64, 0 where ``counted`` is 0; finish sums of it with `mean`."""
    error = _square(_double(predicted) - _double(true))
    if counted is None:
        return error
    return np.where(counted == 0, 0.0, counted * error)


def mean(total: Array | float, count: Array | float) -> Array:
    """Totals by how many values they are of, such as a mean squared error; 0 where there is none."""
    result: Array = np.asarray(total) / np.maximum(np.asarray(count, np.float64), 1.0)
    return result


def normalised_error(predicted: Array, true: Array) -> tuple[Array, Array]:
    """‖predicted - true‖² and ‖true‖² of each row (rows,), real or complex, over everything but the first axis.

    The NMSE of a sample is their ratio: the mean of ratios weighs samples alike, the ratio of sums as what they hold.
    """
    true = _double(true)
    axes = tuple(range(1, true.ndim))
    return _square(_double(predicted) - true).sum(axes), _square(true).sum(axes)


def _double(values: Array) -> Array:
    """Half floats overflow when squared, and small integers when subtracted."""
    return np.asarray(values, np.complex128 if np.iscomplexobj(values) else np.float64)


def _square(values: Array) -> Array:
    result: Array = values.real**2 + values.imag**2 if np.iscomplexobj(values) else values**2
    return result


def gaussian_nll(mean_square: float, variance: float = 1.0) -> float:
    """Mean negative log-likelihood of errors of ``mean_square`` under a normal distribution of positive ``variance``,
    constant included.

    ½ (ln 2πσ² + mse/σ²): unit normal errors under σ = 1 give ½ (1 + ln 2π) = 1.4189.
    """
    return 0.5 * (mean_square / variance + math.log(2.0 * math.pi * variance))


@dataclass(frozen=True, slots=True)
class R2:
    """What R² needs, of any shape: one value for each feature, or each feature of each group.

    ``first`` and ``second`` are sums of true values and of their squares about a fixed offset near their mean, since
    offsets may be far larger than spreads; ``residual`` are sums of squared errors.
    """

    count: Array
    residual: Array
    first: Array
    second: Array

    @staticmethod
    def terms(predicted: Array, true: Array, counted: Array, offset: Array | float) -> dict[str, Array]:
        """The four parts of every value, to be summed over samples by the name of the part."""
        about = np.where(counted == 0, 0.0, _double(true) - offset)
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
        """Where there are two values or more and they differ by more than rounding: elsewhere no R² is defined."""
        result: Array = (np.asarray(self.count) > 1) & (self.spread > _ROUNDING * np.asarray(self.second))
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


def weight_terms(log_weights: Array) -> dict[str, Array]:
    """Σ w and Σ w² of importance weights by their logarithms (rows,) are sums over rows of these (rows, scales).

    A weight of NaN counts as 0, and one beyond e^±6000 as that.
    """
    logs = np.clip(np.nan_to_num(log_weights, nan=-np.inf), None, _STEP * _SCALES[-1])
    place = np.clip(np.floor(logs / _STEP), _SCALES[0], _SCALES[-1])
    at = place[:, None] == _SCALES
    weights = np.where(np.isfinite(logs), np.exp(logs - _STEP * place), 0.0)[:, None]
    return {"weight": at * weights, "squared_weight": at * weights**2}


def effective_samples(weight: Array, squared: Array) -> float:
    """Effective sample size (Σw)² / Σw² (Kish 1965) from totals of `weight_terms` (scales,): of n equal weights n, of
    one that outweighs all others 1, of none 0.
    """
    if not np.any(weight):
        return 0.0
    below = _STEP * (_SCALES - _SCALES[np.flatnonzero(weight)[-1]]).clip(max=0)
    return float((weight * np.exp(below)).sum() ** 2 / (squared * np.exp(2.0 * below)).sum())
