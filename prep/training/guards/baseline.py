"""After the warm-up, frozen weights are better on val than predicting nothing; else nothing was learned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from lightning.pytorch import LightningModule, Trainer

from prep.blocks import Array
from prep.loaders.batches import Batches
from prep.training.advice import worse_than_baseline
from prep.training.data import Pieces
from prep.training.guards.certified import squares_of
from prep.training.guards.guard import Guard
from prep.training.guards.watch import Watch
from prep.training.learning_curves import finite
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
        *before, score = self.watch.scores(trainer) or [None]
        if score is None or finite(before):
            return
        nothing, rows = self._nothing(trainer)
        found = worse_than_baseline(replace(self.watch.curves(trainer), warmup=0, nothing=nothing))
        if found is not None:
            raise self.refusal(
                found.cause,
                split="val",
                measured=f"{self.watch.monitor} {score:.6g}",
                allowed=f"below {nothing:.6g}, what predicting nothing scores{rows}",
                remedy=found.next_step,
            )

    def _nothing(self, trainer: Trainer) -> tuple[float, str]:
        """What predicting nothing scores, and on which rows."""
        watch, loader, same = self.watch, trainer.val_dataloaders, " on the same rows"
        if watch.system is not None and isinstance(loader, Batches | Pieces):
            return score_of_nothing(watch.system, loader), same
        if watch.target and isinstance(loader, Batches):
            batches = islice(loader, int(trainer.num_val_batches[0]))
            found = [squares_of(watch.data, batch, watch.target) for batch in batches]
            if squares := [each for each in found if each is not None]:
                return sum(float(each.sum()) for each in squares) / sum(each.size for each in squares), same
        return float(watch.baseline or 0.0), " on train" if watch.certified else ""


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
