"""A report as lines for a terminal: the verdict, what failed first with place and remedy, then what passed."""

from __future__ import annotations

from collections.abc import Iterator

from prep.report import CheckResult, Report


def lines(report: Report, *, verbose: bool = False) -> Iterator[tuple[str, str]]:
    """(style, text) pairs; style is one of ``verdict-good``, ``verdict-bad``, ``bad``, ``warn``, ``good``, ``dim``."""
    passed = sum(each.passed for each in report.results)
    style = "verdict-bad" if report.failed else "verdict-good"
    words = {"passed": "passed", "warnings": "passed with warnings", "failed": "FAILED"}[report.verdict]
    yield (
        style,
        f"{report.dataset} {report.version}: {words}, {passed} of {len(report.results)} checks, "
        f"{report.rows:,} samples, {report.values:,} values examined",
    )
    for result in sorted(report.failed, key=lambda each: each.kind != "integrity"):
        yield from _failure(result, "bad", "FAIL")
    for result in report.warned:
        yield from _failure(result, "warn", "WARN")
    for result in report.results if verbose else ():
        if result.passed:
            worst = "" if result.finding.worst is None else f"worst {result.finding.worst:.4g}, "
            yield "good", f"  ok    {result.check:<20} {result.field:<24} {worst}limit {result.finding.limit}"


def _failure(result: CheckResult, style: str, word: str) -> Iterator[tuple[str, str]]:
    finding = result.finding
    yield style, f"  {word}  {result.check} on {result.field}: {finding.message}"
    if finding.samples:
        splits = f" (split {', '.join(dict.fromkeys(finding.splits))})" if finding.splits else ""
        more = f", {finding.failing - len(finding.samples)} more" if finding.failing > len(finding.samples) else ""
        yield "dim", f"        where:    samples {', '.join(map(str, finding.samples))}{more}{splits}"
    if finding.worst is not None:
        place = "" if finding.worst_sample is None else f" at sample {finding.worst_sample}"
        yield "dim", f"        measured: worst {finding.worst:.6g}{place}"
    yield "dim", f"        allowed:  {finding.limit}"
    if finding.examined != finding.present:
        yield "dim", f"        examined: {finding.examined:,} of {finding.present:,} values"
    yield "dim", f"        remedy:   {finding.remedy}"
