"""Done, overfitted or not there yet: by the success criteria of the system and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from prep.training.systems.system import Criterion, System

Kind = Literal["done", "overfitted", "not there yet"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of three words, the criteria behind it, and one sentence that says what decided."""

    kind: Kind
    criteria: tuple[Criterion, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        criteria = [{**asdict(each), "met": each.met} for each in self.criteria]
        return {"verdict": self.kind, "reason": self.reason, "criteria": criteria}


def judge(system: System, train: Mapping[str, float], test: Mapping[str, float]) -> Verdict:
    """The verdict on metrics of frozen weights.

    Done where every criterion is met. Overfitted where the train split meets its own, and what was not seen is too far
    above it. Not there yet otherwise.
    """
    criteria = system.criteria(train, test)
    missed = [each for each in criteria if not each.met]
    if not missed:
        return Verdict("done", criteria, "every criterion is met")
    learned = all(each.met for each in criteria if each.kind == "train")
    apart = next((each for each in missed if each.kind == "ratio"), None)
    if learned and apart is not None and math.isfinite(apart.value):
        return Verdict("overfitted", criteria, f"{apart.metric} is {apart.value:.3g}, above {apart.below:.3g}")
    first = missed[0]
    return Verdict(
        "not there yet",
        criteria,
        f"{first.kind} {first.metric} is {first.value:.4g}, not below {first.below:.4g}"
        if first.kind != "ratio"
        else f"{first.metric} is {first.value:.3g}, above {first.below:.3g}",
    )
