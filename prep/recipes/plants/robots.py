"""Robots: an elastic joint and planar arms of two, three and four axes."""

from __future__ import annotations

import numpy as np

from prep.recipes.plants.plant import GRAVITY, Matrix, Plant, Values, bryson, rod_chain, second_order


def _flexible_joint(p: Values) -> tuple[Matrix, Matrix]:
    """Link and motor joined by a spring (Spong, Modeling and control of elastic joint robots), link hanging down."""
    k = p["k"]
    stiffness = np.array([[k + p["m"] * GRAVITY * p["l"], -k], [-k, k]])
    inertia = np.diag([p["m"] * p["l"] ** 2, p["J_motor"]])
    return second_order(inertia, np.diag([p["b_link"], p["b_motor"]]), stiffness, np.array([[0.0], [1.0]]))


def _hanging_arm(p: Values) -> tuple[Matrix, Matrix]:
    """Uniform links; each joint also turns its motor, whose inertia the gear makes as large as a link's."""
    mass, gravity = rod_chain(p["m"], p["l"])
    return second_order(mass + np.diag(p["J_motor"]), np.diag(p["b"]), gravity, np.eye(len(p["m"])))


def _scara(p: Values) -> tuple[Matrix, Matrix]:
    """Two horizontal links at a bent elbow, so that gravity does not act on them, then a vertical slide and a wrist."""
    mass = np.zeros((4, 4))
    mass[:2, :2], _ = rod_chain(p["m"], p["l"], bend=0.8)
    mass[2, 2], mass[3, 3] = p["m_slide"], p["J_wrist"]
    mass[:2, :2] += np.diag(p["J_motor"])
    return second_order(mass, np.diag(p["b"]), np.zeros((4, 4)), np.eye(4))


def _joints(count: int) -> tuple[str, ...]:
    angles = tuple(f"joint {i} [rad]" for i in range(1, count + 1))
    return angles + tuple(f"joint rate {i} [rad/s]" for i in range(1, count + 1))


def _torques(count: int) -> tuple[str, ...]:
    return tuple(f"torque {i} [N m]" for i in range(1, count + 1))


ROBOTS: dict[str, Plant] = {
    "flexible-joint": Plant(
        states=("link angle [rad]", "motor angle [rad]", "link rate [rad/s]", "motor rate [rad/s]"),
        controls=("torque [N m]",),
        nominal={"m": 1.0, "l": 0.3, "k": 20.0, "J_motor": 0.03, "b_link": 0.02, "b_motor": 0.05},
        model=_flexible_joint,
        q=bryson(0.3, 0.3, 2.0, 3.0),
        r=bryson(3.0),
        x0=(0.8, 0.8, 1.0, 1.0),
    ),
    "two-link-arm": Plant(
        states=_joints(2),
        controls=_torques(2),
        nominal={"m": (1.0, 0.8), "l": (0.5, 0.4), "J_motor": (0.06, 0.04), "b": (0.2, 0.2)},
        model=_hanging_arm,
        q=bryson(0.3, 0.3, 2.0, 2.0),
        r=bryson(3.0, 2.0),
        x0=(0.6, 0.6, 1.0, 1.0),
    ),
    "three-link-arm": Plant(
        states=_joints(3),
        controls=_torques(3),
        nominal={"m": (2.0, 1.5, 1.0), "l": (0.5, 0.4, 0.3), "J_motor": (0.2, 0.12, 0.06), "b": (0.5, 0.4, 0.3)},
        model=_hanging_arm,
        q=bryson(0.3, 0.3, 0.3, 2.0, 2.0, 2.0),
        r=bryson(6.0, 4.0, 2.0),
        x0=(0.5, 0.5, 0.5, 1.0, 1.0, 1.0),
    ),
    "scara": Plant(
        states=(
            "shoulder [rad]",
            "elbow [rad]",
            "slide [m]",
            "wrist [rad]",
            "shoulder rate [rad/s]",
            "elbow rate [rad/s]",
            "slide velocity [m/s]",
            "wrist rate [rad/s]",
        ),
        controls=("shoulder torque [N m]", "elbow torque [N m]", "slide force [N]", "wrist torque [N m]"),
        nominal={
            "m": (4.0, 3.0),
            "l": (0.4, 0.3),
            "m_slide": 1.5,
            "J_wrist": 0.02,
            "J_motor": (0.3, 0.15),
            "b": (1.0, 0.6, 4.0, 0.05),
        },
        model=_scara,
        q=bryson(0.3, 0.3, 0.1, 0.5, 2.0, 2.0, 1.0, 3.0),
        r=bryson(10.0, 6.0, 15.0, 0.5),
        x0=(0.8, 0.8, 0.1, 1.0, 1.0, 1.0, 0.2, 2.0),
    ),
}
