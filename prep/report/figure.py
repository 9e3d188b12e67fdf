"""A look at a field as a PNG or SVG: histograms above; below, samples over time, or matrices and their spectrum."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prep.blocks import Array
from prep.errors import printable
from prep.report.looked import FieldLook, Panel, is_hermitian, lines, log_counts, matrices, spectrum, trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEATURES, LINES = 16, 12
_COLUMNS, _LONG = 4, 30
_COLOURS = {"": "#3b6ea5", "real": "#3b6ea5", "imaginary": "#c8553d", "modulus": "#4f7f4f"}
_POINTS, _LARGEST = 4000, 1e300


def draw(look: FieldLook, kinds: Sequence[str], form: str) -> bytes:
    """The picture in ``form``, ``png`` or ``svg``. matplotlib has to be installed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    parts = [_PARTS[kind](look) for kind in kinds]
    heights = [0.85, *(height for height, _ in parts)]
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "prep"}):
        figure = Figure(figsize=(12, sum(heights)), layout="constrained", facecolor="white")
        places: Any = figure.subfigures(len(heights), 1, height_ratios=heights, hspace=0.02)
        _head(places[0], look, "histogram" in kinds)
        for place, (_, fill) in zip(places[1:], parts, strict=True):
            fill(place)
        page = io.BytesIO()
        figure.savefig(page, format=form, dpi=110, metadata={"Date": None} if form == "svg" else None)
    return page.getvalue()


def _head(place: Any, look: FieldLook, counted: bool) -> None:
    panel = look.panels[0]
    place.text(0.01, 0.72, _plain(look.title()), fontsize=13, weight="bold", va="center")
    over = f" (histograms over every {panel.stride}. of them)" if counted and panel.stride > 1 else ""
    about = f"split {panel.split}, {panel.samples:,} samples{over}, {panel.values} values; {look.standing()}"
    place.text(0.01, 0.28, _plain(about)[:170], fontsize=9, color="#555555", va="center")


def _plain(text: str) -> str:
    """Text of a dataset as it is: a dollar sign begins no formula, and what no font can show is written out."""
    return printable(text).replace("$", r"\$")


def _axis(look: FieldLook, room: int = 0) -> str:
    """What the values are, for the axis they lie along: by the long name where it has ``room``, and in which units."""
    panel = look.panels[0]
    units = "" if panel.units == "1" else f" ({panel.units})"
    state = ", normalised" if panel.values == "normalised" else ""
    name = look.field.long_name if 0 < len(look.field.long_name) <= room else look.field.name
    return _plain(f"{name}{state}{units}")


