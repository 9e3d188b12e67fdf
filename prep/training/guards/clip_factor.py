"""Gradients far longer than what they are clipped to: the direction is all that is left of them."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from prep.training.advice import CLIPPED_STOP, CLIPPED_WARN, clipped
from prep.training.guards.guard import Guard
from prep.training.guards.watch import Watch
from prep.training.learning_curves import Curves

WINDOW = 50  # steps


class ClipFactor(Guard):
    """Logs ``clip_factor``, the median of gradient norm / clip over the last 50 steps after the warm-up; warns above 5
    and stops above 50.
    """

    name = "clip_factor"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._norms: deque[Tensor] = deque(maxlen=WINDOW)
        self._since = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Judge every 50 steps."""
        if self.watch.norm is None or not trainer.gradient_clip_val or not self.watch.warm(trainer):
            return
        self._norms.append(self.watch.norm)
        self._since += 1
        if self._since >= WINDOW:
            self._judge(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Track it, and judge an epoch of fewer steps once there are 50."""
        if self._norms and trainer.gradient_clip_val:
            pl_module.log("clip_factor", self._factor(trainer))

    def _judge(self, trainer: Trainer) -> None:
        self._since = 0
        factor = self._factor(trainer)
        found = clipped(
            Curves(clip_factor=(factor,), learning_rate=self.watch.curves(trainer).learning_rate)
            if math.isfinite(factor)
            else Curves()
        )
        if found is None:
            return
        text = f"median of {WINDOW} steps {factor:.3g} x clip, at step {trainer.global_step}"
        if found.level == "stop":
            raise self.refusal(
                found.cause, measured=text, allowed=f"below {CLIPPED_STOP:g} x clip", remedy=found.next_step
            )
        if line := self.warn(found.cause, f"{text}, expected below {CLIPPED_WARN:g}; {found.next_step}"):
            self.watch.say(line)

    def _factor(self, trainer: Trainer) -> float:
        return float(torch.stack(list(self._norms)).median()) / float(trainer.gradient_clip_val or 1.0)
