"""The bank of linear plants that the control recipe draws on.

Each module beside this one holds the plants of one domain, a plant being one entry in its table. A plant's id in a
dataset is its place in `PLANTS`, so that a new one belongs at the end of the last table.
"""

from __future__ import annotations

from prep.recipes.plants.aerospace import AEROSPACE
from prep.recipes.plants.electrical import ELECTRICAL
from prep.recipes.plants.mechanical import MECHANICAL
from prep.recipes.plants.plant import Plant
from prep.recipes.plants.processes import PROCESSES
from prep.recipes.plants.robots import ROBOTS
from prep.recipes.plants.vehicles import VEHICLES

PLANTS: dict[str, Plant] = {**MECHANICAL, **ELECTRICAL, **VEHICLES, **ROBOTS, **AEROSPACE, **PROCESSES}

__all__ = ["PLANTS", "Plant"]
