"""A validation and what was measured beside it as one HTML page: no script, no request, the same bytes for the same
data.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from prep.report.outcomes import ORDER, outcomes, tally
from prep.report.parts import Cell, Dataset, Section, Text
from prep.report.said import clean, short
from prep.report.sections_checks import baselines, checks, facts, splits, verdict
from prep.report.sections_fields import distributions
from prep.report.sections_matrices import covariances
from prep.report.sections_origin import certificate, fields, provenance
from prep.report.sections_scales import losses, scales
from prep.report.sheet import Sheet

_PIECES = re.compile(r"\S{1,16}?(?:[_/]|\.(?=[a-z]))|(?<![^\s_/.])\S{1,16}(?!\S)|\S{1,8}|\s+")


def page(document: Mapping[str, Any], sheets: Sequence[Sheet]) -> str:
    """The page of a validation document and the sheets of its datasets, in their order."""
    strict = document["strict"]
    pairs = list(zip(document["datasets"], sheets, strict=True))
    found = [
        _dataset(entry, sheet, f"d{index}-" if len(pairs) > 1 else "", strict)
        for index, (entry, sheet) in enumerate(pairs)
    ]
    found.sort(key=lambda each: ORDER.index(each.status))
    template = _environment().get_template("page.html")
    text = template.render(
        datasets=found,
        title=_title(found, document),
        style=Markup(_style()),
        digest=base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode(),
        made_by=f"prep {version('prep-certified')}",
        strict=strict,
    )
    return text.rstrip() + "\n"


def _dataset(entry: Mapping[str, Any], sheet: Sheet, prefix: str, strict: bool) -> Dataset:
    rows = list(outcomes({"datasets": [entry], "strict": strict}))
    status, said, summary = verdict(entry, rows)
    report = entry.get("report", {})
    name = report.get("dataset") or (sheet.spec.name if sheet.spec else sheet.path.name)
    number = report.get("version") or (sheet.spec.version if sheet.spec else "")
    sections: list[Section | None] = [checks(rows)]
    if sheet.spec is None and "note" not in entry:
        sections.append(_unknown(sheet))
    elif sheet.spec is not None:
        sections += [
            *(distributions(sheet), scales(sheet), losses(sheet), covariances(sheet)),
            *(splits(entry, rows, sheet), baselines(entry, sheet), fields(sheet)),
            *(provenance(entry, sheet), certificate(sheet)),
        ]
    return Dataset(
        id=prefix,
        name=short(name, 120),
        version=short(number, 40),
        path=clean(sheet.path),
        status=status,
        verdict=said,
        summary=summary,
        about=short(sheet.about, 2000),
        facts=list(facts(entry, sheet)),
        sections=[each for each in sections if each is not None],
    )


def _unknown(sheet: Sheet) -> Section:
    told = "Distributions, scales, loss shares, splits, baselines, fields, provenance and certificate are not known"
    return Section(
        "unknown", "Everything else", [Text(f"{told}: {short(sheet.closed or 'there was nothing to open')}.")]
    )


def _title(found: Sequence[Dataset], document: Mapping[str, Any]) -> str:
    if len(found) == 1:
        (only,) = found
        return f"{only.name} {only.version}: {only.verdict.lower()}"
    return tally(document)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("prep.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["clean"] = clean
    made.filters["short"] = short
    made.filters["soft"] = _soft
    made.filters["ticked"] = _ticked
    return made


def _ticked(text: object) -> Markup:
    """Text whose parts between backticks are code."""
    pieces = clean(text).split("`")
    if len(pieces) % 2 == 0:
        return escape("`".join(pieces))
    return Markup("").join(Markup("<code>{}</code>").format(each) if i % 2 else each for i, each in enumerate(pieces))


def _soft(cell: Cell) -> Markup:
    """Text that may go on in the next line after ``_`` and ``/`` and within long words; pictures stay as they are."""
    if isinstance(cell, Markup):
        return cell
    words = (Markup("<wbr>").join(_PIECES.findall(word)) for word in clean(cell).split(" "))
    return Markup(" ").join(words)


@cache
def _style() -> str:
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), "style.css")[0]
