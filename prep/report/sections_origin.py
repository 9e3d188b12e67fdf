"""Sections of a page about where data come from: fields, provenance as a graph, the certificate."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from prep.blocks import FieldSpec
from prep.report.drawings import graph
from prep.report.parts import Command, Facts, Figure, Section, Table, Text
from prep.report.said import short
from prep.report.sheet import Sheet
from prep.symptoms.words import argument

MOST_FIELDS, MOST_FACTS, MOST_STEPS = 60, 40, 6


def fields(sheet: Sheet) -> Section:
    """Every field and what the file says of itself."""
    assert sheet.spec is not None
    found = (*sheet.spec.fields, *sheet.spec.constants)
    columns = [("field", "text"), ("role", "text"), ("type", "text"), ("units", "text"), ("mask", "text")]
    columns += [("transform", "text"), ("what it is", "text")]
    more = len(found) - MOST_FIELDS
    parts: list[Any] = [
        Table(
            f"{len(found):,} fields",
            columns,
            [_field(each) for each in found[:MOST_FIELDS]],
            f"{more:,} more fields" if more > 0 else "",
        )
    ]
    if stated := {name: value for name, value in sheet.spec.attributes.items() if name != "title"}:
        rows = [(short(name, 60), short(value, 160)) for name, value in stated.items()]
        parts += [Text("The file says of itself:"), Facts(_few(rows))]
    return Section("fields", "Fields", parts)


def _field(each: FieldSpec) -> list[str]:
    dims = ", ".join(n if s is None else f"{n} {s}" for n, s in zip(each.dims, (None, *each.shape), strict=True))
    transform = each.transform if each.transform_state == "normalized" else "–"
    cells = (
        each.name,
        each.role,
        f"{each.dtype} ({dims})",
        each.units,
        each.mask or "–",
        transform,
        each.long_name or "–",
    )
    return [short(cell, 120) for cell in cells]


def provenance(entry: Mapping[str, Any], sheet: Sheet) -> Section:
    """From the recipe or source to the certificate, as a graph and in words."""
    stages = _stages(sheet.documents.get("provenance"))
    if not stages:
        return Section("provenance", "Provenance", [Text("Unknown: the file tells nothing of where it comes from.")])
    chain: list[tuple[str, str]] = []
    inputs: list[list[tuple[str, str]]] = []
    for index, stage in enumerate(stages):
        name = str(stage.get("stage", "a stage"))
        made = _root(stages[index + 1]) if index + 1 < len(stages) else sheet.root
        feeds = []
        if index == 0:
            feeds += [(_source(stage), f"seed {short(stage['seed'], 20)}" if "seed" in stage else "")]
        if plan := stage.get("plan"):
            feeds.append(("plan of transforms", _digest(plan)))
        chain.append((f"{name} → {'raw data' if index == 0 else 'dataset'}", _digest(made) or "no root recorded"))
        inputs.append(feeds)
    if "report" in entry:
        report = entry["report"]
        chain.append((f"validate: {report['verdict']}", f"{report['checks_passed']} of {len(report['checks'])} checks"))
        inputs.append([("schema", _digest(report["schema"])), ("checks of prep", _digest(report["check_registry"]))])
    trust = sheet.certification
    if trust.digest:
        chain.append((f"certificate, {trust.level if sheet.holds else 'does not hold'}", _digest(trust.digest)))
        held = [("prep.lock", "pins it")] if trust.pinned else []
        inputs.append([*held, *((f"key of {owner}", _digest(key)) for owner, key in trust.signers[:3])])
    steps = ", then ".join(what for what, _ in chain)
    drawn = graph(chain, inputs, f"provenance, from top to bottom: {steps}")
    return Section(
        "provenance",
        "Provenance",
        [
            Figure([drawn], f"How this dataset was made: {short(steps)}."),
            Facts(_few(_told(stages, entry, sheet)), _CODE),
        ],
    )


_ROOTS = ("root of the raw data", "root of this dataset", "root of the data")
_CODE = frozenset({*_ROOTS, "plan of transforms", "schema", "checks of prep", "certificate"})


def certificate(sheet: Sheet) -> Section:
    """Whether the gate lets the data in here, by whom they are trusted, and the command that verifies it."""
    place = shlex.quote(argument(str(sheet.path)))
    trust = sheet.certification
    if not trust.digest:
        parts: list[Any] = [Text(f"Not certified here: {short(trust.why_not)}.", "warn")]
        if sheet.normalised:
            parts.append(
                Command(
                    f"prep certify {place}", "validates the data and, if they pass, states and pins what was examined"
                )
            )
        else:
            parts.append(Text("Raw data are not certified: run `prep stats` and `prep normalize` first."))
        return Section("certificate", "Certificate", parts)
    how = {
        "sealed": "sealed: prep.lock of this project pins it, no key is needed",
        "signed": "signed: people whose keys are in trust.toml stand behind it",
    }
    facts = [
        ("level", how.get(trust.level, short(trust.level))),
        ("root of the data", sheet.root),
        ("certificate", trust.digest),
        ("signed by", ", ".join(f"{short(owner, 60)} (key {key[:16]}…)" for owner, key in trust.signers) or "nobody"),
        ("pinned in prep.lock", "yes" if trust.pinned else "no"),
        ("created", short(trust.created, 40)),
        ("expires", short(trust.expires, 40) or "never"),
    ]
    if not sheet.holds:
        odd = (
            "There is a certificate, and as they were examined now the data are not what it says: do not train on them."
        )
        return Section("certificate", "Certificate", [Text(odd, "warn"), Facts(facts, _CODE)])
    require = " --require signed" if trust.level == "signed" else ""
    return Section(
        "certificate",
        "Certificate",
        [
            Text(
                "This page proves nothing, since anybody can write one. What holds is what the gate says of the data:"
            ),
            Command(
                f"prep verify {place}{require}", "hashes every stored byte; --deep decodes and recomputes everything"
            ),
            Facts(facts, _CODE),
        ],
    )


def _stages(stated: Any) -> list[Mapping[str, Any]]:
    """The stages that a file tells, the first one first; what is no table ends them."""
    found: list[Mapping[str, Any]] = []
    while isinstance(stated, Mapping) and stated and len(found) < MOST_STEPS:
        found.insert(0, stated)
        below = stated.get("input")
        stated = below.get("provenance") if isinstance(below, Mapping) else None
    return found


def _root(stage: Mapping[str, Any]) -> Any:
    below = stage.get("input")
    return below.get("root", "") if isinstance(below, Mapping) else ""


def _source(stage: Mapping[str, Any]) -> str:
    if "recipe" in stage:
        return f"recipe {short(stage['recipe'], 40)}"
    return short(stage.get("source", "an unknown source"), 60)


def _told(stages: list[Mapping[str, Any]], entry: Mapping[str, Any], sheet: Sheet) -> list[tuple[str, str]]:
    first, last = stages[0], stages[-1]
    rows = [
        (key, short(first[key], 120))
        for key in ("recipe", "source", "layout", "scale", "seed")
        if first.get(key) is not None
    ]
    for key in ("parameters", "counts"):
        if isinstance(table := first.get(key), Mapping):
            rows += [
                (short(name, 60), short(value if isinstance(value, str) else json.dumps(value), 120))
                for name, value in table.items()
            ]
    if len(stages) > 1:
        rows.append(("root of the raw data", short(_root(stages[1]), 80)))
    if "plan" in last:
        rows.append(("plan of transforms", short(last["plan"], 80)))
    if sheet.root:
        rows.append(("root of this dataset", sheet.root))
    if "report" in entry:
        rows += [("schema", entry["report"]["schema"]), ("checks of prep", entry["report"]["check_registry"])]
    if isinstance(versions := last.get("versions"), Mapping):
        rows.append(("versions", short(", ".join(f"{name} {value}" for name, value in versions.items()))))
    return rows


def _digest(value: Any) -> str:
    kind, mark, text = str(value).partition(":")
    return short(f"{kind}:{text[:12]}…" if mark and len(text) > 12 else value, 26)


def _few(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    more = len(rows) - MOST_FACTS
    return rows if more <= 0 else [*rows[:MOST_FACTS], ("…", f"{more:,} more")]
