"""A validation or a comparison as JUnit XML: a suite for each dataset, a test case for each check or limit and field.

Data that are wrong are failures; data that were not examined, or whose stored bytes changed, are errors. What was
measured is in every case, also where it passed. No two cases have one name, of which GitLab would read the first only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from prep.report.outcomes import Outcome, outcomes, verb

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(document: Mapping[str, Any]) -> bytes:
    """UTF-8 XML as CI servers read it."""
    root = Element("testsuites", name=verb(document))
    rows = list(outcomes(document))
    _count(root, rows)
    paths = {(row.dataset, row.path) for row in rows}
    names = Counter(dataset for dataset, _ in paths)
    for path, group in groupby(rows, key=lambda row: row.path):
        suite_rows = list(group)
        suite = SubElement(root, "testsuite", name=_clean(path))
        _count(suite, suite_rows)
        for row in suite_rows:
            _case(suite, row, row.dataset if names[row.dataset] == 1 else f"{row.dataset} ({row.path})")
    indent(root)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _count(element: Element, rows: list[Outcome]) -> None:
    status = [row.status for row in rows]
    element.set("tests", str(len(rows)))
    element.set("failures", str(status.count("failed")))
    element.set("errors", str(status.count("error")))
    if element.tag == "testsuite":
        element.set("skipped", "0")


def _case(suite: Element, row: Outcome, dataset: str) -> None:
    name = row.check + (f" [{row.field}]" if row.field else "") + (f" {row.nth}" if row.nth > 1 else "")
    # Attributes for file and line are in no schema of the format; Jenkins' xUnit plugin refuses them.
    case = SubElement(suite, "testcase", classname=_clean(dataset), name=_clean(name))
    text = f"{row.text}\nat: {row.place}" + (f":{row.line}" if row.line else "")
    if row.status in ("failed", "error"):
        kind = "failure" if row.status == "failed" else "error"
        SubElement(case, kind, message=_clean(row.message), type=_clean(row.check)).text = _clean(text)
    else:
        said = ("warning: " if row.status == "warning" else "") + text
        SubElement(case, "system-out").text = _clean(said)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
