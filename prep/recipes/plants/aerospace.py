"""Aircraft, rotorcraft, spacecraft and a free rigid body."""

from __future__ import annotations

import numpy as np

from prep.recipes.plants.plant import GRAVITY, Matrix, Plant, Values, bryson, second_order

_POSE = ("x [m]", "y [m]", "z [m]", "roll [rad]", "pitch [rad]", "yaw [rad]")
_TWIST = (
    "x velocity [m/s]",
    "y velocity [m/s]",
    "z velocity [m/s]",
    "roll rate [rad/s]",
    "pitch rate [rad/s]",
    "yaw rate [rad/s]",
)


def _quadrotor_hover(p: Values) -> tuple[Matrix, Matrix]:
    """Small angles around hover; thrust tilts with the body, drag acts on velocities and rates."""
    inertia = np.array([p["m"]] * 3 + [p["Ix"], p["Iy"], p["Iz"]])
    stiffness = np.zeros((6, 6))
    stiffness[0, 4], stiffness[1, 3] = -p["m"] * GRAVITY, p["m"] * GRAVITY
    damping = np.diag([p["drag"]] * 3 + [p["drag_rate"]] * 3)
    return second_order(np.diag(inertia), damping, stiffness, np.eye(6)[:, 2:])


def _rigid_body(p: Values) -> tuple[Matrix, Matrix]:
    """A submerged vehicle with six thrusts: drag on every axis, its low centre of gravity rights roll and pitch."""
    mass = np.diag([p["m"]] * 3 + list(p["I"]))
    stiffness = np.diag([0.0, 0.0, 0.0, p["righting"], p["righting"], 0.0])
    return second_order(mass, np.diag(p["drag"]), stiffness, np.eye(6))


def _aircraft_pitch(p: Values) -> tuple[Matrix, Matrix]:
    """Short-period motion of an airliner in cruise, q scaled as in the source: CTMS Michigan, aircraft pitch."""
    a = np.array([[p["Za"], p["Zq"], 0], [p["Ma"], p["Mq"], 0], [0, p["Zq"], 0]])
    return a, np.array([[p["Zd"]], [p["Md"]], [0]])


def _aircraft_longitudinal(p: Values) -> tuple[Matrix, Matrix]:
    """Boeing 747 at 40 000 ft and Mach 0.8 in SI units, with height: Etkin & Reid, Dynamics of Flight, section 6.2."""
    speed = p["speed"]
    a = np.array(
        [
            [p["Xu"], p["Xw"], 0, -GRAVITY, 0],
            [p["Zu"], p["Zw"], speed, 0, 0],
            [p["Mu"], p["Mw"], p["Mq"], 0, 0],
            [0, 0, 1, 0, 0],
            [0, -1, 0, speed, 0],
        ]
    )
    return a, np.array([[0, p["Xt"]], [p["Ze"], 0], [p["Me"], 0], [0, 0], [0, 0]])


def _aircraft_lateral(p: Values) -> tuple[Matrix, Matrix]:
    """Boeing 747 at 40 000 ft and Mach 0.8 in SI units: Etkin & Reid, Dynamics of Flight, section 6.4."""
    a = np.array(
        [
            [p["Yv"], 0, -p["speed"], GRAVITY],
            [p["Lv"], p["Lp"], p["Lr"], 0],
            [p["Nv"], p["Np"], p["Nr"], 0],
            [0, 1, 0, 0],
        ]
    )
    return a, np.array([[0, p["Yr"]], [p["La"], p["Ld"]], [p["Na"], p["Nd"]], [0, 0]])


def _satellite_attitude(p: Values) -> tuple[Matrix, Matrix]:
    """Rigid satellite in a circular orbit with gravity gradient: Wertz, Spacecraft Attitude Determination, 18.3."""
    (x, y, z), rate = p["I"], p["orbit_rate"]
    stiffness = rate**2 * np.diag([4 * (y - z), 3 * (x - z), y - x])
    damping = np.zeros((3, 3))
    damping[0, 2], damping[2, 0] = -rate * (x - y + z), rate * (x - y + z)
    return second_order(np.diag([x, y, z]), damping, stiffness, np.eye(3))


def _planar_vtol(p: Values) -> tuple[Matrix, Matrix]:
    stiffness = np.zeros((3, 3))
    stiffness[0, 2] = p["m"] * GRAVITY
    force = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    return second_order(np.diag([p["m"], p["m"], p["J"]]), np.diag(p["drag"]), stiffness, force)


