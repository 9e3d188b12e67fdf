"""The very first loss beside the certified baseline: a doomed run is stopped after one step."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from prep.training.advice import STEP0_FACTOR, first_step
from prep.training.guards.certified import root_mean_square, squares_of
from prep.training.guards.guard import Guard
from prep.training.guards.watch import Watch
from prep.training.learning_curves import Curves


class FirstLoss(Guard):
    """Stops unless the first loss is within a factor of three of the baseline, or where the system says it has to be;
    names the field of the first batch that is not on its certified scale.
    """

    name = "first_loss"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._due = False

    @classmethod
    def applies(cls, watch: Watch) -> bool:
        """Where there is a baseline, or the system says where the first loss lies."""
        return watch.first_range is not None or bool(watch.baseline)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first step of all that has a loss, not the first one after resuming."""
        self._due = trainer.global_step == 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Judge once."""
        if not self._due or self.watch.loss is None:
            return
        self._due = False
        first, baseline, bounds = float(self.watch.loss), self.watch.baseline, self.watch.first_range
        found = first_step(Curves(first=first, baseline=baseline, first_range=bounds, spreads=self._spreads(batch)))
        if found is None or not math.isfinite(first):
            return
        low, high = bounds or ((baseline or 0.0) / STEP0_FACTOR, (baseline or 0.0) * STEP0_FACTOR)
        raise self.refusal(
            found.cause,
            field=found.field,
            measured=found.evidence if found.field else f"{first:.6g}",
            allowed=f"{low:.3g} to {high:.3g}, the baseline being {baseline or 0.0:.6g}",
            remedy=found.next_step,
        )

    def _spreads(self, batch: Any) -> dict[str, tuple[float, float]]:
        """By field of the batch: its root mean square, and the certified one of the train split."""
        found: dict[str, tuple[float, float]] = {}
        spec = self.watch.data.spec
        for name in batch if isinstance(batch, dict) else ():
            certified = root_mean_square(self.watch.data, name)
            values = batch[name]
            if certified is None or not isinstance(values, Tensor) or spec[name].role not in ("input", "target"):
                continue
            if (squares := squares_of(self.watch.data, batch, name)) is not None:
                found[name] = (math.sqrt(float(squares.mean())), certified)
        return found
