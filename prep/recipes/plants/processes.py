"""Processes at laboratory scale, their time constants in seconds: heat along a bar, water through tanks."""

from __future__ import annotations

import numpy as np

from prep.recipes.plants.plant import Matrix, Plant, Values, bryson, ladder

_HEATERS = (0, 3, 6, 10)
_PUMPS = (0, 3)


def _thermal_chain(p: Values) -> tuple[Matrix, Matrix]:
    """Zones in a row: conduction between neighbours, loss to the surroundings, heaters in four of them."""
    conduction = ladder((0.0, *p["between"], 0.0)) + np.diag(p["loss"])
    inverse = np.diag(1 / np.asarray(p["capacity"]))
    return -inverse @ conduction, inverse[:, _HEATERS]


def _tank_chain(p: Values) -> tuple[Matrix, Matrix]:
    """Each tank drains into the next, the outflow linear in its level around the operating point; pumps fill two."""
    area, outflow = np.asarray(p["area"]), np.asarray(p["outflow"])
    flow = np.diag(outflow[:-1], -1) - np.diag(outflow)
    inverse = np.diag(1 / area)
    return inverse @ flow, 1e-3 * inverse[:, _PUMPS]


PROCESSES: dict[str, Plant] = {
    "thermal-chain": Plant(
        states=tuple(f"zone {i} temperature [K]" for i in range(1, 12)),
        controls=tuple(f"heater {i} [W]" for i in range(1, 5)),
        nominal={
            "capacity": (40.0, 30.0, 35.0, 40.0, 30.0, 25.0, 40.0, 35.0, 30.0, 30.0, 40.0),
            "between": (8.0, 10.0, 9.0, 8.0, 7.0, 9.0, 8.0, 10.0, 9.0, 8.0),
            "loss": (2.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 2.0),
        },
        model=_thermal_chain,
        q=bryson(*(2.0,) * 11),
        r=bryson(100.0, 100.0, 100.0, 100.0),
        x0=(10.0,) * 11,
    ),
    "tank-chain": Plant(
        states=tuple(f"level {i} [m]" for i in range(1, 8)),
        controls=("pump 1 [l/s]", "pump 2 [l/s]"),
        nominal={
            "area": (0.015, 0.012, 0.015, 0.010, 0.012, 0.015, 0.012),
            "outflow": (0.010, 0.012, 0.010, 0.011, 0.010, 0.012, 0.010),
        },
        model=_tank_chain,
        q=bryson(*(0.05,) * 7),
        r=bryson(0.5, 0.5),
        x0=(0.1,) * 7,
    ),
}
