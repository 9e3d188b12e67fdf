"""Every group is there, and about as large as the others: what diverged and was dropped is missing, and nobody misses
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import SPLITS, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_one_integer
from prep.checks.statistics import COUNT, FIELD, FRACTION, Statistics
from prep.checks.verdict import rows_in, verdict
from prep.folds import Scope
from prep.folds.moments import Moments, MomentsResult

_NAMED = 5


class GroupCount:
    """The id ``var`` takes exactly ``count`` values in every split, none of them in fewer than ``balance_min`` times as
    many samples as the average one. ``worst`` is the smallest such ratio, 0 where an id is missing.
    """

    name = "group_count"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "count": COUNT, "balance_min": FRACTION}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Moments, ...]:
        field = demand_one_integer(spec, statistics["var"], self.name)
        return tuple(Moments(field, Scope.of(spec, split), None, field.name) for split in SPLITS)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        found: dict[str, MomentsResult] = {fold.scope.split: measured[fold.key] for fold in folds}
        name, count, least = statistics["var"], statistics["count"], statistics["balance_min"]
        known = sorted({group for result in found.values() for group in result.groups})
        problems, ratios = [], [1.0]
        for split, result in found.items():
            rows = result.count.reshape(-1)
            if len(rows) != count:
                missing = [str(group) for group in known if group not in result.groups]
                which = f" ({', '.join(missing[:_NAMED])} of the other splits not among them)" if missing else ""
                problems.append(
                    f"there are {len(rows)} different {name} in the {split} split instead of {count}{which}"
                )
                ratios.append(0.0)
                continue
            place = int(np.argmin(rows))
            ratios.append(float(rows[place] / rows.mean()))
            if ratios[-1] < least:
                problems.append(
                    f"{name} {result.groups[place]} has {rows[place]} samples in the {split} split, where the average "
                    f"one has {rows.mean():.0f}"
                )
        return verdict(
            spec,
            not problems,
            examined=sum(int(result.count.sum()) for result in found.values()),
            present=sum(rows_in(fold.scope) for fold in folds),
            limit=f"≥ {least:g} of the average number of samples for each of {count} in every split",
            message="; ".join(problems) or f"{count} different {name} are in every split",
            remedy="see what was dropped while the data were made (the counts in provenance), and build it again",
            worst=min(ratios),
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, count: int, balance_min: float) -> bool:
        ids, splits = memory.values(ds, var), memory.values(ds, "split")
        rows = [np.unique(ids[splits == code], return_counts=True)[1] for code in (0, 1, 2)]
        return all(len(each) == count and each.min() >= balance_min * each.mean() for each in rows)
