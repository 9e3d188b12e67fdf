"""The rows of a validation document: one for each check and field, and one for each reason why data were not examined.

Everything that is written for a machine or a page is made of these, so that all of them say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Failed: the data are wrong. Error: they were not examined, or the stored bytes are not those that were written.
Status = Literal["error", "failed", "warning", "passed"]
ORDER: tuple[Status, ...] = ("error", "failed", "warning", "passed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check on one field of the dataset at ``path``, or (``check`` is then the code of an error) why there is none.

    ``place`` and ``line`` are where to look: the line of the schema that asks for it, else the dataset itself.
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
    """Every row of a validation document, dataset by dataset; within one, what to mend first comes first."""
    for each in document["datasets"]:
        found = [*_errors(each), *_checks(each, strict=document["strict"]), *_notes(each)]
        yield from sorted(found, key=lambda row: ORDER.index(row.status))


def _checks(dataset: Mapping[str, Any], *, strict: bool) -> Iterator[Outcome]:
    report = dataset.get("report", {"checks": []})
    for check, line in zip(report["checks"], dataset.get("lines", []), strict=True):
        yield Outcome(
            path=dataset["path"],
            dataset=report["dataset"],
            check=check["check"],
            field=check["field"],
            status=_status(check, strict=strict),
            message=check["message"],
            measured=_measured(check),
            allowed=check["limit"],
            samples=_samples(check),
            remedy="" if check["passed"] else check["remedy"],
            place=dataset["schema"] if line else dataset["path"],
            line=line,
        )


def _notes(dataset: Mapping[str, Any]) -> Iterator[Outcome]:
    if "note" in dataset:
        place = dataset["path"]
        yield Outcome(place, place, "schema", "", "passed", dataset["note"], "", "", "", "", place, 0)


def _errors(dataset: Mapping[str, Any]) -> Iterator[Outcome]:
    error = dataset.get("error")
    for each in error.get("reasons", [error]) if error else ():
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
            samples=", ".join(f"{name} {value}" for name, value in where.items() if name not in ("path", "dataset")),
            remedy=each["remedy"],
            place=where.get("path") or dataset["path"],
            line=where.get("line") or 0,
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
    parts.append(f"{examined:,} values examined" if examined == present else f"{examined:,} of {present:,} examined")
    return ", ".join(parts)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


def _samples(check: Mapping[str, Any]) -> str:
    samples = check["samples"]
    if not samples:
        return ""
    more = check["failing"] - len(samples)
    splits = ", ".join(dict.fromkeys(check["splits"]))
    return (
        f"samples {', '.join(map(str, samples))}"
        + (f" and {more:,} more" if more > 0 else "")
        + (f" (split {splits})" if splits else "")
    )
