"""How a guard speaks: a warning is one line that is kept, a stop one `UnfinishedError` with all there is to say."""

from __future__ import annotations

from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from prep.errors import UnfinishedError, Where
from prep.training.advice import COURSE, advise
from prep.training.guards.watch import Watch
from prep.training.learning_curves import Curves
from prep.training.next_step import Advice, Rule


class Guard(Callback):
    """Watches one thing. ``name`` is its name in `GUARDS`, and the key of the errors it raises."""

    name: ClassVar[str]

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @classmethod
    def applies(cls, watch: Watch) -> bool:
        """Whether what it needs is there."""
        return True

    def warn(self, about: str, text: str) -> str | None:
        """Keep one warning about a thing; the line to say, None where it was said before."""
        return self.watch.kept(self.name, about, text)

    def refusal(
        self,
        what: str,
        *,
        measured: str,
        allowed: str,
        remedy: str,
        split: str = "train",
        field: str = "",
        samples: tuple[int, ...] = (),
    ) -> UnfinishedError:
        """What stops the run."""
        where = Where(dataset=self.watch.data.id, field=field, split=split, samples=samples, key=self.name)
        return UnfinishedError(what, where=where, measured=measured, allowed=allowed, remedy=remedy)


class RuleGuard(Guard):
    """Asks rules of the decision table after every epoch: ``warn`` warns, ``stop`` stops once the epoch is kept."""

    rules: ClassVar[tuple[Rule, ...]]
    split: ClassVar[str] = "train"
    allowed: ClassVar[str]

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._judged = -1
        self._lines: list[str] = []
        self._stop: Advice | None = None

    def judge(self, curves: Curves) -> Advice | None:
        """What its rules say, unless a rule of another guard explains the same better."""
        said = advise(curves, tuple(dict.fromkeys((*COURSE, *self.rules))))
        return next((found for rule in self.rules if (found := rule(curves)) in said), None)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge before the epoch is written to a checkpoint, so that a resumed run knows what was said."""
        if fitting(trainer) and trainer.is_last_batch:
            self._ask(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Speak when the epoch has been told."""
        self._ask(trainer)
        while self._lines:
            self.watch.say(self._lines.pop(0))
        if self._stop is not None:
            raise self.refusal(
                self._stop.cause,
                split=self.split,
                measured=self._stop.evidence,
                allowed=self.allowed,
                remedy=self._stop.next_step,
            )

    def _ask(self, trainer: Trainer) -> None:
        if self._judged == trainer.current_epoch:
            return
        self._judged = trainer.current_epoch
        found = self.judge(self.watch.curves(trainer))
        if found is None or found.level in ("good", "note"):
            return
        if found.level == "stop":
            self._stop = found
        elif line := self.warn(found.cause, f"{found.evidence} (epoch {trainer.current_epoch + 1}); {found.next_step}"):
            self._lines.append(line)


def fitting(trainer: Trainer) -> bool:
    """Whether a validation belongs to training, and is no trial before it."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def mapping(batch: Any, names: tuple[str, ...]) -> bool:
    """Whether a batch is one of fields by name and has all of these."""
    return isinstance(batch, dict) and all(name in batch for name in names)
