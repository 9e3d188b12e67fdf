"""Sections of a page about scales: of the groups that a transform knows, and of what makes up the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.report.drawings import scale_marks, share_bars
from prep.report.looked import FieldLook, Panel
from prep.report.parts import Facts, Heading, Section, Table, Text
from prep.report.said import number, power_of_ten, share, short
from prep.report.sections_fields import reach
from prep.report.sheet import Measured, Sheet, log_costs, log_sum

MOST_GROUPS, MOST_SHARES = 40, 40
_AT_ZERO = (
    "A model that begins by predicting zero spends its gradient in these shares: what dominates is learnt, "
    "the rest is not."
)
Share = tuple[str, float, float | None]


def scales(sheet: Sheet) -> Section:
    """Standard deviations of every group that a transform knows, on one axis."""
    parts: list[Any] = []
    for each in sheet.measured:
        if each.grouped is not None:
            parts += [Heading(f"{each.field.name} by {each.grouped.by}"), *_group_table(each.grouped)]
    if not parts:
        why = "no input or target is normalised by group" if sheet.measured else "no field was measured"
        parts.append(Text(f"There are no scales of groups to show: {why}."))
    return Section("scales", "Group scales", parts)


def losses(sheet: Sheet) -> Section:
    """How much of the loss of predicting zero each feature and each group of a target makes up."""
    measured = [each for each in sheet.measured if each.field.role == "target" and each.look is not None]
    targets = [each for each in measured if each.field.name == sheet.loss.get("target")] or measured
    parts: list[Any] = []
    for each in targets:
        if each.look is not None and each.look.panels[0].features != ("",):
            parts.append(_share_table(f"by feature of {each.field.name}", _by_feature(each.look)))
        if each.grouped is not None:
            parts.append(_share_table(f"of {each.field.name} by {each.grouped.by}", _by_group(each.grouped)))
    if len(targets) > 1:
        parts.append(_share_table("by target", _by_target(targets)))
    if parts:
        bars = "; an outlined bar is before normalisation, a solid one after it" if sheet.normalised else " as stored"
        parts.insert(0, Text(f"{_AT_ZERO} Shares are of the summed squares of the {sheet.split} split{bars}."))
    elif targets:
        name = short(targets[0].field.name, 80)
        parts.append(Text(f"The loss has one part: all values of {name} are one feature and one group."))
    else:
        parts.append(Text("There is no share of a loss to show: no target was measured."))
    return Section("loss", "Loss shares", parts)


def _by_kind(look: FieldLook) -> Mapping[str, Mapping[int, list[Panel]]]:
    """Panels by ``before`` and ``after`` and by group; parts of complex values together, moduli left out."""
    found: dict[str, dict[int, list[Panel]]] = {}
    for panel in look.panels:
        if panel.part != "modulus" and panel.group is not None:
            kind = "after" if panel.values == "normalised" else "before"
            found.setdefault(kind, {}).setdefault(panel.group, []).append(panel)
    return dict(sorted(found.items(), reverse=True))


def _spreads(panels: Sequence[Panel]) -> Array:
    """(F,) standard deviations, NaN for features without values."""
    return np.concatenate([np.where(each.count > 0, each.std, np.nan) for each in panels])


def _group_table(look: FieldLook) -> Iterator[Any]:
    kinds = _by_kind(look)
    spreads = {kind: {group: _spreads(panels) for group, panels in groups.items()} for kind, groups in kinds.items()}
    every = {kind: np.concatenate(list(groups.values())) for kind, groups in spreads.items()}
    kept = np.concatenate(list(every.values()))
    kept = kept[np.isfinite(kept) & (kept > 0)]
    if not len(kept):
        yield Text("No group has a feature that varies.")
        return
    low, high = int(np.floor(np.log10(kept.min()))), int(np.ceil(np.log10(kept.max())))
    high = max(high, low + 1)
    groups = next(iter(kinds.values()))
    names = {kind: kind if len(kinds) > 1 else "raw" for kind in kinds}
    yield Facts([(f"std {names[kind]}, {len(groups):,} groups", _ratio(values)) for kind, values in every.items()])
    rows = []
    for group in list(groups)[:MOST_GROUPS]:
        told = {kind: spreads[kind].get(group, np.zeros(0)) for kind in kinds}
        title = f"standard deviations of {look.field.name} in {look.by} {group}: " + ", ".join(
            f"{names[k]} {reach(v)}" for k, v in told.items()
        )
        marks = scale_marks(told, low, high, title)
        rows.append([str(group), f"{groups[group][0].samples:,}", *map(reach, told.values()), marks])
    more = len(groups) - MOST_GROUPS
    marked = {"before": "a circle is a feature before", "after": "a bar one after normalisation"}
    yield Table(
        f"Standard deviations of each {look.by}: {', '.join(marked[kind] for kind in kinds)}",
        [
            (look.by, "text"),
            ("samples", "number"),
            *((f"std {names[kind]}", "number") for kind in kinds),
            (f"{power_of_ten(low)} to {power_of_ten(high)}, logarithmic", "bar"),
        ],
        rows,
        f"{more:,} more groups" if more > 0 else "",
    )


def _ratio(values: Array) -> str:
    kept = values[np.isfinite(values) & (values > 0)]
    dead = int((values == 0).sum())
    told = f"{reach(kept)}, largest to least {number(kept.max() / kept.min(), 3)}" if len(kept) else "none varies"
    return told + (f", {dead:,} do not vary" if dead and len(kept) else "")


def _share_table(caption: str, parts: Sequence[Share]) -> Table:
    """Rows of (name, share as stored, share before); the largest first where there are many."""
    ordered = sorted(parts, key=lambda each: -max(each[1], each[2] or 0.0)) if len(parts) > MOST_SHARES else parts
    most = max((max(after, before or 0.0) for _, after, before in parts), default=0.0)
    known = any(before is not None for _, _, before in parts)
    rows = []
    for name, after, before in ordered[:MOST_SHARES]:
        shares = [share(after)] if before is None else [share(before), share(after)]
        told = f"{shares[0]} before normalisation, {shares[1]} after it" if known else shares[0]
        title = f"share of the loss {caption}, {name}: {told}"
        rows.append([short(name, 80), *shares, share_bars(before, after, most, title)])
    more = len(parts) - MOST_SHARES
    names = ("before", "after") if known else ("share",)
    return Table(
        f"Share of the loss {caption}",
        [("part", "text"), *((name, "number") for name in names), ("to scale", "bar")],
        rows,
        f"{more:,} more, each with a smaller share" if more > 0 else "",
    )


def _parts(costs: Array) -> Array:
    """Shares of the whole by logarithms of costs; NaN where that is nothing, or not known."""
    whole = float(log_sum(costs))
    return np.exp(costs - whole) if np.isfinite(whole) else np.full(costs.shape, np.nan)


def _paired(names: Sequence[str], after: Array, before: Array | None) -> list[Share]:
    stored = _parts(after)
    original = None if before is None else _parts(before)
    return [
        (name, float(stored[index]), None if original is None else float(original[index]))
        for index, name in enumerate(names)
    ]


def _costs(panels: Sequence[Panel], *, original: bool) -> Array | None:
    chosen = [each for each in panels if (each.values == "original") == original]
    return log_costs(chosen) if chosen else None


def _by_feature(look: FieldLook) -> list[Share]:
    stored = log_costs([each for each in look.panels if each.values != "original"])
    return _paired(look.panels[0].features, stored, _costs(look.panels, original=True))


def _by_group(look: FieldLook) -> list[Share]:
    groups = list(dict.fromkeys(each.group for each in look.panels))
    sums: dict[bool, list[float]] = {False: [], True: []}
    for group in groups:
        for original, known in sums.items():
            costs = _costs([each for each in look.panels if each.group == group], original=original)
            known.extend([] if costs is None else [float(log_sum(costs))])
    before = np.asarray(sums[True]) if sums[True] else None
    return _paired([f"{look.by} {group}" for group in groups], np.asarray(sums[False]), before)


def _by_target(targets: Sequence[Measured]) -> list[Share]:
    """Shares of targets that are summed in one loss; what the identity left as it is counts so on both sides."""
    stored, before = [], []
    for look in (each.look for each in targets if each.look is not None):
        costs = log_costs([each for each in look.panels if each.values != "original"])
        original = _costs(look.panels, original=True)
        stored.append(float(log_sum(costs)))
        before.append(float(log_sum(costs if original is None else original)))
    known = stored != before
    return _paired([each.field.name for each in targets], np.asarray(stored), np.asarray(before) if known else None)
