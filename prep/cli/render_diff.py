"""How two datasets differ, for people: the verdict, what is beyond limits, then the farthest apart first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prep.cli.output import say, table
from prep.errors import counted
from prep.report.numbers import fixed, told_apart
from prep.report.outcomes import LABELS
from prep.verbs.changed import KEEP, Range, Rows
from prep.verbs.diff import Diff
from prep.verbs.drift import Judgement
from prep.verbs.features import Feature, Groups

_ROWS, _LINES = 8, 5
_RANGES = 4
_NOTICED = 5e-4


def show_diff(found: Diff, *, verbose: bool) -> None:
    """The verdict first; without ``verbose`` a screen of what differs most."""
    style, text = _verdict(found)
    say(text, style)
    for label, side in (("A", found.a), ("B", found.b)):
        hashed = ", no manifest: hashed" if side.hashed else ""
        root = side.root.removeprefix("blake3:")[:16]
        say(f"  {label}  {side.path}: {side.name} {side.version}, {counted(side.rows, 'sample')}, root {root}…{hashed}")
    if found.same and not verbose:
        return
    _some("", [_beyond(each) for each in found.breaches], verbose, "bad")
    if found.breaches:
        say("  remedy: find what changed in how B was made; where that is meant, state it in prep.drift of the schema")
    _show_features(found, verbose)
    _some("groups", [*_within(found), *_groups(found.groups, verbose)], verbose)
    _some("samples", list(_samples(found, verbose)), verbose)
    described = [str(each) for each in found.changes]
    described += [f"constant {name}: {text}" for name, text in found.constants.items()]
    _some("description", described, verbose)


def _verdict(found: Diff) -> tuple[str, str]:
    within = f"the limits of {found.limits}"
    if found.breaches:
        names = dict.fromkeys(each.feature for each in found.breaches)
        told = f"{counted(len(found.breaches), 'measure')} at {counted(len(names), 'place')}"
        return "verdict-bad", f"DRIFT: B is beyond {within} in {told}"
    if found.same:
        return "verdict-good", f"the same: descriptions, and {counted(found.samples.rows, 'sample')} by digest"
    rows, described = found.samples, len(found.changes) + len(found.constants)
    apart = [each for each in found.features if each.beyond_chance]
    alone = [each for each in found.within if each.beyond_chance]
    parts = [
        f"{len(apart)} of {counted(len(found.features), 'feature')} apart beyond chance, {apart[0].name} farthest"
        if apart
        else "",
        f"{alone[0].name} farthest of single groups" if alone else "",
        f"{rows.changed.count:,} of {counted(rows.rows, 'sample')} changed" if rows.changed.count else "",
        f"{counted(_total(rows.added), 'sample')} added" if rows.added else "",
        f"{counted(_total(rows.removed), 'sample')} removed" if rows.removed else "",
        f"{counted(described, 'difference')} in the description" if described else "",
    ]
    told = ", ".join(filter(None, parts))
    if found.limits:
        return "verdict-good", f"within {within}: {told}"
    return "bold", f"B differs from A: {told} (no limits stated)"


def _beyond(each: Judgement) -> str:
    if each.measure == "comparable":
        return f"  BEYOND  {each.feature} cannot be compared: {each.measured}"
    measured, allowed = (value if isinstance(value, str) else f"{value:.4g}" for value in (each.measured, each.allowed))
    return f"  BEYOND  {each.feature}: {LABELS[each.measure]} {measured}, at most {allowed}"


def _show_features(found: Diff, verbose: bool) -> None:
    shown = [each for each in found.features if verbose or _noticed(each)]
    beyond = {each.feature for each in found.breaches}
    shown.sort(key=lambda each: each.name not in beyond)
    of = f" ({found.split})" if found.split else ""
    if not shown and found.features:
        measured = counted(len(found.features), "feature")
        say(f"distributions{of}: {measured} measured, none differs by {_NOTICED:g} or more")
    if shown:
        columns = [(f"feature{of}", "left"), *((each, "right") for each in ("JS", "PSI", "L∞", "shift/std"))]
        columns += [(each, "right") for each in ("mean A", "mean B", "std A", "std B", "NaN/Inf A", "B")]
        if not any(each.a["nonfinite"] or each.b["nonfinite"] for each in shown):
            columns = columns[:-2]
        rows = [_row(each)[: len(columns)] for each in (shown if verbose else shown[:_ROWS])]
        say(table("", columns, rows))
        _more(len(shown) - len(rows), "feature")
    _some("", [f"  {name}: not compared, {why}" for name, why in found.apart.items()], verbose, "warn")
    if verbose and found.unread:
        say(f"the same by digest, not read: {', '.join(found.unread)}")


def _row(each: Feature) -> list[str]:
    means, stds = ([side[key] for side in (each.a, each.b)] for key in ("mean", "std"))
    return [
        each.name,
        *_distances(each),
        *told_apart(means, float(np.nanmax([0.0, *stds]))),
        *("-" if np.isnan(value) else f"{value:.4g}" for value in stds),
        *(f"{side['nonfinite']:,}" for side in (each.a, each.b)),
    ]


def _distances(each: Feature) -> list[str]:
    return [fixed(each.measures[key]) for key in ("jensen_shannon", "psi", "l_inf", "mean_shift")]


def _noticed(each: Feature) -> bool:
    measures: Mapping[str, float] = {**each.measures, "std_ratio": each.measures["std_ratio"] - 1}
    return any(value >= _NOTICED for value in measures.values()) or each.a["nonfinite"] != each.b["nonfinite"]


def _within(found: Diff) -> Iterator[str]:
    for by in found.by:
        rows = [each for each in found.within if each.by == by and each.beyond_chance]
        groups = dict.fromkeys(each.group for each in rows)
        more = " or more" if len(found.within) == KEEP and found.within[-1].beyond_chance else ""
        if rows:
            yield f"  {by}: {counted(len(groups), 'group')}{more} apart beyond chance within, farthest first"
        for each in rows:
            js, psi, l_inf, shift = _distances(each)
            gone = [side["nonfinite"] for side in (each.a, each.b)]
            nonfinite = f", NaN/Inf {gone[0]:,} in A, {gone[1]:,} in B" if any(gone) else ""
            distances = f"JS {js}, PSI {psi}, L∞ {l_inf}, shift/std {shift}{nonfinite}"
            yield f"    {each.name}: {distances} ({counted(int(each.b['finite']), 'value')})"
    for (name, by), why in found.not_within.items():
        yield f"  {name} is not compared by {by}: {why}"


def _groups(found: Sequence[Groups], verbose: bool) -> Iterator[str]:
    for each in found:
        if not each.complete:
            yield f"  {each.field}: more than a million ids; those beyond are not compared"
        for word, ids in (("new", each.new), ("lost", each.lost)):
            if ids:
                names = list(map(str, ids))
                shown = ", ".join(names if verbose else names[:10])
                more = f", … and {len(names) - 10:,} more" if len(names) > 10 and not verbose else ""
                yield f"  {each.field}: {len(ids):,} {word} ({counted(sum(ids.values()), 'sample')}): {shown}{more}"
        if verbose and not each.new and not each.lost:
            yield f"  {each.field}: the same {counted(each.a, 'id')}"


def _samples(found: Diff, verbose: bool) -> Iterator[str]:
    rows = found.samples
    if rows.changed.count:
        yield f"  changed: {_ranges(rows.changed, verbose)}"
    for name, each in sorted(rows.fields.items(), key=lambda item: -item[1].count):
        if each != rows.changed or len(rows.fields) > 1:
            yield f"    {name}: {_ranges(each, verbose)}"
        else:
            yield f"    all of them in {name}"
    for word, changed in (("added in B", rows.added), ("not in B", rows.removed)):
        for split, (first, last) in changed.items():
            yield f"  {word}: {split} {first:,} to {last:,}"
    if rows.apart:
        yield f"  not compared, as they are stored in another form: {', '.join(rows.apart)}"


def _ranges(rows: Rows, verbose: bool) -> str:
    shown = rows.ranges if verbose else rows.ranges[:_RANGES]
    named = ", ".join(f"{first:,} to {last:,}" if first < last else f"{first:,}" for first, last in shown)
    more = len(rows.ranges) - len(shown) + rows.more
    return f"{counted(rows.count, 'sample')}: {named}" + (f" and {counted(more, 'more range')}" if more else "")


def _total(ranges: Mapping[str, Range]) -> int:
    return sum(last - first + 1 for first, last in ranges.values())


def _some(title: str, texts: Sequence[Any], verbose: bool, style: str = "") -> None:
    if not texts:
        return
    if title:
        say(title)
    shown = texts if verbose else texts[:_LINES]
    for text in shown:
        say(text if text.startswith("  ") else f"  {text}", style)
    _more(len(texts) - len(shown))


def _more(count: int, what: str = "line") -> None:
    if count > 0:
        say(f"  … and {counted(count, f'more {what}')} (-v shows all)")
