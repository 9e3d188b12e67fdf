"""No group (trajectory, episode, session) has samples in two splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind
from prep.checks.statistics import FIELD, FIELDS, Statistics, named
from prep.checks.verdict import verdict
from prep.folds.duplicates import DuplicatesResult, RowHashes


class GroupsDisjoint:
    """The ids ``var`` and ``with_fields`` name a group, which is in one split only; ``worst`` counts the others."""

    name = "groups_disjoint"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "with_fields": FIELDS}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["with_fields"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[RowHashes]:
        names = self.fields(statistics)
        for name in names:
            demand_kind(spec, name, self.name, "biu", "integer ids")
        return (RowHashes(names, dict(spec.splits)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        result: DuplicatesResult = measured[fold.key]
        what = ", ".join(fold.names)
        values = sum(spec[name].row_values for name in fold.names)
        distinct = ", ".join(f"{count} in {split}" for split, count in result.distinct.items())
        message = f"no group ({what}) is in two splits: {distinct}"
        if result.shared:
            first, second = result.shared[0]
            message = (
                f"{result.shared_count} groups ({what}) are in two splits; first: that of sample {first} "
                f"({spec.split_of(first)}) is also that of sample {second} ({spec.split_of(second)})"
            )
        samples = [later for _, later in result.shared]
        return verdict(
            spec,
            result.shared_count == 0,
            examined=result.rows * values,
            present=spec.rows * values,
            limit="no group in two splits",
            message=message,
            remedy="split by group, not by sample or window, and build again",
            worst=float(result.shared_count),
            failing=result.shared_count,
            samples=samples,
            worst_sample=samples[0] if samples else None,
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, with_fields: list[str]) -> bool:
        columns = [memory.flat(ds, name).astype(np.int64) for name in (var, *with_fields)]
        home: dict[tuple[int, ...], int] = {}
        splits = memory.values(ds, "split").tolist()
        lines = np.concatenate(columns, axis=1).tolist()
        return bool(lines) and all(
            home.setdefault(tuple(ids), own) == own for ids, own in zip(lines, splits, strict=True)
        )
