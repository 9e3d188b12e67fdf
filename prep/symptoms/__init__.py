"""What in data would hurt a training, without a schema: each symptom says what it needs measured (folds) and tells what
it found in plain words.

A symptom is one file here and one line in `SYMPTOMS`. Where a check measures the same, a symptom uses its folds and
its judgement; what it adds is the guess that makes the check applicable, the consequence and the command that mends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from prep.blocks import Array, DatasetSpec
from prep.folds import Fold
from prep.registry import Table

SYMPTOMS = Table(
    "symptoms",
    {
        "blank_rows": "prep.symptoms.blank_rows:BlankRows",
        "borders": "prep.symptoms.borders:Borders",
        "constant": "prep.symptoms.constant:Constant",
        "energies": "prep.symptoms.energies:Energies",
        "energy_probe": "prep.symptoms.energy_probe:EnergyProbe",
        "fill_values": "prep.symptoms.fill_values:FillValues",
        "linear_probe": "prep.symptoms.linear_probe:LinearProbe",
        "loss_share": "prep.symptoms.loss_share:LossShare",
        "matrices": "prep.symptoms.matrices:Matrices",
        "nearly_repeated_rows": "prep.symptoms.nearly_repeated_rows:NearlyRepeatedRows",
        "non_finite": "prep.symptoms.non_finite:NonFinite",
        "overflow": "prep.symptoms.overflow:Overflow",
        "padding": "prep.symptoms.padding:Padding",
        "repeated_rows": "prep.symptoms.repeated_rows:RepeatedRows",
        "scale": "prep.symptoms.scale:Scale",
        "shared_sessions": "prep.symptoms.sessions:SharedSessions",
        "shared_steps": "prep.symptoms.shared_steps:SharedSteps",
        "standardised": "prep.symptoms.standardised:Standardised",
        "stored_statistics": "prep.symptoms.stored_statistics:StoredStatistics",
        "time_steps": "prep.symptoms.time:TimeSteps",
        "unit_scale": "prep.symptoms.unit_scale:UnitScale",
    },
)

# Harmful: a training on it fails, or means nothing. Doubtful: it may be meant. A note costs nothing.
Severity = Literal["harmful", "doubtful", "note"]
SEVERITIES: tuple[Severity, ...] = ("harmful", "doubtful", "note")


@dataclass(frozen=True, slots=True)
class Stored:
    """Statistics that lie beside the values of ``field``: ``kind`` is mean, std, min or max, ``values`` float64 in the
    shape they are stored in, ``place`` where they were found.
    """

    field: str
    kind: str
    values: Array
    place: str


@dataclass(frozen=True, slots=True)
class Guess:
    """What a file was taken for.

    ``source`` is how commands name it and ``layout`` what it is (an importer's name, or ``prep`` for a dataset of
    ours). ``spec`` has the fields with guessed roles, masks and dims, and the splits that were found, else one split
    ``train`` of all rows; ``divided`` says whether splits were found. ``why`` tells for each field what its role was
    guessed from. ``time`` names the field that holds times or step numbers and ``group`` the id field of what belongs
    together (session, trajectory, system); both may be empty. ``stored`` are statistics found beside the data.
    """

    source: str
    layout: str
    spec: DatasetSpec
    divided: bool
    why: Mapping[str, str]
    time: str = ""
    group: str = ""
    stored: tuple[Stored, ...] = ()
    unplain: bool = False  # `prep ingest` needs a mapping file


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that was found.

    ``code`` is stable (``kebab-case``; a symptom may have several). ``evidence`` says what was measured and where,
    ``consequence`` what it would do to a training and by how much, ``remedy`` what to do, ``command`` the command that
    does it, or shows more (``""`` where there is none). ``samples`` are the first rows concerned, stored order, at most
    10; ``measured`` holds numbers for machines. ``harm`` orders diagnostics of one severity, larger first: the factor
    by which a loss or gradient is wrong where that can be said, else 1.
    """

    code: str
    severity: Severity
    field: str
    evidence: str
    consequence: str
    remedy: str
    command: str = ""
    samples: tuple[int, ...] = ()
    harm: float = 1.0
    measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Symptom(Protocol):
    """One thing to look for."""

    name: str

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        """What to measure, in the one pass; () where it does not apply."""

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        """What was found, from ``measured`` (fold key → finished measurement)."""
