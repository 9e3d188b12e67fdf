"""The rows of a document of `prep validate` or `prep diff`: one for each check and field, or limit of drift, and one
for each reason why data were not examined.

Everything that is written for a machine or a page is made of these, so that all of them say the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prep.errors import counted

# Failed: the data are wrong. Error: they were not examined, or the stored bytes are not those that were written.
Status = Literal["error", "failed", "warning", "passed"]
ORDER: tuple[Status, ...] = ("error", "failed", "warning", "passed")
# Causes before what follows from them: other bytes, another shape, another plan, NaN, a transform that was not applied,
# a wrong mask or stale statistics make every later check fail too. A check that is not named here is judged on the
# values themselves.
CAUSES: tuple[tuple[str, ...], ...] = (
    ("stored_bytes",),
    ("structure",),
    ("transform_plan",),
    ("split_flags",),
    ("finite",),
    ("embedded_transforms",),
    ("binary", "mask_prefix", "zero_padding", "encoding", "count_matches", "one_hot", "time_steps"),
    ("embedded_statistics",),
    (),
    ("in_bounds", "norm_bounds", "held_out", "growth"),
    ("zero_baseline", "loss_share", "linear_fit", "mean_probe", "fir_probe", "learnability"),
)
_PLACES = {name: place for place, names in enumerate(CAUSES) for name in names}
_OTHERS = CAUSES.index(())
LABELS = {
    "jensen_shannon": "Jensen-Shannon divergence",
    "psi": "PSI",
    "l_inf": "L∞ distance",
    "mean_shift": "mean shift",
    "std_ratio": "ratio of standard deviations",
    "nonfinite": "share of NaN and Inf",
    "new": "new groups",
    "lost": "lost groups",
}
_DRIFTED = "find what changed in how B was made; where that is meant, state it in prep.drift of the schema"
_SAID = ("path", "dataset", "field", "line")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check on one field of the dataset at ``path``, or (``check`` is then the code of an error) why there is none.

    ``field`` also says what tells the check from others of its name on that field: ``inputs (val)``.
    ``place`` and ``line`` are where to look: the line of the schema that asks for it, else the dataset itself.
    ``examined`` counts values, ``failing`` samples (0 where a check is not about single ones), ``first`` are the first
    of them, and ``splits`` those that they lie in. ``nth`` counts the rows of one check on one field, in the order of
    the document: their name in one dataset is check, field and ``nth``.
    """

    path: str
    dataset: str
    check: str
    field: str
    status: Status
    message: str
    measured: str
    allowed: str
    samples: str
    remedy: str
    place: str
    line: int
    examined: int = 0
    failing: int = 0
    worst: str = ""
    first: tuple[int, ...] = ()
    splits: str = ""
    nth: int = 1

    @property
    def title(self) -> str:
        """Dataset, check and field in one line."""
        return f"{self.dataset}: {self.check}" + (f" on {self.field}" if self.field else "")

    @property
    def text(self) -> str:
        """All there is to say, one line each."""
        rows = (
            ("where", self.samples),
            ("measured", self.measured),
            ("allowed", self.allowed),
            ("remedy", self.remedy),
        )
        return "\n".join([self.message, *(f"{name}: {value}" for name, value in rows if value)])


def outcomes(document: Mapping[str, Any]) -> Iterator[Outcome]:
    """Every row of a document, dataset by dataset; what to mend first comes first."""
    for _, rows in by_dataset(document):
        yield from rows