AEROSPACE: dict[str, Plant] = {
    "quadrotor-hover": Plant(
        states=_POSE + _TWIST,
        controls=("thrust [N]", "roll torque [N m]", "pitch torque [N m]", "yaw torque [N m]"),
        nominal={"m": 0.8, "Ix": 0.03, "Iy": 0.03, "Iz": 0.05, "drag": 0.3, "drag_rate": 0.003},
        model=_quadrotor_hover,
        q=(20.0, 20.0, 50.0, 100.0, 100.0, 20.0, 5.0, 5.0, 10.0, 5.0, 5.0, 2.0),
        r=(10.0,) * 4,
        x0=(2.0, 2.0, 1.5, 0.3, 0.3, 0.5, 1.0, 1.0, 1.0, 0.8, 0.8, 0.8),
    ),
    "rigid-body": Plant(
        states=_POSE + _TWIST,
        controls=(
            "x force [N]",
            "y force [N]",
            "z force [N]",
            "roll torque [N m]",
            "pitch torque [N m]",
            "yaw torque [N m]",
        ),
        nominal={"m": 30.0, "I": (1.0, 3.0, 3.0), "drag": (15.0, 30.0, 30.0, 1.0, 3.0, 3.0), "righting": 8.0},
        model=_rigid_body,
        q=bryson(0.5, 0.5, 0.5, 0.2, 0.2, 0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        r=bryson(40.0, 40.0, 40.0, 5.0, 10.0, 10.0),
        x0=(2.0, 2.0, 2.0, 0.4, 0.4, 0.8, 0.6, 0.6, 0.6, 0.5, 0.5, 0.5),
    ),
    "aircraft-pitch": Plant(
        states=("angle of attack [rad]", "scaled pitch rate [rad/s]", "pitch [rad]"),
        controls=("elevator [rad]",),
        nominal={"Za": -0.313, "Zq": 56.7, "Ma": -0.0139, "Mq": -0.426, "Zd": 0.232, "Md": 0.0203},
        model=_aircraft_pitch,
        q=bryson(0.2, 0.02, 0.1),
        r=bryson(0.2),
        x0=(0.1, 0.004, 0.2),
    ),
    "aircraft-longitudinal": Plant(
        states=("forward speed [m/s]", "downward speed [m/s]", "pitch rate [rad/s]", "pitch [rad]", "height [m]"),
        controls=("elevator [rad]", "thrust [m/s2]"),
        nominal={
            "speed": 235.9,
            "Xu": -0.00687,
            "Xw": 0.01395,
            "Zu": -0.0905,
            "Zw": -0.3151,
            "Mu": 0.000389,
            "Mw": -0.003366,
            "Mq": -0.4285,
            "Xt": 1.0,
            "Ze": -5.441,
            "Me": -1.158,
        },
        model=_aircraft_longitudinal,
        q=bryson(3.0, 5.0, 0.1, 0.1, 20.0),
        r=bryson(0.1, 1.0),
        x0=(5.0, 5.0, 0.05, 0.05, 30.0),
    ),
    "aircraft-lateral": Plant(
        states=("side speed [m/s]", "roll rate [rad/s]", "yaw rate [rad/s]", "roll [rad]"),
        controls=("aileron [rad]", "rudder [rad]"),
        nominal={
            "speed": 235.9,
            "Yv": -0.0558,
            "Lv": -0.0127,
            "Lp": -0.4351,
            "Lr": 0.4143,
            "Nv": 0.003575,
            "Np": -0.006112,
            "Nr": -0.1458,
            "Yr": 1.718,
            "La": -0.1433,
            "Ld": 0.1146,
            "Na": 0.003818,
            "Nd": -0.4859,
        },
        model=_aircraft_lateral,
        q=bryson(5.0, 0.2, 0.05, 0.2),
        r=bryson(0.3, 0.2),
        x0=(8.0, 0.15, 0.05, 0.3),
    ),
    "satellite-attitude": Plant(
        states=(
            "roll [rad]",
            "pitch [rad]",
            "yaw [rad]",
            "roll rate [rad/s]",
            "pitch rate [rad/s]",
            "yaw rate [rad/s]",
        ),
        controls=("roll torque [N m]", "pitch torque [N m]", "yaw torque [N m]"),
        nominal={"I": (1.2, 1.5, 1.0), "orbit_rate": 0.0011},
        model=_satellite_attitude,
        q=bryson(0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
        r=bryson(0.2, 0.2, 0.2),
        x0=(0.4, 0.4, 0.4, 0.1, 0.1, 0.1),
    ),
    "planar-vtol": Plant(
        states=("x [m]", "z [m]", "tilt [rad]", "x velocity [m/s]", "z velocity [m/s]", "tilt rate [rad/s]"),
        controls=("thrust [N]", "torque [N m]"),
        nominal={"m": 3.0, "J": 0.05, "drag": (1.0, 1.0, 0.01)},
        model=_planar_vtol,
        q=bryson(0.5, 0.5, 0.3, 1.0, 1.0, 1.0),
        r=bryson(10.0, 0.5),
        x0=(2.0, 2.0, 0.3, 1.0, 1.0, 0.5),
    ),
}
