"""No dead features: every feature takes more than one value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.masked import moment_folds, place_of, present_values, unusable
from prep.checks.statistics import DIMS, FIELD, OPTIONAL_FIELD, SPLIT, Statistics, named
from prep.checks.verdict import verdict
from prep.folds.moments import Moments, MomentsResult


class ConstantFeature:
    """Each feature (of each group) has two different values, all finite, among what the mask counts in one split.

    Features that the mask leaves out everywhere are skipped; ``worst`` is the number of constant ones.
    """

    name = "constant_feature"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "mask": OPTIONAL_FIELD,
        "group": OPTIONAL_FIELD,
        "features": DIMS,
        "split": SPLIT,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["mask"], statistics["group"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Moments, ...]:
        return moment_folds(spec, self.name, **statistics)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        moments: MomentsResult = measured[folds[0].key]
        problem = unusable(folds, measured)
        seen = moments.count > 0
        dead = seen & (moments.constant | (moments.finite == 0))
        message = f"all {int(seen.sum())} features of {statistics['var']} vary in the {statistics['split']} split"
        if dead.any():
            first = tuple(np.argwhere(dead)[0].tolist())
            message = (
                f"{int(dead.sum())} of {int(seen.sum())} features of {statistics['var']} are constant in the "
                f"{statistics['split']} split; first: {place_of(folds, moments, first)}, "
                f"always {moments.min[first]:.6g}"
            )
        return verdict(
            spec,
            not dead.any() and not problem,
            examined=int(moments.count.sum()),
            present=present_values(folds, measured),
            limit="0 features of one value",
            message=problem or message,
            remedy="drop the feature, mask it, or find out why its source never changes",
            worst=float(dead.sum()),
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, mask: str, group: str, features: list[str], split: str) -> bool:
        columns = list(memory.counted_columns(ds, var, mask=mask, group=group, split=split, features=features))
        return bool(columns) and all(np.isfinite(column).all() and len(np.unique(column)) > 1 for column in columns)
