"""A look at a field as lines for a terminal: tables of statistics, histograms, series and matrices in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import counted
from prep.report.bars import bars, rebinned, resampled, shades
from prep.report.looked import FieldLook, Panel, is_hermitian, lines, log_counts, matrices, spectrum, trace
from prep.report.numbers import told_apart

FEW, FEW_GROUPS = 8, 32
_TALL, _TALL_LINES = 3, 6
_MATRIX = 24
_WIDE = 11
Columns = list[tuple[str, str]]


def heading(look: FieldLook) -> Iterator[str]:
    """What was looked at, whether it is certified here, and what could not be looked at."""
    field = look.field
    dims = ", ".join(
        name if n is None else f"{name} {n}" for name, n in zip(field.dims, (None, *field.shape), strict=True)
    )
    mask = f", mask {field.mask}" if field.mask else ""
    if field.shape:
        mask += f", by {' and '.join(field.features)}" if field.features else ", all values of a sample together"
    yield look.title()
    yield f"  {field.dtype} ({dims}), {field.role}{mask}"
    yield f"  {look.standing()}"
    yield from (f"  {note}" for note in look.notes)


def statistics(look: FieldLook, *, verbose: bool = False) -> Iterator[tuple[str, Columns, list[list[str]], str]]:
    """(title, columns, rows, remark) of the table of each kind of values; all features and quantiles if ``verbose``."""
    shown = ("q01", "q05", "q25", "q50", "q75", "q95", "q99") if verbose else ("q05", "q50", "q95")
    kinds = dict.fromkeys((panel.values, panel.part, panel.units) for panel in look.panels)
    for values, part, units in kinds:
        panels = [panel for panel in look.panels if (panel.values, panel.part) == (values, part)]
        named = panels[0].features != ("",)
        columns: Columns = [("split", "left"), *([(look.by, "right")] if look.by else [])]
        columns += [("feature", "left")] if named else []
        columns += [(name, "right") for name in ("count", "mean", "std", "min")]
        columns += [(f"{int(name[1:])} %", "right") for name in shown]
        columns += [(name, "right") for name in ("max", "NaN", "inf", "masked")]
        cut = {panel.group for panel in panels[FEW_GROUPS:]} if look.by and not verbose else set()
        cut -= {panel.group for panel in panels[:FEW_GROUPS]}
        told = [panel for panel in panels if panel.group not in cut]
        rows = [row for panel in told for row in _rows(look, panel, shown, named, verbose)]
        if constant := any(panel.constant.any() for panel in panels):
            columns.append(("constant", "left"))
        rows = [row if constant else row[:-1] for row in rows]
        hidden = 0 if verbose else len(panels[0].features) - FEW
        more = [f"{hidden:,} more features a split"] if hidden > 0 else []
        more += [f"{len(cut):,} more groups"] if cut else []
        remark = f"… {' and '.join(more)}: -v shows them" if more else ""
        title = f"{', '.join(each for each in (values, part) if each)}, units {units}"
        yield title, columns, rows, remark


def quantile_note(look: FieldLook) -> str:
    """How exact the quantiles are, and over which samples."""
    stride = max(panel.stride for panel in look.panels)
    error = max(panel.relative_error for panel in look.panels)
    over = "" if stride == 1 else f", over every {stride}. sample of the largest split"
    return f"quantiles to {100 * error:.1g} % of their distance from the middle of the split{over}; the rest is exact"


def histograms(look: FieldLook, width: int, *, verbose: bool = False, plain: bool = False) -> Iterator[str]:
    """A histogram of each feature: a line each, or a tall one where there are few."""
    for panel in look.panels:
        few = len(panel.features) if verbose else FEW
        height = _TALL_LINES if len(panel.features) <= _TALL else 1
        yield ""
        over = f", over every {panel.stride}. of them" if panel.stride > 1 else ""
        yield f"{panel.label} in split {panel.split}, {counted(panel.samples, 'sample')}{over}, units {panel.units}"
        names = panel.features[:few]
        indent = max(map(len, names))
        for index, name in enumerate(names):
            yield from _histogram(panel, index, name.ljust(indent), width, height, plain)
        if len(panel.features) > few:
            yield f"… {len(panel.features) - few:,} more features: -v shows them"


def series(look: FieldLook, width: int, *, verbose: bool = False, plain: bool = False) -> Iterator[str]:
    """Every sample over time: a line of bars for each feature, from its least to its largest value."""
    for sample in look.samples:
        found = [(label, values) for label, values in lines(look, sample) if np.isfinite(values).any()]
        shown = found if verbose else found[:FEW]
        yield ""
        indent = max((len(label) for label, _ in shown), default=0)
        ends = [values[np.isfinite(values)] for _, values in shown]
        beside = max((_beside(float(each.min()), float(each.max())) for each in ends), default=0)
        room = max(width - indent - beside - 2, 10)
        each = f", means of {len(sample.at) // room}" if len(sample.at) >= 2 * room else ""
        yield f"sample {sample.row} along {look.time_label}, {_number(sample.at[0])} to {_number(sample.at[-1])}{each}"
        height = _TALL_LINES if len(found) <= _TALL else 1
        for label, values in shown:
            finite = values[np.isfinite(values)]
            low, high = float(finite.min()), float(finite.max())
            drawn = bars(resampled(values, room), low, high, height=height, plain=plain)
            yield from _framed(label.ljust(indent), low, high, drawn)
        if len(found) > len(shown):
            yield f"… {len(found) - len(shown)} more: -v shows them"
        if not found:
            yield "no value that the mask counts is finite"


def pictures(look: FieldLook, width: int, *, plain: bool = False) -> Iterator[str]:
    """The matrices of every sample by modulus, with trace and, of Hermitian ones, the spectrum."""
    for sample in look.samples:
        for place, matrix in matrices(sample):
            at = f" at {place}" if place else ""
            modulus = np.abs(matrix).astype(np.float64)
            drawn, low, high = shades(modulus, _MATRIX, min(2 * _MATRIX, width - 2), plain=plain)
            yield ""
            yield f"sample {sample.row}{at}: {about(matrix, look.field.dtype)}"
            if drawn:
                yield f"modulus, from blank {_number(low)} to darkest {_number(high)}, means of blocks:"
            else:
                yield f"modulus {_number(float(modulus.max()))} throughout"
            yield from (f"  {line}" for line in drawn)
            if is_hermitian(matrix):
                yield from _spectrum(matrix, look.field.dtype, width, plain)


def about(matrix: Array, stored: np.dtype[Any]) -> str:
    """Trace of a matrix, and of a Hermitian one its rank and extreme eigenvalues, as exact as its ``stored`` type."""
    whole = trace(matrix)
    if not np.isfinite(matrix).all():
        return f"{np.count_nonzero(~np.isfinite(matrix)):,} entries not finite"
    text = f"trace {_number(whole.real)}" + ("" if abs(whole.imag) <= 1e-5 * abs(whole) else f" {whole.imag:+.4g}i")
    if not is_hermitian(matrix):
        return f"{text}, not Hermitian"
    values, floor = spectrum(matrix, stored)
    negative = int((values < -floor).sum())
    below = f", {negative} negative, least {_number(values[-1])}" if negative else ""
    return f"{text}, Hermitian, largest eigenvalue {_number(values[0])}, rank {int((values > floor).sum())}{below}"


def _spectrum(matrix: Array, stored: np.dtype[Any], width: int, plain: bool) -> Iterator[str]:
    values, floor = spectrum(matrix, stored)
    label = "  eigenvalues, largest first, 8 decades: "
    shown = values[: max(width - len(label), 1)]
    kept = shown[shown > floor]
    if len(kept):
        (drawn,) = bars(np.maximum(np.log10(kept / kept[0]), -8.0), -8.0, 0.0, plain=plain)
        yield label + drawn


def _rows(look: FieldLook, panel: Panel, quantiles: tuple[str, ...], named: bool, verbose: bool) -> Iterator[list[str]]:
    for index, name in enumerate(panel.features if verbose else panel.features[:FEW]):
        count, masked = int(panel.count[index]), int(panel.masked[index])
        places = [panel.mean, panel.min, *(panel.quantiles[each] for each in quantiles), panel.max]
        mean, *others = told_apart([float(each[index]) for each in places])
        yield [
            panel.split,
            *([str(panel.group)] if look.by else []),
            *([name] if named else []),
            f"{count:,}",
            mean,
            _number(panel.std[index]),
            *others,
            _share(int(panel.nan[index]), count),
            _share(int(panel.inf[index]), count),
            _share(masked, count + masked),
            "yes" if panel.constant[index] else "",
        ]


def _histogram(panel: Panel, index: int, name: str, width: int, height: int, plain: bool) -> Iterator[str]:
    edges, counts = panel.histograms[index]
    low, high = float(panel.min[index]), float(panel.max[index])
    bad = int(panel.nan[index] + panel.inf[index])
    missing = f", {bad:,} not finite" if bad else ""
    if not len(edges):
        yield f"{name}  no finite value that counts{missing}"
        return
    if len(edges) == 2:
        told = f"always {_number(low)}" if low == high else f"{_number(low)} to {_number(high)}, too far for bins"
        yield f"{name}  {told}{missing}"
        return
    room = max(width - len(name) - _beside(low, high) - 5 - len(missing), 10)
    summed = rebinned(counts, room) if len(counts) > room else np.repeat(counts, max(room // len(counts), 1))
    log = log_counts(summed)
    drawn = np.log1p(summed) if log else summed
    blocks = bars(drawn, 0.0, float(drawn.max()), height=height, plain=plain)
    yield from _framed(name, low, high, blocks, f"{' log' if log else ''}{missing}")


def _framed(name: str, low: float, high: float, drawn: list[str], tail: str = "") -> Iterator[str]:
    """Lines of bars between the least and the largest value, which stand beside the last line."""
    first, last = told_apart([low, high])
    first = first.rjust(_WIDE)
    blank = " " * (len(name) + len(first) + 2)
    for line in drawn[:-1]:
        yield f"{blank}{line}".rstrip()
    yield f"{name} {first} {drawn[-1]} {last}{tail}"


def _beside(low: float, high: float) -> int:
    """Columns of the two numbers beside a line of bars, and the blanks between."""
    return sum(max(len(each), _WIDE) for each in told_apart([low, high])) + 2


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4g}"


def _share(part: int, whole: int) -> str:
    return "0" if not part else f"{100 * part / max(whole, 1):.3g} %"
