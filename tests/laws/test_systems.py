"""Laws of every system: what its first loss is, and that a few samples can be learned by heart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import prep
from prep.training.systems import SYSTEMS, System
from tests.conftest import dataset_of

# Rows, passes, and what the loss has to fall below: a share of the baseline, or of a flow what perfect transport gains.
# (Two hundred covariances are learned by heart in tests/rooms/test_training_covariance.py.)
BY_HEART = {
    "control": (32, 150, 0.05),
    "peptide": (16, 60, -4.7),
    "regression": (32, 300, 0.01),
    "tones": (2, 40, 0.05),
}


def system_of(name: str, project: Path) -> System:
    data = prep.open(dataset_of(project, name), lock_path=project / "prep.lock")
    system: System = SYSTEMS.load(name)(data)
    return system


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, marks=[pytest.mark.long] if each in ("control", "peptide", "tones") else [])
        for each in BY_HEART
    ],
)
def test_a_tiny_subset_can_be_learned_by_heart(name: str, certified_project: Path):
    rows, passes, below = BY_HEART[name]
    system = system_of(name, certified_project)
    batch = next(iter(system.data.torch("train", batch_size=rows, shuffle=True, seed=0, fields=system.fields)))
    torch.manual_seed(0)
    network, settings = system.model(), system.hyperparameters
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, passes * system.pieces)
    losses = []
    for _ in range(passes):
        for piece in system.cut(batch):
            optimiser.zero_grad()
            loss = system.loss(network(piece), piece)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))

    low, high = system.first_loss
    assert low <= losses[0] <= high
    final = sum(losses[-system.pieces :]) / system.pieces
    assert final < (below * system.baseline if system.baseline else below)
