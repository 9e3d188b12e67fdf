"""A target that is a linear function of an input by construction still is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.probes import in_memory, least_squares, probe_fold
from prep.checks.statistics import DIMS, FIELD, FRACTION, OPTIONAL_FIELD, SPLIT, Statistics, named
from prep.checks.verdict import rows_in, verdict
from prep.folds.gram import Gram, GramResult


class LinearFit:
    """R² > r2_min of least squares with intercept, ``input`` → ``var``, for each target of each group in one split.

    ``last`` names dims of which only the last index is used (the last time step of a window). R² does not change when
    inputs and targets are shifted and scaled, so that it may be taken after normalisation. Targets without spread are
    skipped.
    """

    name = "linear_fit"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "mask": OPTIONAL_FIELD,
        "input": FIELD,
        "input_mask": OPTIONAL_FIELD,
        "last": DIMS,
        "group": OPTIONAL_FIELD,
        "split": SPLIT,
        "r2_min": FRACTION,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(*(statistics[key] for key in ("var", "mask", "input", "input_mask", "group")))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Gram]:
        return (probe_fold(spec, self.name, statistics, statistics["split"]),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        result: GramResult = measured[fold.key]
        scores = result.r2()
        judged = ~np.isnan(scores)
        bad = judged & ~(scores > statistics["r2_min"])
        rows, values = rows_in(fold.scope), spec[statistics["var"]].row_values
        what, limit = f"{statistics['var']} from {statistics['input']}", f"R² > {statistics['r2_min']:g}"
        message = f"no target of {statistics['var']} varies in the {statistics['split']} split"
        worst = None
        if judged.any():
            place = np.unravel_index(int(np.nanargmin(scores)), scores.shape)
            worst = float(scores[place])
            group = f" of {fold.group} {result.groups[place[0]]}" if result.groups else ""
            message = (
                f"least squares of {what} fails for {int(bad.sum())} of {int(judged.sum())} targets; "
                f"worst: R² {worst:.6g}, target {place[1]}{group}"
                if bad.any()
                else f"least squares of {what} has R² ≥ {worst:.6g} for all {int(judged.sum())} targets"
            )
        left_out = result.nonfinite
        return verdict(
            spec,
            bool(judged.any() and not bad.any()),
            examined=result.rows * values,
            present=rows * values,
            limit=limit,
            message=message,
            remedy="see that input and target are of one sample and step, one gain per group, no noise on the target",
            worst=worst,
            failing=left_out,
            unfit=f"{left_out} samples of {statistics['var']} or {statistics['input']} are" if left_out else "",
            measured={} if worst is None else {"r2": worst},
        )

    @staticmethod
    def pandera_function(
        ds: Any,
        *,
        var: str,
        mask: str,
        input: str,
        input_mask: str,
        last: list[str],
        group: str,
        split: str,
        r2_min: float,
    ) -> bool:
        chosen, codes = memory.in_split(ds, split), memory.group_codes(ds, group)
        arrays = in_memory(ds, (var, mask), (input, input_mask), last, chosen)
        if arrays is None:
            return False
        inputs, targets, counted = arrays
        scores = []
        for code in np.unique(codes[chosen]):
            for column in range(targets.shape[1]):
                rows = chosen & (codes == code) & counted[:, column]
                target = targets[rows, column]
                if not rows.any() or (target == target[0]).all():
                    continue
                weights, intercept = least_squares(inputs[rows], target, 0.0)
                residual = target - inputs[rows] @ weights - intercept
                scores.append(1 - np.sum(residual**2) / np.sum((target - target.mean()) ** 2))
        return bool(scores) and min(scores) > r2_min
