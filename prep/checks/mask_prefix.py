"""Masks count from the front: once a 0, then only 0, so that the count alone says which entries exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import refuse
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class MaskPrefix:
    """Along the last dimension no entry counts after one that does not; ``worst`` is how often one does."""

    name = "mask_prefix"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return (statistics["var"],)

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = spec[statistics["var"]]
        if not field.shape:
            raise refuse(spec, field.name, self.name, measured=f"dims {field.dims}", allowed="dims (sample, …, entry)")
        return (Rowwise(self.name, (field.name,), count_rises, 0.0, Scope.of(spec)),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit="0 rises after the front (1 … 1 0 … 0)",
            good="count from the front",
            bad="count an entry after one that is left out",
            remedy="put the existing entries first and the padding last when the samples are built",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str) -> Any:
        lines = memory.values(ds, var) != 0
        ordered = -np.sort(-lines.astype(np.int8), axis=-1) != 0
        return memory.by_sample((lines == ordered).reshape(len(lines), -1).all(axis=1))


def count_rises(arrays: Mapping[str, Array]) -> Array:
    """How often a counted entry follows one that is not, in each row, (rows,)."""
    (mask,) = arrays.values()
    lines = mask != 0
    rises = lines[..., 1:] & ~lines[..., :-1]
    return np.asarray(np.count_nonzero(rises.reshape(len(mask), -1), axis=1))
