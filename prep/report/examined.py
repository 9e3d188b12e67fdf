"""What `prep doctor` found in one file: what it was taken for and what would hurt a training; a frozen value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prep.blocks import FieldSpec
from prep.errors import EXIT_DATA, EXIT_INTEGRITY, EXIT_OK, EXIT_UNFINISHED, EXIT_USAGE, PrepError
from prep.symptoms import SEVERITIES, Diagnostic, Guess

DOCTOR_VERSION = 1
_WORST = (EXIT_INTEGRITY, EXIT_DATA, EXIT_UNFINISHED, EXIT_USAGE)


@dataclass(frozen=True, slots=True)
class Examined:
    """One dataset as it was examined.

    ``form`` says in words how its arrays belong together, ``left_out`` which were not looked at and why, ``notes`` what
    else was noticed. ``looked_for`` are the symptoms that apply to it, ``checks`` how many checks of an embedded schema
    were judged beside them (0 where there is none), ``values`` the numbers read. ``diagnostics`` come worst first.
    ``damaged`` says that stored bytes are not those that were written.
    """

    path: Path
    bytes: int
    form: str
    guess: Guess
    left_out: Mapping[str, str]
    notes: tuple[str, ...]
    looked_for: tuple[str, ...]
    values: int
    diagnostics: tuple[Diagnostic, ...]
    checks: int = 0
    damaged: bool = False

    def count(self, severity: str) -> int:
        """How many diagnostics are of a severity."""
        return sum(each.severity == severity for each in self.diagnostics)

    @property
    def exit_code(self) -> int:
        """3 for damaged bytes, 1 where something is harmful, else 0."""
        if self.damaged:
            return EXIT_INTEGRITY
        return EXIT_DATA if self.count("harmful") else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that JSON has not are texts."""
        guess = self.guess
        return {
            "taken_for": {
                "layout": guess.layout,
                "form": self.form,
                "name": guess.spec.name,
                "samples": guess.spec.rows,
                "bytes": self.bytes,
                "divided": guess.divided,
                "splits": {name: list(rows) for name, rows in guess.spec.splits.items()},
                "time": guess.time,
                "group": guess.group,
                "fields": [_field(each, guess.why.get(each.name, "")) for each in guess.spec.fields],
                "statistics": [{"field": each.field, "kind": each.kind, "place": each.place} for each in guess.stored],
                "left_out": dict(self.left_out),
                "notes": list(self.notes),
            },
            "looked_for": list(self.looked_for),
            "checks": self.checks,
            "values": self.values,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "diagnostics": [_plain(asdict(each)) for each in self.diagnostics],
        }


@dataclass(frozen=True, slots=True)
class Examination:
    """What became of one path: what was found in it, or the error that kept it from being examined."""

    path: Path
    found: Examined | None = None
    error: PrepError | None = field(default=None, compare=False)

    @property
    def exit_code(self) -> int:
        """Of this path alone."""
        if self.found is not None:
            return self.found.exit_code
        return self.error.exit_code if self.error is not None else EXIT_OK


def exit_code(found: Iterable[Examination]) -> int:
    """Of several paths the worst: damaged, harmful, not examined, usage. What applies to no symptom hides nothing."""
    codes = {each.exit_code for each in found}
    return next((code for code in _WORST if code in codes), EXIT_OK)


def document(found: Sequence[Examination]) -> dict[str, Any]:
    """The JSON form of `prep doctor` (``examined.schema.json`` beside this module): what was found, or an error, by
    path.
    """
    files = []
    for each in found:
        entry: dict[str, Any] = {"path": str(each.path), "exit_code": each.exit_code}
        if each.found is not None:
            entry |= each.found.to_dict()
        if each.error is not None:
            entry["error"] = each.error.to_dict()
        files.append(entry)
    return {
        "doctor_version": DOCTOR_VERSION,
        "exit_code": exit_code(found),
        "files": files,
    }


def _field(spec: FieldSpec, why: str) -> dict[str, Any]:
    return {
        "name": spec.name,
        "dtype": spec.dtype.name,
        "shape": list(spec.shape),
        "role": spec.role,
        "why": why,
        "mask": spec.mask,
        "units": spec.units,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return str(value)
    return value if isinstance(value, str | int | float) or value is None else str(value)
