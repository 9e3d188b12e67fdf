"""Mechanical plants: masses, springs, pendulums, carts and cranes."""

from __future__ import annotations

import numpy as np

from prep.recipes.plants.plant import GRAVITY, Matrix, Plant, Values, bryson, ladder, second_order


def _mass_spring_damper(p: Values) -> tuple[Matrix, Matrix]:
    return np.array([[0, 1], [-p["k"] / p["m"], -p["c"] / p["m"]]]), np.array([[0], [1 / p["m"]]])


def _double_integrator(p: Values) -> tuple[Matrix, Matrix]:
    return np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0], [1 / p["m"]]])


def _inverted_pendulum(p: Values) -> tuple[Matrix, Matrix]:
    inertia = p["m"] * p["l"] ** 2
    return np.array([[0, 1], [GRAVITY / p["l"], -p["b"] / inertia]]), np.array([[0], [1 / inertia]])


def _cart_pole(p: Values) -> tuple[Matrix, Matrix]:
    """Massless rod with the mass at its end, upright: Ogata, Modern Control Engineering, section 3.2."""
    cart, mass, length, friction = p["M"], p["m"], p["l"], p["b"]
    a = np.zeros((4, 4))
    a[0, 1] = a[2, 3] = 1.0
    a[1, 1:3] = -friction / cart, -mass * GRAVITY / cart
    a[3, 1:3] = friction / (cart * length), (cart + mass) * GRAVITY / (cart * length)
    return a, np.array([[0.0], [1 / cart], [0.0], [-1 / (cart * length)]])


def _double_pendulum_cart(p: Values) -> tuple[Matrix, Matrix]:
    """Two point masses on massless rods above a cart, both upright, absolute angles."""
    cart, (m1, m2), (l1, l2) = p["M"], p["m"], p["l"]
    upper = m1 + m2
    mass = np.array(
        [
            [cart + upper, upper * l1, m2 * l2],
            [upper * l1, upper * l1**2, m2 * l1 * l2],
            [m2 * l2, m2 * l1 * l2, m2 * l2**2],
        ]
    )
    stiffness = -np.diag([0.0, upper * GRAVITY * l1, m2 * GRAVITY * l2])
    return second_order(mass, np.diag(p["b"]), stiffness, np.array([[1.0], [0.0], [0.0]]))


def _ball_and_beam(p: Values) -> tuple[Matrix, Matrix]:
    """A solid ball rolls without slip, so that its spin adds 2/5 of its mass; its weight turns the beam."""
    a = np.zeros((4, 4))
    a[0, 1] = a[2, 3] = 1.0
    a[1, 2] = -GRAVITY / 1.4
    a[3, 0], a[3, 3] = -p["m"] * GRAVITY / p["J"], -p["b"] / p["J"]
    return a, np.array([[0.0], [0.0], [0.0], [1 / p["J"]]])


def _gantry_crane(p: Values) -> tuple[Matrix, Matrix]:
    """The cart-pole hanging down."""
    cart, mass, length, friction = p["M"], p["m"], p["l"], p["b"]
    a = np.zeros((4, 4))
    a[0, 1] = a[2, 3] = 1.0
    a[1, 1:3] = -friction / cart, mass * GRAVITY / cart
    a[3, 1:3] = friction / (cart * length), -(cart + mass) * GRAVITY / (cart * length)
    return a, np.array([[0.0], [1 / cart], [0.0], [-1 / (cart * length)]])


def _reaction_wheel(p: Values) -> tuple[Matrix, Matrix]:
    """An upright pendulum held by the torque that turns a wheel at its end; wheel speed in the inertial frame."""
    inertia = p["m"] * p["l"] ** 2
    a = np.array(
        [[0, 1, 0], [GRAVITY / p["l"], -p["b"] / inertia, 0], [0, 0, -p["d"] / p["J"]]],
    )
    return a, np.array([[0], [-1 / inertia], [1 / p["J"]]])


def _mass_chain(p: Values) -> tuple[Matrix, Matrix]:
    return second_order(np.diag(p["m"]), ladder(p["c"]), ladder(p["k"]), np.eye(len(p["m"])))


