"""A count says what its mask says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_one_integer
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class CountMatches:
    """``var``, one integer a sample, equals the number of entries that ``mask`` counts; ``worst`` is the difference."""

    name = "count_matches"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "mask": FIELD}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return statistics["var"], statistics["mask"]

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        demand_one_integer(spec, statistics["var"], self.name)
        _ = spec[statistics["mask"]]
        return (Rowwise(self.name, self.fields(statistics), count_gap, 0.0, Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"0 off the number of entries that {statistics['mask']} counts",
            good=f"equal the count of {statistics['mask']}",
            bad=f"differ from the count of {statistics['mask']}",
            remedy="derive the count and the mask from one value when the samples are built",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, mask: str) -> Any:
        dims = [dim for dim in ds[mask].dims if dim != "sample"]
        return memory.by_sample((ds[mask] != 0).sum(dims).values == memory.values(ds, var))


def count_gap(arrays: Mapping[str, Array]) -> Array:
    """|count − entries that the mask counts| of each row, (rows,)."""
    count, mask = arrays.values()
    return np.asarray(np.abs(count.astype(np.int64) - np.count_nonzero(mask.reshape(len(mask), -1), axis=1)))
