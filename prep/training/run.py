"""One training run: admitted data in, checkpoints, log, metrics, curve and result out; resumed to the same numbers."""

from __future__ import annotations

import json
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from prep.engine import Progress, silent
from prep.errors import IntegrityError, InterruptedRunError, StorageError, UsageError, Where
from prep.formats.commit import storage_errors, write_atomically
from prep.gate import CertifiedDataset
from prep.training import checkpoint as checkpoints
from prep.training import history as records
from prep.training.data import CertifiedDataModule, Pieces, demand_certified, demand_verified
from prep.training.faults import FAULTS
from prep.training.module import TrainingModule
from prep.training.proof import prove_learning, score_of_nothing, settled
from prep.training.result import RunResult
from prep.training.systems import SYSTEMS, System

Say = Callable[[str], None]
_REDRAW = 10.0  # seconds between two pictures of the curve: drawing takes as long as a short epoch


def fit(
    data: CertifiedDataset,
    *,
    run_dir: Path,
    system: str | None = None,
    epochs: int | None = None,
    device: str = "auto",
    resume: bool = False,
    seed: int = 0,
    say: Say = lambda _: None,
    progress: Progress = silent,
) -> RunResult:
    """Verify every stored byte, train ``system`` (default: the dataset's name, else ``tabular``), say how it ended.

    Files of an older run in ``run_dir`` are moved to ``run_dir.N`` unless ``resume``, which goes on from ``last.ckpt``
    and ends at the numbers of a run that was never stopped. ``say`` gets a line per epoch, ``progress`` (steps done,
    steps in all). Raises `CertificateError` for anything but certified data, `UsageError`, `StorageError`,
    `UnfinishedError` where the loss stops being finite.
    """
    begin = time.monotonic()
    data = demand_certified(data)
    name = system or (data.id if data.id in SYSTEMS else "tabular")
    family, _, fault = name.partition("+")
    trained: System = SYSTEMS.load(family)(data)
    if fault:
        trained = FAULTS.load(fault)(trained)
    accelerator = _accelerator(device)
    data.verify(progress=progress)  # before the first step, not hours later when the test split is read
    trained.examine()
    run = _Run(data, name, trained, run_dir, seed, say, progress)
    last = run_dir / "last.ckpt"
    begun: dict[str, Any] = {}
    if resume:
        begun = checkpoints.read_checkpoint(last)[checkpoints.KEY]
        checkpoints.demand_same(last, begun, run.record(0))
        run.take(begun)
    else:
        _make_way(run_dir, say)
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
        self.say, self.progress = say, progress
        self.history: list[records.Epoch] = []
        self.step0 = math.nan
        self.epochs = 0
        self._begin = 0.0
        self._drawn = -math.inf

    def record(self, epochs: int) -> dict[str, Any]:
        """What every checkpoint of the run says of it."""
        settings = self.system.hyperparameters
        run = {"seed": self.seed, "batch_size": settings.batch_size, "learning_rate": settings.learning_rate}
        found = checkpoints.record(self.data, self.name, run)
        return {**found, "epochs": epochs, "history": list(self.history), "step0": self.step0}

    def take(self, begun: dict[str, Any]) -> None:
        """Go on where a checkpoint's record ends."""
        self.history, self.step0 = list(begun["history"]), begun["step0"]

    @property
    def best(self) -> records.Epoch:
        """The epoch with the best validation metric, the first of equals."""
        return min(self.history, key=lambda epoch: epoch[self.system.metric])

    def execute(self, epochs: int, accelerator: tuple[str, Any], last: Path | None, begin: float) -> RunResult:
        """Train to ``epochs``, then measure the best weights on the train and the test split."""
        self.epochs = epochs
        before = sum(epoch["seconds"] for epoch in self.history)
        settings = replace(self.system.hyperparameters, epochs=epochs)
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with _quiet(), limited_threads(settings.threads):
            module = TrainingModule(self.system, settings, self.seed)
            module.step0 = self.step0
            batches = CertifiedDataModule(self.data, self.system, batch_size=settings.batch_size, seed=self.seed)
            trainer = self._trainer(epochs, accelerator)
            placed = str(trainer.strategy.root_device)
            self._log(f"{self.name} on {self.data.id} {self.data.version}, root {self.data.root}")
            self._log(f"certificate {self.data.certificate_digest}, device {placed}, seed {self.seed}")
            with _interruptible(trainer, lambda: self._stopped(last)):
                trainer.fit(module, batches, ckpt_path=last, weights_only=True)
            best = checkpoints.read_checkpoint(self.folder / "best.ckpt", trainer.strategy.root_device)
            self._demand_own(best[checkpoints.KEY])
            module.load_state_dict(best["state_dict"])
            with _interruptible(trainer, lambda: self._stopped(last)):
                trainer.test(module, Pieces(batches.seen, self.system), verbose=False)
                train = module.measured
                trainer.test(module, batches, verbose=False)
            references = self.system.references(batches.test)
        return self._finish(
            train=train,
            test=module.measured,
            references=references,
            device=placed,
            seconds=before + time.monotonic() - begin,
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count seconds."""
        self._begin = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Show how far the run is."""
        self.progress(trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Weights never lie about without the data they come from."""
        checkpoint[checkpoints.KEY] = self.record(self.epochs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation has run: record the epoch, then keep it."""
        assert isinstance(pl_module, TrainingModule)
        self.step0 = pl_module.step0
        metric = self.system.metric
        norm = pl_module.gradient_norm
        epoch = {
            "epoch": float(trainer.current_epoch + 1),
            "train_loss": pl_module.train_loss,
            metric: pl_module.measured[metric],
            "gradient_norm": norm,
            "clip_factor": norm / pl_module.settings.clip,
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": time.monotonic() - self._begin,
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
        self._log(records.line(epoch, self.epochs, metric))
        records.write_metrics(self.folder / "metrics.csv", self.history)
        if time.monotonic() - self._drawn > _REDRAW:
            self._draw()
        # Once, at the same epoch in a resumed run as in one that was never stopped.
        steps, planned = trainer.global_step, int(trainer.estimated_stepping_batches)
        before = steps - int(trainer.num_training_batches)
        if settled(self.system, steps, planned) and not settled(self.system, before, planned):
            nothing = score_of_nothing(self.system, demand_verified(trainer.val_dataloaders))
            prove_learning(self.system, epoch[metric], nothing)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The curve so far, however the run ends."""
        self._draw()

    def _draw(self) -> None:
        if self.history:
            records.draw_curve(self.folder / "loss.png", self.history, self.system)
        self._drawn = time.monotonic()

    def _trainer(self, epochs: int, accelerator: tuple[str, Any]) -> Trainer:
        return Trainer(
            accelerator=accelerator[0],
            devices=accelerator[1],
            max_epochs=epochs,
            callbacks=[self],
            plugins=[checkpoints.AtomicCheckpoints()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=self.folder,
            gradient_clip_val=self.system.hyperparameters.clip,
        )

    def _finish(self, *, test: Mapping[str, float], **measured: Any) -> RunResult:
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
            **measured,
        )
        for text in result.summary_lines():
            self._log(text)
        # A run that was killed between its last checkpoint and these files is whole again when it is resumed.
        records.write_metrics(self.folder / "metrics.csv", self.history)
        self._draw()
        write_atomically(self.folder / "result.json", json.dumps(result.to_dict(), indent=2).encode() + b"\n")
        return result

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

    def _log(self, text: str) -> None:
        self.say(text)
        with storage_errors(self.folder / "log.txt"), (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def _accelerator(device: str) -> tuple[str, Any]:
    kind, _, index = device.partition(":")
    if kind in ("auto", "cpu", "mps") and not index:
        return kind, "auto" if kind == "auto" else 1
    if kind == "cuda" and (not index or index.isdigit()):
        if int(index or 0) < torch.cuda.device_count():
            return "cuda", [int(index or 0)]
        raise UsageError(
            "there is no such GPU here",
            measured=device,
            allowed=f"{torch.cuda.device_count()} CUDA devices found",
            remedy="use --device auto, or a torch build with CUDA on a machine with a GPU",
        )
    raise UsageError(
        "there is no such device", measured=device, allowed="auto, cpu, mps, cuda or cuda:N", remedy="use --device auto"
    )


def _make_way(folder: Path, say: Say) -> None:
    """Move an older run aside; nothing is overwritten."""
    with storage_errors(folder):
        if not folder.is_dir():
            if folder.exists():
                raise StorageError(
                    "a file is where the run should go",
                    where=Where(path=str(folder)),
                    remedy="move it, or name another folder with --run-dir",
                )
            return
        present = {path.name for path in folder.iterdir()}
        if not present:
            return
        if not _is_run(folder, present):
            raise UsageError(
                "the folder for the run holds something else",
                where=Where(path=str(folder)),
                measured=", ".join(sorted(present)[:5]),
                allowed="nothing, or an older run",
                remedy="name another folder with --run-dir",
            )
        number = 1
        while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        folder.rename(aside)
    say(f"the run that was in {folder} is now in {aside}")


def _is_run(folder: Path, present: set[str]) -> bool:
    """Whether an older run lies there: its log begins as every log does, and nobody works in the folder."""
    if "log.txt" not in present or folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        return False
    with (folder / "log.txt").open("rb") as file:
        return b", root blake3:" in file.readline(4096)


@contextmanager
def _interruptible(trainer: Trainer, stopped: Callable[[], InterruptedRunError]) -> Iterator[None]:
    """Lightning answers Ctrl-C by leaving the process, with Ctrl-C turned off: turn both back into an error."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        if trainer.interrupted:
            raise stopped() from error
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """At most ``count`` of torch's threads for a while: idle ones spin, and cost most where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(count or before, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's own announcements off; warnings about what is meant here (no workers, no logger) too."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", category=UserWarning, message=".*lightning.*")
            yield
    finally:
        logger.setLevel(level)
