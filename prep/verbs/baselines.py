"""What trivial predictors score on a dataset, from the same pass as everything else: training is judged beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.folds import Scope
from prep.folds.relative import RelativeResult, RelativeScores
from prep.report import CheckResult
from prep.schema import Schema
from prep.verbs.statistics import FieldFolds


def relative_fold(schema: Schema, spec: DatasetSpec) -> tuple[RelativeScores, ...]:
    """Scores of trivial predictors in the metric of the loss where that is an NMSE, sample by sample; else nothing."""
    loss = schema.loss or {}
    target = loss.get("target", "")
    if loss.get("name") != "nmse" or target not in {field.name for field in spec.fields}:
        return ()
    return (RelativeScores(spec[target], Scope.of(spec, "train")),)


def baselines(
    schema: Schema,
    described: Sequence[FieldFolds],
    relative: Sequence[RelativeScores],
    measured: Mapping[str, Any],
    results: Sequence[CheckResult],
) -> dict[str, Any]:
    """Scores on the train split, JSON-ready.

    ``targets``: for each target field the mean square that predicting zero and predicting the train mean of each
    feature leaves, of |x|² for complex values. ``zero`` and ``mean``: the same over the target of the loss or, where
    none is named, over all; where the loss is an NMSE, these are NMSE, and so is ``identity``, that of the unit matrix,
    where the target is a square one. Elsewhere ``identity`` is what a probe measured under this name. ``floors``: what
    the schema says that cannot be beaten without learning, by target, and why. ``probes``: what the probing checks
    measured, by check and field.
    """
    targets: dict[str, dict[str, float]] = {}
    totals, weight = np.zeros(2), 0
    for each in described:
        if each.field.role != "target":
            continue
        moments = measured[each.moments.key]
        counts, seen = moments.finite, moments.finite > 0
        with np.errstate(over="ignore"):  # squares of values beyond 1e154 are infinite
            spread = np.where(seen, np.square(moments.std) * counts, 0.0).sum()
            offset = np.where(seen, np.square(moments.mean) * counts, 0.0).sum()
        # Moments count the two parts of a complex number separately.
        parts = 2 if each.field.dtype.kind == "c" else 1
        sums, count = np.array([spread + offset, spread]), int(counts.sum()) // parts
        targets[each.field.name] = dict(zip(("zero", "mean"), (sums / max(count, 1)).tolist(), strict=True))
        if (schema.loss or {}).get("target", each.field.name) == each.field.name:
            totals, weight = totals + sums, weight + count
    found: dict[str, Any] = {"targets": targets}
    if relative:
        found |= _scores(measured[relative[0].key])
    elif weight:
        found |= dict(zip(("zero", "mean"), (totals / weight).tolist(), strict=True))
    for result in results:
        if "identity" in result.finding.measured:
            found.setdefault("identity", result.finding.measured["identity"])
    if schema.learnability:
        found["floors"] = {target: dict(floor) for target, floor in schema.learnability.items()}
    found["probes"] = [
        {"check": each.check, "field": each.field, **each.finding.measured} for each in results if each.finding.measured
    ]
    return found


def _scores(result: RelativeResult) -> dict[str, float]:
    """The scores that are numbers."""
    named = {"zero": result.zero, "mean": result.mean, "identity": result.identity}
    return {name: score for name, score in named.items() if math.isfinite(score)}
