"""What the mask leaves out is exactly zero, so that padding carries nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_mask, mask_line
from prep.checks.statistics import FIELD, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise

_PIECE_VALUES = 1 << 17


class ZeroPadding:
    """Every value that ``mask`` leaves out is 0; ``worst`` is the largest magnitude among them. NaN fails."""

    name = "zero_padding"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "mask": FIELD}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return statistics["var"], statistics["mask"]

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = spec[statistics["var"]]
        mask = demand_mask(spec, statistics["mask"], self.name, field)
        arguments = {"line": mask_line(field, mask)}
        return (Rowwise(self.name, self.fields(statistics), largest_padding, 0.0, Scope.of(spec), arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"0 wherever {statistics['mask']} is 0",
            good="are zero in the padding",
            bad="hold something in the padding",
            remedy="set padding to 0 after every step; normalise with the mask, so that padding is never shifted",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, mask: str) -> Any:
        fine = (memory.values(ds, var) == 0) | memory.counted(ds, var, mask)
        return memory.by_sample(fine.reshape(len(fine), -1).all(axis=1))


def largest_padding(arrays: Mapping[str, Array], line: list[int]) -> Array:
    """Largest magnitude among the masked-out values of each row, (rows,); NaN where one is NaN."""
    values, mask = arrays.values()
    if _all_zero(values, mask, line):
        return np.zeros(len(values))
    padding = np.broadcast_to(mask.reshape(-1, *line) == 0, values.shape)
    with np.errstate(invalid="ignore"):
        held = np.where(padding, values, np.zeros((), values.dtype)).reshape(len(values), -1)
        # In their own type the smallest integers have no magnitude: |int8 −128| is −128.
        wide = held if held.dtype.kind in "fc" else held.astype(np.float64)
        return np.asarray(np.abs(wide).max(axis=1, initial=0), dtype=np.float64)


def _all_zero(values: Array, mask: Array, line: list[int]) -> bool:
    """Whether every masked-out value is 0 and every other one finite, by pieces that fit into the cache."""
    step = max(_PIECE_VALUES // max(values[:1].size, 1), 1)
    with np.errstate(invalid="ignore"):
        for start in range(0, len(values), step):
            rows = slice(start, start + step)
            if (values[rows] * (mask[rows].reshape(-1, *line) == 0)).any():
                return False
    return True
