"""A validation or a comparison on GitHub: annotations where somebody looks at the change, and a table in the summary.

GitHub shows ten errors and ten warnings of a step and takes a summary of 1 MiB; what goes beyond is counted in the last
annotation, and the whole is in the log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prep.formats.commit import storage_errors
from prep.report.outcomes import Outcome, is_schema, outcomes, source_root, tally, verb
from prep.report.said import clean

_MOST = 10
_SUMMARY_BYTES = 1 << 20
_MARKS = {"error": "❌ not examined or changed", "failed": "❌ failed", "warning": "⚠️ warning", "passed": "✅ passed"}


def commands(document: Mapping[str, Any]) -> list[str]:
    """Workflow commands, one a line; to be printed."""
    rows = list(outcomes(document))
    errors = [row for row in rows if row.status in ("error", "failed")]
    warnings = [row for row in rows if row.status == "warning"]
    title = verb(document)
    return [*_commands("error", errors, title), *_commands("warning", warnings, title)]


def summary(document: Mapping[str, Any]) -> str:
    """Markdown: the verdict, a table of the datasets and one of what did not pass."""
    rows = list(outcomes(document))
    bad = [row for row in rows if row.status != "passed"]
    head = [f"## {verb(document)}", "", *(_compared if "diff_version" in document else _datasets)(document, rows), ""]
    if bad:
        head.append("| | dataset | check | field | message | measured | allowed | remedy |")
        head.append("|---|---|---|---|---|---|---|---|")
    lines, room = list(head), _SUMMARY_BYTES - len("\n".join(head).encode()) - 200
    for place, row in enumerate(bad):
        cells = (row.dataset, row.check, row.field, row.message, row.measured, row.allowed, row.remedy)
        line = f"| {_MARKS[row.status]} | " + " | ".join(map(_cell, cells)) + " |"
        room -= len(line.encode()) + 1
        if room < 0:
            lines += ["", f"{len(bad) - place} more are in the log and in the other outputs."]
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def append_summary(document: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> bool:
    """Add the summary to the file that GitHub names; False where it names none. `StorageError` where it cannot be."""
    place = environment.get("GITHUB_STEP_SUMMARY", "")
    if not place:
        return False
    with storage_errors(Path(place)), open(place, "a", encoding="utf-8") as file:
        file.write(summary(document))
    return True


def _commands(kind: str, rows: list[Outcome], title: str) -> list[str]:
    shown = rows if len(rows) <= _MOST else rows[: _MOST - 1]
    lines, root = [], source_root()
    for row in shown:
        path = Path(os.path.abspath(row.place))
        place = str(path.relative_to(root)) if path.is_relative_to(root) else row.place
        where = f"file={_property(place)}" + (f",line={row.line}" if row.line else "")
        lines.append(f"::{kind} {where},title={_property(row.title)}::{_data(row.text)}")
    if len(shown) < len(rows):
        rest = f"{len(rows) - len(shown)} more, in the log and in the summary of this step"
        lines.append(f"::{kind} title={title}::{_data(rest)}")
    return lines


def _datasets(document: Mapping[str, Any], _: list[Outcome]) -> list[str]:
    checks = sum(len(each["report"]["checks"]) for each in document["datasets"] if "report" in each)
    return [
        f"{tally(document)}; checks: {checks:,}, exit code {document['exit_code']}.",
        "",
        "| dataset | verdict | checks passed | samples | root |",
        "|---|---|---|---|---|",
        *(_dataset(each) for each in document["datasets"]),
    ]


def _compared(document: Mapping[str, Any], rows: list[Outcome]) -> list[str]:
    beyond = sum(row.status == "failed" for row in rows)
    paths = f"{_cell(document['b']['path'])} compared with {_cell(document['a']['path'])}"
    return [f"{paths}: limits: {len(rows)}, exceeded: {beyond}, exit code {document['exit_code']}."]


def _dataset(each: Mapping[str, Any]) -> str:
    report = each.get("report")
    if is_schema(each) and each["exit_code"] == 0:
        return f"| {_cell(each['path'])} | ✅ schema loads | | | |"
    if report is None:
        return f"| {_cell(each['path'])} | {_MARKS['error']} | | | |"
    mark = _MARKS["passed" if each["exit_code"] == 0 else "failed" if each["exit_code"] == 1 else "error"]
    passed = f"{report['checks_passed']} of {len(report['checks'])}"
    root = report["root"].removeprefix("blake3:")[:16]
    return f"| {_cell(each['path'])} | {mark} | {passed} | {report['rows']:,} | `{root}` |"


def _cell(text: str) -> str:
    """Text of strangers is text in a table, and neither markup nor another cell."""
    text = clean(text).replace("&", "&amp;")
    for sign in "<>|`@\\*_[]~":
        text = text.replace(sign, f"&#{ord(sign)};")
    return " ".join(text.split())


def _data(text: str) -> str:
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
