"""Windows of a stable loop do not grow: a simulation whose step was too long for its dynamics does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import refuse
from prep.checks.masked import moment_folds, present_values, unusable
from prep.checks.statistics import FIELD, OPTIONAL_FIELD, POSITIVE, SPLIT, Statistics
from prep.checks.verdict import verdict
from prep.folds.moments import MomentsResult


class Growth:
    """Mean square at the last index of ``dim`` ≤ ``max_ratio`` times that at the first, for each group in one split.

    Mean squares are over all that ``mask`` counts, so ``var`` has to be of one unit, as standardised data are.
    """

    name = "growth"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "mask": OPTIONAL_FIELD,
        "group": OPTIONAL_FIELD,
        "dim": FIELD,
        "split": SPLIT,
        "max_ratio": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return tuple(filter(None, (statistics["var"], statistics["mask"], statistics["group"])))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Any, ...]:
        field = spec[statistics["var"]]
        if field.dtype.kind == "c" or statistics["dim"] not in field.dims[1:]:
            raise refuse(
                spec,
                field.name,
                self.name,
                measured=f"{field.dtype}, dims {field.dims}",
                allowed=f"real values with a dimension {statistics['dim']!r}",
            )
        names = ("var", "mask", "group", "split")
        return moment_folds(spec, self.name, features=[statistics["dim"]], **{name: statistics[name] for name in names})

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        moments: MomentsResult = measured[folds[0].key]
        squares = np.square(moments.mean) + np.square(moments.std)
        ratios = np.divide(squares[:, -1], squares[:, 0], out=np.full(len(squares), np.inf), where=squares[:, 0] > 0)
        problem = unusable(folds, measured)
        place = int(np.argmax(ratios)) if len(ratios) else 0
        group = f" in {statistics['group']} {moments.groups[place]}" if moments.groups else ""
        worst = float(ratios[place]) if len(ratios) else None
        return verdict(
            spec,
            worst is not None and worst <= statistics["max_ratio"] and not problem,
            examined=int(moments.count.sum()),
            present=present_values(folds, measured),
            limit=f"≤ {statistics['max_ratio']:g} times the mean square at the first {statistics['dim']}",
            message=problem
            or f"the mean square of {statistics['var']} at the last {statistics['dim']} is {worst or 0:.3g} times that "
            f"at the first{group}, where it is largest ({statistics['split']} split)",
            remedy="integrate with a step that the fastest mode allows (|λ|·dt < 2.5 for RK4), or discretise exactly",
            worst=worst,
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, mask: str, group: str, dim: str, split: str, max_ratio: float) -> bool:
        axis = ds[var].dims.index(dim)
        values, flags = memory.values(ds, var).astype(np.float64), memory.counted(ds, var, mask)
        chosen, codes = memory.in_split(ds, split), memory.group_codes(ds, group)
        if not memory.are_flags(ds, mask, split) or not np.isfinite(values[chosen][flags[chosen]]).all():
            return False
        ratios = []
        for code in np.unique(codes[chosen]):
            rows = chosen & (codes == code)
            first, last = (np.take(values[rows], place, axis)[np.take(flags[rows], place, axis)] for place in (0, -1))
            if not first.size:
                continue
            ratios.append(np.mean(last**2) / np.mean(first**2) if first.any() else np.inf)
        return bool(ratios) and max(ratios) <= max_ratio
