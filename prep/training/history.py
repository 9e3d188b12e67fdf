"""What a run tells: for every epoch a line a person can read and a row of numbers, and the curve of the losses."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from prep.formats.commit import write_atomically
from prep.training.systems import System

Epoch = dict[str, float]


def line(epoch: Epoch, epochs: int, metric: str) -> str:
    """One epoch as text."""
    width = len(str(epochs))
    return (
        f"epoch {int(epoch['epoch']):>{width}}/{epochs}  train loss {epoch['train_loss']:.4g}  "
        f"val {metric} {epoch[metric]:.4g}  gradient {epoch['gradient_norm']:.3g} "
        f"({epoch['clip_factor']:.2g} x clip)  rate {epoch['learning_rate']:.2e}  {epoch['seconds']:.1f} s"
    )


def write_metrics(path: Path, history: Sequence[Epoch]) -> None:
    """All epochs as CSV, a column for each number."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(path, buffer.getvalue().encode())


def draw_curve(path: Path, history: Sequence[Epoch], system: System) -> None:
    """Loss and validation metric per epoch, on a logarithmic axis if all are positive, beside what predicting zero
    scores and the target.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [epoch["epoch"] for epoch in history]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    marker = "o" if len(history) < 2 else None
    axes.plot(epochs, [epoch["train_loss"] for epoch in history], label="train loss", marker=marker)
    axes.plot(epochs, [epoch[system.metric] for epoch in history], label=f"val {system.metric}", marker=marker)
    axes.axhline(system.baseline, color="grey", linestyle=":", label="predicting zero")
    if system.target is not None:
        axes.axhline(system.target.below, color="green", linestyle="--", label=f"target {system.target.below:g}")
    positive = all(min(epoch["train_loss"], epoch[system.metric]) > 0 for epoch in history)
    axes.set_yscale("log" if positive else "linear")
    axes.set_xlabel("epoch")
    axes.set_ylabel(system.metric)
    axes.set_title(f"{system.data.id} {system.data.version}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
