"""One epoch of a run as a line that a person reads and as a row of numbers, and which epochs get a line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from prep.formats.commit import write_atomically

Epoch = dict[str, float]

# Columns that tell of the machine and not of the training: they differ between a run and its repetition.
MACHINE = ("seconds", "samples_per_second", "waiting", "memory_mib", "gpu_memory_mib")
COMPONENT = "loss/"


def told(epoch: int, epochs: int) -> bool:
    """Whether an epoch gets a line: each of the first 10, each tenth to 100, then each hundredth, and the last."""
    spacing = 1 if epoch <= 10 else 10 if epoch <= 100 else 100
    return epoch % spacing == 0 or epoch == epochs


def line(epoch: Epoch, epochs: int, metric: str, first: float, *, relative: bool) -> str:
    """One epoch as text; ``first`` and ``relative`` as in `improvement`."""
    width = len(str(epochs))
    return (
        f"epoch {int(epoch['epoch']):>{width}}/{epochs}  train loss {epoch['train_loss']:.4g}"
        f"{terms(components(epoch))}, {improvement(first, epoch['train_loss'], relative=relative)}  "
        f"val {metric} {epoch[metric]:.4g}  gradient {epoch['gradient_norm']:.3g} "
        f"({epoch['clip_factor']:.2g} x clip)  rate {epoch['learning_rate']:.2e}  {machine(epoch)}  "
        f"{epoch['seconds']:.1f} s"
    )


def components(epoch: Mapping[str, float]) -> dict[str, float]:
    """The terms of the loss by name; none for a loss of one term."""
    return {name.removeprefix(COMPONENT): value for name, value in epoch.items() if name.startswith(COMPONENT)}


def terms(parts: Mapping[str, float]) -> str:
    """The terms of a loss in brackets, after it."""
    return f" ({', '.join(f'{name} {value:.3g}' for name, value in parts.items())})" if parts else ""


def improvement(first: float, now: float, *, relative: bool) -> str:
    """How far a loss has come from the first one: in per cent where ``relative``, that is where both lie above a zero
    that nothing gets below, else the difference.
    """
    if not (math.isfinite(first) and math.isfinite(now)):
        return "no first loss"
    if relative and first > 0 and now >= 0:
        return f"{100.0 * (now / first - 1.0):+.1f} % from start"
    return f"{now - first:+.3g} from start"


def machine(epoch: Mapping[str, float]) -> str:
    """Speed, memory and the share of time that was spent waiting for data."""
    parts = [f"{speed(epoch['samples_per_second'])} samples/s"] if "samples_per_second" in epoch else []
    if "waiting" in epoch:
        parts.append(f"waiting {100 * epoch['waiting']:.0f} %")
    parts += [f"{epoch[name]:.0f} MiB{on}" for name, on in _MEMORY.items() if name in epoch]
    return "  ".join(parts)


def speed(value: float) -> str:
    """Samples a second, with three digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


_MEMORY = {"memory_mib": "", "gpu_memory_mib": " on the GPU"}


def write_metrics(path: Path, history: Sequence[Epoch]) -> None:
    """All epochs as CSV, a column for each number; those of `MACHINE` are the only ones that another run of the same
    seed gives other values.
    """
    columns = list(dict.fromkeys(name for epoch in history for name in epoch))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(path, buffer.getvalue().encode())
