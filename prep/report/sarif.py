"""A validation or a comparison as SARIF 2.1.0: a result for what failed, at the line of the schema that asks for it.

What passed is no result: code scanning would show it as an alert. (The numbers of passing checks are in the JSON, the
JUnit file and the page.)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from prep.report.outcomes import Outcome, outcomes, source_root

_LEVELS = {"error": "error", "failed": "error", "warning": "warning"}
_MOST = 5000  # results that code scanning shows
_ROOT = "%SRCROOT%"


def sarif(document: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON; places in the checkout are relative to it."""
    rows = [row for row in outcomes(document) if row.status in _LEVELS]
    rules = list(dict.fromkeys(row.check for row in rows))
    unexamined = [row for row in rows if row.status == "error"]
    run = {
        "tool": {"driver": {**_driver(), "rules": [_rule(name) for name in rules]}},
        "invocations": [
            {
                "executionSuccessful": document["exit_code"] <= 1,
                "exitCode": document["exit_code"],
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": f"{row.title}: {row.message}"}} for row in unexamined[:_MOST]
                ],
            }
        ],
        "originalUriBaseIds": {_ROOT: {"uri": source_root().as_uri() + "/"}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(row, rules.index(row.check)) for row in rows[:_MOST]],
    }
    body = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(body, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _driver() -> dict[str, Any]:
    try:
        return {"name": "prep", "semanticVersion": version("prep-certified")}
    except PackageNotFoundError:
        return {"name": "prep"}


def _rule(name: str) -> dict[str, Any]:
    words = name.replace("_", " ")
    return {"id": name, "shortDescription": {"text": f"{words[:1].upper()}{words[1:]}"}}


def _result(row: Outcome, rule: int) -> dict[str, Any]:
    identity = "\0".join(
        [_location(row.path)["uri"], row.dataset, row.check, row.field, *([str(row.nth)] if row.nth > 1 else [])]
    )
    place: dict[str, Any] = {"artifactLocation": _location(row.place)}
    if row.line:
        place["region"] = {"startLine": row.line}
    return {
        "ruleId": row.check,
        "ruleIndex": rule,
        "level": _LEVELS[row.status],
        "message": {"text": f"{row.title}\n{row.text}"},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"pathDatasetCheckField/v1": hashlib.sha256(identity.encode()).hexdigest()},
        "properties": {"dataset": row.path},
    }


def _location(place: str) -> dict[str, str]:
    if "://" in place:
        return {"uri": place}
    path = Path(os.path.abspath(place))
    if path.is_relative_to(root := source_root()):
        relative = path.relative_to(root)
        return {"uri": Path("/", relative).as_uri().removeprefix("file:///"), "uriBaseId": _ROOT}
    return {"uri": path.as_uri()}
