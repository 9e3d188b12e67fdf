"""No NaN and no infinity, in padding either."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class Finite:
    """A sample fails if any of its values is NaN or infinite; ``worst`` is how many. Integers always pass."""

    name = "finite"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        _ = spec[statistics["var"]]
        return (Rowwise(self.name, (statistics["var"],), count_nonfinite, 0.0, Scope.of(spec), screen=are_finite),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit="no NaN, no infinity",
            good="are finite",
            bad="hold NaN or infinity",
            counts="such value",
            remedy="find what made these samples (a division by zero, a fill value, a failed read), mend or drop them",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str) -> Any:
        return memory.by_sample(np.isfinite(memory.flat(ds, var)).all(axis=1))


def count_nonfinite(arrays: Mapping[str, Array]) -> Array:
    """NaN and infinite values of each row, (rows,)."""
    (values,) = arrays.values()
    return np.asarray(np.count_nonzero(~np.isfinite(values.reshape(len(values), -1)), axis=1))


def are_finite(extremes: tuple[float, float]) -> bool:
    """Whether the extremes are those of finite values."""
    return all(map(math.isfinite, extremes))
