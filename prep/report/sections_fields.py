"""Section of a page about distributions: of every feature, before normalisation and after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.report.drawings import histogram, uneven
from prep.report.looked import FieldLook, Panel
from prep.report.parts import Cell, Heading, Section, Table, Text
from prep.report.said import apart, number, short, span
from prep.report.sheet import Measured, Sheet

MOST_FEATURES = 16
_NOTHING = 1e-6  # a mean below this share of the standard deviation is rounding


def distributions(sheet: Sheet) -> Section:
    """Of every feature of every input and target the histogram and its moments."""
    parts: list[Any] = list(_unmeasured(sheet))
    if sheet.measured:
        when = (
            "before normalisation, in original units, and after it" if sheet.normalised else "as stored: they are raw"
        )
        parts.append(Text(f"Values of the {sheet.split} split {when}. What a mask excludes is not counted."))
    for each in sheet.measured:
        parts += [Heading(each.field.name), Text(_described(each), "quiet")]
        parts += [Text(short(problem), "warn") for problem in each.problems]
        if each.look is not None:
            parts += _tables(each.look)
    if sheet.left_out:
        told = f"{sheet.left_out:,} more inputs and targets are not shown; measure one with"
        parts.append(Text(f"{told} prep inspect DATASET --stats FIELD.", "quiet"))
    return Section("distributions", "Distributions", parts)


def reach(values: Array) -> str:
    """The least and the largest of finite values."""
    finite = values[np.isfinite(values)]
    return span(finite.min(), finite.max()) if len(finite) else "–"


def _unmeasured(sheet: Sheet) -> Iterator[Text]:
    assert sheet.spec is not None
    if not any(stop > start for start, stop in sheet.spec.splits.values()):
        yield Text("No distribution can be shown: there are no samples.")
    elif not sheet.measured:
        yield Text(f"No distribution is shown: {sheet.unmeasured or 'no field is an input or a target'}.")


def _described(each: Measured) -> str:
    field = each.field
    dims = ", ".join(n if s is None else f"{n} {s}" for n, s in zip(field.dims, (None, *field.shape), strict=True))
    said = f"{field.long_name}: " if field.long_name else ""
    said += f"{field.role}, {field.dtype} ({dims})"
    if field.mask:
        said += f", mask {field.mask}"
    if field.transform_state == "normalized":
        said += f", transform {field.transform}" + (f" by {each.grouped.by}" if each.grouped else "")
    return short(said)


def _tables(look: FieldLook) -> Iterator[Any]:
    """One table with a row for each feature, and for each part of complex values."""
    stored = [each for each in look.panels if each.values != "original"]
    before = {each.part: each for each in look.panels if each.values == "original"}
    constant = sum(int(each.constant.sum()) for each in stored)
    if constant:
        yield Text(f"{constant:,} of {sum(len(each.features) for each in stored):,} features are constant.", "warn")
    pairs = [([before[panel.part]] if before else []) + [panel] for panel in stored]
    columns = [("feature", "text")]
    for panel in pairs[0]:
        when = _when(look, panel, bool(before))
        columns.append((when if panel.units == "1" else f"{when}, {short(panel.units, 24)}", "picture"))
        columns += [(name, "number") for name in ("mean", "std", "min", "max")]
    bad = any(int(each.nan.sum() + each.inf.sum()) for each in stored)
    columns += [("not finite", "number")] if bad else []
    shown = range(min(len(stored[0].features), MOST_FEATURES))
    log = [uneven([pair[place] for pair in pairs], shown) for place in range(len(pairs[0]))]
    rows = [_feature(look, pair, log, index)[: len(columns)] for pair in pairs for index in shown]
    stride = max(each.stride for each in look.panels)
    remarks = [f"Histograms count one sample in {stride}, the numbers all of them."] if stride > 1 else []
    counted = [
        name for name, each in zip([_when(look, panel, bool(before)) for panel in pairs[0]], log, strict=True) if each
    ]
    if counted:
        remarks.append(f"Counts of the histograms ({', '.join(counted)}) are on a logarithmic scale.")
    if (hidden := len(stored[0].features) - MOST_FEATURES) > 0:
        whole = "; ".join(
            f"{_when(look, each, bool(before))}: means {reach(each.mean)}, std {reach(each.std)}" for each in pairs[0]
        )
        remarks.append(f"{hidden:,} more features are measured and not shown. All of them {whole}.")
    caption = f"{short(look.field.name, 80)}: {stored[0].samples:,} samples of {stored[0].split}" + (
        "" if bad else ", all values finite"
    )
    yield Table(caption, columns, rows, " ".join(remarks))


_WHEN = {"before": "before normalisation", "after": "after normalisation", "unchanged": "unchanged by normalisation"}


def _when(look: FieldLook, panel: Panel, changed: bool) -> str:
    """Which values a panel is of; what normalisation made, as the scales that it removed, has no before."""
    if panel.values == "original":
        return "before"
    if panel.values == "raw":
        return "raw"
    return "after" if changed or look.field.transform != "identity" else "unchanged"


def _feature(look: FieldLook, pair: Sequence[Panel], log: Sequence[bool], index: int) -> list[Cell]:
    panel = pair[-1]
    part = f"{panel.part} part" if panel.part in ("real", "imaginary") else panel.part
    name = ", ".join(filter(None, (panel.features[index], part)))
    cells: list[Cell] = [short(name, 80) or "all values"]
    for each, logarithmic in zip(pair, log, strict=True):
        kind = "after" if each.values == "normalised" else "before"
        when = _when(look, each, len(pair) > 1)
        title = ", ".join(filter(None, (f"histogram of {look.field.name}", name, _WHEN.get(when, when))))
        drawn = histogram(each, index, kind, title, log=logarithmic)
        cells += [drawn or ("constant" if each.constant[index] else "–")]
        mean, std = float(each.mean[index]), float(each.std[index])
        cells += ["≈\xa00" if 0 < abs(mean) < _NOTHING * std else number(mean), number(std, 3)]
        cells += apart(each.min[index], each.max[index])
    return [*cells, f"{int(panel.nan[index] + panel.inf[index]):,} of {int(panel.count[index]):,}"]
