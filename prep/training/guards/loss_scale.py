"""Both sides of the loss are on one scale: it is smallest where the prediction is the target, not a multiple of it."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from prep.training.guards.guard import Guard, mapping
from prep.training.guards.watch import Watch
from prep.training.systems import System

_WITHIN, _GONE = 0.01, 1e-3


class LossScale(Guard):
    """Stops before the first step where a multiple of the target scores as the target itself has to.

    Of a squared error that is 0 for s times the target t, L(c t) = m (c - s)²; so s = 4 L(0) / (L(-t) - L(t)).
    """

    name = "loss_scale"

    @classmethod
    def applies(cls, watch: Watch) -> bool:
        """Of a system whose loss compares its outputs with a stored target."""
        return watch.system is not None and type(watch.system).perfect is not System.perfect

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Once, on the first batch of all."""
        system = self.watch.system
        if system is None or trainer.global_step or batch_idx or not mapping(batch, system.fields):
            return
        perfect = system.perfect(batch)
        if perfect is None:
            return

        def loss(scale: float) -> float:
            return float(system.loss({name: scale * value for name, value in perfect[0].items()}, batch))

        nothing, slope = loss(0.0), loss(-1.0) - loss(1.0)
        if not slope or not nothing:
            return
        scale = 4.0 * nothing / slope
        if abs(scale - 1.0) > _WITHIN and loss(scale) < _GONE * min(nothing, loss(1.0)):
            raise self.refusal(
                "the loss does not score prediction and target on one scale",
                field=", ".join(perfect[0]),
                measured=f"smallest where the prediction is {scale:.4g} times the target",
                allowed=f"smallest where they are equal, within {_WITHIN:.0%}",
                remedy="give both sides of the loss the same transform: the stored target as it is, and a prediction "
                "that is not scaled back",
            )
