"""What a run finds around it and leaves as it was: the device, the folder, threads, signals, other libraries' talk."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from prep.errors import InterruptedRunError, StorageError, UsageError, Where
from prep.formats.commit import storage_errors

Say = Callable[[str], None]


def accelerator_of(device: str) -> tuple[str, Any]:
    """Lightning's accelerator and devices for `--device`; `UsageError` for what is not here."""
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


def make_way(folder: Path, say: Say) -> None:
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
def interruptible(trainer: Trainer, stopped: Callable[[], InterruptedRunError]) -> Iterator[None]:
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
def resumable(folder: Path) -> Iterator[None]:
    """Whoever mends the disk can go on from the last checkpoint."""
    try:
        yield
    except StorageError as error:
        if (folder / "last.ckpt").exists():
            error.remedy = f"{error.remedy} with --resume"
        raise


@contextmanager
def compiling() -> Iterator[None]:
    """What keeps torch.compile from its work (no C++ compiler, no Triton) is a `UsageError`."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise UsageError(
            "the model cannot be compiled here",
            measured=" ".join(str(error).strip().splitlines()[:2]) or type(error).__name__,
            allowed="what torch.compile needs: a C++ compiler for a CPU, Triton for a GPU",
            remedy="leave --compile out, or install it",
        ) from error


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
def quiet() -> Iterator[None]:
    """Lightning's and the compiler's own announcements off; warnings about what is meant here (no workers, no logger)
    too.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "torch._dynamo", "torch._inductor")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", module="torch._inductor")
            warnings.filterwarnings("ignore", category=UserWarning, message=".*lightning.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
