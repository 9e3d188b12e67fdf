"""Linear-quadratic control of a plant: gain, exact sampling, variants that stay stable, simulation of many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm, solve_continuous_are

from prep.errors import ConfigError, Where
from prep.recipes.plants import Plant

Matrix = NDArray[np.float64]
_STABLE = 1.0 - 1e-6
_REDRAWS = 200


@dataclass(frozen=True, slots=True)
class Loop:
    """The sampled closed loops of V variants of one plant.

    ``gains`` (V, n_u, n_x), ``transitions`` (V, n_x, n_x) over one step, ``reach`` (n_x,) half-widths of the initial
    states; ``redrawn`` counts the unstable parameter sets that were replaced.
    """

    gains: Matrix
    transitions: Matrix
    reach: Matrix
    redrawn: int


def gain(plant: Plant, parameters: Any) -> Matrix:
    """K = R⁻¹BᵀP (n_u, n_x) with P from the continuous algebraic Riccati equation of the plant with ``parameters``."""
    a, b = plant.model(parameters)
    riccati = solve_continuous_are(a, b, np.diag(plant.q), np.diag(plant.r))
    feedback: Matrix = (b.T @ riccati) / np.asarray(plant.r)[:, np.newaxis]
    return feedback


def sampled_closed_loop(plant: Plant, parameters: Any, feedback: Matrix, dt: float) -> Matrix:
    """A_d - B_d K (n_x, n_x): one step of ``dt`` seconds with u = -K x held, exact through exp([[A, B], [0, 0]] dt)."""
    a, b = plant.model(parameters)
    states, controls = b.shape
    augmented = np.zeros((states + controls, states + controls))
    augmented[:states, :states], augmented[:states, states:] = a, b
    transition = expm(augmented * dt)
    closed: Matrix = transition[:states, :states] - transition[:states, states:] @ feedback
    return closed


def spectral_radius(transition: Matrix) -> float:
    """Largest |eigenvalue|; below 1 where the sampled loop is stable."""
    return float(np.abs(np.linalg.eigvals(transition)).max())


def close_loop(
    name: str,
    plant: Plant,
    rng: np.random.Generator,
    *,
    variants: int,
    variation: float,
    own_gain: bool,
    dt: float,
) -> Loop:
    """Closed loops of ``variants`` parameter sets, each drawn again until its sampled loop is stable.

    The gain is the nominal plant's, or each variant's own with ``own_gain``. Raises `ConfigError` where even the
    nominal loop is too stiff for steps of ``dt`` seconds, or where hardly any variant is stable.
    """
    nominal = gain(plant, plant.nominal)
    radius = spectral_radius(sampled_closed_loop(plant, plant.nominal, nominal, dt))
    if radius >= _STABLE:
        raise ConfigError(
            f"the closed loop of {name!r} is too stiff for steps of {dt:g} s",
            where=Where(dataset="control", key="dt"),
            measured=f"spectral radius {radius:.4g} of one sampled step",
            allowed="below 1",
            remedy="choose a smaller dt, or list the other systems in 'systems'",
        )
    gains: list[Matrix] = []
    transitions: list[Matrix] = []
    redrawn = 0
    while len(transitions) < variants:
        varied = plant.vary(variation, rng)
        feedback = gain(plant, varied) if own_gain else nominal
        transition = sampled_closed_loop(plant, varied, feedback, dt)
        if spectral_radius(transition) < _STABLE:
            gains.append(feedback)
            transitions.append(transition)
            continue
        redrawn += 1
        if redrawn > _REDRAWS * variants:
            raise ConfigError(
                f"hardly any variant of {name!r} is stable under the chosen gain",
                where=Where(dataset="control", key="variation"),
                measured=f"{redrawn} unstable draws at a variation of {variation:g}",
                allowed=f"at most {_REDRAWS} for each of {variants} variants",
                remedy="reduce variation or dt, or set gain to 'variant'",
            )
    return Loop(np.stack(gains), np.stack(transitions), np.asarray(plant.x0), redrawn)


def simulate(loop: Loop, variants: NDArray[Any], rng: np.random.Generator, steps: int, process_noise: float) -> Matrix:
    """Trajectories (n, steps, n_x) of the given variants (n,), all advanced together; may overflow where unstable.

    Initial states are uniform within ``loop.reach``; every step adds normal noise of std ``process_noise`` times it.
    """
    states = np.empty((steps, variants.size, loop.reach.size))
    states[0] = rng.uniform(-1.0, 1.0, states.shape[1:]) * loop.reach
    noise = rng.standard_normal((steps - 1, *states.shape[1:])) * (process_noise * loop.reach)
    transitions = loop.transitions[variants]
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(steps - 1):
            np.einsum("nij,nj->ni", transitions, states[step], out=states[step + 1])
            states[step + 1] += noise[step]
    return np.ascontiguousarray(np.swapaxes(states, 0, 1))
