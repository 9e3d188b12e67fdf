"""Real Minari datasets, made by gymnasium and minari themselves: the input that importers and walks are tried on.

`make_pendulum` takes about 0.07 ms a step, and 2 s to import gymnasium and jax: 300 episodes, 45 000 steps, in 5 s.
From a shell: ``python tests/make_minari.py DIRECTORY --episodes 300``.
"""

from __future__ import annotations

import argparse
import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PENDULUM_ID = "pendulum/swing-up-v0"
SPACES_ID = "spaces-v0"


@contextmanager
def minari_root(root: Path) -> Iterator[None]:
    """Let minari keep its datasets under ``root`` for a while, and keep its advice out of test output."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def swing_up(observation: NDArray[np.float32], noise: float) -> NDArray[np.float32]:
    """Torque for Pendulum-v1 from (cos θ, sin θ, ω): pump energy until near the top, then hold; clipped to ±2 N m."""
    cosine, sine, speed = (float(value) for value in observation)
    angle = np.arctan2(sine, cosine)
    energy = speed**2 / 6 + 5 * cosine
    torque = -12 * angle - 3 * speed if abs(angle) < 0.6 else 0.8 * speed * (5 - energy)
    return np.array([np.clip(torque + noise, -2, 2)], np.float32)


def make_pendulum(root: Path, *, episodes: int = 300, seed: int = 0, shortest: int = 100, longest: int = 200) -> Path:
    """Collect ``episodes`` of Pendulum-v1 under `swing_up` with a little noise; returns the dataset's directory.

    Episodes end after a random number of steps in ``shortest … longest`` (at most 200, the environment's own limit).
    """
    with minari_root(root):
        import gymnasium
        import minari

        random = np.random.default_rng(seed)
        env = minari.DataCollector(gymnasium.make("Pendulum-v1", disable_env_checker=True))
        for episode in range(episodes):
            observation, _ = env.reset(seed=1000 * seed + episode)
            noise = 0.1 * random.standard_normal(random.integers(shortest, longest, endpoint=True))
            for value in noise:
                observation, *_ = env.step(swing_up(observation, float(value)))
        env.create_dataset(PENDULUM_ID, algorithm_name="energy swing-up", author="prep", description="test input")
        env.close()
        del env
        gc.collect()  # the collector's temporary directory warns when it is collected, so let that happen here
    return root / PENDULUM_ID


def make_spaces(root: Path, *, episodes: int = 6, steps: int = 5) -> Path:
    """A dataset whose observations are a `Dict` with a `Tuple` and a `Text` inside; actions are `Discrete`."""
    with minari_root(root):
        import minari
        from gymnasium import spaces
        from minari.data_collector import EpisodeBuffer

        observation_space = spaces.Dict(
            {
                "mission": spaces.Text(8),
                "pair": spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.MultiBinary(3)]),
                "pose": spaces.Box(-np.inf, np.inf, (2, 3), np.float64),
            }
        )
        action_space = spaces.Discrete(4)
        buffers = []
        for episode in range(episodes):
            observation_space.seed(episode)
            action_space.seed(episode)
            observed = [observation_space.sample() for _ in range(steps + 1)]
            pairs = tuple([entry["pair"][index] for entry in observed] for index in range(2))
            buffers.append(
                EpisodeBuffer(
                    id=episode,
                    observations={
                        "mission": [entry["mission"] for entry in observed],
                        "pair": pairs,
                        "pose": [entry["pose"] for entry in observed],
                    },
                    actions=[action_space.sample() for _ in range(steps)],
                    rewards=[float(step) for step in range(steps)],
                    terminations=[step == steps - 1 for step in range(steps)],
                    truncations=[False] * steps,
                    infos={},
                )
            )
        minari.create_dataset_from_buffers(
            SPACES_ID,
            buffers,
            observation_space=observation_space,
            action_space=action_space,
            description="test input",
        )
    return root / SPACES_ID


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(make_pendulum(given.directory, episodes=given.episodes, seed=given.seed))
