"""Every group is there: a family whose trajectories all diverged is missing, and nobody misses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_one_integer
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import verdict
from prep.folds.duplicates import DuplicatesResult, RowHashes


class GroupCount:
    """The id ``var`` takes exactly ``count`` different values in every split; ``worst`` is by how many one is off."""

    name = "group_count"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "count": {"type": "integer", "minimum": 1}}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[RowHashes]:
        demand_one_integer(spec, statistics["var"], self.name)
        return (RowHashes((statistics["var"],), dict(spec.splits)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        result: DuplicatesResult = measured[fold.key]
        count = statistics["count"]
        wrong = {split: found for split, found in result.distinct.items() if found != count}
        split = max(wrong, key=lambda each: abs(count - wrong[each])) if wrong else ""
        message = f"{count} different {statistics['var']} are in every split"
        if wrong:
            message = f"there are {wrong[split]} different {statistics['var']} in the {split} split instead of {count}"
        return verdict(
            spec,
            not wrong,
            examined=result.rows,
            present=spec.rows,
            limit=f"{count} in every split",
            message=message,
            remedy="see what was dropped while the data were made (the counts in provenance), and build it again",
            worst=float(abs(count - wrong[split])) if wrong else 0.0,
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, count: int) -> bool:
        ids, splits = memory.values(ds, var), memory.values(ds, "split")
        return len(ids) > 0 and all(len(np.unique(ids[splits == code])) == count for code in (0, 1, 2))
