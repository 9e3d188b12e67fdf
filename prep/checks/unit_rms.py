"""Each sample has root mean square 1: its scale has been taken out, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_mask, mask_line
from prep.checks.statistics import FIELD, OPTIONAL_FIELD, POSITIVE, Statistics, named
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise
from prep.kernels.matrices import row_rms


class UnitRms:
    """|√(mean |x|²) − 1| ≤ tolerance for each sample over what ``mask`` counts; without counted values it fails."""

    name = "unit_rms"
    bounds = True
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "mask": OPTIONAL_FIELD, "tolerance": POSITIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["mask"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        field = demand_kind(spec, statistics["var"], self.name, "fc", "float or complex")
        names = self.fields(statistics)
        line = mask_line(field, demand_mask(spec, statistics["mask"], self.name, field)) if statistics["mask"] else []
        limit = float(statistics["tolerance"])
        return (Rowwise(self.name, names, rms_gap, limit, Scope.of(spec), {"line": line}),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"|RMS − 1| ≤ {fold.limit:g}",
            good="have RMS 1",
            bad="do not have RMS 1",
            remedy="normalise with the transform unit_rms, once; an all-zero sample is a failed one: drop it",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, mask: str, tolerance: float) -> Any:
        table, flags = memory.flat(ds, var), memory.counted(ds, var, mask).reshape(ds.sizes["sample"], -1)
        ok = []
        for row, own in zip(table, flags, strict=True):
            kept = np.abs(row[own].astype(np.complex128))
            ok.append(bool(kept.size and abs(np.sqrt(np.mean(kept**2)) - 1.0) <= tolerance))
        return memory.by_sample(np.array(ok))


def rms_gap(arrays: Mapping[str, Array], line: list[int]) -> Array:
    """|RMS − 1| of each row, (rows,); NaN where nothing counts or a value is NaN."""
    values, *masks = arrays.values()
    counted = None
    if masks:
        counted = np.broadcast_to(masks[0].reshape(-1, *line) != 0, values.shape)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(row_rms(values, counted) - 1.0))
