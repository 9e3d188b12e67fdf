"""There is something to learn: a linear probe fitted on train predicts the validation split better than zero does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.probes import held_out, in_memory, least_squares, probe_fold
from prep.checks.statistics import DIMS, FIELD, NOT_NEGATIVE, OPTIONAL_FIELD, POSITIVE, Statistics, named
from prep.checks.verdict import rows_in, verdict
from prep.folds.gram import Gram, GramResult


class Learnability:
    """NMSE ≤ nmse_max on the validation split of the ridge probe ``input`` → ``var`` fitted on the train split.

    NMSE is squared error over squared target, summed over what the mask counts: predicting zero scores 1. ``ridge`` is
    added to the correlation matrix of the inputs. Per group where ``group`` says so; ``last`` as in `linear_fit`.
    """

    name = "learnability"
    probe = True
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "mask": OPTIONAL_FIELD,
        "input": FIELD,
        "input_mask": OPTIONAL_FIELD,
        "last": DIMS,
        "group": OPTIONAL_FIELD,
        "ridge": NOT_NEGATIVE,
        "nmse_max": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(*(statistics[key] for key in ("var", "mask", "input", "input_mask", "group")))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Gram, Gram]:
        return (
            probe_fold(spec, self.name, statistics, "train"),
            probe_fold(spec, self.name, statistics, "val"),
        )

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        train, val = (measured[fold.key] for fold in folds)
        score, problem = held_out(train, val, float(statistics["ridge"]), GramResult.nmse)
        values = spec[statistics["var"]].row_values
        what = f"a linear probe of {statistics['var']} from {statistics['input']}"
        return verdict(
            spec,
            score <= statistics["nmse_max"],
            examined=(train.rows + val.rows) * values if train.rows and val.rows else 0,
            present=sum(rows_in(fold.scope) for fold in folds) * values,
            limit=f"NMSE ≤ {statistics['nmse_max']:g} (predicting zero: 1)",
            message=problem or f"{what}, fitted on train, scores NMSE {score:.6g} on val",
            remedy="see that inputs and targets belong together and that there is a signal above the noise",
            worst=score,
            measured={"nmse": score},
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
        ridge: float,
        nmse_max: float,
    ) -> bool:
        train, val = memory.in_split(ds, "train"), memory.in_split(ds, "val")
        arrays = in_memory(ds, (var, mask), (input, input_mask), last, train | val)
        if arrays is None:
            return False
        inputs, targets, counted = arrays
        codes = memory.group_codes(ds, group)
        errors = squares = 0.0
        for code in np.unique(codes[val]):
            for column in range(targets.shape[1]):
                fit = train & (codes == code) & counted[:, column]
                rows = val & (codes == code) & counted[:, column]
                if not rows.any():
                    continue
                if not fit.any():
                    return False
                weights, intercept = least_squares(inputs[fit], targets[fit, column], ridge)
                errors += float(np.sum((targets[rows, column] - inputs[rows] @ weights - intercept) ** 2))
                squares += float(np.sum(targets[rows, column] ** 2))
        return bool(train.any() and squares > 0 and errors / squares <= nmse_max)
