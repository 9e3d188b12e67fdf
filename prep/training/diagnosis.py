"""A run of ours as the columns of the decision table: from its record, its epochs and, where it ended, its result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prep.training.learning_curves import Curves
from prep.training.next_step import Advice

# References that tell nothing of what the inputs hold.
_TRIVIAL = frozenset({"zero", "identity", "perfect", "mean", "clock"})


def curves_of_run(
    record: Mapping[str, Any], history: Sequence[Mapping[str, float]], result: Mapping[str, Any] | None = None
) -> Curves:
    """``record`` is the run's ``run.json``, ``history`` its ``metrics.csv``, ``result`` its ``result.json``."""
    metric = record["metric"]
    result = result or {}
    step0 = result.get("step0", record.get("step0"))
    return Curves(
        train=_column(history, "train_loss"),
        val=_column(history, metric),
        learning_rate=(float(record["learning_rate"]), *_column(history, "learning_rate")),
        clip_factor=_column(history, "clip_factor"),
        warmup=math.ceil(record["warmup"] * record["epochs"]),
        baseline=record["baseline"],
        nothing=record.get("nothing"),
        target=record["target"],
        first=None if step0 is None else float(step0),
        first_range=tuple(record["first_loss"]),
        seen=result.get("train", {}).get(metric),
        test=result.get("test", {}).get(metric),
        probe=_probe(record, result),
    )


def stopped(record: Mapping[str, Any]) -> Advice | None:
    """What the guard said that stopped the run, if one did."""
    said = record.get("stopped")
    if not said:
        return None
    evidence = f"{said['measured']}, allowed {said['allowed']}" if said["allowed"] else said["measured"]
    return Advice(said["guard"], "stop", said["what"], evidence, said["remedy"], field=said["field"])


def _column(history: Sequence[Mapping[str, float]], name: str) -> tuple[float | None, ...]:
    return tuple(row.get(name) for row in history)


def _probe(record: Mapping[str, Any], result: Mapping[str, Any]) -> float | None:
    """The best of what simple estimators score: of the run's references, else of the certificate's probes."""
    scores = [value for name, value in result.get("references", {}).items() if name not in _TRIVIAL]
    if not scores:
        relative = [probe["nmse"] for probe in record["probes"] if probe.get("split") == "test" and "nmse" in probe]
        scores = [value * record["baseline"] for value in relative]
    return min(scores, default=None)