MECHANICAL: dict[str, Plant] = {
    "mass-spring-damper": Plant(
        states=("position [m]", "velocity [m/s]"),
        controls=("force [N]",),
        nominal={"m": 1.0, "c": 0.5, "k": 2.0},
        model=_mass_spring_damper,
        q=(10.0, 1.0),
        r=(1.0,),
        x0=(2.0, 2.0),
    ),
    "double-integrator": Plant(
        states=("position [m]", "velocity [m/s]"),
        controls=("force [N]",),
        nominal={"m": 1.0},
        model=_double_integrator,
        q=(10.0, 1.0),
        r=(1.0,),
        x0=(5.0, 3.0),
    ),
    "inverted-pendulum": Plant(
        states=("angle [rad]", "rate [rad/s]"),
        controls=("torque [N m]",),
        nominal={"m": 0.5, "l": 0.5, "b": 0.05},
        model=_inverted_pendulum,
        q=(50.0, 5.0),
        r=(10.0,),
        x0=(0.4, 1.0),
    ),
    "cart-pole": Plant(
        states=("position [m]", "velocity [m/s]", "angle [rad]", "rate [rad/s]"),
        controls=("force [N]",),
        nominal={"M": 1.0, "m": 0.3, "l": 0.5, "b": 0.1},
        model=_cart_pole,
        q=(10.0, 1.0, 100.0, 10.0),
        r=(10.0,),
        x0=(2.0, 1.0, 0.5, 1.0),
    ),
    "double-pendulum-cart": Plant(
        states=(
            "position [m]",
            "lower angle [rad]",
            "upper angle [rad]",
            "velocity [m/s]",
            "lower rate [rad/s]",
            "upper rate [rad/s]",
        ),
        controls=("force [N]",),
        nominal={"M": 2.0, "m": (0.3, 0.2), "l": (0.6, 0.4), "b": (0.5, 0.01, 0.01)},
        model=_double_pendulum_cart,
        q=(10.0, 100.0, 100.0, 1.0, 10.0, 10.0),
        r=(0.1,),
        x0=(0.5, 0.05, 0.05, 0.2, 0.1, 0.1),
    ),
    "ball-and-beam": Plant(
        states=("ball position [m]", "ball velocity [m/s]", "beam angle [rad]", "beam rate [rad/s]"),
        controls=("torque [N m]",),
        nominal={"m": 0.11, "J": 0.02, "b": 0.05},
        model=_ball_and_beam,
        q=bryson(0.2, 0.5, 0.3, 2.0),
        r=bryson(1.0),
        x0=(0.3, 0.3, 0.2, 0.5),
    ),
    "gantry-crane": Plant(
        states=("trolley position [m]", "trolley velocity [m/s]", "load angle [rad]", "load rate [rad/s]"),
        controls=("force [N]",),
        nominal={"M": 5.0, "m": 2.0, "l": 1.0, "b": 0.5},
        model=_gantry_crane,
        q=bryson(0.5, 1.0, 0.2, 1.0),
        r=bryson(20.0),
        x0=(2.0, 1.0, 0.3, 0.5),
    ),
    "reaction-wheel-pendulum": Plant(
        states=("angle [rad]", "rate [rad/s]", "wheel speed [rad/s]"),
        controls=("torque [N m]",),
        nominal={"m": 0.5, "l": 0.25, "b": 0.005, "J": 0.002, "d": 0.0005},
        model=_reaction_wheel,
        q=bryson(0.2, 1.0, 100.0),
        r=bryson(0.5),
        x0=(0.15, 0.5, 40.0),
    ),
    "mass-chain": Plant(
        states=tuple(f"position {i} [m]" for i in range(1, 6)) + tuple(f"velocity {i} [m/s]" for i in range(1, 6)),
        controls=tuple(f"force {i} [N]" for i in range(1, 6)),
        nominal={
            "m": (1.0, 1.5, 0.8, 1.2, 1.0),
            "k": (20.0, 15.0, 25.0, 10.0, 15.0, 20.0),
            "c": (0.4, 0.2, 0.3, 0.2, 0.3, 0.4),
        },
        model=_mass_chain,
        q=(50.0,) * 5 + (5.0,) * 5,
        r=(1.0,) * 5,
        x0=(0.5,) * 5 + (1.0,) * 5,
    ),
}
