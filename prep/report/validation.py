"""What `validate` found at several paths, as values and as the one document that every other output is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.errors import EXIT_OK, PrepError, worst_exit_code
from prep.report import Report
from prep.report.outcomes import by_dataset

VALIDATION_VERSION = 1


@dataclass(frozen=True, slots=True)
class Validation:
    """What `validate` found at one path: a report, the error that kept it from finishing, or of a schema without data a
    ``note``. ``unchanged`` is a report that was not measured now, but is that of a certificate that holds.
    """

    path: Path
    report: Report | None
    error: PrepError | None = None
    unchanged: bool = False
    note: str = ""

    def exit_code(self, *, strict: bool = False) -> int:
        """Of this path alone."""
        if self.report is not None:
            return self.report.exit_code(strict=strict)
        return self.error.exit_code if self.error is not None else EXIT_OK


def document(found: Sequence[Validation], *, strict: bool) -> dict[str, Any]:
    """The JSON form of `validate` (``validation.schema.json`` beside this module): a report, or an error, by path; what
    is to be mended first comes first, whatever the order of ``found``.

    ``lines`` are the lines of ``schema`` that ask for the checks of the report, in their order, 0 where none does;
    ``variants`` tell those of one name on one field apart.
    """
    told: dict[str, Any] = {
        "report_version": VALIDATION_VERSION,
        "exit_code": worst_exit_code(each.exit_code(strict=strict) for each in found),
        "strict": strict,
        "datasets": [_dataset(each, strict) for each in found],
    }
    return told | {"datasets": [each for each, _ in by_dataset(told)]}


def _dataset(found: Validation, strict: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"path": str(found.path), "exit_code": found.exit_code(strict=strict)}
    if found.report is not None:
        lines = [each.line for each in found.report.results]
        about |= {"schema": found.report.schema_path, "lines": lines, "unchanged": found.unchanged}
        about["variants"] = [each.variant for each in found.report.results]
        about["report"] = found.report.to_dict()
    if found.error is not None:
        about["error"] = found.error.to_dict()
    if found.note:
        about["note"] = found.note
    return about
