"""The Lightning module: one system's loss, metrics as sums over whole splits, AdamW with its schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import AdamW

from prep.blocks import Array
from prep.training.data import demand_verified
from prep.training.schedule import schedules
from prep.training.systems import Hyperparameters, System
from prep.training.systems.system import Batch, demand_precision


class TrainingModule(LightningModule):
    """Trains ``system``'s model; a run with the same ``seed`` gives the same numbers, resumed or not.

    After an epoch ``train_loss`` is the mean of its losses, ``gradient_norm`` the median norm before clipping; after a
    pass over val or test ``measured`` holds the metrics, made of ``sums``. ``step0`` is the very first loss. Guards
    (`prep.training.guards`) watch a run as callbacks of its trainer.
    """

    def __init__(self, system: System, hyperparameters: Hyperparameters, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.system, self.settings, self.seed = system, hyperparameters, seed
        self.network = system.model()
        if hyperparameters.compiled:
            self.network.compile()
        self.step0 = math.nan
        self.measured: dict[str, float] = {}
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self.sums: dict[str, Array] = {}

    @property
    def norm_before_clipping(self) -> Tensor | None:
        """Norm of the last step's gradient; None before the first."""
        return self._norms[-1] if self._norms else None

    @property
    def train_loss(self) -> float:
        """Mean loss of the epoch's batches."""
        return float(torch.stack(self._losses).mean())

    @property
    def gradient_norm(self) -> float:
        """Median norm of the epoch's gradients, before they were clipped."""
        return float(torch.stack(self._norms).median())

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """What the model says of a batch; losses and metrics are never taken in half the digits."""
        result: Mapping[str, Tensor] = self.network(batch)
        return {name: value.float() if value.dtype == torch.bfloat16 else value for name, value in result.items()}

    def setup(self, stage: str) -> None:
        """Refuse a precision in which metrics cannot be taken, whoever makes the trainer."""
        demand_precision(self.trainer.precision)

    def on_fit_start(self) -> None:
        """Refuse batches that were not verified, whoever calls the trainer."""
        demand_verified(self.trainer.train_dataloader)

    def on_validation_start(self) -> None:
        """Metrics are of certified data too."""
        demand_verified(self.trainer.val_dataloaders)

    def on_test_start(self) -> None:
        """Metrics are of certified data too."""
        demand_verified(self.trainer.test_dataloaders)

    def on_train_epoch_start(self) -> None:
        """Each epoch draws from its own stream, so a resumed run draws the same."""
        self._losses, self._norms = [], []
        demand_verified(self.trainer.train_dataloader).set_epoch(self.current_epoch)
        torch.manual_seed(int(np.random.SeedSequence([self.seed, self.current_epoch]).generate_state(1)[0]))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of one augmented batch."""
        batch = self.system.augment(batch)
        loss = self.system.loss(self(batch), batch)
        value = loss.detach()
        if math.isnan(self.step0):
            self.step0 = float(value)
        self._losses.append(value)
        return loss

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip to the system's norm and remember what the norm was."""
        self._norms.append(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip).detach())

    def on_validation_epoch_start(self) -> None:
        """Metrics are sums over the whole split."""
        self.sums = {}

    def validation_step(self, batch: Batch, index: int) -> Mapping[str, Tensor]:
        """Add one batch to the sums; returns what the model said, for whoever watches."""
        outputs: Mapping[str, Tensor] = self(batch)
        for name, value in self.system.sums(outputs, batch).items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Metrics of the split, and the one that decides for whoever monitors it."""
        self.measured = self.system.metrics(self.sums)
        self.log(self.system.metric, self.measured[self.system.metric])

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        """AdamW, and the rate of each step as the system's hyperparameters say."""
        settings = self.settings
        optimizer = AdamW(self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        return [optimizer], schedules(
            optimizer,
            settings.schedule,
            steps=int(self.trainer.estimated_stepping_batches),
            warmup=settings.warmup,
            batches=int(self.trainer.num_training_batches),
            metric=self.system.metric,
        )
