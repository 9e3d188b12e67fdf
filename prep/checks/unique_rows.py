"""No row occurs in two splits: what is validated and tested on was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.statistics import FIELD, FIELDS, Statistics, named
from prep.checks.verdict import across_verdict
from prep.errors import counted
from prep.folds.duplicates import RowHashes


class UniqueRows:
    """The values of ``var`` (and ``with_fields``, together) of a sample never equal those of a sample of another split.

    A sample fails if it equals one of an earlier split. Equal rows within one split are allowed.
    """

    name = "unique_rows"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "with_fields": FIELDS}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["with_fields"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[RowHashes]:
        names = self.fields(statistics)
        for name in names:
            _ = spec[name]
        return (RowHashes(names, dict(spec.splits)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        what = ", ".join(fold.names)
        return across_verdict(
            spec,
            fold,
            measured,
            limit="no row in two splits",
            good=f"no row of {what} is in two splits ({counted(measured[fold.key].rows, 'row')})",
            bad=lambda count, second, first: (
                f"{counted(count, 'row')} of {what} in two splits; first: {second} equals {first}"
            ),
            remedy="draw each split from its own seeds, or split by group before windowing, and build again",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, with_fields: list[str]) -> Any:
        # Adding zero makes -0.0 and 0.0 the same bytes.
        arrays = [memory.values(ds, name) + np.zeros((), ds[name].dtype) for name in (var, *with_fields)]
        first: dict[tuple[bytes, ...], int] = {}
        splits, ok = memory.values(ds, "split").tolist(), []
        for row, split in enumerate(splits):
            ok.append(first.setdefault(tuple(array[row].tobytes() for array in arrays), split) == split)
        return memory.by_sample(ok)
