"""The picture of a run in four panels: the loss, its terms, validation beside what it is judged by, the steps."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prep.formats.commit import write_atomically
from prep.training.advice import RATIO
from prep.training.logs.history import Epoch, components
from prep.training.systems import System

# Below the axes, where no curve is; to look for a free corner takes long, and there may be none.
_BELOW: Mapping[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 2, "frameon": False}


def draw_curves(path: Path, history: Sequence[Epoch], system: System) -> None:
    """Write the picture as PNG; axes are logarithmic where all values are positive."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(11, 7), layout="constrained")
    (total, parts), (validation, steps) = figure.subplots(2, 2)
    _total(total, history)
    if components(history[0]):
        _components(parts, history)
    else:
        _ratio(parts, history, system.metric)
    _validation(validation, history, system)
    _steps(steps, history)
    for axes in (total, parts, validation, steps):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(f"{type(system).__name__.lower()} on {system.data.id} {system.data.version}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _total(axes: Any, history: Sequence[Epoch]) -> None:
    _line(axes, history, "train_loss", label="train loss, mean of the epoch")
    _scale(axes, [epoch["train_loss"] for epoch in history])
    axes.set_title("loss")
    axes.legend(**_BELOW)


def _components(axes: Any, history: Sequence[Epoch]) -> None:
    names = components(history[0])
    for name in names:
        _line(axes, history, f"loss/{name}", label=name)
    _scale(axes, [value for epoch in history for value in components(epoch).values()])
    axes.set_title("terms of the loss")
    axes.legend(**_BELOW)


def _ratio(axes: Any, history: Sequence[Epoch], metric: str) -> None:
    """A loss of one term has no terms to show: what it is on val beside train says whether it learns by heart."""
    ratios = [epoch[metric] / epoch["train_loss"] if epoch["train_loss"] > 0 else math.nan for epoch in history]
    axes.plot(
        [epoch["epoch"] for epoch in history], ratios, marker=_marker(history), label=f"val {metric} / train loss"
    )
    axes.axhline(RATIO, color="tab:red", linestyle="--", label=f"overfitted above {RATIO:g}")
    axes.set_title("validation / training (the loss has one term)")
    axes.legend(**_BELOW)


def _validation(axes: Any, history: Sequence[Epoch], system: System) -> None:
    values = [epoch[system.metric] for epoch in history]
    _line(axes, history, system.metric, label=f"val {system.metric}")
    axes.axhline(system.baseline, color="grey", linestyle=":", label=f"baseline {system.baseline:.3g}")
    if system.target is not None:
        axes.axhline(system.target.below, color="tab:green", linestyle="--", label=f"target {system.target.below:g}")
    best = min(range(len(values)), key=values.__getitem__)
    axes.plot(history[best]["epoch"], values[best], "o", color="tab:green", label=f"best {values[best]:.4g}")
    _scale(axes, [*values, system.baseline, *([system.target.below] if system.target else [])])
    axes.set_title("validation, frozen weights")
    axes.legend(**_BELOW)


def _steps(axes: Any, history: Sequence[Epoch]) -> None:
    _line(axes, history, "clip_factor", label="gradient norm / clip (median)")
    axes.axhline(1.0, color="grey", linestyle=":", label="clipped above 1")
    _scale(axes, [epoch["clip_factor"] for epoch in history])
    axes.set_ylabel("gradient norm / clip")
    rates = axes.twinx()
    _line(rates, history, "learning_rate", label="learning rate", color="tab:orange")
    rates.set_ylabel("learning rate")
    rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.set_title("steps")
    lines = [*axes.get_lines(), *rates.get_lines()]
    rates.legend(lines, [each.get_label() for each in lines], **_BELOW)


def _line(axes: Any, history: Sequence[Epoch], name: str, **style: Any) -> None:
    axes.plot(
        [epoch["epoch"] for epoch in history],
        [epoch.get(name, math.nan) for epoch in history],
        marker=_marker(history),
        **style,
    )


def _marker(history: Sequence[Epoch]) -> str | None:
    return "o" if len(history) < 2 else None


def _scale(axes: Any, values: Iterable[float]) -> None:
    axes.set_yscale("log" if all(value > 0 for value in values) else "linear")
