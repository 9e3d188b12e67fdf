"""Metrics are taken with weights that do not move; a loss of moving weights flatters."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from prep.training.guards.guard import Guard
from prep.training.guards.updates import fingerprint
from prep.training.guards.watch import Watch


class FrozenMetrics(Guard):
    """Stops where a parameter changes between the first and the last batch of a validation or test."""

    name = "frozen_metrics"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._before: Tensor | None = None

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Before the first batch: whoever averages weights has put them in place by then."""
        if batch_idx == 0 and dataloader_idx == 0:
            self._before = fingerprint(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """After the last batch of every loader."""
        batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
        sizes = batches if isinstance(batches, list) else [batches]
        if batch_idx + 1 != sizes[dataloader_idx] or self._before is None:
            return
        changed = (self._before != fingerprint(pl_module)).any(dim=1)
        if bool(changed.any()):
            raise self.refusal(
                "parameters changed while the metrics were taken",
                split="test" if trainer.testing else "val",
                measured=f"{int(changed.sum())} parameter tensors changed",
                allowed="frozen weights",
                remedy="take metrics in a pass of their own, without a step; a loss of moving weights flatters",
            )

    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end
