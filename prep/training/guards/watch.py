"""What all guards know of a run: its data and system, and its numbers so far, the same after it was resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from prep.gate import CertifiedDataset
from prep.training.learning_curves import Curves
from prep.training.systems import System

_COLUMNS = ("train", "val", "learning_rate", "clip_factor", "step")
_WARMUP, _LONGEST = 0.05, 1000  # share of all steps, and steps, of a module that is not ours
_FEWEST, _SETTLED = 50, 200  # steps


class Watch(Callback):
    """Collects an epoch's losses, gradient norms and metric, and what guards have said.

    ``loss`` and ``norm`` are those of the step that has just ended, ``norm`` before clipping; None where there was no
    step. ``warnings`` is shared with whoever made the guards. Without ``say`` lines go to Lightning's log.
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
        self.say = say or rank_zero_info
        self.loss: Tensor | None = None
        self.norm: Tensor | None = None
        self.first: float | None = None
        self._baseline = baseline
        self._columns: dict[str, list[float | None]] = {name: [] for name in _COLUMNS}
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._passes: list[Tensor] = []
        self._score: float | None = None
        self._validated = False
        self._rate = self._highest = 0.0
        self._risen = 0
        self._open = self._fresh = False

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
    def certified(self) -> bool:
        """Whether the baseline is the certificate's, and so the mean square of targets of the train split."""
        return self._baseline is None and self.system is None

    @property
    def target(self) -> str:
        """The field whose mean square that is; empty where it is said, relative, or that of several."""
        zero, targets = self.data.baselines.get("zero"), self.data.baselines.get("targets", {})
        same = [name for name, scores in targets.items() if zero is not None and math.isclose(scores["zero"], zero)]
        return same[0] if self.certified and len(same) == 1 else ""

    @property
    def first_range(self) -> tuple[float, float] | None:
        """Where the first loss may lie, where the system says it."""
        return self.system.first_loss if self.system is not None and self._baseline is None else None

    def warmup(self, trainer: Trainer) -> float:
        """The steps of the warm-up: as the system says, else a twentieth of all; beyond a thousand only while the rate
        still rises.
        """
        planned = _planned(trainer)
        if self.system is not None:
            return self.system.hyperparameters.warmup * planned
        return min(_WARMUP * planned, max(_LONGEST, self._risen))

    def warm(self, trainer: Trainer) -> bool:
        """Whether the warm-up is over."""
        return trainer.global_step > self.warmup(trainer)

    def settled(self, trainer: Trainer, steps: float) -> bool:
        """Whether after the warm-up 200 steps more were made, or half of all that are left, but 50."""
        warm = self.warmup(trainer)
        return steps >= warm + max(_FEWEST, min(_SETTLED, (_planned(trainer) - warm) / 2))

    def scores(self, trainer: Trainer) -> list[float | None]:
        """What validation scored in each epoch that ended settled; None where there was none."""
        ends = zip(self._columns["step"], self._columns["val"], strict=False)
        return [score for step, score in ends if step is not None and self.settled(trainer, step)]

    def kept(self, name: str, about: str, text: str) -> str | None:
        """Keep one warning of ``name`` about a thing; the line to say, None where it was said before."""
        begin = f"warning ({name}): {about}"
        if any(line.startswith(begin) for line in self.warnings):
            return None
        self.warnings.append(f"{begin}: {text}")
        return self.warnings[-1]

    def curves(self, trainer: Trainer) -> Curves:
        """The run so far, one value an epoch."""
        starts = (0.0, *(step or 0.0 for step in self._columns["step"]))[: len(self._columns["step"])]
        target = self.system.target if self.system is not None else None
        return Curves(
            train=tuple(self._columns["train"]),
            val=tuple(self._columns["val"]),
            learning_rate=tuple(self._columns["learning_rate"]),
            clip_factor=tuple(self._columns["clip_factor"]),
            warmup=sum(start < self.warmup(trainer) - 0.5 for start in starts),
            baseline=self.baseline,
            target=target.below if target else None,
            first=self.first,
            first_range=self.first_range,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is resumed has had its first loss."""
        self._fresh = trainer.global_step == 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a row."""
        self._losses, self._norms, self._rate, self._open = [], [], 0.0, True
        self._score, self._validated = None, False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The rate of the step, and no loss of it yet."""
        self.loss = self.norm = None
        self._passes = []
        rate = float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else 0.0
        self._rate = max(self._rate, rate)
        if rate > self._highest or self._highest == 0.0:
            self._highest, self._risen = rate, trainer.global_step

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Several times in a step of LBFGS, and as often as it likes in a module that optimises by itself."""
        if getattr(trainer.precision_plugin, "scaler", None) is None:
            self._passes.append(loss.detach())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """The norm before clipping, unless the module takes it anyway."""
        if not hasattr(pl_module, "norm_before_clipping"):
            gradients = [each.grad for each in pl_module.parameters() if each.grad is not None]
            self.norm = torch.nn.utils.get_total_norm(gradients).detach()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep loss and norm, on the device where they are."""
        loss = self._loss(pl_module, outputs.get("loss") if isinstance(outputs, dict) else outputs)
        if loss is not None:
            self.loss = loss * trainer.accumulate_grad_batches
            self._losses.append(self.loss)
            if self.first is None and self._fresh:
                self.first = float(self.loss)
        own: Tensor | None = getattr(pl_module, "norm_before_clipping", None)
        self.norm = own if own is not None else self.norm
        if self.norm is not None:
            self._norms.append(self.norm)

    def _loss(self, module: LightningModule, returned: Any) -> Tensor | None:
        """The loss of a step, before it was made."""
        alone = self._passes[0] if len(self._passes) == 1 else None
        if module.automatic_optimization and len(self._passes) > 1:
            return self._passes[0]  # LBFGS returns the last
        if isinstance(returned, Tensor):
            return returned.detach()
        if module.automatic_optimization or alone is not None:
            return alone
        line = self.kept(
            "loss",
            "guards do not see the loss of a module that optimises by itself",
            'let training_step return {"loss": loss.detach()}, the one that is compared with the baseline',
        )
        if line:
            self.say(line)
        return None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The row is whole after the validation that ends the epoch."""
        if trainer.sanity_checking or not self._open:
            return
        metric = trainer.callback_metrics.get(self.monitor)
        self._score, self._validated = None if metric is None else float(metric), True
        if trainer.is_last_batch:
            self._close(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch without validation has a row too."""
        self._close(trainer)

    def _close(self, trainer: Trainer) -> None:
        if not self._open or not self._losses:
            return
        self._open = False
        clip = trainer.gradient_clip_val
        row = {
            "train": float(torch.stack(self._losses).mean()),
            "val": self._score,
            "learning_rate": self._rate,
            "clip_factor": float(torch.stack(self._norms).median()) / clip if clip and self._norms else None,
            "step": float(trainer.global_step),
        }
        for name, value in row.items():
            self._columns[name].append(value)
        if self._score is None and (self._validated or not trainer.enable_validation):
            self._miss(trainer)

    def _miss(self, trainer: Trainer) -> None:
        """Guards that look at validation say nothing; that is said."""
        logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
        line = self.kept(
            "monitor",
            f"no validation logs {self.monitor}, so baseline and overfitting cannot judge",
            f"logged: {logged}; name what validation_step logs with default_guards(data, monitor=…)",
        )
        if line:
            self.say(line)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for the checkpoint."""
        columns = {name: list(values) for name, values in self._columns.items()}
        rate = {"highest": self._highest, "risen": self._risen}
        return {"columns": columns, "first": self.first, "warnings": list(self.warnings), "rate": rate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        self._columns = {name: list(state_dict["columns"].get(name, ())) for name in _COLUMNS}
        rate = state_dict.get("rate", {"highest": 0.0, "risen": 0})
        self._highest, self._risen = rate["highest"], rate["risen"]
        self.first = state_dict["first"]
        self.warnings[:] = state_dict["warnings"]


def _planned(trainer: Trainer) -> float:
    """All steps of the run; infinite where nobody knows how many batches an epoch has."""
    steps = float(trainer.estimated_stepping_batches)
    return steps if steps > 0 else math.inf
