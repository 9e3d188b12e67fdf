"""A diagnosis as a person reads it."""

from __future__ import annotations

from prep.cli.output import say
from prep.verbs.diagnose import Diagnosis


def show_diagnosis(found: Diagnosis) -> None:
    """What was read, then each cause with its evidence and the next step."""
    columns = ", ".join(f"{what} from {column}" for what, column in found.columns.items())
    one, _, rest = found.unit.partition(" ")
    unit = found.unit if found.rows == 1 else " ".join(filter(None, (f"{one}s", rest)))
    judged = [
        f"{name} {value:.4g}"
        for name, value in (("baseline", found.baseline), ("target", found.target))
        if value is not None
    ]
    say(f"{found.path}: {found.kind}, {found.rows} {unit}; {columns}" + (f"; {', '.join(judged)}" if judged else ""))
    styles = {"stop": "verdict-bad", "warn": "warn", "good": "verdict-good", "note": "dim"}
    for each in found.advice:
        say(each.cause, styles[each.level])
        say(f"  evidence: {each.evidence}")
        say(f"  next:     {each.next_step}")
    if not found.good and not found.measured:
        say("The data were not looked at; with --data DATASET they are, and whether anything can be learned of them.")
