"""What to do next, at the end of a run: the decision table over all its epochs."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer

from prep.training.advice import advise
from prep.training.guards.guard import Guard


class LearningRate(Guard):
    """Says what the table says first: go on, done, or another learning rate and which; it never warns nor stops."""

    name = "learning_rate"

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One line, once there is something to judge."""
        if not self.watch.settled(trainer, trainer.global_step):
            return
        for found in advise(self.watch.curves(trainer))[:1]:
            self.watch.say(f"advice: {found}")
