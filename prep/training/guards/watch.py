"""What all guards know of a run: its data and system, and its numbers so far, the same after it was resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from prep.gate import CertifiedDataset
from prep.training.learning_curves import Curves
from prep.training.systems import System

_COLUMNS = ("train", "val", "learning_rate", "clip_factor")
_WARMUP = 0.05  # share of all steps, of a module that is not ours
_FEWEST, _SETTLED = 50, 200  # steps


class Watch(Callback):
    """Collects an epoch's losses, gradient norms and metric, and what guards have said.

    ``loss`` and ``norm`` are those of the step that has just ended, ``norm`` before clipping; None where there was no
    step. ``warnings`` is shared with whoever made the guards.
    """

    def __init__(
        self,
        data: CertifiedDataset,
        system: System | None = None,
        *,
        monitor: str | None = None,
        baseline: float | None = None,
        say: Callable[[str], None] | None = None,
        warnings: list[str] | None = None,
    ) -> None:
        self.data, self.system = data, system
        self.monitor = monitor or (system.metric if system else "val_loss")
        self.warnings: list[str] = [] if warnings is None else warnings
        self.say = say or (lambda _: None)
        self.loss: Tensor | None = None
        self.norm: Tensor | None = None
        self.first: float | None = None
        self._baseline = baseline
        self._columns: dict[str, list[float]] = {name: [] for name in _COLUMNS}
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._rate = 0.0
        self._open = False

    @property
    def baseline(self) -> float | None:
        """What predicting nothing scores, in the loss and in the metric."""
        if self._baseline is not None:
            return self._baseline
        if self.system is not None:
            return self.system.baseline
        found = self.data.baselines.get("zero")
        return None if found is None else float(found)

    @property
    def first_range(self) -> tuple[float, float] | None:
        """Where the first loss may lie, where the system says it."""
        return self.system.first_loss if self.system is not None and self._baseline is None else None

    @property
    def warmup(self) -> float:
        """The share of all steps in which the rate rises."""
        return self.system.hyperparameters.warmup if self.system is not None else _WARMUP

    def warm(self, trainer: Trainer) -> bool:
        """Whether the warm-up is over."""
        return trainer.global_step > self.warmup * float(trainer.estimated_stepping_batches)

    def settled(self, trainer: Trainer, steps: int) -> bool:
        """Whether after the warm-up 200 steps more were made, or half of all that are left, but 50."""
        planned = float(trainer.estimated_stepping_batches)
        warm = self.warmup * planned
        return steps >= warm + max(_FEWEST, min(_SETTLED, (planned - warm) / 2))

    def curves(self, trainer: Trainer) -> Curves:
        """The run so far, one value an epoch."""
        epochs = trainer.max_epochs or len(self._columns["train"])
        target = self.system.target if self.system is not None else None
        return Curves(
            train=tuple(self._columns["train"]),
            val=tuple(self._columns["val"]),
            learning_rate=tuple(self._columns["learning_rate"]),
            clip_factor=tuple(self._columns["clip_factor"]),
            warmup=math.ceil(self.warmup * max(epochs, 0)),
            baseline=self.baseline,
            target=target.below if target else None,
            first=self.first,
            first_range=self.first_range,
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a row."""
        self._losses, self._norms, self._rate, self._open = [], [], 0.0, True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The rate of the step, and no loss of it yet."""
        self.loss = self.norm = None
        if trainer.optimizers:
            self._rate = max(self._rate, float(trainer.optimizers[0].param_groups[0]["lr"]))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """The norm before clipping, unless the module takes it anyway."""
        if not hasattr(pl_module, "norm_before_clipping"):
            gradients = [each.grad for each in pl_module.parameters() if each.grad is not None]
            self.norm = torch.nn.utils.get_total_norm(gradients).detach()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep loss and norm, on the device where they are."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            self.loss = loss.detach() * trainer.accumulate_grad_batches
            self._losses.append(self.loss)
            if self.first is None and trainer.global_step <= 1:
                self.first = float(self.loss)
        own: Tensor | None = getattr(pl_module, "norm_before_clipping", None)
        self.norm = own if own is not None else self.norm
        if self.norm is not None:
            self._norms.append(self.norm)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The row is whole after the validation that ends the epoch."""
        if not trainer.sanity_checking and self._open and trainer.is_last_batch:
            self._close(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch without validation has a row too."""
        self._close(trainer)

    def _close(self, trainer: Trainer) -> None:
        if not self._open or not self._losses:
            return
        self._open = False
        clip = trainer.gradient_clip_val
        metric = trainer.callback_metrics.get(self.monitor)
        row = {
            "train": float(torch.stack(self._losses).mean()),
            "val": math.nan if metric is None else float(metric),
            "learning_rate": self._rate,
            "clip_factor": float(torch.stack(self._norms).median()) / clip if clip and self._norms else math.nan,
        }
        for name, value in row.items():
            self._columns[name].append(value)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for the checkpoint."""
        columns = {name: list(values) for name, values in self._columns.items()}
        return {"columns": columns, "first": self.first, "warnings": list(self.warnings)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self._columns = {name: list(state_dict["columns"][name]) for name in _COLUMNS}
        self.first = state_dict["first"]
        self.warnings[:] = state_dict["warnings"]
