"""The report: a frozen value that says what was examined and what was found; renderers turn it into text or files."""

from __future__ import annotations

from collections import Counter
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
        """JSON-ready form (no path, no time: the same data give the same report)."""
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


def disagreement(stated: Mapping[str, Any], measured: Report) -> str:
    """Where a report's JSON form says something else than ``measured``, in words; empty where it does not.

    A report of other bytes, of another schema or of other checks says nothing about these and disagrees with nothing.
    """
    own = measured.to_dict()
    if any(stated.get(key) != own[key] for key in ("dataset", "version", "root", "schema", "check_registry")):
        return ""
    checks = stated.get("checks")
    said, found = (Counter(map(_stated_verdict, each)) for each in (checks or (), own["checks"]))
    for words, odd in (("it lacks", found - said), ("it has, and the data do not:", said - found)):
        if odd:
            check, field_name, severity, passed = next(iter(odd))
            verdict = "passed" if passed else "failed"
            return f"{words} {check} on {field_name} ({severity}) {verdict}, and {sum(odd.values()) - 1} more"
    for key in ("verdict", "rows", "values", "checks_passed"):
        if stated.get(key) != own[key]:
            return f"{key} {stated.get(key)} where {own[key]} was measured"
    return ""


def _stated_verdict(check: Mapping[str, Any]) -> tuple[str, str, str, bool]:
    return str(check.get("check")), str(check.get("field")), str(check.get("severity")), check.get("passed") is True


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
