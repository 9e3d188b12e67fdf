"""One training run: admitted data in, checkpoints, log, metrics, curve and result out; resumed to the same numbers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from prep.engine import Progress, silent
from prep.errors import IntegrityError, InterruptedRunError, PrepError, UnfinishedError, UsageError, Where
from prep.formats.commit import storage_errors, write_atomically
from prep.formats.files import is_remote
from prep.gate import CertifiedDataset
from prep.loaders.options import whole_number
from prep.training import checkpoint as checkpoints
from prep.training.data import CertifiedDataModule, Pieces, demand_certified, demand_verified
from prep.training.faults import FAULTS
from prep.training.guards import default_guards
from prep.training.guards.baseline import score_of_nothing
from prep.training.logs.history import Epoch
from prep.training.logs.journal import Journal
from prep.training.logs.meter import Meter
from prep.training.logs.record import said_by, write_record
from prep.training.logs.samples import samples
from prep.training.logs.summary import write_summary
from prep.training.module import TrainingModule
from prep.training.result import RunResult
from prep.training.surroundings import (
    Say,
    accelerator_of,
    compiling,
    interruptible,
    limited_threads,
    make_way,
    quiet,
    resumable,
)
from prep.training.systems import SYSTEMS, System


def fit(
    data: CertifiedDataset,
    *,
    run_dir: Path,
    system: str | None = None,
    epochs: int | None = None,
    device: str = "auto",
    resume: bool = False,
    seed: int = 0,
    learning_rate: float | None = None,
    schedule: str | None = None,
    precision: str | None = None,
    compiled: bool | None = None,
    patience: int | None = None,
    without: Iterable[str] = (),
    say: Say = lambda _: None,
    progress: Progress = silent,
) -> RunResult:
    """Verify every stored byte, train ``system`` (default: the dataset's name, else ``tabular``), say how it ended.

    Files of an older run in ``run_dir`` are moved to ``run_dir.N`` unless ``resume``, which goes on from ``last.ckpt``
    and ends at the numbers of a run that was never stopped. ``say`` gets the lines of the log, ``progress``
    (steps done, steps in all, how it goes). ``learning_rate``, ``schedule``, ``precision`` (32-true, bf16-mixed) and
    ``compiled`` (torch.compile) replace the system's; with ``patience`` the run ends when the validation metric has not
    improved for so many epochs; ``without`` names guards to leave out.
    Raises `CertificateError` for anything but certified data, `UsageError`, `StorageError`, `UnfinishedError` where a
    guard stops the run.
    """
    begin = time.monotonic()
    epochs = None if epochs is None else whole_number("epochs", epochs, 1)
    patience = None if patience is None else whole_number("patience", patience, 1)
    data = demand_certified(data)
    name = system or (data.id if data.id in SYSTEMS else "tabular")
    family, _, fault = name.partition("+")
    trained: System = SYSTEMS.load(family)(data)
    if fault:
        trained = FAULTS.load(fault)(trained)
    accelerator = accelerator_of(device)
    last = run_dir / "last.ckpt"
    begun: dict[str, Any] = checkpoints.read_checkpoint(last)[checkpoints.KEY] if resume else {}
    if resume:
        begun["run"] = {
            "schedule": "cosine",
            "precision": "32-true",
            "compiled": False,
            **begun["run"],
        }  # of older runs
    settings = trained.hyperparameters.replaced(
        begun.get("run", {}), rate=learning_rate, schedule=schedule, precision=precision, compiled=compiled
    )
    setattr(trained, "hyperparameters", settings)  # noqa: B010 -- of this run, not of its class
    run = _Run(data, name, trained, run_dir, seed, say, progress)
    run.guards = default_guards(
        data, system=trained, without=without, patience=patience, say=run.journal.say, warnings=run.warnings
    )
    data.verify(progress=progress)  # before the first step, not hours later when the test split is read
    trained.examine()
    if resume:
        checkpoints.demand_same(last, begun, run.record(0))
        run.take(begun)
    else:
        make_way(run_dir, say)
    planned = epochs or begun.get("epochs") or trained.hyperparameters.epochs
    if planned < len(run.history):
        raise UsageError(
            "the run already has more epochs",
            where=Where(path=str(last)),
            measured=f"--epochs {planned}",
            allowed=f"{len(run.history)} or more",
            remedy="raise --epochs, or train anew without --resume",
        )
    return run.execute(planned, accelerator, last if resume else None, begin)


class _Run(Callback):
    """The files of a run, kept up to date epoch by epoch."""

    def __init__(
        self, data: CertifiedDataset, name: str, system: System, folder: Path, seed: int, say: Say, progress: Progress
    ) -> None:
        self.data, self.name, self.system, self.folder, self.seed = data, name, system, folder, seed
        self.progress = progress
        self.journal = Journal(folder, system, say)
        self.guards: list[Callback] = []
        self.warnings: list[str] = []
        self.history: list[Epoch] = []
        self.step0 = math.nan
        self.nothing: float | None = None
        self.epochs = 0

    def record(self, epochs: int) -> dict[str, Any]:
        """What every checkpoint of the run says of it."""
        run = {"seed": self.seed, **self.system.hyperparameters.to_dict()}
        found = checkpoints.record(self.data, self.name, run)
        return {
            **found,
            "epochs": epochs,
            "history": list(self.history),
            "step0": self.step0,
            "warnings": list(self.warnings),
        }

    def take(self, begun: dict[str, Any]) -> None:
        """Go on where a checkpoint's record ends."""
        self.history, self.step0 = list(begun["history"]), begun["step0"]
        self.warnings[:] = begun.get("warnings", ())

    @property
    def best(self) -> Epoch:
        """The epoch with the best validation metric, the first of equals."""
        return min(self.history, key=lambda epoch: epoch[self.system.metric])

    def execute(self, epochs: int, accelerator: tuple[str, Any], last: Path | None, begin: float) -> RunResult:
        """Train to ``epochs``, then measure the best weights on the train and the test split."""
        self.epochs = epochs
        before = sum(epoch["seconds"] for epoch in self.history)
        settings = replace(self.system.hyperparameters, epochs=epochs)
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with quiet(), limited_threads(settings.threads), closing(self.journal):
            module = TrainingModule(self.system, settings, self.seed)
            module.step0 = self.step0
            batches = CertifiedDataModule(self.data, self.system, batch_size=settings.batch_size, seed=self.seed)
            self.meter = Meter(self.system, epochs, self.progress)
            trainer = self._trainer(epochs, accelerator)
            placed = str(trainer.strategy.root_device)
            self.journal.say(f"{self.name} on {self.data.id} {self.data.version}, root {self.data.root}")
            self.journal.say(f"certificate {self.data.certificate_digest}, device {placed}, seed {self.seed}")
            self._keep_record(placed)
            self.journal.begin(self.history)
            with interruptible(trainer, lambda: self._stopped(last)), compiling(), resumable(self.folder):
                trainer.fit(module, batches, ckpt_path=last, weights_only=True)
            best = checkpoints.read_checkpoint(self.folder / "best.ckpt", trainer.strategy.root_device)
            self._demand_own(best[checkpoints.KEY])
            module.load_state_dict(best["state_dict"])
            with interruptible(trainer, lambda: self._stopped(last)):
                trainer.test(module, Pieces(batches.seen, self.system), verbose=False)
                train = module.measured
                trainer.test(module, batches, verbose=False)
            references = self.system.references(batches.test)
        return self._finish(
            module.eval(),
            train=train,
            test=module.measured,
            references=references,
            device=placed,
            seconds=before + time.monotonic() - begin,
        )

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Weights never lie about without the data they come from."""
        checkpoint[checkpoints.KEY] = self.record(self.epochs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation has run: record the epoch, then keep it."""
        assert isinstance(pl_module, TrainingModule)
        self.step0 = pl_module.step0
        metric = self.system.metric
        norm = pl_module.gradient_norm
        cost = self.meter.columns(trainer)
        epoch = {
            "epoch": float(trainer.current_epoch + 1),
            "train_loss": pl_module.train_loss,
            metric: pl_module.measured[metric],
            "gradient_norm": norm,
            "clip_factor": norm / pl_module.settings.clip,
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            **cost,
        }
        epoch |= {f"val_{name}": value for name, value in pl_module.measured.items() if name != metric}
        self.history.append(epoch)
        # The checkpoint first: whoever has read the epoch's line can go on from it.
        last = self.folder / "last.ckpt"
        if self.best is epoch:
            trainer.save_checkpoint(self.folder / "best.ckpt")
            checkpoints.same(self.folder / "best.ckpt", last)
        else:
            trainer.save_checkpoint(last)
        self.journal.epoch(self.history, self.epochs, self.step0)
        if self.nothing is None:
            self.nothing = score_of_nothing(self.system, demand_verified(trainer.val_dataloaders))
            self._keep_record(str(trainer.strategy.root_device))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The curve so far, however the run ends, and in the log and the record why."""
        if isinstance(exception, UnfinishedError) and exception.where.key:
            self._keep_record(str(trainer.strategy.root_device), stopped=said_by(exception))
        self.journal.note(str(exception) if isinstance(exception, PrepError) else "stopped")
        self.journal.draw(self.history)
        self.journal.close()

    def _trainer(self, epochs: int, accelerator: tuple[str, Any]) -> Trainer:
        return Trainer(
            accelerator=accelerator[0],
            devices=accelerator[1],
            max_epochs=epochs,
            callbacks=[self.meter, self, *self.guards],
            plugins=[checkpoints.AtomicCheckpoints()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=self.folder,
            gradient_clip_val=self.system.hyperparameters.clip,
            precision=self.system.hyperparameters.precision,
        )

    def _finish(self, module: LightningModule, *, test: Mapping[str, float], **measured: Any) -> RunResult:
        target, metric = self.system.target, self.system.metric
        result = RunResult(
            dataset=self.data.id,
            system=self.name,
            run_dir=str(self.folder),
            certificate=self.data.certificate_digest,
            root=self.data.root,
            epochs=len(self.history),
            best_epoch=int(self.best["epoch"]),
            step0=self.step0,
            baseline=self.system.baseline,
            metric=metric,
            test=test,
            target=target.below if target else None,
            reached=test[metric] < target.below if target else None,
            warnings=tuple(self.warnings),
            **measured,
        )
        for text in result.summary_lines():
            self.journal.say(text)
        # A run that was killed between its last checkpoint and these files is whole again when it is resumed.
        self.journal.finish(self.history)
        write_atomically(self.folder / "result.json", json.dumps(result.to_dict(), indent=2).encode() + b"\n")
        found = samples(self.system, module, next(module.parameters()).device)
        write_summary(self.folder, result, self._judged_by(result.device), self.history, found)
        return result

    def _keep_record(self, device: str, **more: Any) -> None:
        path = self.data.path if is_remote(self.data.path) else str(Path(self.data.path).absolute())
        write_record(self.folder, {**self._judged_by(device), "path": path, **more})

    def _judged_by(self, device: str) -> dict[str, Any]:
        """What `prep diagnose` has to know of a run, also of one that does not end."""
        settings, target = self.system.hyperparameters, self.system.target
        return {
            "dataset": self.data.id,
            "dataset_version": self.data.version,
            "path": str(self.data.path),
            "root": self.data.root,
            "certificate": self.data.certificate_digest,
            "trust": str(self.data.standing),
            "splits": {name: self.data.row_count(name) for name in self.data.spec.splits},
            "system": self.name,
            "device": device,
            "seed": self.seed,
            "epochs": self.epochs,
            "batch_size": settings.batch_size,
            "learning_rate": settings.learning_rate,
            "warmup": settings.warmup,
            "clip": settings.clip,
            "metric": self.system.metric,
            "baseline": self.system.baseline,
            "nothing": self.nothing,
            "step0": self.step0 if math.isfinite(self.step0) else None,
            "first_loss": list(self.system.first_loss),
            "target": target.below if target else None,
            "probes": self.data.baselines.get("probes", []),
            "floors": self.data.baselines.get("floors", {}),
        }

    def _demand_own(self, found: dict[str, Any]) -> None:
        """The best weights are of this run: its checkpoint tells the beginning of the same history."""
        if found["history"] != self.history[: int(self.best["epoch"])] or found["root"] != self.data.root:
            raise IntegrityError(
                "the best checkpoint is not of this run",
                where=Where(path=str(self.folder / "best.ckpt"), dataset=self.data.id),
                measured=f"{len(found['history'])} epochs of another history",
                allowed=f"the first {int(self.best['epoch'])} epochs of this run",
                remedy="restore it, or train anew without --resume",
            )

    def _stopped(self, last: Path | None) -> InterruptedRunError:
        kept = last is not None or (self.folder / "last.ckpt").exists()
        return InterruptedRunError(
            f"the run was stopped after {len(self.history)} of {self.epochs} epochs",
            where=Where(path=str(self.folder)),
            remedy="run the same command with --resume" if kept else "run the same command again",
        )
