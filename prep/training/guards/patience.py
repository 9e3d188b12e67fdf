"""Early stopping: an end, not an error, where the validation metric has not improved for so many epochs."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from prep.training.guards.watch import Watch


class Patience(EarlyStopping):
    """Lightning's `EarlyStopping` on the metric of the run, judged before the epoch is kept: a run that is resumed
    after it ended stays ended.
    """

    def __init__(self, watch: Watch, epochs: int) -> None:
        super().__init__(watch.monitor, patience=epochs, mode="min", check_on_train_epoch_end=False, check_finite=False)
        self.watch = watch
        self._said = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restored with its count at the end."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say why it ends."""
        if self.wait_count >= self.patience and not self._said:
            self._said = True
            self.watch.say(
                f"stopped early: val {self.monitor} has not improved for {self.wait_count} epochs; lowest "
                f"{float(self.best_score):.4g}"
            )
