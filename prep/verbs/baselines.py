"""What trivial predictors score on a dataset, from the same pass as everything else: training is judged beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.folds import Scope
from prep.folds.rowmean import RowMean
from prep.report import CheckResult
from prep.schema import Schema
from prep.verbs.statistics import FieldFolds


def identity_fold(schema: Schema, spec: DatasetSpec) -> tuple[RowMean, ...]:
    """NMSE of predicting the unit matrix, where the loss is an NMSE of square matrices; else nothing."""
    loss = schema.loss or {}
    target = loss.get("target", "")
    if loss.get("name") != "nmse" or target not in spec:
        return ()
    shape = spec[target].shape
    if len(shape) != 2 or shape[0] != shape[1]:
        return ()
    return (RowMean("identity_nmse", (target,), identity_nmse, Scope.of(spec, "train")),)


def identity_nmse(arrays: Mapping[str, Array]) -> Array:
    """‖I − R‖² / ‖R‖² of matrices R (rows, N, N), (rows,)."""
    (matrices,) = arrays.values()
    flat = matrices.reshape(len(matrices), -1)
    squares = np.einsum("ri,ri->r", flat, np.conj(flat)).real.astype(np.float64)
    trace = np.trace(matrices, axis1=1, axis2=2).real.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Array = (matrices.shape[1] - 2.0 * trace + squares) / squares
    return ratio


def baselines(
    schema: Schema,
    described: Sequence[FieldFolds],
    identity: Sequence[RowMean],
    measured: Mapping[str, Any],
    results: Sequence[CheckResult],
) -> dict[str, Any]:
    """Scores on the train split, JSON-ready.

    ``targets``: for each target field the mean square that predicting zero and predicting the train mean leaves.
    ``zero`` and ``mean``: the same over the target of the loss or, where none is named, over all. ``identity``: NMSE of
    the unit matrix, where that makes sense. ``probes``: what the probing checks measured, by check and field.
    """
    targets: dict[str, dict[str, float]] = {}
    totals, weight = np.zeros(2), 0
    for each in described:
        if each.field.role != "target":
            continue
        result = measured[each.moments.key]
        counts, seen = result.finite, result.finite > 0
        spread = np.where(seen, np.square(result.std) * counts, 0.0).sum()
        offset = np.where(seen, np.square(result.mean) * counts, 0.0).sum()
        sums, count = np.array([spread + offset, spread]), int(counts.sum())
        targets[each.field.name] = dict(zip(("zero", "mean"), (sums / max(count, 1)).tolist(), strict=True))
        if (schema.loss or {}).get("target", each.field.name) == each.field.name:
            totals, weight = totals + sums, weight + count
    found: dict[str, Any] = {"targets": targets}
    if weight:
        found |= dict(zip(("zero", "mean"), (totals / weight).tolist(), strict=True))
    for fold in identity:
        if math.isfinite(score := measured[fold.key].mean):
            found["identity"] = score
    found["probes"] = [
        {"check": each.check, "field": each.field, **each.finding.measured} for each in results if each.finding.measured
    ]
    return found
