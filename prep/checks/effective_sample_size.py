"""Enough independent samples: a series that remembers its past holds fewer than it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_one_integer, refuse
from prep.checks.statistics import COUNT, FIELD, POSITIVE, SPLIT, Statistics, named
from prep.checks.verdict import rows_in, verdict
from prep.errors import counted
from prep.folds import Scope
from prep.folds.autocorrelation import Autocorrelation, AutocorrelationResult, effective_size


class EffectiveSampleSize:
    """n / (1 + 2 Σ ρ_lag) ≥ ``minimum`` for the series of ``var`` in each ``group`` of ``split``, in stored order.

    ρ is the autocorrelation up to ``max_lag`` samples (`prep.folds.autocorrelation`). The finding reports the smallest
    number and the sum over all groups.
    """

    name = "effective_sample_size"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "group": FIELD,
        "split": SPLIT,
        "max_lag": COUNT,
        "minimum": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["group"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Autocorrelation]:
        field = demand_kind(spec, statistics["var"], self.name, "f", "float")
        if field.shape:
            raise refuse(spec, field.name, self.name, measured=f"dims {field.dims}", allowed="dims (sample,)")
        demand_one_integer(spec, statistics["group"], self.name)
        scope = Scope.of(spec, statistics["split"])
        return (Autocorrelation(field.name, statistics["group"], int(statistics["max_lag"]), scope),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        result: AutocorrelationResult = measured[fold.key]
        short = np.flatnonzero(~(result.effective >= statistics["minimum"]))
        worst, message = None, "there is no series"
        if result.groups:
            least = int(np.argmin(result.effective))
            worst = float(result.effective[least])
            message = (
                f"{result.rows} samples of {fold.values} are worth {result.effective.sum():.0f} independent ones"
                f" (least: {worst:.3g} of {result.counts[least]} in {fold.group} {result.groups[least]})"
            )
            if len(short):
                message = f"{len(short)} of {len(result.groups)} series have too few independent samples: {message}"
        if result.nonfinite:
            message = f"{counted(result.nonfinite, 'sample')} of {fold.values} not finite; {message}"
        return verdict(
            spec,
            bool(result.groups) and not len(short) and not result.nonfinite,
            examined=result.rows,
            present=rows_in(fold.scope),
            limit=f"≥ {statistics['minimum']:g} independent samples in each {fold.group}",
            message=message,
            remedy="simulate longer, or take frames farther apart; see that samples are stored in the order of time",
            worst=worst,
            failing=int(result.counts[short].sum()),
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, group: str, split: str, max_lag: int, minimum: float) -> bool:
        chosen = memory.in_split(ds, split)
        values, groups = memory.values(ds, var)[chosen].astype(np.float64), memory.values(ds, group)[chosen]
        if not len(values) or not np.isfinite(values).all():
            return False
        for one in np.unique(groups):
            series = values[groups == one]
            if (series == series[0]).all():
                return False
            centred, n = series - series.mean(), len(series)
            lags = range(min(max_lag + 1, n))
            covariance = np.array([np.sum(centred[: n - lag] * centred[lag:]) / n for lag in lags])
            if not effective_size(covariance, n) >= minimum:
                return False
        return True
