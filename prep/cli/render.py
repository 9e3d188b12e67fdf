"""What each verb's result looks like, as text and as JSON."""

from __future__ import annotations

import json as json_library
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prep.cli.output import say, screen, table, write_output
from prep.errors import counted
from prep.report.said import size
from prep.report.text import lines
from prep.verbs.compare import LABELS, Comparison
from prep.verbs.inspect import Inspection, SummaryRow
from prep.verbs.mutate import Failure


def show_validations(document: Mapping[str, Any], *, verbose: bool) -> None:
    """What a validation found, as much as fits a screen where stdout is one; elsewhere every failure."""
    width, height = screen()
    for style, text in lines(document, verbose=verbose, width=width, height=height):
        say(text, style)


def summary_to_dict(rows: Sequence[SummaryRow]) -> list[dict[str, Any]]:
    """The JSON form of ``inspect --table``."""
    return [
        {
            "dataset": row.dataset,
            "version": row.version,
            "path": str(row.path),
            "bytes": row.bytes,
            "splits": dict(row.splits),
            "checks_passed": row.checks_passed,
            "checks": row.checks,
            "root": row.root,
            "level": row.level,
        }
        for row in rows
    ]


def show_summary(rows: Sequence[SummaryRow], output: Path | None) -> None:
    """The table of what is certified."""
    columns = [
        ("dataset", "left"),
        ("version", "left"),
        ("size", "right"),
        ("train", "right"),
        ("val", "right"),
        ("test", "right"),
        ("checks", "right"),
        ("root digest", "left"),
    ]
    body = [
        [
            row.dataset,
            row.version,
            size(row.bytes),
            *(f"{row.splits.get(split, 0):,}" for split in ("train", "val", "test")),
            f"{row.checks_passed}/{row.checks}",
            row.root.removeprefix("blake3:")[:32],
        ]
        for row in rows
    ]
    _say_and_write(table("certified datasets", columns, body), output)


def show_runs(found: Sequence[Mapping[str, Any]], output: Path | None) -> None:
    """The table of finished runs: what was reached, beside what predicting nothing scores."""
    columns = [
        ("system", "left"),
        ("metric", "left"),
        ("baseline", "right"),
        ("first loss", "right"),
        ("train", "right"),
        ("test", "right"),
        ("target", "right"),
        ("reached", "left"),
        ("epochs", "right"),
        ("time", "right"),
        ("beside it", "left"),
    ]
    body = [
        [
            run["system"],
            run["metric"],
            f"{run['baseline']:.4g}",
            f"{run['step0']:.4g}",
            f"{run['train'][run['metric']]:.4g}",
            f"{run['test'][run['metric']]:.4g}",
            "-" if run["target"] is None else f"< {run['target']:g}",
            {True: "yes", False: "no", None: "-"}[run["reached"]],
            f"{run['epochs']}",
            f"{run['seconds']:.0f} s",
            ", ".join(f"{name} {value:.4g}" for name, value in run["references"].items()),
        ]
        for run in found
    ]
    _say_and_write(table("finished runs, frozen weights", columns, body), output)


def _say_and_write(lines: list[str], output: Path | None) -> None:
    say(lines)
    if output is not None:
        write_output("\n".join(lines) + "\n", str(output))


def show_inspection(found: Inspection) -> None:
    """A dataset as a person would like to read it: what, how much, fields, statistics, where from, certified or not."""
    spec = found.spec
    say(f"{spec.name} {spec.version}  ({found.format}, {size(found.size)}, {counted(spec.rows, 'sample')})", "bold")
    say(f"  path       {found.path}")
    splits = ", ".join(f"{name} {stop - start:,}" for name, (start, stop) in spec.splits.items())
    say(f"  splits     {splits}")
    say(f"  root       {found.root or 'no manifest'}")
    state = "yes, " if found.certified else "no: "
    say(f"  certified  {state}{found.certificate}", "good" if found.certified else "warn")
    if found.standing is not None:
        say(f"  level      {found.standing.level}: {found.standing}")
    say("")
    say(_fields_table(found))
    if statistics := found.documents.get("statistics"):
        say("")
        say(_statistics_table(statistics))
    provenance = found.documents.get("provenance")
    if isinstance(provenance, Mapping):
        say("")
        _show_provenance(provenance)
    if isinstance(schema := found.documents.get("schema"), str):
        say(f"  schema     embedded, {len(schema.splitlines())} lines (prep inspect --json - shows it)")


