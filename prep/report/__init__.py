"""The report: a frozen value that says what was examined and what was found; renderers turn it into text or files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from prep.checks import Finding
from prep.errors import EXIT_DATA, EXIT_INTEGRITY, EXIT_OK, EXIT_UNFINISHED, worst_exit_code

REPORT_VERSION = 1
Severity = Literal["error", "warning"]
Verdict = Literal["passed", "warnings", "failed"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check on one field. ``kind`` says what a failure means: the data are wrong, or the stored bytes are. ``line``
    is where the schema asks for it (1-based), 0 where it does not; ``variant`` what tells it from others of its name
    on the field (`Schema.variants`).
    """

    check: str
    field: str
    finding: Finding
    severity: Severity = "error"
    kind: Literal["data", "integrity"] = "data"
    line: int = 0
    variant: str = ""

    @property
    def passed(self) -> bool:
        """Whether the check holds."""
        return self.finding.passed


@dataclass(frozen=True, slots=True)
class Report:
    """Every check of one dataset, as measured from its stored bytes in one pass.

    ``root`` is the logical root of what was read, ``schema_digest`` and ``registry_digest`` what it was judged by,
    ``baselines`` what trivial predictors score on it. ``rows`` and ``values`` count what was examined. ``schema_path``
    is where the schema was read; like lines and variants, it is no part of what the report says of the data.
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
    schema_path: str = ""

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
        return _verdict([(each.passed, each.severity) for each in self.results])

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


def contradiction(stated: Any) -> str:
    """What is wrong with a report's JSON form by itself, in words: it is no report, or its verdict is not the one that
    follows from its checks; empty where nothing is.
    """
    texts, counts = ("dataset", "version", "root", "schema", "check_registry", "verdict"), ("rows", "values")
    if not isinstance(stated, Mapping) or set(stated) != {
        "report_version",
        *texts,
        *counts,
        "checks_passed",
        "checks",
        "baselines",
    }:
        return "the report is none, or has other members"
    if not all(isinstance(stated[name], str) for name in texts) or not isinstance(stated["baselines"], Mapping):
        return "a text of the report is none, or its baselines are no table"
    if any(type(stated[name]) is not int or stated[name] <= 0 for name in counts):
        return "the report is about no samples or no values"
    checks = stated["checks"]
    if not isinstance(checks, list) or not checks:
        return "no check was made"
    for check in checks:
        if not _is_result(check):
            return f"a check of the report is none: {str(check)[:80]}"
        if check["passed"] and not 0 < check["examined"] == check["present"]:
            return (
                f"{check['check']} on {check['field']} passed with {check['examined']} of {check['present']} examined"
            )
    passed = sum(each["passed"] for each in checks)
    if type(stated["checks_passed"]) is not int or stated["checks_passed"] != passed:
        return f"checks_passed is {stated['checks_passed']} where {passed} passed"
    verdict = _verdict([(each["passed"], each["severity"]) for each in checks])
    return "" if stated["verdict"] == verdict else f"the verdict is {stated['verdict'][:20]!a} where it is {verdict!r}"


def _verdict(results: Sequence[tuple[bool, str]]) -> Verdict:
    """What follows from checks, each whether it passed and how severe it is that it did not."""
    failures = {severity for passed, severity in results if not passed}
    if "error" in failures or not results:
        return "failed"
    return "warnings" if failures else "passed"


def _is_result(check: Any) -> bool:
    return (
        isinstance(check, Mapping)
        and all(isinstance(check.get(name), str) for name in ("check", "field", "limit", "message", "remedy"))
        and check.get("severity") in ("error", "warning")
        and check.get("kind") in ("data", "integrity")
        and isinstance(check.get("passed"), bool)
        and all(type(check.get(name)) is int for name in ("examined", "present", "failing"))
    )


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
