"""A few predictions of the test split beside what is stored, both in original units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from prep.blocks import Array, FieldSpec, expand_mask
from prep.gate import CertifiedDataset
from prep.training.systems import System
from prep.training.systems.system import Batch, Outputs

_ROWS, _VALUES, _FIELDS = 4, 4, 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One value: of which field and sample (in stored order), where in it, predicted and stored, in ``units``. What is
    stored of a field that is no ``target`` is what a map began with.
    """

    field: str
    units: str
    target: bool
    row: int
    place: tuple[int, ...]
    predicted: complex
    stored: complex


def samples(
    system: System, model: Callable[[Batch], Outputs], device: torch.device, *, split: str = "test"
) -> tuple[Sample, ...]:
    """Values from all over a split, a few of each field that ``system`` predicts; of sequences that are trained on in
    windows, from the last one. ``model`` is asked once a window, without gradients.
    """
    data = system.data
    start, stop = data.bounds(split)
    rows = np.unique(np.linspace(start, stop - 1, min(stop - start, _ROWS)).round().astype(np.int64)).tolist()
    batch = {name: torch.from_numpy(_rows(data, name, rows)).to(device) for name in system.fields}
    predicted: Mapping[str, Array] = {}
    with torch.no_grad():
        for piece in system.cut(batch):
            told = system.predictions(model(piece), piece)
            predicted = {name: values for name, values in told.items() if name in data.spec.names}
    found: list[Sample] = []
    for name in list(predicted)[:_FIELDS]:
        found += _of_field(data, data.spec[name], predicted[name], rows)
    return tuple(found)


def table(found: Sequence[Sample]) -> list[str]:
    """The samples as lines of Markdown, a table for each field."""
    lines: list[str] = []
    for name in dict.fromkeys(each.field for each in found):
        of_field = [each for each in found if each.field == name]
        units = "" if of_field[0].units == "1" else f", in {of_field[0].units}"
        stored = "stored" if of_field[0].target else "before"
        lines += [f"`{name}`{units}:", "", f"| sample | value | predicted | {stored} | difference |", f"|{'---:|' * 5}"]
        lines += [
            f"| {each.row} | {', '.join(map(str, each.place)) or '-'} | {_number(each.predicted)} | "
            f"{_number(each.stored)} | {_number(each.predicted - each.stored)} |"
            for each in of_field
        ]
        lines.append("")
    return lines[:-1]


def _of_field(data: CertifiedDataset, spec: FieldSpec, predicted: Array, rows: Sequence[int]) -> list[Sample]:
    stored = _rows(data, spec.name, rows)
    # Of sequences there is a window at the end; a scalar field has no second dimension to cut.
    skipped = stored.shape[1] - predicted.shape[1] if stored.ndim > 1 else 0
    stored = stored[:, skipped:] if skipped else stored
    counted = np.ones(stored.shape, bool)
    if spec.mask:
        counted = expand_mask(_rows(data, spec.mask, rows), data.spec[spec.mask], spec)
        counted = counted[:, skipped:] if skipped else counted
    units = spec.units
    bound = data.transforms.get(spec.name)
    if bound is not None:
        others = {name: _rows(data, name, rows) for name in bound.reads}
        predicted, stored = (bound.invert(values, **others) for values in (predicted, stored))
        units = bound.field.units
    found = []
    for index, row in enumerate(rows):
        places = np.argwhere(counted[index])
        chosen = np.unique(np.linspace(0, len(places) - 1, min(len(places), _VALUES)).round().astype(np.int64))
        for place in places[chosen].tolist():
            at = (index, *place)
            shown = (place[0] + skipped, *place[1:]) if place else ()
            found.append(
                Sample(
                    spec.name, units, spec.role == "target", row, tuple(shown), predicted[at].item(), stored[at].item()
                )
            )
    return found


def _rows(data: CertifiedDataset, name: str, rows: Sequence[int]) -> Array:
    return np.concatenate([data.rows(name, row, row + 1) for row in rows])


def _number(value: complex) -> str:
    return f"{value.real:.4g}{value.imag:+.4g}i" if type(value) is complex else f"{value.real:.4g}"
