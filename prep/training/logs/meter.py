"""What an epoch costs and what its loss is made of: speed, memory, waiting for data, the terms of the loss."""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from prep.engine import Progress
from prep.training.data import demand_verified
from prep.training.logs.history import COMPONENT, improvement, machine, terms
from prep.training.module import TrainingModule
from prep.training.systems import System
from prep.training.systems.system import Batch, Outputs

# Seconds between two lines, each of which waits for the device's numbers, and the share of time it may take for that.
_SHOWN_EVERY, _SHARE = 0.5, 0.02
_STRIDE = 10  # steps: the terms may cost as much again as the loss


class Meter(Callback):
    """Measures the epoch that is trained and shows it as it goes, by ``progress`` (steps done, steps in all, a line).

    `columns` are for the epoch that has just been validated: the mean of each term of the loss over every tenth step,
    beginning with the first, and what of `MACHINE` there is to measure here.
    """

    def __init__(self, system: System, epochs: int, progress: Progress) -> None:
        self.system, self.epochs, self.progress = system, epochs, progress
        self._has_terms = type(system).components is not System.components
        self._process = psutil.Process()
        self._hook: Any = None
        self._kept: tuple[Outputs, Batch] | None = None
        self._step = 0
        self._sums: dict[str, Tensor] = {}
        self._counted = 0
        self._begin = self._next = self._waited = 0.0
        self._trained: float | None = None
        self._rows = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to what the model says, so that it need not be asked twice."""
        if self._has_terms:
            self._hook = pl_module.register_forward_hook(self._heard)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no more."""
        if self._hook is not None:
            self._hook.remove()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._begin, self._trained = time.monotonic(), None
        self._waited = _waited(trainer)
        self._step, self._rows = 0, 0.0
        self._sums, self._counted = {}, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Count the step, and show how far the run is."""
        self._rows += len(next(iter(batch.values()))) / self.system.pieces
        self._step += 1
        if self._kept is not None:
            self._add(*self._kept)
            self._kept = None
        now = time.monotonic()
        done, total = trainer.global_step, int(trainer.estimated_stepping_batches)
        if now >= self._next or done == total:
            self.progress(done, total, self._line(trainer, pl_module))
            shown = time.monotonic()
            self._next = shown + max(_SHOWN_EVERY, (shown - now) / _SHARE)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The training part of the epoch is over."""
        if self._trained is None:
            self._trained = time.monotonic() - self._begin

    def columns(self, trainer: Trainer) -> dict[str, float]:
        """The terms of the loss, and what the epoch cost."""
        return {
            **{f"{COMPONENT}{name}": value for name, value in self._terms().items()},
            "seconds": time.monotonic() - self._begin,
            **self._machine(trainer),
        }

    def _heard(self, module: Any, given: tuple[Batch, ...], said: Outputs) -> None:
        if module.training and self._step % _STRIDE == 0:
            self._kept = said, given[0]

    def _add(self, outputs: Outputs, batch: Batch) -> None:
        with torch.no_grad():
            for name, value in self.system.components(outputs, batch).items():
                self._sums[name] = self._sums[name] + value.detach() if name in self._sums else value.detach()
        self._counted += 1

    def _terms(self) -> dict[str, float]:
        return {name: float(total) / self._counted for name, total in self._sums.items()}

    def _machine(self, trainer: Trainer) -> dict[str, float]:
        seconds = max(self._trained if self._trained is not None else time.monotonic() - self._begin, 1e-9)
        found = {
            "samples_per_second": self._rows / seconds,
            "waiting": min(1.0, (_waited(trainer) - self._waited) / seconds),
            "memory_mib": self._process.memory_info().rss / 2**20,
        }
        device = trainer.strategy.root_device
        if device.type == "cuda":
            found["gpu_memory_mib"] = torch.cuda.memory_reserved(device) / 2**20
        return found

    def _line(self, trainer: Trainer, module: LightningModule) -> str:
        assert isinstance(module, TrainingModule)
        loss = module.train_loss
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        relative = self.system.baseline > 0
        return (
            f"epoch {trainer.current_epoch + 1}/{self.epochs}  loss {loss:.4g}{terms(self._terms())}  "
            f"{improvement(module.step0, loss, relative=relative)}  rate {rate:.1e}  "
            f"gradient {module.gradient_norm:.2g}  {machine(self._machine(trainer))}"
        )


def _waited(trainer: Trainer) -> float:
    """Seconds for which training has waited for batches so far."""
    loader = demand_verified(trainer.train_dataloader)
    batches: Any = getattr(loader, "batches", loader)
    return float(batches.waited)
