"""After the warm-up, frozen weights are better on val than predicting nothing; else nothing was learned."""

from __future__ import annotations

from collections.abc import Iterable

from lightning.pytorch import LightningModule, Trainer

from prep.blocks import Array
from prep.loaders.batches import Batches
from prep.training.data import Pieces
from prep.training.guards.guard import Guard
from prep.training.guards.watch import Watch
from prep.training.systems import System
from prep.training.systems.system import Batch


class Baseline(Guard):
    """Judges once: 200 steps after the warm-up, or half of all that are left, but 50; at the end of that epoch, and so
    at the same one in a run that was resumed.
    """

    name = "baseline"

    @classmethod
    def applies(cls, watch: Watch) -> bool:
        """Where something says what predicting nothing scores."""
        return watch.system is not None or watch.baseline is not None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The epoch is kept by now."""
        score = trainer.callback_metrics.get(self.watch.monitor)
        steps = trainer.global_step
        before = steps - int(trainer.num_training_batches) // trainer.accumulate_grad_batches
        if score is None or not self.watch.settled(trainer, steps) or self.watch.settled(trainer, before):
            return
        nothing = self._nothing(trainer)
        if not float(score) < nothing:
            raise self.refusal(
                "the model has learned nothing: after the warm-up it is no better than predicting zero",
                split="val",
                measured=f"{self.watch.monitor} {float(score):.6g}",
                allowed=f"below {nothing:.6g}, what predicting zero scores on the same rows",
                remedy="see that inputs and targets of a batch belong together and what the probes say of "
                "them (`prep validate PATH --json -`, baselines); where they find a signal, lower the learning rate",
            )

    def _nothing(self, trainer: Trainer) -> float:
        system, loader = self.watch.system, trainer.val_dataloaders
        if system is not None and isinstance(loader, Batches | Pieces):
            return score_of_nothing(system, loader)
        return float(self.watch.baseline or 0.0)


def score_of_nothing(system: System, batches: Iterable[Batch]) -> float:
    """The metric of predicting zero on ``batches``; the system's baseline where zero is not a prediction of it."""
    sums: dict[str, Array] = {}
    for batch in batches:
        zero = system.nothing(batch)
        if zero is None:
            return system.baseline
        for name, value in system.sums(zero, batch).items():
            sums[name] = sums[name] + value if name in sums else value
    return system.metrics(sums)[system.metric]
