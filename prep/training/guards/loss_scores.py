"""The loss and the metric mean what they say: predictions whose scores are known get these scores.

A wrong loss trains as happily as a right one. So each system is asked, on one certified batch, what its loss and metric
make of perfect predictions, of zero, and of perfect ones with unit normal noise.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from prep.training.guards.guard import Guard, mapping
from prep.training.guards.watch import Watch

_EXACT = 1e-3


class LossScores(Guard):
    """Stops before the first step unless loss and metric score every prediction of `System.known` as they have to."""

    name = "loss_scores"

    @classmethod
    def applies(cls, watch: Watch) -> bool:
        """A system knows its loss."""
        return watch.system is not None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Once, on the first batch of all."""
        system = self.watch.system
        if system is None or trainer.global_step or batch_idx or not mapping(batch, system.fields):
            return
        for what, given, wanted in system.known(batch):
            tolerance = _EXACT * max(wanted, 1.0)
            for kind, score in (
                ("loss", float(system.loss(given, batch))),
                (f"metric {system.metric}", system.metrics(system.sums(given, batch))[system.metric]),
            ):
                if not abs(score - wanted) <= tolerance:
                    raise self.refusal(
                        f"the {kind} does not score {what} as it has to",
                        measured=f"{score:.6g}",
                        allowed=f"{wanted:.6g}, within {tolerance:.2g}",
                        remedy="see that it averages over what the mask counts, neither sums nor counts padding, and "
                        "takes prediction and target of the same sample and feature",
                    )
