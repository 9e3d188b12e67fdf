"""Linear probes as checks use them: which inputs predict which targets, and the same least squares in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import memory
from prep.checks.demands import demand_kind, demand_mask, demand_one_integer
from prep.checks.statistics import Statistics
from prep.errors import DataError
from prep.folds import Scope
from prep.folds.gram import Gram, GramResult


def probe_fold(spec: DatasetSpec, check: str, statistics: Statistics, split: str) -> Gram:
    """The normal equations of ``input`` → ``var`` over ``split`` with masks, group and ``last`` of the statistics."""
    target = demand_kind(spec, statistics["var"], check, "biufc", "numbers")
    given = demand_kind(spec, statistics["input"], check, "biufc", "numbers")
    if statistics["group"]:
        demand_one_integer(spec, statistics["group"], check)
    return Gram(
        given,
        target,
        Scope.of(spec, split),
        group=statistics["group"],
        input_mask=demand_mask(spec, statistics["input_mask"], check, given) if statistics["input_mask"] else None,
        target_mask=demand_mask(spec, statistics["mask"], check, target) if statistics["mask"] else None,
        last=tuple(statistics["last"]),
    )


def held_out(
    train: GramResult, other: GramResult, ridge: float, score: Callable[[GramResult, float, GramResult], float]
) -> tuple[float, str]:
    """``score`` (`GramResult.nmse` or `mse`) on another split of the probe fitted on train; infinite, with a reason,
    where there is none.
    """
    if not (train.rows and other.rows):
        return float("inf"), ""
    try:
        found = score(other, ridge, train)
    except DataError as error:
        return float("inf"), f"{error.what} ({error.measured})"
    if not np.isfinite(found):
        return float("inf"), "the targets are all zero or unfit"
    return found, ""


def in_memory(
    ds: Any, target: tuple[str, str], given: tuple[str, str], last: Sequence[str], rows: Array
) -> tuple[Array, Array, Array] | None:
    """Inputs (samples, columns) with 0 where their mask counts nothing, targets, and which targets count.

    ``target`` and ``given`` are a variable and its mask. None where a counted value in ``rows`` is not finite.
    """
    targets, counted = _columns(ds, *target, last)
    inputs, kept = _columns(ds, *given, last)
    inputs = np.where(kept, inputs, 0.0)
    if not (np.isfinite(inputs[rows]).all() and np.isfinite(targets[rows][counted[rows]]).all()):
        return None
    return inputs, targets, counted


def _columns(ds: Any, var: str, mask: str, last: Sequence[str]) -> tuple[Array, Array]:
    """(samples, columns) float64, complex as two parts, of ``last`` dims the last index; and which values count."""
    index = {dim: [-1] for dim in ds[var].dims if dim in last}
    flags = ds[var].copy(data=memory.counted(ds, var, mask)).isel(index).values
    array = ds[var].isel(index).values
    table, counted = array.reshape(len(array), -1), flags.reshape(len(flags), -1)
    if table.dtype.kind == "c":
        table, counted = np.concatenate([table.real, table.imag], axis=1), np.concatenate([counted, counted], axis=1)
    return table.astype(np.float64), counted


def least_squares(inputs: Array, target: Array, ridge: float) -> tuple[Array, float]:
    """Weights and intercept of ridge regression on standardised inputs, the ridge relative to their correlations."""
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
    scaled = (inputs - mean) / np.where(spread > 0, spread, 1.0)
    rows, columns = scaled.shape
    design = np.concatenate([scaled, np.sqrt(ridge * rows) * np.eye(columns)])
    wanted = np.concatenate([target - target.mean(), np.zeros(columns)])
    weights = np.linalg.lstsq(design, wanted, rcond=1e-12)[0] / np.where(spread > 0, spread, 1.0)
    return weights, float(target.mean() - weights @ mean)
