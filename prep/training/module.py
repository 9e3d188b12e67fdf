"""The Lightning module: one system's loss, metrics as sums over whole splits, AdamW with warm-up and cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from prep.blocks import Array
from prep.errors import UnfinishedError, Where
from prep.training.data import demand_verified
from prep.training.proof import fingerprint, prove_change, prove_frozen, prove_gradient, prove_scores, prove_step0
from prep.training.systems import Hyperparameters, System
from prep.training.systems.system import Batch


class TrainingModule(LightningModule):
    """Trains ``system``'s model; a run with the same ``seed`` gives the same numbers, resumed or not.

    After an epoch ``train_loss`` is the mean of its losses, ``gradient_norm`` the median norm before clipping; after a
    pass over val or test ``measured`` holds the metrics. ``step0`` is the very first loss.
    """

    def __init__(self, system: System, hyperparameters: Hyperparameters, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.system, self.settings, self.seed = system, hyperparameters, seed
        self.network = system.model()
        self.step0 = math.nan
        self.measured: dict[str, float] = {}
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._sums: dict[str, Array] = {}
        self._before: Tensor | None = None

    @property
    def train_loss(self) -> float:
        """Mean loss of the epoch's batches."""
        return float(torch.stack(self._losses).mean())

    @property
    def gradient_norm(self) -> float:
        """Median norm of the epoch's gradients, before they were clipped."""
        return float(torch.stack(self._norms).median())

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """What the model says of a batch."""
        result: Mapping[str, Tensor] = self.network(batch)
        return result

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
        """The loss of one augmented batch; a loss that is not finite ends the run."""
        if self.global_step == 0:
            prove_scores(self.system, batch)
            self._before = fingerprint(self.network.parameters())
        elif self._before is not None:
            prove_change(self.system, self._before, fingerprint(self.network.parameters()))
            self._before = None
        batch = self.system.augment(batch)
        loss = self.system.loss(self(batch), batch)
        value = loss.detach()
        if not bool(torch.isfinite(value)):
            raise UnfinishedError(
                "the training loss is not finite",
                where=Where(dataset=self.system.data.id, split="train"),
                measured=f"{float(value)} in epoch {self.current_epoch + 1}, step {self.global_step + 1}",
                allowed="a finite loss: the certified data are",
                remedy="lower the learning rate of the system; the checkpoint of the last epoch is kept",
            )
        if math.isnan(self.step0):
            prove_step0(self.system, float(value))
            self.step0 = float(value)
        self._losses.append(value)
        return loss

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip to the system's norm and remember what the norm was."""
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip).detach()
        if self.global_step == 0:
            prove_gradient(self.system, float(norm))
        self._norms.append(norm)

    def on_validation_epoch_start(self) -> None:
        """Metrics are sums over the whole split, of weights that do not move."""
        self._sums = {}
        self._frozen = fingerprint(self.network.parameters())

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add one batch to the sums."""
        for name, value in self.system.sums(self(batch), batch).items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def on_validation_epoch_end(self) -> None:
        """Metrics of the split, and the one that decides for whoever monitors it."""
        prove_frozen(self.system, self._frozen, fingerprint(self.network.parameters()))
        self.measured = self.system.metrics(self._sums)
        self.log(self.system.metric, self.measured[self.system.metric])

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        """AdamW, and the rate of each step as the system's hyperparameters say."""
        settings = self.settings
        optimizer = AdamW(self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = max(1, round(settings.warmup * steps))

        def rate(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, rate), "interval": "step"}}