def _fields_table(found: Inspection) -> list[str]:
    rows = []
    for field in (*found.spec.fields, *found.spec.constants):
        chunk_rows, chunks, codecs = found.layout[field.name]
        dims = ", ".join(
            dim if size_of is None else f"{dim} {size_of}"
            for dim, size_of in zip(field.dims, (None, *field.shape), strict=True)
        )
        transform = "" if field.transform == "identity" and field.transform_state == "raw" else field.transform
        rows.append(
            [
                field.name,
                field.role,
                str(field.dtype),
                f"({dims})",
                field.units,
                transform,
                field.mask,
                f"{chunks} x {chunk_rows}",
                ", ".join(codecs) or "none",
            ]
        )
    columns = ["field", "role", "dtype", "dims", "units", "transform", "mask", "chunks x rows", "codec"]
    return table("", [(name, "left") for name in columns], rows)


def _statistics_table(statistics: Mapping[str, Any]) -> list[str]:
    rows = []
    for state in ("raw", "normalized"):
        for name, entry in statistics.get(state, {}).items():
            moments = entry["moments"]
            groups = len(moments["groups"]) or 1
            rows.append(
                [
                    name,
                    state,
                    str(groups) if moments["groups"] else "-",
                    f"{_total(moments['count']):,}",
                    _span(moments["mean"]),
                    _span(moments["std"]),
                    f"{_flat(moments['min'], min):.4g} … {_flat(moments['max'], max):.4g}",
                ]
            )
    columns = [
        ("statistics (train)", "left"),
        ("state", "left"),
        ("groups", "right"),
        ("values", "right"),
        ("mean", "left"),
        ("std", "left"),
        ("min … max", "left"),
    ]
    return table("", columns, rows)


def _show_provenance(provenance: Mapping[str, Any]) -> None:
    origin = provenance
    while isinstance(origin.get("input"), Mapping):
        origin = origin["input"].get("provenance", {})
    if "recipe" in origin:
        say(f"  recipe     {origin['recipe']}, scale {origin['scale']}, seed {origin['seed']}")
        parameters = ", ".join(f"{key} {json_library.dumps(value)}" for key, value in origin["parameters"].items())
        say(f"  parameters {parameters}")
    if "source" in origin:
        say(f"  ingested   {origin['source']} as {origin['layout']}, seed {origin['seed']}")
    if counts := origin.get("counts"):
        say("  counted    " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    say("  versions   " + ", ".join(f"{name} {text}" for name, text in origin.get("versions", {}).items()))


def show_failures(found: Sequence[Failure]) -> None:
    """The museum, a line each."""
    rows = [[each.system, each.name, each.story] for each in found]
    say(table("", [("system", "left"), ("failure", "left"), ("what happened", "left")], rows))


def show_comparison(found: Comparison) -> None:
    """The story, the table, and where the picture is."""
    say(f"{found.system}, {found.failure}: {found.story}")
    say(table("", [("", "left"), *((label, "right") for label in LABELS)], found.rows()))
    say(f"picture and numbers in {found.folder}: compare.png, compare.json")


def _leaves(value: Any) -> list[float]:
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [] if value is None or isinstance(value, str) else [float(value)]


def _flat(value: Any, choose: Any) -> float:
    return float(choose(_leaves(value), default=float("nan")))


def _total(value: Any) -> int:
    return int(sum(_leaves(value)))


def _span(value: Any) -> str:
    low, high = f"{_flat(value, min):.4g}", f"{_flat(value, max):.4g}"
    return low if low == high else f"{low} … {high}"
