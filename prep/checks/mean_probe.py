"""A target that the train split's mean at the same place gives away is told by a clock, and nothing is learnt of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind
from prep.checks.masked import moment_folds, present_values, unusable
from prep.checks.statistics import FIELD, NOT_NEGATIVE, OPTIONAL_FIELD, SPLIT, Statistics, named
from prep.checks.verdict import verdict
from prep.folds import Scope
from prep.folds.moments import Moments, MomentsResult


class MeanProbe:
    """MSE in ``split`` of predicting the train split's mean, of each group and each place of a sample, ≥ ``mse_min``.

    Where the train split does not have the group, zero is predicted. The error follows exactly from the moments of both
    splits: Σ n (std² + (mean − mean_train)²) / Σ n, over groups and places. Statistics of every place are held, so
    samples should be sequences or vectors, not large matrices.
    """

    name = "mean_probe"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "group": OPTIONAL_FIELD,
        "split": SPLIT,
        "mse_min": NOT_NEGATIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["group"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Moments, Moments]:
        field = demand_kind(spec, statistics["var"], self.name, "biuf", "real numbers")
        names = {key: statistics[key] for key in ("var", "group", "split")}
        (held,) = moment_folds(spec, self.name, mask="", features=field.dims[1:], **names)
        return held, replace(held, scope=Scope.of(spec, "train"))

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        (held, train), parts = (measured[fold.key] for fold in folds), [(fold,) for fold in folds]
        problem = next(filter(None, (unusable(part, measured) for part in parts)), "")
        error = _error(held, train) if held.count.sum() else 0.0
        limit, split = statistics["mse_min"], statistics["split"]
        return verdict(
            spec,
            error >= limit and not problem,
            examined=int(held.count.sum() + train.count.sum()) if held.count.sum() and train.count.sum() else 0,
            present=sum(present_values(part, measured) for part in parts),
            limit=f"MSE of predicting the train split's mean ≥ {limit:g}",
            message=problem
            or f"predicting the mean that {statistics['var']} has in the train split at the same place scores an MSE "
            f"of {error:.6g} on the {split} split",
            remedy="draw what places the target (its phase, its start) anew for each sample and each split, and build "
            "again: as it is, a model that ignores its input scores well",
            worst=error,
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, group: str, split: str, mse_min: float) -> bool:
        values, codes = memory.flat(ds, var).astype(np.float64), memory.group_codes(ds, group)
        train, held = memory.in_split(ds, "train"), memory.in_split(ds, split)
        if not train.any() or not held.any() or not np.isfinite(values[train | held]).all():
            return False
        guess = np.zeros_like(values)
        for code in np.unique(codes[train]):
            guess[codes == code] = values[train & (codes == code)].mean(axis=0)
        return bool(np.mean((values - guess)[held] ** 2) >= mse_min)


def _error(held: MomentsResult, train: MomentsResult) -> float:
    """The mean squared error over all groups and places of ``held``."""
    means = dict(zip(train.groups or (0,), train.mean, strict=True))
    total = 0.0
    for group, count, mean, std in zip(held.groups or (0,), held.count, held.mean, held.std, strict=True):
        total += float(np.sum(count * (std**2 + (mean - means.get(group, 0.0)) ** 2)))
    return total / float(held.count.sum())
