"""The scene of a covariance dataset: phase codes of the surface and the Rician channel behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from prep.blocks import Array
from prep.kernels.steering import steering


@dataclass(frozen=True, slots=True)
class Scene:
    """What every task reads: grid, code sweep (N, N) and, where the scene is fixed, channel (M, N) and codes (L, N)."""

    grid: tuple[int, int]
    sweep: Array
    channel: Array | None
    codes: Array | None


def draw_scene(parameters: Mapping[str, Any], rng: Generator) -> Scene:
    """The scene that all samples share: codes spread over the sweep and one channel; neither with ``scene: sample``."""
    rows, columns = (int(size) for size in parameters["grid"])
    sweep = _dft_codes(rows, columns, int(parameters["phase_bits"]))
    if parameters["scene"] == "sample":
        return Scene((rows, columns), sweep, None, None)
    down = int(np.ceil(np.sqrt(parameters["snapshots"])))
    across = -(-int(parameters["snapshots"]) // down)
    picked = (np.arange(down) * rows // down)[:, np.newaxis] * columns + np.arange(across) * columns // across
    codes = sweep[picked.ravel()[: int(parameters["snapshots"])]]
    channel = draw_channel(parameters, rng, 1, (rows, columns))[0]
    return Scene((rows, columns), sweep, channel, codes)


def _dft_codes(rows: int, columns: int, bits: int) -> Array:
    """Every column of the 2-D DFT over the grid, (N, N) complex64 of unit modulus, phases rounded to ``bits`` bits."""
    phase_y = np.outer(np.arange(rows), np.arange(rows)) / rows
    phase_x = np.outer(np.arange(columns), np.arange(columns)) / columns
    turns = (phase_y[:, np.newaxis, :, np.newaxis] + phase_x[np.newaxis, :, np.newaxis, :]).reshape(rows * columns, -1)
    levels = 2**bits
    codes: Array = np.exp(2j * np.pi * np.round(turns * levels) / levels).astype(np.complex64)
    return codes


def draw_codes(sweep: Array, rng: Generator, rows: int, snapshots: int) -> Array:
    """``snapshots`` codes of the sweep for each sample in random order, (rows, L, N); a short sweep starts over."""
    order = rng.permuted(np.tile(np.arange(len(sweep)), (rows, 1)), axis=1)
    codes: Array = sweep[order[:, np.arange(snapshots) % len(sweep)]]
    return codes


def draw_channel(parameters: Mapping[str, Any], rng: Generator, rows: int, grid: tuple[int, int]) -> Array:
    """Rician channels (rows, M, N) complex64: √(κ/(κ+1))·plane wave + √(1/(κ+1))·CN(0, 1/M), κ ~ U(``rician_factor``).

    The plane wave runs from a direction within ±60° azimuth and ±30° elevation of the surface to a half-wavelength line
    of M antennas. With ``plane_wave: unit_norm`` it is the product of two unit-norm steering vectors, as in the public
    source of the original project: the scattered part then carries N/κ times its power and the channel keeps full
    rank. With ``per_entry`` both parts have the same power at κ = 1, the textbook Rician model, whose plane wave hides
    most of the surface from the receiver: far harder to invert.
    """
    antennas, elements = int(parameters["antennas"]), grid[0] * grid[1]
    low, high = parameters["rician_factor"]
    kappa = rng.uniform(low, high, (rows, 1, 1))
    arrival, azimuth = rng.uniform(-np.pi / 3, np.pi / 3, (2, rows))
    elevation = rng.uniform(-np.pi / 6, np.pi / 6, rows)
    receiver = np.exp(1j * np.pi * np.sin(arrival)[:, np.newaxis] * (np.arange(antennas) - (antennas - 1) / 2))
    surface = steering(azimuth, elevation, np.inf, grid=grid, wavelength=float(parameters["wavelength"]))
    plane = receiver[:, :, np.newaxis] * surface.conj()[:, np.newaxis, :] / np.sqrt(antennas)
    if parameters["plane_wave"] == "per_entry":
        plane *= np.sqrt(elements)
    scattered = complex_normal(rng, (rows, antennas, elements)) / np.sqrt(antennas)
    channel: Array = (np.sqrt(kappa / (kappa + 1)) * plane + np.sqrt(1 / (kappa + 1)) * scattered).astype(np.complex64)
    return channel


def complex_normal(rng: Generator, shape: tuple[int, ...]) -> Array:
    """CN(0, 1): circular complex normal numbers of variance 1, complex128."""
    parts = rng.standard_normal((*shape, 2)) * np.sqrt(0.5)
    numbers: Array = parts.view(np.complex128)[..., 0]
    return numbers