def source_root(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that paths of annotations and alerts are relative to: the checkout of a CI server, else this one."""
    here = Path.cwd()
    checkout = environment.get("GITHUB_WORKSPACE", "")
    return Path(checkout) if checkout and here.is_relative_to(checkout) else here


def verb(document: Mapping[str, Any]) -> str:
    """The command that made a document."""
    return "prep diff" if "diff_version" in document else "prep validate"


def by_dataset(document: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], list[Outcome]]]:
    """Each dataset of a document (of a comparison: the second one) with its rows, those first that are worst; within
    one, what was not examined or is not as it was written, then failures, then warnings, each with causes before what
    follows from them.
    """
    if "diff_version" in document:
        return [(document, sorted(_drift(document), key=lambda row: ORDER.index(row.status)))]
    found = []
    for each in document["datasets"]:
        rows = [*_errors(each), *_checks(each, strict=document["strict"]), *_notes(each)]
        found.append((each, sorted(rows, key=_urgency)))
    return sorted(found, key=lambda pair: ORDER.index(pair[1][0].status) if pair[1] else len(ORDER))


def tally(document: Mapping[str, Any]) -> str:
    """How many datasets passed, and how many of the schemas that were given without a dataset load."""
    data = [each["exit_code"] == 0 for each in document["datasets"] if not is_schema(each)]
    alone = [each["exit_code"] == 0 for each in document["datasets"] if is_schema(each)]
    told = [f"{sum(data):,} of {counted(len(data), 'dataset')} passed"] if data else []
    if alone:
        told.append(f"{sum(alone):,} of {len(alone):,} schema{'s load' if len(alone) > 1 else ' loads'}")
    return ", ".join(told)


def is_schema(dataset: Mapping[str, Any]) -> bool:
    """Whether an entry of a document is a schema that was given without its dataset."""
    return "note" in dataset or ("report" not in dataset and dataset["path"].lower().endswith((".yaml", ".yml")))


def precedence(check: str) -> int:
    """The place of a check in `CAUSES`: what has a smaller one is mended first."""
    return _PLACES.get(check, _OTHERS)


def _urgency(row: Outcome) -> tuple[int, int]:
    return ORDER.index(row.status), precedence(row.check)


def _checks(dataset: Mapping[str, Any], *, strict: bool) -> Iterator[Outcome]:
    report = dataset.get("report", {"checks": []})
    lines = dataset.get("lines", [])
    variants = dataset.get("variants", [""] * len(lines))
    seen: Counter[tuple[str, str]] = Counter()
    for check, line, variant in zip(report["checks"], lines, variants, strict=True):
        field = check["field"] + (f" ({variant})" if variant else "")
        seen[check["check"], field] += 1
        yield Outcome(
            path=dataset["path"],
            dataset=report["dataset"],
            check=check["check"],
            field=field,
            status=_status(check, strict=strict),
            message=check["message"],
            measured=_measured(check),
            allowed=check["limit"],
            samples=_samples(check),
            remedy="" if check["passed"] else check["remedy"],
            place=dataset["schema"] if line else dataset["path"],
            line=line,
            examined=check["examined"],
            failing=check["failing"],
            worst="" if check["worst"] is None else _number(check["worst"], 4),
            first=tuple(check["samples"]),
            splits=_splits(check),
            nth=seen[check["check"], field],
        )


def _drift(document: Mapping[str, Any]) -> Iterator[Outcome]:
    path = document["b"]["path"]
    if "error" in document:
        yield from _errors({"path": path, "error": document["error"]})
        return
    name, limits = document["b"]["name"], document["limits"]
    if limits is None:
        message, remedy = (
            "no limits of drift are stated, so that nothing is judged",
            "add section prep.drift to the schema",
        )
        yield Outcome(path, name, "drift_limits", "", "warning", message, "", "", "", remedy, path, 0)
        return
    for each in document["judged"]:
        place = f"{each['field']} by {each['by']}" if each["by"] else each["field"]
        beyond, judged, number = each["beyond"], each["judged"], _number(each["measured"], 4)
        message = f"{each['feature']}: {LABELS.get(each['measure'], 'not compared,')} {number}"
        if judged > 1:
            message += f", the largest; {beyond:,} of {judged:,} are beyond the limit"
        yield Outcome(
            path=path,
            dataset=name,
            check=f"drift_{each['measure']}",
            field=place,
            status="failed" if beyond else "passed",
            message=message,
            measured=number,
            allowed=_number(each["allowed"]) if each["measure"] == "comparable" else f"≤ {_number(each['allowed'])}",
            samples="",
            remedy=_DRIFTED if beyond else "",
            place=limits,
            line=0,
        )
    for field in document["fields_unread"]:
        same = "holds the same values, by digest"
        yield Outcome(path, name, "drift_same", field, "passed", same, "", "", "", "", limits, 0)


def _notes(dataset: Mapping[str, Any]) -> Iterator[Outcome]:
    if "note" in dataset:
        place = dataset["path"]
        yield Outcome(place, place, "schema", "", "passed", dataset["note"], "", "", "", "", place, 0)


def _errors(dataset: Mapping[str, Any]) -> Iterator[Outcome]:
    error = dataset.get("error")
    for nth, each in enumerate(error.get("reasons", [error]) if error else (), 1):
        where = each["where"]
        yield Outcome(
            path=dataset["path"],
            dataset=where.get("dataset") or dataset["path"],
            check=each["code"],
            field=where.get("field", ""),
            status="error",
            message=each["what"],
            measured=each["measured"] or "",
            allowed=each["allowed"] or "",
            samples=", ".join(f"{name} {value}" for name, value in where.items() if name not in _SAID),
            remedy=each["remedy"],
            place=where.get("path") or dataset["path"],
            line=where.get("line") or 0,
            nth=nth,
        )


def _status(check: Mapping[str, Any], *, strict: bool) -> Status:
    if check["passed"]:
        return "passed"
    if check["kind"] == "integrity":
        return "error"
    return "warning" if check["severity"] == "warning" and not strict else "failed"


def _measured(check: Mapping[str, Any]) -> str:
    examined, present = check["examined"], check["present"]
    parts = [] if check["worst"] is None else [f"worst {_number(check['worst'])}"]
    if check["worst"] is not None and check["worst_sample"] is not None:
        parts[-1] += f" at sample {check['worst_sample']}"
    said = counted(examined, "value") if examined == present else f"{examined:,} of {present:,}"
    parts.append(f"{said} examined")
    return ", ".join(parts)


def _number(value: Any, digits: int = 6) -> str:
    return f"{value:.{digits}g}" if isinstance(value, int | float) else str(value)


def _splits(check: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(check["splits"]))


def _samples(check: Mapping[str, Any]) -> str:
    samples = check["samples"]
    if not samples:
        return ""
    more = check["failing"] - len(samples)
    splits = _splits(check)
    return (
        f"sample{'s' if len(samples) > 1 else ''} {', '.join(map(str, samples))}"
        + (f" and {more:,} more" if more > 0 else "")
        + (f" (split {splits})" if splits else "")
    )
