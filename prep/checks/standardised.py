"""What claims to be standardised is: mean 0 and standard deviation 1, re-measured from the stored values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.masked import moment_folds, place_of, present_values, unusable
from prep.checks.statistics import DIMS, FIELD, OPTIONAL_FIELD, POSITIVE, SPLIT, Statistics
from prep.checks.verdict import verdict
from prep.folds.moments import Moments, MomentsResult


class Standardised:
    """|mean| < mean_limit and |std − 1| < std_limit for each feature (and group), over what the mask counts in a split.

    Features that the mask leaves out everywhere (in a group) are skipped. ``constant: allow`` takes features whose
    values are all equal for what the transform policies ``unit`` and ``center`` make of them (std 0; the mean is still
    judged), ``refuse`` fails them.
    """

    name = "standardised"
    bounds = True
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "mask": OPTIONAL_FIELD,
        "group": OPTIONAL_FIELD,
        "features": DIMS,
        "split": SPLIT,
        "mean_limit": POSITIVE,
        "std_limit": POSITIVE,
        "constant": {"enum": ["allow", "refuse"]},
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return tuple(filter(None, (statistics["var"], statistics["mask"], statistics["group"])))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Moments, ...]:
        names = ("var", "mask", "group", "split", "features")
        return moment_folds(spec, self.name, **{name: statistics[name] for name in names})

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        moments: MomentsResult = measured[folds[0].key]
        seen = moments.count > 0
        held = seen & moments.constant if statistics["constant"] == "allow" else np.zeros_like(seen)
        mean_gap = np.where(seen, np.abs(moments.mean), 0.0)
        std_gap = np.where(seen & ~held, np.abs(moments.std - 1.0), 0.0)
        bad = ~(mean_gap < statistics["mean_limit"]) | ~(std_gap < statistics["std_limit"])
        problem = unusable(folds, measured)
        gaps = np.nan_to_num(
            np.maximum(mean_gap / statistics["mean_limit"], std_gap / statistics["std_limit"]), nan=np.inf
        )
        worst = tuple(np.argwhere(gaps == gaps.max())[0].tolist()) if gaps.size else None
        limits = [f"|mean| < {statistics['mean_limit']:g}", f"|std − 1| < {statistics['std_limit']:g}"]
        value = None
        if worst is not None:
            nearer = std_gap[worst] / statistics["std_limit"] > mean_gap[worst] / statistics["mean_limit"]
            value = float((std_gap if nearer else mean_gap)[worst])
            limits = limits[::-1] if nearer else limits  # first what the worst value is compared with
        message = f"{statistics['var']} has mean 0 and std 1 in {int(seen.sum())} features ({statistics['split']})"
        if worst is not None and bad.any():
            message = (
                f"{int(bad.sum())} of {int(seen.sum())} features of {statistics['var']} are not standardised in the "
                f"{statistics['split']} split; worst: mean {moments.mean[worst]:.6g}, std {moments.std[worst]:.6g} in "
                f"{place_of(folds, moments, worst)}"
            )
        return verdict(
            spec,
            not bad.any() and not problem,
            examined=int(moments.count.sum()),
            present=present_values(folds, measured),
            limit=", ".join(limits),
            message=problem or message,
            remedy="run `prep stats` and `prep normalize` on the raw data; train statistics only, mask-aware"
            + (f" and per {statistics['group']}" if statistics["group"] else ""),
            worst=value,
            samples=moments.nonfinite_samples,
            failing=moments.nonfinite_rows,
        )

    @staticmethod
    def pandera_function(
        ds: Any,
        *,
        var: str,
        mask: str,
        group: str,
        features: list[str],
        split: str,
        mean_limit: float,
        std_limit: float,
        constant: str,
    ) -> bool:
        examined = False
        for column in memory.counted_columns(ds, var, mask=mask, group=group, split=split, features=features):
            if not np.isfinite(column).all():
                return False
            examined = True
            spread = 1.0 if constant == "allow" and (column == column[0]).all() else column.std()
            if not (abs(column.mean()) < mean_limit and abs(spread - 1.0) < std_limit):
                return False
        return examined
