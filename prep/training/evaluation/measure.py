"""One walk over a split with frozen weights: the system's metrics, each field's errors in both units, each group's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from prep.blocks import Array
from prep.engine import Progress, silent
from prep.gate import CertifiedDataset
from prep.training.metrics import R2, mean, normalised_error, squared_error
from prep.training.systems.system import Batch, Histogram, System

BATCH = 256
_KEPT = 1 << 22  # values of predictions that are kept for pictures, of each field
_MOST_GROUPS = 256
_LISTED = 64  # values of a field that are listed one by one


@dataclass(slots=True)
class FieldErrors:
    """Errors of one predicted field, feature by feature, normalised and in original units, beside those of zero.

    ``units`` are the original ones. Of complex fields (matrices) there is the NMSE instead of R². ``seen`` says in
    which units pictures are: normalised where groups of rows have units and sizes of their own.
    """

    units: str
    features: tuple[int, ...]
    complex: bool = False
    seen: str = "original"
    sums: dict[str, Array] = field(default_factory=dict)

    def absorb(self, sides: Mapping[str, tuple[Array, Array, Array]], counted: Array) -> None:
        """Add a batch: for ``normalised`` and ``original`` the predicted, true and zero values."""
        axes = tuple(range(counted.ndim))[: counted.ndim - len(self.features)]
        self._add("count", counted.sum(axes))
        for side, (predicted, true, zero) in sides.items():
            self._add(f"{side}/zero", squared_error(zero, true, counted).sum(axes))
            if self.complex:
                error, energy = normalised_error(predicted, true)
                self._add(f"{side}/error", error.sum())
                self._add(f"{side}/energy", energy.sum())
                self._add(f"{side}/nmse", (error / energy).sum())
                self._add(f"{side}/rows", np.asarray(float(len(error))))
                self._add(f"{side}/residual", squared_error(predicted, true, counted).sum(axes))
                continue
            offset = self.sums.setdefault(f"{side}/offset", true.reshape(-1, *self.features)[0])
            for name, values in R2.terms(predicted, true, counted, offset).items():
                if name != "count":
                    self._add(f"{side}/{name}", values.sum(axes))

    def _add(self, name: str, value: Any) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else np.asarray(value, np.float64)

    def rmse(self, side: str, what: str = "residual") -> Array:
        """Root mean squared error of each feature, or with ``zero`` that of predicting a normalised zero."""
        return np.sqrt(mean(self.sums[f"{side}/{what}"], self.sums["count"]))

    def metrics(self) -> dict[str, dict[str, float]]:
        """Over all features: for each side ``mse``, ``rmse``, ``r2`` or ``nmse``, and of predicting zero ``zero_rmse``.

        In original units features may be of very different size; ``r2`` is their mean.
        """
        result: dict[str, dict[str, float]] = {}
        count = self.sums["count"]
        for side in ("normalised", "original"):
            square = float(mean(self.sums[f"{side}/residual"].sum(), count.sum()))
            zero = float(mean(self.sums[f"{side}/zero"].sum(), count.sum()))
            found = {"mse": square, "rmse": float(np.sqrt(square)), "zero_mse": zero, "zero_rmse": float(np.sqrt(zero))}
            if self.complex:
                rows = self.sums[f"{side}/rows"]
                found["nmse"] = float(mean(self.sums[f"{side}/nmse"], rows))
                energy = float(self.sums[f"{side}/energy"])
                found["nmse_of_sums"] = float(self.sums[f"{side}/error"]) / energy if energy > 0 else 0.0
            else:
                r2 = R2(count, *(self.sums[f"{side}/{name}"] for name in ("residual", "first", "second")))
                known = r2.known
                found["r2"] = float(r2.finish()[known].mean()) if known.any() else 0.0
            result[side] = found
        return result

    def per_feature(self) -> list[dict[str, Any]]:
        """RMSE in both units and of zero, and R², by index."""
        if self.complex or not self.features:
            return []
        r2 = R2(self.sums["count"], *(self.sums[f"original/{name}"] for name in ("residual", "first", "second")))
        table = {
            "rmse_normalised": self.rmse("normalised"),
            "rmse_original": self.rmse("original"),
            "zero_rmse_original": self.rmse("original", "zero"),
            "r2_original": r2.finish(),
            "count": self.sums["count"],
        }
        return [
            {"feature": list(index), **{name: float(values[index]) for name, values in table.items()}}
            for index in np.ndindex(self.features)
        ]


@dataclass(slots=True)
class Measured:
    """What one walk over ``split`` found.

    ``metrics`` are the system's own; ``fields`` errors by predicted field; ``groups`` metrics by group (of kind
    ``grouped_by``), ``samples`` the first predictions with what they should have been, (predicted, true, counted)
    by field, in the units in which they are ``seen``, for pictures.
    """

    split: str
    metrics: dict[str, float]
    fields: dict[str, FieldErrors]
    grouped_by: str
    groups: dict[int, dict[str, float]]
    group_rows: dict[int, int]
    histograms: dict[str, Histogram]
    samples: dict[str, tuple[Array, Array, Array]]
    rows: int


def measure(
    data: CertifiedDataset, system: System, network: torch.nn.Module, split: str, progress: Progress = silent
) -> Measured:
    """Walk ``split`` of ``data`` once, in stored order, with ``network`` in eval mode where it is."""
    device = next(network.parameters()).device
    batches = data.torch(split, batch_size=BATCH, fields=_read(data, system), device=device)
    totals: dict[str, Array] = {}
    grouped: dict[int, dict[str, Array]] = {}
    group_rows: dict[int, int] = {}
    fields: dict[str, FieldErrors] = {}
    samples: dict[str, list[tuple[Array, Array, Array]]] = {}
    name, done = "", 0
    with torch.no_grad():
        for batch in batches:
            said: list[Mapping[str, Array]] = []
            for piece in system.cut(batch):
                outputs = network(piece)
                _add(totals, system.sums(outputs, piece))
                found = system.groups(piece)
                if found is not None:
                    name = found[0]
                    for group, rows in _members(found[1]):
                        index = torch.from_numpy(rows).to(device)
                        own = [{key: value[index] for key, value in each.items()} for each in (outputs, piece)]
                        _add(grouped.setdefault(group, {}), system.sums(*own))
                said.append(system.predictions(outputs, piece))
            found = system.groups(batch)
            for group, rows in _members(found[1]) if found is not None else ():
                group_rows[group] = group_rows.get(group, 0) + len(rows)
            _absorb(data, system, batch, system.joined(said), fields, samples)
            done += len(next(iter(batch.values())))
            progress(done, batches.rows)
    few = grouped if len(grouped) <= _MOST_GROUPS else {}
    return Measured(
        split=split,
        metrics=system.metrics(totals),
        fields=fields,
        grouped_by=name if few else "",
        groups={group: system.metrics(few[group]) for group in sorted(few)},
        group_rows={group: group_rows[group] for group in sorted(few)},
        histograms=system.histograms(totals),
        samples={
            key: (
                np.concatenate([each[0] for each in parts]),
                np.concatenate([each[1] for each in parts]),
                np.concatenate([each[2] for each in parts]),
            )
            for key, parts in samples.items()
        },
        rows=done,
    )


def _read(data: CertifiedDataset, system: System) -> tuple[str, ...]:
    """What the system reads, and what the inverses of its predictions do where it is stored."""
    names = [*system.fields]
    for predicted in system.predicted:
        if predicted in data.transforms:
            names += sorted(data.transforms[predicted].reads)
    return tuple(dict.fromkeys(names))


def _members(ids: Array) -> Iterator[tuple[int, Array]]:
    for group in np.unique(ids).tolist():
        yield int(group), np.flatnonzero(ids == group)


def _add(totals: dict[str, Array], sums: Mapping[str, Array]) -> None:
    for name, value in sums.items():
        totals[name] = totals[name] + value if name in totals else value


def _absorb(
    data: CertifiedDataset,
    system: System,
    batch: Batch,
    predicted: Mapping[str, Array],
    fields: dict[str, FieldErrors],
    samples: dict[str, list[tuple[Array, Array, Array]]],
) -> None:
    for name, (true, counted) in system.truth(batch).items():
        bound = data.transforms.get(name)
        spec = bound.field if bound is not None else data.spec[name]
        values, zero = predicted[name], np.zeros_like(true)
        sides = {"normalised": (values, true, zero)}
        if bound is not None:
            extra = {each: batch[each].cpu().numpy() for each in bound.reads}
            one, two, three = (bound.invert(each, **extra) for each in (values, true, zero))
            sides["original"] = (one, two, three)
        else:
            sides["original"] = sides["normalised"]
        axes = spec.shape if true.dtype.kind != "c" and spec.row_values <= _LISTED else ()
        is_complex = true.dtype.kind == "c"
        seen = "normalised" if is_complex or (bound is not None and bound.params.get("group")) else "original"
        own = fields.setdefault(name, FieldErrors(spec.units, axes, is_complex, seen))
        own.absorb(sides, counted)
        kept = samples.setdefault(name, [])
        shown = sides[own.seen]
        if sum(each[0].size for each in kept) < _KEPT:
            few = max(1, _KEPT // max(spec.row_values, 1))
            kept.append((shown[0][:few], shown[1][:few], counted[:few]))
