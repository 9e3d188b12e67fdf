"""Early stopping: an end, not an error, where the validation metric has not improved for so many epochs."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from prep.errors import UsageError
from prep.training.guards.guard import fitting
from prep.training.guards.watch import Watch


class Patience(EarlyStopping):
    """Lightning's `EarlyStopping` on the metric of the run, judged before the epoch is kept: a run that is resumed
    after it ended stays ended.
    """

    def __init__(self, watch: Watch, epochs: int) -> None:
        settings = {"check_on_train_epoch_end": False, "check_finite": False, "strict": False}
        super().__init__(watch.monitor, patience=epochs, mode="min", **settings)
        self.watch = watch
        self._said = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restored with its count at the end."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for a metric that is there."""
        if fitting(trainer) and self.monitor not in trainer.callback_metrics:
            raise UsageError(
                "there is no such metric to wait for",
                measured=f"{self.monitor}; the module logs {', '.join(sorted(trainer.callback_metrics)) or 'nothing'}",
                allowed="a metric that validation_step logs",
                remedy="name it with default_guards(data, monitor=…), or leave patience out",
            )
        super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say why it ends."""
        if self.wait_count >= self.patience and not self._said:
            self._said = True
            self.watch.say(
                f"stopped early: val {self.monitor} has not improved for {self.wait_count} epochs; lowest "
                f"{float(self.best_score):.4g}"
            )
