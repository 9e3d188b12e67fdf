"""Road vehicles: suspensions, steering, platoons, a balancing scooter."""

from __future__ import annotations

import numpy as np

from prep.recipes.plants.plant import GRAVITY, Matrix, Plant, Values, bryson, second_order


def _quarter_car(p: Values) -> tuple[Matrix, Matrix]:
    """Sprung mass over unsprung mass over a tyre, with an actuator in parallel with the suspension."""
    spring, damper = (np.array([[c, -c], [-c, c]]) for c in (p["k_suspension"], p["c_suspension"]))
    stiffness = spring + np.diag([0.0, p["k_tyre"]])
    return second_order(np.diag([p["m_body"], p["m_wheel"]]), damper, stiffness, np.array([[1.0], [-1.0]]))


def _half_car(p: Values) -> tuple[Matrix, Matrix]:
    """Heave, pitch (nose up) and two wheels; ``reach`` maps [z, θ, z_f, z_r] to the two suspension deflections."""
    front, rear = p["axle"]
    reach = np.array([[1.0, front, -1.0, 0.0], [1.0, -rear, 0.0, -1.0]])
    stiffness = reach.T @ np.diag(p["k_suspension"]) @ reach + np.diag([0.0, 0.0, *p["k_tyre"]])
    damping = reach.T @ np.diag(p["c_suspension"]) @ reach
    return second_order(np.diag([p["m_body"], p["I_body"], *p["m_wheel"]]), damping, stiffness, reach.T)


def _lateral_vehicle(p: Values) -> tuple[Matrix, Matrix]:
    """Single-track model at constant speed: Rajamani, Vehicle Dynamics and Control, chapter 2."""
    m, inertia, speed = p["m"], p["I"], p["speed"]
    (front, rear), (c_front, c_rear) = p["axle"], p["cornering"]
    moment = front * c_front - rear * c_rear
    a = np.array(
        [
            [0, 1, speed, 0],
            [0, -(c_front + c_rear) / (m * speed), 0, -moment / (m * speed) - speed],
            [0, 0, 0, 1],
            [0, -moment / (inertia * speed), 0, -(front**2 * c_front + rear**2 * c_rear) / (inertia * speed)],
        ]
    )
    return a, np.array([[0], [c_front / m], [0], [front * c_front / inertia]])


def _platoon(p: Values) -> tuple[Matrix, Matrix]:
    """Three followers behind a leader of constant speed: spacing errors, speeds with drag, drive lines with a lag."""
    lag, drag = np.asarray(p["lag"]), np.asarray(p["drag"])
    zero = np.zeros((3, 3))
    a = np.block(
        [
            [zero, np.diag([1.0, 1.0], -1) - np.eye(3), zero],
            [zero, -np.diag(drag), np.eye(3)],
            [zero, zero, -np.diag(1 / lag)],
        ]
    )
    return a, np.vstack([zero, zero, np.diag(1 / lag)])


def _segway(p: Values) -> tuple[Matrix, Matrix]:
    """Wheel torque drives the base forward and, by reaction, tips the body back."""
    arm = p["m"] * p["l"]
    mass = np.array([[p["m_wheel"] * 1.5 + p["m"], arm], [arm, p["J"] + arm * p["l"]]])
    stiffness = np.diag([0.0, -arm * GRAVITY])
    a, b = second_order(mass, np.diag([p["b"], 0.0]), stiffness, np.array([[1 / p["radius"]], [-1.0]]))
    order = [0, 2, 1, 3]
    return a[np.ix_(order, order)], b[order]


VEHICLES: dict[str, Plant] = {
    "quarter-car-suspension": Plant(
        states=("body position [m]", "wheel position [m]", "body velocity [m/s]", "wheel velocity [m/s]"),
        controls=("force [N]",),
        nominal={
            "m_body": 290.0,
            "m_wheel": 59.0,
            "k_suspension": 16_800.0,
            "c_suspension": 1_000.0,
            "k_tyre": 190_000.0,
        },
        model=_quarter_car,
        q=bryson(0.02, 0.02, 0.2, 1.0),
        r=bryson(1_000.0),
        x0=(0.05, 0.02, 0.3, 0.5),
    ),
    "half-car-suspension": Plant(
        states=(
            "heave [m]",
            "pitch [rad]",
            "front wheel [m]",
            "rear wheel [m]",
            "heave velocity [m/s]",
            "pitch rate [rad/s]",
            "front wheel velocity [m/s]",
            "rear wheel velocity [m/s]",
        ),
        controls=("front force [N]", "rear force [N]"),
        nominal={
            "m_body": 580.0,
            "I_body": 1_100.0,
            "m_wheel": (40.0, 36.0),
            "axle": (1.2, 1.5),
            "k_suspension": (18_000.0, 19_000.0),
            "c_suspension": (1_200.0, 1_100.0),
            "k_tyre": (180_000.0, 180_000.0),
        },
        model=_half_car,
        q=bryson(0.02, 0.02, 0.02, 0.02, 0.2, 0.2, 1.0, 1.0),
        r=bryson(1_000.0, 1_000.0),
        x0=(0.05, 0.04, 0.02, 0.02, 0.3, 0.2, 0.5, 0.5),
    ),
    "lateral-vehicle": Plant(
        states=("lateral position [m]", "lateral velocity [m/s]", "yaw [rad]", "yaw rate [rad/s]"),
        controls=("steering angle [rad]",),
        nominal={"m": 1_500.0, "I": 2_500.0, "speed": 20.0, "axle": (1.2, 1.4), "cornering": (80_000.0, 90_000.0)},
        model=_lateral_vehicle,
        q=bryson(0.5, 1.0, 0.1, 0.5),
        r=bryson(0.1),
        x0=(1.5, 0.5, 0.1, 0.2),
    ),
    "platoon": Plant(
        states=tuple(
            f"{name} {i} [{unit}]"
            for name, unit in (("spacing error", "m"), ("speed", "m/s"), ("acceleration", "m/s2"))
            for i in range(1, 4)
        ),
        controls=tuple(f"acceleration command {i} [m/s2]" for i in range(1, 4)),
        nominal={"lag": (0.4, 0.5, 0.6), "drag": (0.05, 0.04, 0.06)},
        model=_platoon,
        q=bryson(1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0),
        r=bryson(2.0, 2.0, 2.0),
        x0=(3.0, 3.0, 3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0),
    ),
    "segway": Plant(
        states=("position [m]", "velocity [m/s]", "tilt [rad]", "tilt rate [rad/s]"),
        controls=("wheel torque [N m]",),
        nominal={"m": 70.0, "m_wheel": 8.0, "l": 0.9, "J": 12.0, "radius": 0.25, "b": 10.0},
        model=_segway,
        q=bryson(1.0, 1.0, 0.1, 0.5),
        r=bryson(50.0),
        x0=(1.0, 0.5, 0.15, 0.3),
    ),
}
