"""Time runs on by equal steps from the first to the last of a sequence, and only its first step is marked as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, refuse
from prep.checks.statistics import FIELD, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise


class TimeSteps:
    """Step k of each sample of ``var`` (sample, step) is at the first step's time + k·``step``, up to ``tolerance``
    steps, and ``reset``, of the same dims, is 1 at the first step and 0 at all others.

    So no step is missing, repeated, or out of order, and a state that ``reset`` zeroes is carried through the whole
    sequence and over no border. ``worst`` is the distance in steps, or the number of wrong marks if that is larger.
    """

    name = "time_steps"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "reset": FIELD,
        "step": POSITIVE,
        "tolerance": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return statistics["var"], statistics["reset"]

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        time = demand_kind(spec, statistics["var"], self.name, "iuf", "real numbers")
        reset = demand_kind(spec, statistics["reset"], self.name, "biu", "bool or integer")
        if len(time.shape) != 1 or reset.dims != time.dims:
            raise refuse(
                spec,
                time.name,
                self.name,
                measured=f"dims {time.dims} and {reset.dims} of {reset.name}",
                allowed="dims (sample, step), the same for both",
            )
        if statistics["tolerance"] >= 0.5:
            raise refuse(
                spec,
                time.name,
                self.name,
                measured=f"tolerance {statistics['tolerance']:g}",
                allowed="below half a step, beyond which order is not told",
            )
        limit, arguments = float(statistics["tolerance"]), {"step": float(statistics["step"])}
        return (Rowwise(self.name, self.fields(statistics), wrong_steps, limit, Scope.of(spec), arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        reset = statistics["reset"]
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"≤ {statistics['tolerance']:g} steps off every step of {statistics['step']:g}, {reset} at the first",
            good=f"run on by steps of {statistics['step']:g}, {reset} at the first step only",
            bad=f"miss, repeat or reorder steps of {statistics['step']:g}, or have {reset} elsewhere than at the first",
            remedy="store whole sequences in the order of time; never shuffle or interleave steps or windows",
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, reset: str, step: float, tolerance: float) -> Any:
        time, marks = memory.values(ds, var).astype(np.float64), memory.values(ds, reset)
        with np.errstate(invalid="ignore", over="ignore"):
            late = (time - time[:, :1]) / step - np.arange(time.shape[1])
            near = (np.abs(late) <= tolerance).all(axis=1)
        return memory.by_sample(near & (marks[:, 0] == 1) & (marks[:, 1:] == 0).all(axis=1))


def wrong_steps(arrays: Mapping[str, Array], *, step: float) -> Array:
    """The larger of the greatest distance from equal steps, in steps, and the number of wrong marks, (rows,)."""
    time, reset = arrays.values()
    wide = time.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        late = np.abs((wide - wide[:, :1]) / step - np.arange(wide.shape[1])).max(axis=1)
    wrong = np.count_nonzero(reset[:, 1:], axis=1) + (reset[:, 0] != 1)
    return np.asarray(np.maximum(late, wrong))
