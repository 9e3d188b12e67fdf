"""Plants driven by a voltage or a generator: motor, levitation, power grid."""

from __future__ import annotations

import numpy as np

from prep.recipes.plants.plant import GRAVITY, Matrix, Plant, Values, bryson, ladder, second_order


def _dc_motor(p: Values) -> tuple[Matrix, Matrix]:
    """Armature-controlled motor; the torque constant equals the back-EMF constant in SI units."""
    a = np.array([[0, 1, 0], [0, -p["b"] / p["J"], p["K"] / p["J"]], [0, -p["K"] / p["L"], -p["R"] / p["L"]]])
    return a, np.array([[0], [0], [1 / p["L"]]])


def _magnetic_levitation(p: Values) -> tuple[Matrix, Matrix]:
    """Force ∝ (i/z)² balances the weight at gap z₀ and current i₀, so that the mass drops out of the linear model."""
    a = np.zeros((3, 3))
    a[0, 1] = 1.0
    a[1, 0], a[1, 2] = 2 * GRAVITY / p["gap"], -2 * GRAVITY / p["current"]
    a[2, 2] = -p["R"] / p["L"]
    return a, np.array([[0], [0], [1 / p["L"]]])


def _generator_swing(p: Values) -> tuple[Matrix, Matrix]:
    """Swing equations of three machines in a row between two strong grids: M δ̈ + D δ̇ + synchronising torque = P."""
    return second_order(np.diag(p["M"]), np.diag(p["D"]), ladder(p["tie"]), np.eye(3))


ELECTRICAL: dict[str, Plant] = {
    "dc-motor": Plant(
        states=("angle [rad]", "speed [rad/s]", "current [A]"),
        controls=("voltage [V]",),
        nominal={"J": 0.01, "b": 0.1, "K": 0.5, "R": 1.0, "L": 0.5},
        model=_dc_motor,
        q=bryson(0.5, 5.0, 5.0),
        r=bryson(12.0),
        x0=(3.0, 5.0, 2.0),
    ),
    "magnetic-levitation": Plant(
        states=("gap [m]", "velocity [m/s]", "current [A]"),
        controls=("voltage [V]",),
        nominal={"gap": 0.2, "current": 1.0, "R": 10.0, "L": 0.5},
        model=_magnetic_levitation,
        q=bryson(0.02, 0.2, 0.5),
        r=bryson(10.0),
        x0=(0.01, 0.05, 0.1),
    ),
    "generator-swing": Plant(
        states=tuple(f"rotor angle {i} [rad]" for i in range(1, 4)) + tuple(f"speed {i} [rad/s]" for i in range(1, 4)),
        controls=tuple(f"power {i} [per unit]" for i in range(1, 4)),
        nominal={"M": (0.13, 0.034, 0.016), "D": (0.03, 0.01, 0.006), "tie": (1.8, 1.2, 1.5, 1.6)},
        model=_generator_swing,
        q=bryson(0.3, 0.3, 0.3, 2.0, 2.0, 2.0),
        r=bryson(0.5, 0.5, 0.5),
        x0=(0.3, 0.3, 0.3, 1.0, 2.0, 2.0),
    ),
}
