"""Sections of a page about what was judged: the verdict, every check, splits and what they share, baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prep.report.drawings import share_bars
from prep.report.outcomes import Outcome
from prep.report.parts import Facts, Findings, Section, Table, Text
from prep.report.said import number, share, short, size
from prep.report.sheet import Sheet

MOST_FINDINGS, MOST_CHECKS, MOST_PROBES = 100, 400, 60
_LONGEST_FINDING = 1000
_GLYPHS = {"error": "✕\xa0error", "failed": "✕\xa0failed", "warning": "!\xa0warning", "passed": "✓\xa0passed"}
_PREDICTED = {"zero": "zero", "mean": "the train mean"}
_OVERLAPS = (
    ("unique_rows", "equal samples"),
    ("near_unique_rows", "samples that are equal but for rounding"),
    ("groups_disjoint", "groups"),
    ("windows_disjoint", "windows of one series"),
)


def verdict(entry: Mapping[str, Any], rows: Sequence[Outcome]) -> tuple[str, str, str]:
    """(status, verdict in words, one sentence) of a dataset of a validation document."""
    if "note" in entry:
        return "passed", "Schema loads", short(entry["note"])
    if "report" not in entry:
        return "error", "Not examined", "Nothing was decided about these data, for the reasons below."
    checks = entry["report"]["checks"]
    bad = [row for row in rows if row.status in ("error", "failed")]
    warned = sum(row.status == "warning" for row in rows)
    told = f"{entry['report']['checks_passed']} of {len(checks)} checks passed"
    if not checks or entry["report"]["rows"] == 0:
        return "error", "Not examined", "There are no samples or no checks: nothing was decided about these data."
    errors = [row for row in bad if row.status == "error"]
    if errors and not any(row.examined for row in errors):
        return (
            "error",
            "Stored bytes not compared",
            f"{told}. Nothing tells whether the bytes are those that were written.",
        )
    if errors:
        return "error", "Stored bytes changed", f"{told}. The bytes are not those that were written."
    if bad:
        return "failed", "Failed", f"{told}. Do not train on these data before the findings below are mended."
    if warned:
        return "warning", "Passed with warnings", f"{told}; {warned} warned."
    how = "as certified; every stored byte was hashed" if entry.get("unchanged") else "all of it measured anew"
    return "passed", "Passed", f"{told}, {how}."


def facts(entry: Mapping[str, Any], sheet: Sheet) -> Iterator[tuple[str, str]]:
    """What is known at a glance."""
    report = entry.get("report", {})
    if report:
        yield "checks passed", f"{report['checks_passed']:,} of {len(report['checks']):,}"
        yield "samples", f"{report['rows']:,}"
        yield "values examined", f"{report['values']:,}"
    elif sheet.spec is not None:
        yield "samples", f"{sheet.spec.rows:,}"
    if sheet.spec is not None:
        yield "stored as", f"{sheet.format}, {size(sheet.size)}"
        yield "state", "normalised" if sheet.normalised else "raw"
        trust = sheet.certification
        yield "certified", f"yes, {trust.level}" if sheet.holds else "no longer" if trust.digest else "no"


def checks(rows: Sequence[Outcome]) -> Section:
    """What failed as findings, most urgent first, then every check that holds."""
    found = [row for row in rows if row.status != "passed"]
    passed = [row for row in rows if row.status == "passed"]
    parts: list[Any] = []
    if found:
        parts.append(Findings([_cut(row) for row in found[:MOST_FINDINGS]], max(len(found) - MOST_FINDINGS, 0)))
    elif passed:
        parts.append(Text("Every check of the schema holds."))
    else:
        parts.append(Text("No check was made."))
    if passed:
        more = len(passed) - MOST_CHECKS
        parts.append(
            Table(
                f"{len(passed):,} checks that hold",
                [("check", "text"), ("on", "text"), ("measured", "text"), ("allowed", "text"), ("found", "text")],
                [
                    [row.check, short(row.field, 80), short(row.measured, 120), short(row.allowed), short(row.message)]
                    for row in passed[:MOST_CHECKS]
                ],
                more=f"{more:,} more checks hold" if more > 0 else "",
                folded=True,
            )
        )
    return Section("checks", "Checks", parts)


def _cut(row: Outcome) -> Outcome:
    """What a stranger's text made long is cut."""
    return replace(
        row,
        check=short(row.check, 80),
        field=short(row.field, 80),
        message=short(row.message, _LONGEST_FINDING),
        measured=short(row.measured, _LONGEST_FINDING),
        allowed=short(row.allowed, _LONGEST_FINDING),
        remedy=short(row.remedy, _LONGEST_FINDING),
    )


