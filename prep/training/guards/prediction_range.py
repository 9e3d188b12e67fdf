"""Predictions far outside what the target can be: somewhere a scale was lost."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from prep.training.guards.certified import value_range
from prep.training.guards.guard import Guard
from prep.training.guards.watch import Watch
from prep.training.systems import System

_WARN, _STOP = 1.0, 10.0  # widths of the certified range beyond its ends


class PredictionRange(Guard):
    """Looks at what `validation_step` returns by the names of target fields, normalised as they are stored; warns one
    width of the certified range beyond its ends and stops at ten.
    """

    name = "prediction_range"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        targets = [spec.name for spec in watch.data.spec.fields if spec.role == "target"]
        self._ranges = {name: found for name in targets if (found := value_range(watch.data, name)) is not None}
        self._seen: dict[str, list[tuple[Tensor, Tensor]]] = {}

    @classmethod
    def applies(cls, watch: Watch) -> bool:
        """Of outputs that are targets as they are stored: those of systems that say what is perfect, or anybody's."""
        stored = watch.system is None or type(watch.system).perfect is not System.perfect
        return stored and any(spec.role == "target" for spec in watch.data.spec.fields)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep lowest and highest where they are."""
        for name in self._ranges if isinstance(outputs, dict) else ():
            values = outputs.get(name)
            if isinstance(values, Tensor) and values.numel() and not values.is_complex():
                self._seen.setdefault(name, []).append((values.detach().amin(), values.detach().amax()))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the split."""
        seen, self._seen = self._seen, {}
        for name, found in seen.items():
            low, high = self._ranges[name]
            # NaN, wherever it is, is lowest and highest.
            lowest = float(torch.stack([each for each, _ in found]).amin())
            highest = float(torch.stack([each for _, each in found]).amax())
            width = high - low
            if width <= 0 or trainer.sanity_checking:
                continue
            beyond = max(low - lowest, highest - high) / width
            ends = "are not finite" if math.isnan(beyond) else "are far outside the range of the certified target"
            what = f"predictions of {name} {ends}"
            measured = f"{lowest:.4g} to {highest:.4g}"
            allowed = f"{low - _WARN * width:.4g} to {high + _WARN * width:.4g}; certified {low:.4g} to {high:.4g}"
            remedy = "see that the prediction is not scaled back before the loss, and lower the learning rate"
            if not beyond <= _STOP:
                raise self.refusal(what, field=name, split="val", measured=measured, allowed=allowed, remedy=remedy)
            if beyond > _WARN and (line := self.warn(what, f"{measured}, expected {allowed}; {remedy}")):
                self.watch.say(line)
