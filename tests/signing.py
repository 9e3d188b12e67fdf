"""A small dataset, built and certified in a moment, and the consumer's side of it, for tests about signatures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

import prep
from prep.certificate import envelope, manifest
from tests.conftest import working_in

NAME = "tiny-1"


def build_tiny(folder: Path, seed: int = 1) -> Path:
    """A project in ``folder`` with one normalised dataset, not yet certified."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(240, 3))
    folder.mkdir(parents=True)
    with working_in(folder):
        np.savez("log.npz", inputs=inputs, targets=2 * inputs[:, :2] + 0.1 * rng.normal(size=(240, 2)))
        raw = prep.ingest("log.npz", output=f"data/raw/{NAME}.h5").path
        statistics = prep.stats(raw, output="data/stats.json")
        path = prep.normalize(raw, stats=statistics, output=f"data/normalized/{NAME}.h5")
        return Path(path).resolve()


def moved(dataset: Path, folder: Path, name: str = "renamed.h5") -> Path:
    """The dataset with its sidecars in another folder, under another name."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    for suffix in ("", envelope.SUFFIX, manifest.SUFFIX):
        shutil.copy(dataset.with_name(dataset.name + suffix), target.with_name(name + suffix))
    return target