def splits(entry: Mapping[str, Any], rows: Sequence[Outcome], sheet: Sheet) -> Section:
    """How many samples each split has, and whether anything is in two of them."""
    assert sheet.spec is not None
    counts = {name: stop - start for name, (start, stop) in sheet.spec.splits.items()}
    total, most = sum(counts.values()), max(counts.values(), default=0) or 1
    sizes = [
        [
            short(name, 60),
            f"{count:,}",
            share(count / max(total, 1)),
            share_bars(None, count, most, f"split {name}: {count:,} of {total:,} samples"),
        ]
        for name, count in counts.items()
    ]
    table = Table(
        "Samples of each split",
        [("split", "text"), ("samples", "number"), ("share", "number"), ("to scale", "bar")],
        sizes,
    )
    found = []
    for check, what in _OVERLAPS:
        asked = [row for row in rows if row.check == check]
        found += [[what, short(row.field, 80), _GLYPHS[row.status], short(row.message)] for row in asked]
        if not asked:
            why = "no check of the schema looks for them" if "report" in entry else "they were not examined"
            found.append([f"{what}", "–", "not examined", why])
    overlap = Table(
        "What two splits may not share",
        [("shared by two splits", "text"), ("field", "text"), ("verdict", "text"), ("found", "text")],
        found,
    )
    return Section("splits", "Splits", [table, overlap])


def baselines(entry: Mapping[str, Any], sheet: Sheet) -> Section:
    """What a model has to beat."""
    found = entry.get("report", {}).get("baselines", {})
    targets = dict(_items(found.get("targets")))
    parts: list[Any] = []
    rows = [
        [
            "the identity" if name == "identity" else f"predicting {_PREDICTED[name]}",
            _loss_of(sheet, targets),
            number(found[name]),
        ]
        for name in ("zero", "mean", "identity")
        if isinstance(found.get(name), int | float)
    ]
    for target, scores in targets.items():
        if len(targets) > 1 or target != sheet.loss.get("target", target):
            rows += [
                [f"predicting {_PREDICTED[name]}", f"mean square of {short(target, 60)}", number(scores.get(name))]
                for name in ("zero", "mean")
                if isinstance(scores, Mapping)
            ]
    if rows:
        parts.append(
            Text("What predictors score that learn nothing. A model that does no better has learnt nothing either.")
        )
        parts.append(
            Table(
                "Scores of trivial predictors on the train split",
                [("predictor", "text"), ("scored by", "text"), ("score", "number")],
                rows,
            )
        )
    probes = [_probe(each) for each in found.get("probes", ()) if isinstance(each, Mapping)]
    if probes:
        parts.append(
            Table(
                "What the probing checks measured",
                [("check", "text"), ("on", "text"), ("measured", "text")],
                probes[:MOST_PROBES],
                more=f"{len(probes) - MOST_PROBES} more probes" if len(probes) > MOST_PROBES else "",
            )
        )
    floors = [
        (short(target, 60), f"{number(each.get('floor'))}: {short(each.get('why', ''))}")
        for target, each in _items(found.get("floors"))
        if isinstance(each, Mapping)
    ]
    if floors:
        parts += [Text("What the schema says cannot be beaten without learning:"), Facts(floors)]
    if not parts:
        parts = [
            Text("No baseline was measured: " + ("no field is a target." if found else "the data were not examined."))
        ]
    return Section("baselines", "Baselines", parts)


def _loss_of(sheet: Sheet, targets: Mapping[str, Any]) -> str:
    name, target = sheet.loss.get("name"), sheet.loss.get("target")
    if name and target:
        return f"{name} of {target}"
    return "mean square over all targets" if targets else "a probe, below"


def _probe(stated: Mapping[str, Any]) -> list[str]:
    scalars = [
        f"{name.replace('_', ' ')} {number(value) if isinstance(value, int | float) else short(value, 60)}"
        for name, value in stated.items()
        if name not in ("check", "field") and isinstance(value, int | float | str)
    ]
    if isinstance(shares := stated.get("shares"), Mapping) and shares:
        scalars.append(f"{len(shares)} groups, largest share {share(max(shares.values()))}")
    return [short(stated.get("check", ""), 60), short(stated.get("field", ""), 60), ", ".join(scalars) or "–"]


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []
