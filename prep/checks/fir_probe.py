"""There is something to learn in a sequence: a linear filter fitted on train follows the target of another split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_one_integer, refuse
from prep.checks.probes import held_out
from prep.checks.statistics import FIELD, NOT_NEGATIVE, OPTIONAL_FIELD, POSITIVE, SPLIT, Statistics, named
from prep.checks.verdict import rows_in, verdict
from prep.folds import Scope
from prep.folds.gram import GramResult
from prep.folds.lagged import LaggedGram

_WHOLE: Mapping[str, Any] = {"type": "integer", "minimum": 1}


class FirProbe:
    """NMSE ≤ nmse_max in one split of a finite impulse response ``input`` → ``var`` fitted on train.

    NMSE is squared error over squared target: predicting zero scores 1. Ridge regression of each step of ``var``
    (sample, step) on ``taps`` values of ``input``, ``spacing`` steps apart, the last at the same step; one filter per
    ``group`` if there is one. ``ridge`` is added to the correlation matrix of the taps. Steps without a whole past, at
    the beginning of each sample, are left out.
    """

    name = "fir_probe"
    probe = True
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "input": FIELD,
        "group": OPTIONAL_FIELD,
        "split": SPLIT,
        "taps": _WHOLE,
        "spacing": _WHOLE,
        "ridge": NOT_NEGATIVE,
        "nmse_max": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(*(statistics[key] for key in ("var", "input", "group")))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[LaggedGram, LaggedGram]:
        target, given = (self._sequence(spec, statistics[key]) for key in ("var", "input"))
        if statistics["group"]:
            demand_one_integer(spec, statistics["group"], self.name)
        train, scored = (
            LaggedGram(
                given, target, Scope.of(spec, split), statistics["taps"], statistics["spacing"], statistics["group"]
            )
            for split in ("train", statistics["split"])
        )
        if given.dims != target.dims or not train.row_steps:
            raise refuse(
                spec,
                target.name,
                self.name,
                measured=f"dims {target.dims}, {given.name}: {given.dims}, {given.shape[0]} steps",
                allowed=f"the same dims, and more than {train.reach} steps, over which the taps reach",
            )
        return train, scored

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        train, scored = (measured[fold.key] for fold in folds)
        ridge = float(statistics["ridge"])
        score, problem = held_out(train, scored, ridge, GramResult.nmse)
        mse = float("inf") if problem or not np.isfinite(score) else scored.mse(ridge, train)
        what = f"a filter of {statistics['taps']} taps over {folds[0].reach + 1} steps of {statistics['input']}"
        left_out = train.nonfinite + scored.nonfinite
        return verdict(
            spec,
            score <= statistics["nmse_max"],
            examined=train.rows + scored.rows if train.rows and scored.rows else 0,
            present=sum(rows_in(fold.scope) * fold.row_steps for fold in folds),
            limit=f"NMSE ≤ {statistics['nmse_max']:g} (predicting zero: 1)",
            message=problem
            or f"{what}, fitted on train, scores NMSE {score:.6g} (MSE {mse:.6g}) for {statistics['var']} on "
            f"{statistics['split']}",
            remedy="see that input and target are of one sequence in the order of time and that the noise leaves a "
            f"signal; where it cannot be better, set nmse_max and say why in prep.learnability.{statistics['var']}",
            worst=score,
            unfit=f"{left_out} steps of {statistics['var']} or {statistics['input']} are" if left_out else "",
            measured={"nmse": score, "mse": mse, "split": statistics["split"]},
        )

    @staticmethod
    def pandera_function(
        ds: Any, *, var: str, input: str, group: str, split: str, taps: int, spacing: int, ridge: float, nmse_max: float
    ) -> bool:
        train, scored = memory.in_split(ds, "train"), memory.in_split(ds, split)
        given, targets = memory.values(ds, input).astype(np.float64), memory.values(ds, var).astype(np.float64)
        reach, steps = (taps - 1) * spacing, targets.shape[1]
        wanted, used = targets[:, reach:], train | scored
        if not (train.any() and np.isfinite(given[used]).all() and np.isfinite(wanted[used]).all()):
            return False
        codes = memory.group_codes(ds, group)
        errors: list[Array] = []
        squares: list[Array] = []
        for code in np.unique(codes[scored]):
            parts = []
            for rows in (train & (codes == code), scored & (codes == code)):
                past = [given[rows, reach - lag * spacing : steps - lag * spacing] for lag in range(taps)]
                parts.append((np.stack(past, axis=-1).reshape(-1, taps), wanted[rows].reshape(-1)))
            (inputs, target), (new, true) = parts
            if not len(target):
                return False
            weights, intercept = ridge_regression(inputs, target, ridge)
            errors.append((true - new @ weights - intercept) ** 2)
            squares.append(true**2)
        if not errors or not np.concatenate(squares).any():
            return False
        return bool(np.concatenate(errors).sum() <= nmse_max * np.concatenate(squares).sum())

    def _sequence(self, spec: DatasetSpec, name: str) -> FieldSpec:
        field = demand_kind(spec, name, self.name, "iuf", "real numbers")
        if len(field.shape) != 1:
            raise refuse(spec, name, self.name, measured=f"dims {field.dims}", allowed="dims (sample, step)")
        return field


def ridge_regression(inputs: Array, target: Array, ridge: float) -> tuple[Array, float]:
    """Weights and intercept, as `prep.checks.probes.least_squares` gives them, for many more rows than columns."""
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    scaled = (inputs - mean) / scale
    correlations = scaled.T @ scaled / len(scaled) + ridge * np.eye(scaled.shape[1])
    right = scaled.T @ (target - target.mean()) / len(scaled)
    weights = np.linalg.lstsq(correlations, right, rcond=1e-12)[0] / scale
    return weights, float(target.mean() - weights @ mean)
