"""Predicting zero scores what it should on normalised targets: 1, or the data are not what the loss expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import refuse
from prep.checks.masked import moment_folds, present_values, unusable
from prep.checks.statistics import FIELD, NOT_NEGATIVE, OPTIONAL_FIELD, SPLIT, Statistics, named
from prep.checks.verdict import verdict
from prep.folds.moments import Moments, MomentsResult


class ZeroBaseline:
    """low ≤ Σ m·x² / Σ m ≤ high over one split: the masked mean squared error of predicting zero."""

    name = "zero_baseline"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "mask": OPTIONAL_FIELD,
        "split": SPLIT,
        "low": NOT_NEGATIVE,
        "high": NOT_NEGATIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["mask"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Moments, ...]:
        low, high = statistics["low"], statistics["high"]
        if low > high:
            raise refuse(
                spec, statistics["var"], self.name, measured=f"low {low:g} > high {high:g}", allowed="low ≤ high"
            )
        names = {key: statistics[key] for key in ("var", "mask", "split")}
        return moment_folds(spec, self.name, group="", features=(), **names)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        moments: MomentsResult = measured[folds[0].key]
        error = float(np.sum(moments.mean**2 + moments.std**2))
        low, high = statistics["low"], statistics["high"]
        problem = unusable(folds, measured)
        return verdict(
            spec,
            low <= error <= high and not problem,
            examined=int(moments.count.sum()),
            present=present_values(folds, measured),
            limit=f"{low:g} ≤ MSE of predicting zero ≤ {high:g}",
            message=problem
            or f"predicting zero for {statistics['var']} scores {error:.6g} on the {statistics['split']} split",
            remedy="normalise the targets with train statistics of what the mask counts; raw targets are far from 1",
            worst=error,
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, mask: str, split: str, low: float, high: float) -> bool:
        columns = list(memory.counted_columns(ds, var, mask=mask, group="", split=split, features=[]))
        if not columns:
            return False
        parts = [float(np.mean(column**2)) for column in columns]
        return bool(low <= sum(parts) <= high)