def _histograms(look: FieldLook) -> tuple[float, Any]:
    features = look.panels[0].features
    joint = [panel for panel in look.panels if panel.part != "modulus"]
    apart = [panel for panel in look.panels if panel.part == "modulus"]
    shown = min(len(features), FEATURES)
    cells = [([*group], index) for group in (joint, apart) if group for index in range(shown)]
    columns = min(_COLUMNS, max(len(cells), 1))
    rows = -(-len(cells) // columns)

    wish = [log_counts(_coarse(panel, index)[0]) for panels, index in cells for panel in panels[:1]]
    log = 2 * sum(wish) >= len(wish) > 0

    def fill(place: Any) -> None:
        if len(features) > shown:
            place.suptitle(f"the first {shown} of {len(features):,} features", fontsize=9, x=0.01, ha="left")
        every = place.subplots(rows, columns, squeeze=False).ravel()
        for axes, (panels, index) in zip(every, cells, strict=False):
            _histogram(axes, panels, index, _axis(look, _LONG if columns > 2 else 2 * _LONG), log)
        for axes in every[len(cells) :]:
            axes.set_axis_off()

    return 2.2 * rows if rows > 1 else 3.0, fill


def _coarse(panel: Panel, index: int) -> tuple[Array, Array]:
    """Counts and edges of a histogram in as many bins as its values can fill (three times their cube root)."""
    edges, counts = panel.histograms[index]
    together = 1 if len(counts) < 2 else max(1, int(len(counts) // max(24.0, 3 * np.cbrt(counts.sum()))))
    if together == 1 or len(counts) % together:
        return counts, edges
    return counts.reshape(-1, together).sum(1), edges[::together]


def _histogram(axes: Axes, panels: Sequence[Panel], index: int, label: str, log: bool) -> None:
    for panel in panels:
        counts, edges = _coarse(panel, index)
        if not len(edges) or not _drawable(edges).all():
            continue
        colour = _COLOURS[panel.part]
        if len(edges) == 2:
            axes.axvline(edges[0], color=colour, lw=3, label=panel.part)
            continue
        axes.stairs(counts, edges, fill=len(panels) == 1, color=colour, label=panel.part, lw=1.2, alpha=0.9)
    if log and axes.patches:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
    panel = panels[0]
    axes.set_xlabel(f"modulus of {label}" if panel.part == "modulus" else label)
    axes.set_ylabel("values, log" if log else "values")
    axes.set_title(_plain(panel.features[index]) + _remark(panels, index), fontsize=9, loc="left")
    axes.locator_params(axis="x", nbins=5)
    axes.ticklabel_format(axis="x" if log else "both", scilimits=(-3, 4))
    if len(panels) > 1 and axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def _remark(panels: Sequence[Panel], index: int) -> str:
    bad = sum(int(panel.nan[index] + panel.inf[index]) for panel in panels)
    count = int(panels[0].count[index])
    if not count:
        return "  all masked"
    if bad:
        return f"  {bad:,} not finite"
    if all(panel.constant[index] for panel in panels):
        return f"  always {panels[0].min[index]:.4g}"
    ends = np.asarray([panels[0].min[index], panels[0].max[index]])
    return "" if _drawable(ends).all() else "  beyond 1e300, not drawn"


def _drawable(values: Array) -> Array:
    """Which values matplotlib can place; its axes overflow near the largest numbers."""
    return np.abs(values).astype(np.float64) < _LARGEST


def _series(look: FieldLook) -> tuple[float, Any]:
    rows = len(look.samples)

    def fill(place: Any) -> None:
        every = place.subplots(rows, 1, squeeze=False, sharex=True).ravel()
        for axes, sample in zip(every, look.samples, strict=True):
            found = list(lines(look, sample))
            for label, values in found[:LINES]:
                drawn = np.where(_drawable(values), values, np.nan)
                axes.plot(*_thinned(sample.at, drawn), lw=1, label=_plain(label) or None)
            more = f", the first {LINES} of {len(found)}" if len(found) > LINES else ""
            axes.set_title(f"sample {sample.row}{more}", fontsize=9, loc="left")
            if any(label for label, _ in found):
                axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper left", bbox_to_anchor=(1.0, 1.05))
        every[-1].set_xlabel(_plain(look.time_label))
        place.supylabel(_axis(look, 2 * _LONG), fontsize=9)

    return 1.9 * rows + 0.4, fill


def _thinned(at: Array, values: Array) -> tuple[Array, Array]:
    """A long series by the least and the largest value of each stretch, in the order in which they come."""
    if len(values) <= _POINTS:
        return at, values
    kept = set()
    for piece in np.array_split(np.arange(len(values)), _POINTS // 2):
        part = values[piece]
        if np.isfinite(part).any():
            kept |= {int(piece[np.nanargmin(part)]), int(piece[np.nanargmax(part)])}
    chosen = np.asarray(sorted(kept), np.int64)
    return at[chosen], values[chosen]


def _matrices(look: FieldLook) -> tuple[float, Any]:
    shown = [(sample.row, place, matrix) for sample in look.samples for place, matrix in matrices(sample)]
    spectra = any(is_hermitian(matrix) for _, _, matrix in shown)
    maps = 3 if look.field.dtype.kind == "c" else 1

    def fill(place: Any) -> None:
        every = place.subplots(len(shown), maps + spectra, squeeze=False)
        for axes, (row, at, matrix) in zip(every, shown, strict=True):
            for one, (part, values) in zip(axes, _maps(matrix), strict=False):
                signed = part != "modulus"
                top = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
                low = -top if signed else 0.0
                image = one.imshow(values, cmap="RdBu_r" if signed else "viridis", vmin=low, vmax=top)
                one.set_title(part, fontsize=9, loc="left")
                one.set_xlabel(_plain(look.field.dims[-1]))
                one.set_ylabel(_plain(look.field.dims[-2]))
                one.figure.colorbar(image, ax=one, shrink=0.8, label=_axis(look))
            name = f"sample {row}{f' at {at}' if at else ''}\ntrace {trace(matrix).real:.4g}"
            axes[0].set_ylabel(f"{name}\n{_plain(look.field.dims[-2])}")
            if spectra:
                _spectrum(axes[-1], matrix, look.field.dtype)

    return 3.0 * len(shown), fill


def _maps(matrix: Array) -> Iterator[tuple[str, Array]]:
    matrix = np.where(_drawable(matrix), matrix, np.nan)
    if matrix.dtype.kind != "c":
        yield "value", matrix.astype(np.float64)
        return
    yield "real", matrix.real
    yield "imaginary", matrix.imag
    yield "modulus", np.abs(matrix)


def _spectrum(axes: Axes, matrix: Array, stored: np.dtype[Any]) -> None:
    """Eigenvalues, largest first; those that are rounding of the stored type are grey."""
    if not is_hermitian(matrix):
        axes.set_axis_off()
        axes.text(0.0, 0.5, "not Hermitian: no spectrum")
        return
    values, floor = spectrum(matrix, stored)
    number = np.arange(1, len(values) + 1)
    noise, negative = np.abs(values) <= floor, values < -floor
    kinds = [(values > floor, ".", "#3b6ea5"), (negative, "x", "#c8553d"), (noise & (values != 0), ".", "#cccccc")]
    drawn = _drawable(values)
    for some, marker, colour in kinds:
        axes.plot(number[some & drawn], np.abs(values[some & drawn]), marker, color=colour, ms=5)
    if values[drawn].any():
        axes.set_yscale("log")
    remark = f"rank {int((values > floor).sum())}" + (f", {negative.sum()} negative" if negative.any() else "")
    remark += "" if drawn.all() else ", beyond 1e300, not drawn"
    axes.set_title(f"spectrum, {remark}", fontsize=9, loc="left")
    axes.set_xlabel("eigenvalue, largest first" + ("\ngrey: rounding" if noise.any() else ""))


_PARTS = {"histogram": _histograms, "series": _series, "matrix": _matrices}
