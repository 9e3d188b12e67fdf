"""How densities of energies at two temperatures differ: the slope of their log ratio, and what temperature it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prep.blocks import Array

GAS_CONSTANT = 0.00831446261815324  # kJ/(mol K)
ITERATIONS = 50
Counted = tuple[Array, Array]  # values and how often each occurs


@dataclass(frozen=True, slots=True)
class Slope:
    """By how much ln p_cold(U)/p_hot(U) falls with U, in mol/kJ: ``value``, its standard error, and β_cold − β_hot."""

    cold: float
    hot: float
    value: float
    error: float

    @classmethod
    def between(cls, cold: float, hot: float, one: Counted, other: Counted, inefficiency: float) -> Slope:
        """Of energies ``one``, labelled ``cold`` (K), and ``other``, labelled ``hot``; of ``inefficiency`` samples one
        is independent.
        """
        slope, error = _logistic(one, other)
        return cls(cold, hot, slope, error * float(np.sqrt(inefficiency)))

    @property
    def expected(self) -> float:
        return (1 / self.cold - 1 / self.hot) / GAS_CONSTANT

    @property
    def off(self) -> float:
        """How far from what is expected, as a share of it."""
        return abs(self.value / self.expected - 1)

    def right(self, tolerance: float, sigmas: float) -> bool:
        """Within the share ``tolerance`` of what is expected, or ``sigmas`` standard errors where that is more."""
        return bool(abs(self.value - self.expected) <= max(tolerance * self.expected, sigmas * self.error))

    def meaning(self, *, of_cold: bool) -> str:
        """The temperature that the cold (or the hot) energies have, if the label of the others is true."""
        label = self.hot if of_cold else self.cold
        beta = 1 / (GAS_CONSTANT * label) + (self.value if of_cold else -self.value)
        return f"as at {1 / (GAS_CONSTANT * beta):.0f} K" if beta > 0 and np.isfinite(beta) else "as at no temperature"

    def __str__(self) -> str:
        return f"ln p({self.cold:g} K)/p({self.hot:g} K) falls by {self.value:.4g} ± {self.error:.2g} mol/kJ"


def _logistic(cold: Counted, hot: Counted) -> tuple[float, float]:
    """Slope of ln p(hot | U)/p(cold | U) and its standard error, from values and counts; infinite errors where the
    two do not overlap.
    """
    values = np.concatenate([cold[0], hot[0]])
    counts = np.concatenate([cold[1], hot[1]]).astype(np.float64)
    positive = np.concatenate([np.zeros(len(cold[1])), hot[1]])
    mean = np.average(values, weights=counts)
    spread = np.sqrt(np.average((values - mean) ** 2, weights=counts))
    if not spread > 0:
        return 0.0, np.inf
    design = np.stack([np.ones_like(values), (values - mean) / spread])
    weights = np.zeros(2)
    for _ in range(ITERATIONS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(weights @ design, -30.0, 30.0)))
        information = (design * (counts * chance * (1.0 - chance))) @ design.T
        if not np.linalg.cond(information) < 1e12:
            return float(weights[1] / spread), np.inf
        step = np.linalg.solve(information, design @ (positive - counts * chance))
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    error = np.sqrt(np.linalg.inv(information)[1, 1])
    return float(weights[1] / spread), float(error / spread)
