"""The flag of each sample names the split that its place in the file says: two records of one fact agree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import SPLITS, Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_one_integer
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise, RowwiseResult


class SplitFlags:
    """``var`` is 0 in the train rows, 1 in the validation rows, 2 in the test rows, in that order.

    In memory the ranges are those of the dataset's attribute ``splits``; without it only the order can be judged.
    """

    name = "split_flags"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise, ...]:
        name = demand_one_integer(spec, statistics["var"], self.name).name
        return tuple(
            Rowwise(self.name, (name,), other_code, 0.0, Scope.of(spec, split), {"code": code})
            for code, split in enumerate(SPLITS)
        )

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        results: list[RowwiseResult] = [measured[fold.key] for fold in self.folds(spec, statistics)]
        failing = sum(result.failing for result in results)
        samples = [row for result in results for row in result.samples]
        return verdict(
            spec,
            failing == 0,
            examined=sum(result.values for result in results),
            present=spec.rows,
            limit="train 0, val 1, test 2, stored in that order",
            message=f"{failing} of {spec.rows} samples are flagged for another split than they are stored in"
            if failing
            else f"all {spec.rows} samples are flagged for the split that they are stored in",
            remedy="write the dataset again with `prep generate` or `prep ingest`; flags are never edited",
            failing=failing,
            samples=samples,
            worst_sample=samples[0] if samples else None,
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str) -> bool:
        codes = memory.values(ds, var).astype(np.int64)
        ranges = json.loads(ds.attrs.get("splits", "{}"))
        stored = [code for code, split in enumerate(SPLITS) for _ in range(*ranges.get(split, (0, 0)))]
        return bool(len(codes)) and codes.tolist() == (stored if ranges else np.sort(codes).tolist())


def other_code(arrays: Mapping[str, Array], code: int) -> Array:
    """1 for rows whose flag is not ``code``, (rows,)."""
    (flags,) = arrays.values()
    return np.asarray(flags != code, dtype=np.float64)
