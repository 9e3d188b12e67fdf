"""The arrays that every episode of a Minari dataset has, by their paths in an episode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

PARTS = ("observations", "actions", "rewards", "terminations", "truncations")
METADATA = (
    "total_episodes",
    "total_steps",
    "dataset_id",
    "minari_version",
    "algorithm_name",
    "env_spec",
    "observation_space",
    "action_space",
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One dataset that every episode has. ``shape`` is that of a row; ``extra`` rows (0 or 1) follow the last step."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def part(self) -> str:
        """Which of `PARTS` it belongs to."""
        return self.path.split("/", 1)[0]

    @property
    def extra(self) -> int:
        """The observation that follows the last action."""
        return int(self.part == "observations")

    @property
    def name(self) -> str:
        """Field name: ``observations/pose/_index_0`` is ``observations_pose_index_0``."""
        parts = [re.sub(r"[^A-Za-z0-9_]+", "_", part).strip("_") for part in self.path.split("/")]
        return "_".join(parts)
