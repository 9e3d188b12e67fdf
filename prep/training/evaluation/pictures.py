"""What an evaluation looks like: over time, as scatter, error by feature, pairs of matrices, histograms of energies."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from prep.blocks import Array
from prep.training.evaluation.measure import FieldErrors, Measured
from prep.training.systems.system import Histogram

_PANELS, _POINTS, _STEPS, _PAIRS = 8, 4000, 400, 3
_TRUE, _PREDICTED = "#444444", "#d95f02"


def pictures(found: Measured) -> Iterator[tuple[str, str, bytes]]:
    """File name, what is seen, and the PNG of every picture that this evaluation has."""
    for name, (predicted, true, counted) in found.samples.items():
        errors = found.fields[name]
        if errors.complex:
            yield f"{name}_pairs.png", f"{name}: true and predicted, magnitudes", _pairs(name, predicted, true)
            continue
        if np.unique(true).size <= _POINTS // 100 and np.array_equal(true, np.rint(true)):
            yield f"{name}_classes.png", f"{name}: predicted by true", _classes(name, predicted, true)
            continue
        lines = _lines(predicted, true, counted, errors)
        yield f"{name}_over_time.png", f"{name}: prediction and target in stored order", _over_time(name, lines, errors)
        yield f"{name}_scatter.png", f"{name}: prediction against target", _scatter(name, lines, errors)
        if errors.features:
            yield f"{name}_errors.png", f"{name}: error of each feature", _by_feature(name, errors)
    for name, histogram in found.histograms.items():
        yield f"{name.replace(' ', '_')}.png", name, _histogram(name, histogram)


def _lines(predicted: Array, true: Array, counted: Array, errors: FieldErrors) -> list[tuple[str, Array, Array, Array]]:
    """(label, predicted, true, which rows count), one each feature, or a few whole samples that are sequences."""
    if not errors.features and true.ndim > 1:
        few = np.unique(np.linspace(0, len(true) - 1, min(len(true), _PANELS // 2)).round().astype(int))
        return [
            (f"sample {row}", predicted[row].reshape(-1), true[row].reshape(-1), counted[row].reshape(-1))
            for row in few.tolist()
        ]
    said, right, counts = (each.reshape(len(each), -1) for each in (predicted, true, counted))
    places = list(np.ndindex(errors.features)) if errors.features else [()]
    labels = [f"[{', '.join(map(str, place))}]" if len(places) > 1 else "" for place in places]
    shown = enumerate(labels[:_PANELS])
    return [(label, said[:, index], right[:, index], counts[:, index]) for index, label in shown]


def _grid(count: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).reshape(-1))
    for extra in axes[count:]:
        extra.set_axis_off()
    return figure, axes[:count]


def _over_time(name: str, lines: list[tuple[str, Array, Array, Array]], errors: FieldErrors) -> bytes:
    figure, axes = _grid(len(lines), 5.2, 2.4)
    for each, (label, predicted, true, counted) in zip(axes, lines, strict=True):
        rows = np.flatnonzero(counted)
        # The end of a sequence, when whatever carries a state has settled; the first samples of a split.
        rows = rows[-5 * _STEPS :] if label.startswith("sample") else rows[:_STEPS]
        steps = np.arange(rows[0], rows[-1] + 1) if len(rows) else rows
        there = counted[steps] > 0  # a line has a gap where nothing counts
        dense = len(rows) > 60
        for values, looks in (
            (true, {"color": _TRUE, "linewidth": 1.4, "label": "target"}),
            (predicted, {"color": _PREDICTED, "linewidth": 0.9, "label": "prediction"}),
        ):
            each.plot(steps, np.where(there, values[steps], np.nan), marker="" if dense else "o", ms=3, **looks)
        each.set_title(f"{name}{label}" if not label.startswith("sample") else f"{name}, {label}", fontsize=9)
        each.set_xlabel("step" if label.startswith("sample") else "sample", fontsize=8)
        each.set_ylabel(_unit(name, errors), fontsize=8)
        each.tick_params(labelsize=7)
        each.grid(visible=True, alpha=0.3)
    axes[0].legend(fontsize=7, loc="upper right")
    return _png(figure)


def _scatter(name: str, lines: list[tuple[str, Array, Array, Array]], errors: FieldErrors) -> bytes:
    figure, axes = _grid(len(lines), 3.6, 3.4)
    for each, (label, predicted, true, counted) in zip(axes, lines, strict=True):
        rows = np.flatnonzero(counted)
        rows = (
            rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _POINTS)).round().astype(int))]
            if len(rows)
            else rows
        )
        each.plot(true[rows], predicted[rows], ".", ms=2.5, alpha=0.5, color=_PREDICTED)
        if len(rows):
            ends = [float(true[rows].min()), float(true[rows].max())]
            each.plot(ends, ends, color=_TRUE, linewidth=1.0)
        each.set_title(f"{name}{label}" if not label.startswith("sample") else f"{name}, {label}", fontsize=9)
        each.set_xlabel(f"target, {_unit(name, errors)}", fontsize=8)
        each.set_ylabel("prediction", fontsize=8)
        each.tick_params(labelsize=7)
        each.grid(visible=True, alpha=0.3)
    return _png(figure)


def _by_feature(name: str, errors: FieldErrors) -> bytes:
    model, zero = (errors.rmse("normalised", what).reshape(-1) for what in ("residual", "zero"))
    figure = Figure(figsize=(max(4.5, 0.3 * len(model) + 2.0), 3.2), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(model))
    axes.bar(place - 0.2, model, 0.4, color=_PREDICTED, label="model")
    axes.bar(place + 0.2, zero, 0.4, color="#bbbbbb", label="predicting zero")
    axes.set_xticks(place, [",".join(map(str, index)) for index in np.ndindex(errors.features)], fontsize=7)
    axes.set_xlabel(f"feature of {name}")
    axes.set_ylabel("RMSE, normalised")
    axes.set_ylim(0.0, 1.3 * float(max(model.max(), zero.max())) or 1.0)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    return _png(figure)


def _pairs(name: str, predicted: Array, true: Array) -> bytes:
    rows = np.unique(np.linspace(0, len(true) - 1, min(len(true), _PAIRS)).round().astype(int))
    figure = Figure(figsize=(9.6, 3.1 * len(rows)), layout="constrained")
    for panels, row in zip(figure.subplots(len(rows), 3, squeeze=False), rows, strict=True):
        gap = float(np.sum(np.abs(predicted[row] - true[row]) ** 2) / np.sum(np.abs(true[row]) ** 2))
        most = float(np.abs(true[row]).max())
        shown = (("true", true[row]), ("predicted", predicted[row]), ("difference", predicted[row] - true[row]))
        for axes, (label, matrix) in zip(panels, shown, strict=True):
            image = axes.imshow(np.abs(matrix), vmin=0.0, vmax=most, cmap="magma")
            axes.set_title(f"sample {row}, {label}" + (f", NMSE {gap:.3g}" if label == "predicted" else ""), fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
        figure.colorbar(image, ax=panels, shrink=0.8, label=f"|{name}|")
    return _png(figure)


def _classes(name: str, predicted: Array, true: Array) -> bytes:
    kinds = np.unique(np.concatenate([np.rint(predicted).reshape(-1), true.reshape(-1)])).astype(int)
    table = np.zeros((len(kinds), len(kinds)), int)
    found = [np.searchsorted(kinds, np.rint(each).reshape(-1).astype(int)) for each in (true, predicted)]
    np.add.at(table, tuple(found), 1)
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(table, cmap="Oranges")
    for row, column in np.ndindex(table.shape):
        dark = table[row, column] > 0.6 * table.max()
        axes.text(column, row, str(table[row, column]), ha="center", va="center", color="white" if dark else "black")
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks(range(len(kinds)), [str(kind) for kind in kinds])
    axes.set_xlabel(f"predicted {name}")
    axes.set_ylabel(f"true {name}")
    return _png(figure)


def _histogram(name: str, found: Histogram) -> bytes:
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    looks: tuple[Callable[[], dict[str, Any]], ...] = (
        lambda: {"color": _TRUE, "linewidth": 1.6},
        lambda: {"color": _PREDICTED, "linewidth": 1.6},
        lambda: {"color": "#999999", "linewidth": 1.0, "linestyle": "--"},
    )
    whole = np.zeros(len(found.edges) - 1)
    for index, (label, counts) in enumerate(found.counts.items()):
        share = counts / max(float(counts.sum()), 1.0)
        whole += share
        axes.stairs(share, found.edges, label=label, **looks[index % len(looks)]())
    there = np.flatnonzero(whole)
    if len(there):
        axes.set_xlim(found.edges[max(there[0] - 2, 0)], found.edges[min(there[-1] + 3, len(found.edges) - 1)])
    axes.set_xlabel(f"{name}, {found.units} (what lies beyond the ends is in the last bins)", fontsize=8)
    axes.set_ylabel("share of frames")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    return _png(figure)


def _unit(name: str, errors: FieldErrors) -> str:
    if errors.seen == "normalised":
        return f"{name}, normalised"
    return name if errors.units == "1" else f"{name} [{errors.units}]"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
