"""What need not be measured again: certified data that hold, judged by the schema and the checks of today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from prep.checks import Finding
from prep.engine import Progress, Workers
from prep.errors import PrepError
from prep.gate import admit
from prep.report import CheckResult, Report
from prep.schema import Schema
from prep.verbs.schemas import schema_for


def certified_report(
    path: Path, schema: str | Path | None, registry: str, *, workers: Workers, progress: Progress
) -> Report | None:
    """The report in the certificate of a dataset, where the gate admits it, its schema and the checks (``registry``, a
    digest) are those of now, and every stored byte is hashed and unchanged; else None: then it has to be measured.
    """
    try:
        data = admit(path)
        stated, judging = data.statement.claims["report"], schema_for(data.spec, schema, verify=True)
        if (stated["schema"], stated["check_registry"]) != (judging.digest, registry):
            return None
        data.verify(workers=workers, progress=progress)
    except PrepError:
        return None
    return _report(stated, judging)


def _report(stated: Mapping[str, Any], schema: Schema) -> Report:
    places: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for plan, variant in zip(schema.checks, schema.variants(), strict=True):
        places.setdefault((plan.name, plan.about), []).append((plan.line, variant))

    def place(check: str, field: str) -> tuple[int, str]:
        """A check may be asked for more than once, with other limits; results are in the order of the schema."""
        if asked := places.get((check, field)):
            return asked.pop(0)
        return schema.line_of(field), ""

    return Report(
        dataset=stated["dataset"],
        version=stated["version"],
        root=stated["root"],
        schema_digest=stated["schema"],
        registry_digest=stated["check_registry"],
        rows=stated["rows"],
        values=stated["values"],
        results=tuple(
            CheckResult(
                each["check"],
                each["field"],
                _finding(each),
                each["severity"],
                each["kind"],
                *place(each["check"], each["field"]),
            )
            for each in stated["checks"]
        ),
        baselines=stated["baselines"],
        schema_path=str(schema.path),
    )


def _finding(stated: Mapping[str, Any]) -> Finding:
    known = {each.name: stated[each.name] for each in fields(Finding)}
    if isinstance(known["worst"], str):
        known["worst"] = float(known["worst"])
    return Finding(**known | {name: tuple(known[name]) for name in ("samples", "splits")})
