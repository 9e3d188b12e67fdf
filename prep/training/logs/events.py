"""TensorBoard's event file of a run: every number of every epoch, where TensorBoard is installed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prep.formats.commit import storage_errors
from prep.training.logs.history import COMPONENT, MACHINE, Epoch

_PREFIX = "events.out.tfevents."
_NEEDED = "tensorboard is not installed, so this run has no event files (pip install 'prep-certified[train]')"


class Events:
    """One event file that holds the epochs of ``history`` and those to come; earlier ones of the same run make way.

    ``metric`` is the
    one that was validated. ``missing`` says why there is no file, where TensorBoard is not installed.
    """

    def __init__(self, folder: Path, metric: str, history: Sequence[Epoch]) -> None:
        self.missing = ""
        self._metric = metric
        self._writer: Any = None
        self._folder = folder
        try:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            self.missing = _NEEDED
            return
        with storage_errors(folder):
            for older in folder.glob(f"{_PREFIX}*"):
                with suppress(FileNotFoundError):
                    older.unlink()
            self._writer = EventFileWriter(str(folder))
        for epoch in history:
            self._add(epoch)
        self._flush()

    def add(self, epoch: Epoch) -> None:
        """Write down one more epoch."""
        self._add(epoch)
        self._flush()

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            with storage_errors(self._folder):
                self._writer.close()
            self._writer = None

    def _add(self, epoch: Epoch) -> None:
        if self._writer is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=_tag(name, self._metric), simple_value=value)
            for name, value in epoch.items()
            if name != "epoch"
        ]
        event = Event(wall_time=time.time(), step=int(epoch["epoch"]), summary=Summary(value=values))
        with storage_errors(self._folder):
            self._writer.add_event(event)

    def _flush(self) -> None:
        if self._writer is not None:
            with storage_errors(self._folder):
                self._writer.flush()


def _tag(name: str, metric: str) -> str:
    """What belongs together has one prefix, by which TensorBoard groups its plots."""
    if name in (metric, "train_loss"):
        return f"val/{name}" if name == metric else "train/loss"
    for prefix, group in (("val_", "val/"), (COMPONENT, "train/loss_")):
        if name.startswith(prefix):
            return group + name.removeprefix(prefix)
    return f"machine/{name}" if name in MACHINE else f"train/{name}"
