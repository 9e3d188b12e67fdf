"""The first step changes the parameters, and for the sake of the loss."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from prep.training.guards.guard import Guard
from prep.training.guards.watch import Watch

_IDLE = 50  # steps


class Updates(Guard):
    """Stops where the first step (the first whose rate is above 0) has no gradient or leaves every parameter as it was,
    and where no rate is above 0 in fifty steps; a schedule by epochs has until the second one.

    Weight decay alone would move parameters, so the gradient is asked too.
    """

    name = "updates"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._before: Tensor | None = None
        self._made = False
        self._idle = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is resumed has made its first step."""
        self._before = fingerprint(pl_module) if trainer.global_step == 0 else None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Its rate, before schedulers go on."""
        self._made = any(group["lr"] > 0 for group in optimizer.param_groups)
        self._idle += not self._made

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Judge the first step that was made."""
        if self._before is None:
            return
        if self._idle >= _IDLE and not self._made and (trainer.current_epoch or not trainer.lr_scheduler_configs):
            raise self.refusal(
                "the learning rate is 0",
                measured=f"0 in each of the first {self._idle} steps",
                allowed="above 0",
                remedy="give the optimiser a learning rate, or see that its schedule raises it",
            )
        if not self._made or (pl_module.automatic_optimization and self.watch.loss is None):
            return  # without a loss, Lightning makes a step of nothing
        if self.watch.norm is not None and float(self.watch.norm) == 0.0:
            raise self.refusal(
                "the first step changed no parameter for the sake of the loss",
                measured="gradient norm 0",
                allowed="a gradient above 0",
                remedy="see that the loss depends on the model's parameters: nothing detached, nothing taken without "
                "grad",
            )
        if bool((self._before == fingerprint(pl_module)).all()):
            raise self.refusal(
                "the first step changed no parameter",
                measured="‖Δθ‖ = 0",
                allowed="‖Δθ‖ > 0",
                remedy="see that the optimiser holds the model's parameters, that its step is called, and that the "
                "rate is above 0",
            )
        self._before = None


def fingerprint(module: LightningModule) -> Tensor:
    """Sums and squares of every parameter: another one after any step that changed something."""
    values = [each.detach().double() for each in module.parameters()]
    return torch.stack([torch.stack([each.sum(), each.square().sum()]) for each in values])
