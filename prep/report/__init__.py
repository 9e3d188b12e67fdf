"""The report: a frozen value that says what was examined and what was found; renderers turn it into text or files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from prep.checks import Finding
from prep.errors import EXIT_DATA, EXIT_INTEGRITY, EXIT_OK, EXIT_UNFINISHED, worst_exit_code

REPORT_VERSION = 1
Severity = Literal["error", "warning"]
Verdict = Literal["passed", "warnings", "failed"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check on one field. ``kind`` says what a failure means: the data are wrong, or the stored bytes are."""

    check: str
    field: str
    finding: Finding
    severity: Severity = "error"
    kind: Literal["data", "integrity"] = "data"

    @property
    def passed(self) -> bool:
        """Whether the check holds."""
        return self.finding.passed


@dataclass(frozen=True, slots=True)
class Report:
    """Every check of one dataset, as measured from its stored bytes in one pass.

    ``root`` is the logical root of what was read, ``schema_digest`` and ``registry_digest`` what it was judged by,
    ``baselines`` what trivial predictors score on it. ``rows`` and ``values`` count what was examined.
    """

    dataset: str
    version: str
    root: str
    schema_digest: str
    registry_digest: str
    rows: int
    values: int
    results: tuple[CheckResult, ...]
    baselines: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """Failed checks of severity error."""
        return tuple(each for each in self.results if not each.passed and each.severity == "error")

    @property
    def warned(self) -> tuple[CheckResult, ...]:
        """Failed checks of severity warning."""
        return tuple(each for each in self.results if not each.passed and each.severity == "warning")

    @property
    def verdict(self) -> Verdict:
        """``passed``, ``warnings`` (no error failed, some warning did) or ``failed``."""
        if self.failed or not self.results:
            return "failed"
        return "warnings" if self.warned else "passed"

    def exit_code(self, *, strict: bool = False) -> int:
        """The command's exit code for this report alone."""
        if not self.results or self.rows == 0:
            return EXIT_UNFINISHED
        counted = self.failed + (self.warned if strict else ())
        codes = {EXIT_INTEGRITY if each.kind == "integrity" else EXIT_DATA for each in counted}
        return worst_exit_code(codes or {EXIT_OK})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form (no path, no time: the same data give the same report); `from_dict` takes it back."""
        return {
            "report_version": REPORT_VERSION,
            "dataset": self.dataset,
            "version": self.version,
            "verdict": self.verdict,
            "root": self.root,
            "schema": self.schema_digest,
            "check_registry": self.registry_digest,
            "rows": self.rows,
            "values": self.values,
            "checks_passed": sum(each.passed for each in self.results),
            "checks": [_result_to(each) for each in self.results],
            "baselines": dict(self.baselines),
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Report:
        """The report that `to_dict` described; KeyError or TypeError for anything else."""
        return cls(
            dataset=body["dataset"],
            version=body["version"],
            root=body["root"],
            schema_digest=body["schema"],
            registry_digest=body["check_registry"],
            rows=body["rows"],
            values=body["values"],
            results=tuple(_result_from(each) for each in body["checks"]),
            baselines=body["baselines"],
        )


def _result_to(result: CheckResult) -> dict[str, Any]:
    finding = asdict(result.finding)
    worst = finding["worst"]
    if worst is not None and not (-float("inf") < worst < float("inf")):
        finding["worst"] = str(worst)
    return {
        "check": result.check,
        "field": result.field,
        "severity": result.severity,
        "kind": result.kind,
        **finding,
        "samples": list(result.finding.samples),
        "splits": list(result.finding.splits),
    }


def _result_from(body: Mapping[str, Any]) -> CheckResult:
    worst = body["worst"]
    finding = Finding(
        passed=body["passed"],
        examined=body["examined"],
        present=body["present"],
        worst=None if worst is None else float(worst),
        limit=body["limit"],
        message=body["message"],
        remedy=body["remedy"],
        failing=body["failing"],
        samples=tuple(body["samples"]),
        splits=tuple(body["splits"]),
        worst_sample=body["worst_sample"],
    )
    return CheckResult(body["check"], body["field"], finding, body["severity"], body["kind"])
