"""The first loss, gradient or parameter that is not finite, and the samples of the batch that it came from."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from prep.training.guards.guard import Guard, fitting
from prep.training.guards.rows import identities, rows_of
from prep.training.guards.watch import Watch

_EVERY = 16  # steps between two looks on an accelerator, each of which waits for it


class Finite(Guard):
    """Stops at the first step whose loss or gradient is NaN or infinite, and after an epoch that left such a parameter
    or a validation with such a score.

    On an accelerator steps are looked at sixteen at a time; the first one that failed is named all the same.
    """

    name = "finite"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._steps: list[tuple[int, int, Tensor, Tensor]] = []

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Where looking costs nothing, before the step is made."""
        if loss.device.type == "cpu" and not bool(torch.isfinite(loss.detach())):
            index = trainer.fit_loop.epoch_loop.batch_idx
            raise self._refusal("the training loss", loss.detach(), trainer, pl_module, index, trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the step, and look at those that were made."""
        loss, norm = self.watch.loss, self.watch.norm
        if loss is None:
            return
        # A gradient scaler leaves out steps whose gradient is infinite: that is how it finds its scale.
        if norm is None or getattr(trainer.precision_plugin, "scaler", None) is not None:
            norm = loss
        self._steps.append((batch_idx, trainer.global_step - 1, loss, norm))
        if loss.device.type == "cpu" or len(self._steps) >= _EVERY:
            self._look(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A score that is no number is never beaten, and judges nothing."""
        score = trainer.callback_metrics.get(self.watch.monitor)
        if not fitting(trainer) or score is None or math.isfinite(float(score)):
            return
        self.on_train_epoch_end(trainer, pl_module)
        raise self.refusal(
            f"the validation score {self.watch.monitor} is not finite",
            split="val",
            measured=f"{float(score)} in epoch {trainer.current_epoch + 1}",
            allowed="a finite value: the certified data, the training loss and the parameters are",
            remedy="look for a division or a logarithm of 0 in the metric, and at the predictions on val",
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is left unseen, and every parameter is finite."""
        self._look(trainer, pl_module)
        if name := _broken(pl_module):
            index = trainer.fit_loop.epoch_loop.batch_idx
            found = dict(pl_module.named_parameters())[name].detach().flatten()
            value = found[~torch.isfinite(found)][0]
            raise self._refusal(f"parameter {name}", value, trainer, pl_module, index, trainer.global_step - 1)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps, self._steps = self._steps, []
        if not steps:
            return
        losses, norms = (torch.stack([step[place] for step in steps]).detach() for place in (2, 3))  # type: ignore[misc]
        wrong = ~(torch.isfinite(losses) & torch.isfinite(norms))
        if not bool(wrong.any()):
            return
        first = int(wrong.nonzero()[0])
        index, step, loss, norm = steps[first]
        lossy = not bool(torch.isfinite(loss))
        what = "the training loss" if lossy else "the gradient"
        raise self._refusal(what, loss if lossy else norm, trainer, pl_module, index, step)

    def _refusal(
        self, what: str, value: Tensor, trainer: Trainer, module: LightningModule, index: int, step: int
    ) -> Exception:
        rows = rows_of(trainer.train_dataloader, index)
        measured = f"{float(value)} in epoch {trainer.current_epoch + 1}, step {step + 1}"
        if rows is not None and (named := identities(self.watch.data, rows)):
            measured += f"; the batch holds {named}" + (" and more" if len(rows) > 8 else "")
        return self.refusal(
            f"{what} is not finite",
            samples=() if rows is None else tuple(rows.tolist()),
            measured=measured,
            allowed="a finite value: the certified data are",
            remedy="lower the learning rate, and look for a division or a logarithm of 0 in the loss; the checkpoint "
            "of the last epoch is kept",
        )


def _broken(module: LightningModule) -> str:
    """The first parameter with a value that is not finite; all are asked at once."""
    named = [(name, each.detach()) for name, each in module.named_parameters() if each.is_floating_point()]
    if not named or bool(torch.isfinite(torch.stack([each.double().sum() for _, each in named])).all()):
        return ""
    return next((name for name, each in named if not bool(torch.isfinite(each).all())), "")
