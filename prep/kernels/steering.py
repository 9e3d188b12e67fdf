"""Near-field array geometry: the one place that says how a source's direction and range become a steering vector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

WAVELENGTH = 0.3
GRID = (12, 12)


def element_positions(grid: tuple[int, int] = GRID, spacing: float = WAVELENGTH / 2) -> NDArray[np.float64]:
    """Positions (N, 2) in m of a centred planar array: x along ``grid[1]`` varies fastest, y along ``grid[0]``."""
    rows, columns = grid
    x = (np.arange(columns) - (columns - 1) / 2) * spacing
    y = (np.arange(rows) - (rows - 1) / 2) * spacing
    return np.stack([np.tile(x, rows), np.repeat(y, columns)], axis=1)


def steering(
    azimuth: ArrayLike,
    elevation: ArrayLike,
    distance: ArrayLike,
    *,
    grid: tuple[int, int] = GRID,
    wavelength: float = WAVELENGTH,
    spacing: float | None = None,
) -> NDArray[np.complex128]:
    """Unit-norm steering vectors a (…, N) for sources at azimuth φ and elevation θ in rad and range r in m (> 0).

    a_n = exp{jk₀(x sinφ cosθ + y sinθ - (x² + y²)/2r)}/√N with k₀ = 2π/λ: the Fresnel (second-order) approximation of a
    spherical wave, as in near-field localisation with reconfigurable surfaces. ``spacing`` in m, λ/2 when not given.
    The three arguments broadcast; the element order is that of `element_positions`.
    """
    x, y = element_positions(grid, wavelength / 2 if spacing is None else spacing).T
    phi, theta, r = (np.asarray(value, dtype=np.float64)[..., np.newaxis] for value in (azimuth, elevation, distance))
    path = x * (np.sin(phi) * np.cos(theta)) + y * np.sin(theta) - (x * x + y * y) / (2.0 * r)
    vectors: NDArray[Any] = np.exp(1j * (2.0 * np.pi / wavelength) * path)
    vectors /= np.sqrt(x.size)
    return vectors
