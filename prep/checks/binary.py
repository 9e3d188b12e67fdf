"""Flags, bits and masks hold 0 and 1 only: nobody has scaled them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class Binary:
    """Every value is 0 or 1; ``worst`` is how many values of a sample are something else."""

    name = "binary"
    bounds = True
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        _ = spec[statistics["var"]]
        return (Rowwise(self.name, (statistics["var"],), count_others, 0.0, Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit="0 values that are neither 0 nor 1",
            good="hold 0 and 1 only",
            bad="hold something other than 0 and 1",
            remedy="give the field the transform identity: bits and masks are never scaled",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str) -> Any:
        return memory.by_sample(np.isin(memory.flat(ds, var), [0, 1]).all(axis=1))


def count_others(arrays: Mapping[str, Array]) -> Array:
    """Values of each row that are neither 0 nor 1, (rows,)."""
    (values,) = arrays.values()
    rows = values.reshape(len(values), -1)
    return np.asarray(np.count_nonzero((rows != 0) & (rows != 1), axis=1))
