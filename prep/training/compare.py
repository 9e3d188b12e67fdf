"""One model trained twice from the same weights: on data as a project had them, and on the certified data.

This is no way around the gate: the loop below keeps nothing, no checkpoint and no weights. It exists to show what a
failure of the data does to a loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch

from prep.blocks import Array, DatasetSpec
from prep.engine import Progress, silent
from prep.gate import CertifiedDataset
from prep.training.surroundings import limited_threads
from prep.training.systems import SYSTEMS, Hyperparameters, System
from prep.training.systems.system import Batch

_LAST = 0.1


@dataclass(frozen=True, slots=True)
class Trace:
    """One training: the losses of its steps and the norms of their gradients, up to the first that is not finite.

    ``zero`` is the loss of predicting nothing on the same data where the system can say it, ``low`` and ``high`` the
    range of what is predicted, ``clip`` the norm that gradients are clipped to.
    """

    label: str
    low: float
    high: float
    zero: float | None
    clip: float
    losses: tuple[float, ...]
    norms: tuple[float, ...]
    seconds: float

    @property
    def step0(self) -> float:
        """The first loss."""
        return self.losses[0] if self.losses else math.nan

    @property
    def final(self) -> float:
        """Mean of the last tenth of the losses; NaN where one was not finite."""
        if not self.losses or not math.isfinite(self.losses[-1]):
            return math.nan
        return float(np.mean(self.losses[-max(1, int(len(self.losses) * _LAST)) :]))

    @property
    def gradient_norm(self) -> float:
        """Median norm of the gradients before clipping."""
        return float(np.median(self.norms)) if self.norms else math.nan

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite become None."""
        own = {"step0": self.step0, "final": self.final, "gradient_norm": self.gradient_norm}
        own |= {"clip_factor": self.gradient_norm / self.clip, "steps": len(self.losses)}
        body = {**asdict(self), **own}
        return {key: _json(value) for key, value in body.items()}


class AsPlanted:
    """A certified dataset in which other values and other transforms stand: what a system sees of a failure."""

    def __init__(self, good: CertifiedDataset, arrays: Mapping[str, Array], transforms: Mapping[str, Any]) -> None:
        self._good, self.arrays, self.transforms = good, arrays, transforms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._good, name)

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Rows ``start:stop`` of a field."""
        return self.arrays[name][start:stop]


def trace(
    data: AsPlanted,
    name: str,
    *,
    label: str,
    steps: int,
    seed: int,
    progress: Progress = silent,
) -> Trace:
    """Train system ``name`` for ``steps`` steps on the train split of ``data``, nothing augmented."""
    torch.manual_seed(seed)
    system: System = SYSTEMS.load(name)(cast(CertifiedDataset, data))
    arrays = data.arrays
    settings = system.hyperparameters
    start, stop = data.bounds("train")
    targets = [field.name for field in data.spec.fields if field.role == "target"]
    names = dict.fromkeys([*system.fields, *targets])
    rows = {field: torch.from_numpy(np.array(arrays[field][start:stop])) for field in names}
    network = system.model()
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    losses: list[float] = []
    norms: list[float] = []
    begin = time.monotonic()
    with limited_threads(settings.threads):
        for step, batch in enumerate(_batches(system, rows, settings, seed)):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * min(1.0, (step + 1) / max(1, round(settings.warmup * steps)))
            optimiser.zero_grad()
            loss = system.loss(network(batch), batch)
            losses.append(float(loss.detach()))
            progress(step + 1, steps)
            if not math.isfinite(losses[-1]):
                break
            loss.backward()  # type: ignore[no-untyped-call]
            norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)))
            if not math.isfinite(norms[-1]) or step + 1 == steps:
                break
            optimiser.step()
    low, high = _range(data.spec, arrays, slice(start, stop))
    # From all over the split: rows lie by group.
    spread = torch.linspace(0, stop - start - 1, min(stop - start, settings.batch_size * 8)).long()
    zero = _zero(system, {field: values[spread] for field, values in rows.items()})
    return Trace(label, low, high, zero, settings.clip, tuple(losses), tuple(norms), time.monotonic() - begin)


def _batches(system: System, rows: Mapping[str, torch.Tensor], settings: Hyperparameters, seed: int) -> Iterator[Batch]:
    rng = np.random.default_rng(seed)
    count = len(next(iter(rows.values())))
    while True:
        order = torch.from_numpy(rng.permutation(count))
        for low in range(0, count, settings.batch_size):
            chosen = order[low : low + settings.batch_size]
            yield from system.cut({name: values[chosen] for name, values in rows.items()})


def _zero(system: System, batch: Batch) -> float | None:
    scores: list[float] = []
    for piece in system.cut(batch):
        zero = system.nothing(piece)
        if zero is None:
            return None
        scores.append(float(system.loss(zero, piece)))
    return float(np.mean(scores))


def _range(spec: DatasetSpec, arrays: Mapping[str, Array], rows: slice) -> tuple[float, float]:
    """Least and largest value of the targets, of the inputs where there are none; of complex ones the magnitude."""
    roles: tuple[Callable[[Any], bool], ...] = (
        lambda field: field.role == "target" and field.dtype.kind in "fc",
        lambda field: field.role == "input" and field.dtype.kind in "fc",
    )
    names = next(found for found in ([f.name for f in spec.fields if role(f)] for role in roles) if found)
    parts = [np.abs(arrays[name][rows]) if spec[name].dtype.kind == "c" else arrays[name][rows] for name in names]
    return float(min(part.min() for part in parts)), float(max(part.max() for part in parts))


def _json(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw(traces: tuple[Trace, ...], title: str) -> bytes:
    """A PNG: loss of each step on a logarithmic axis, gradient norms beside it with the norm they are clipped to."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for each in traces:
        left.plot(range(1, len(each.losses) + 1), each.losses, label=each.label, linewidth=1.2)
        right.plot(range(1, len(each.norms) + 1), each.norms, label=each.label, linewidth=1.2)
    positive = all(value > 0 for each in traces for value in each.losses if math.isfinite(value))
    left.set_yscale("log" if positive else "symlog")
    right.set_yscale("log")
    right.axhline(traces[0].clip, color="grey", linestyle=":", label="clipped to")
    for axes, what in ((left, "loss"), (right, "gradient norm")):
        axes.set_xlabel("step")
        axes.set_ylabel(what)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="upper right")  # the best place takes long to find
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
