"""What a plant is: a linear model around an operating point, with the weights its controller is built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Values = Mapping[str, Any]
GRAVITY = 9.81


@dataclass(frozen=True, slots=True)
class Plant:
    """ẋ = A x + B u around an operating point.

    ``states`` and ``controls`` name every component with its unit in brackets. ``nominal`` are the physical parameters,
    numbers or tuples of numbers, in SI units. ``model`` maps such parameters to A (n_x, n_x) and B (n_x, n_u). ``q``
    and ``r`` are the diagonals of the quadratic cost ∫ xᵀQx + uᵀRu, ``x0`` the half-widths of the initial states.
    """

    states: tuple[str, ...]
    controls: tuple[str, ...]
    nominal: Mapping[str, float | tuple[float, ...]]
    model: Callable[[Values], tuple[Matrix, Matrix]]
    q: tuple[float, ...]
    r: tuple[float, ...]
    x0: tuple[float, ...]

    def vary(self, spread: float, rng: np.random.Generator) -> dict[str, Any]:
        """The nominal parameters, each number of them times its own (1 + U(±``spread``))."""
        varied: dict[str, Any] = {}
        for name, value in self.nominal.items():
            factors = 1.0 + rng.uniform(-spread, spread, np.size(value))
            varied[name] = float(value * factors[0]) if isinstance(value, float) else tuple(np.multiply(value, factors))
        return varied


def bryson(*limits: float) -> tuple[float, ...]:
    """Cost weights 1/limit²: deviations of the given sizes cost the same (Bryson's rule)."""
    return tuple(1.0 / limit**2 for limit in limits)


def second_order(mass: Matrix, damping: Matrix, stiffness: Matrix, force: Matrix) -> tuple[Matrix, Matrix]:
    """State-space form of M q̈ + D q̇ + K q = F u for the state [q, q̇]."""
    n = len(mass)
    inverse = np.linalg.inv(mass)
    upper = np.hstack([np.zeros((n, n)), np.eye(n)])
    lower = np.hstack([-inverse @ stiffness, -inverse @ damping])
    return np.vstack([upper, lower]), np.vstack([np.zeros((n, force.shape[1])), inverse @ force])


def rod_chain(masses: Sequence[float], lengths: Sequence[float], bend: float = 0.0) -> tuple[Matrix, Matrix]:
    """Mass matrix and gravity stiffness, both (n, n), of n uniform rods hinged in a row, in joint angles.

    Linearised about the chain hanging straight down. With ``bend``, every hinge but the first is bent by so many rad
    and only the mass matrix has a meaning. From Lagrange's equations of a planar chain in absolute angles: M_ij = l_i
    (m_j l_j/2 + Σ_{k>j} m_k l_j) cos(θ_i - θ_j) for i < j.
    """
    m, length = np.asarray(masses, dtype=np.float64), np.asarray(lengths, dtype=np.float64)
    beyond = np.cumsum(m[::-1])[::-1] - m
    first = m * length / 2 + beyond * length
    mass = np.diag(m * length**2 / 3 + beyond * length**2)
    for i in range(len(m)):
        for j in range(i + 1, len(m)):
            mass[i, j] = mass[j, i] = length[i] * first[j] * np.cos(bend * (j - i))
    to_absolute = np.tril(np.ones_like(mass))
    return to_absolute.T @ mass @ to_absolute, to_absolute.T @ np.diag(GRAVITY * first) @ to_absolute


def ladder(links: Sequence[float]) -> Matrix:
    """Coupling (n, n) of n bodies in a row by n + 1 links of the given strengths, the outer two to fixed walls."""
    c = np.asarray(links, dtype=np.float64)
    return np.diag(c[:-1] + c[1:]) - np.diag(c[1:-1], 1) - np.diag(c[1:-1], -1)
