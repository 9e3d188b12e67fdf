"""A choice among several is one 1 among zeros, at the place that its index says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_one_integer, refuse
from prep.checks.statistics import FIELD, OPTIONAL_FIELD, Statistics, named
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class OneHot:
    """Each sample of ``var`` (sample, choice) holds one 1 and else 0, the 1 at the place that the integer ``index``, if
    there is one, says; ``worst`` is how many values of a sample differ.
    """

    name = "one_hot"
    bounds = True
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "index": OPTIONAL_FIELD}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["index"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = spec[statistics["var"]]
        if len(field.shape) != 1:
            raise refuse(spec, field.name, self.name, measured=f"dims {field.dims}", allowed="dims (sample, choice)")
        if statistics["index"]:
            demand_one_integer(spec, statistics["index"], self.name)
        return (Rowwise(self.name, self.fields(statistics), count_differing, 0.0, Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        place = f", at the place that {statistics['index']} says" if statistics["index"] else ""
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"0 values off one 1 among zeros{place}",
            good=f"hold one 1 among zeros{place}",
            bad=f"hold something other than one 1 among zeros{place}",
            remedy="give the field the transform identity, and derive it and its index from one value",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, index: str) -> Any:
        choice = memory.values(ds, var)
        ok = np.isin(choice, [0, 1]).all(axis=1) & ((choice == 1).sum(axis=1) == 1)
        if index:
            ok &= np.argmax(choice, axis=1) == memory.values(ds, index)
        return memory.by_sample(ok)


def count_differing(arrays: Mapping[str, Array]) -> Array:
    """Values of each row that differ from the one-hot row of its index, or else of its first 1, (rows,)."""
    choice, *index = arrays.values()
    place = index[0] if index else np.argmax(choice == 1, axis=1)
    differing = np.count_nonzero(choice != (np.arange(choice.shape[1]) == place[:, np.newaxis]), axis=1)
    # An index beyond the row asks for no 1 at all.
    return np.asarray(np.maximum(differing, np.count_nonzero(choice == 1, axis=1) != 1))
