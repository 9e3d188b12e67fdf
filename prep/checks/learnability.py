"""There is something to learn: a linear probe fitted on train predicts another split better than zero does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.probes import held_out, in_memory, least_squares, probe_fold
from prep.checks.statistics import (
    DIMS,
    FIELD,
    NOT_NEGATIVE,
    OPTIONAL_FIELD,
    POSITIVE,
    SPLIT,
    Statistics,
    named,
)
from prep.checks.verdict import rows_in, verdict
from prep.folds.gram import Gram, GramResult

_SHOWN = 256


class Learnability:
    """NMSE ≤ nmse_max on ``split`` of the ridge probe ``input`` → ``var`` fitted on the train split.

    NMSE is squared error over squared target, of what the mask counts: predicting zero scores 1. ``judged`` is
    ``each`` target of each group, or all ``together``, where a target that is well predicted hides one that is not.
    ``ridge`` is added to the correlation matrix of the inputs. Per group where ``group`` says so; ``last`` as in
    `linear_fit`.
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
        "split": SPLIT,
        "judged": {"enum": ["each", "together"]},
        "ridge": NOT_NEGATIVE,
        "nmse_max": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(*(statistics[key] for key in ("var", "mask", "input", "input_mask", "group")))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Gram, Gram]:
        return (
            probe_fold(spec, self.name, statistics, "train"),
            probe_fold(spec, self.name, statistics, statistics["split"]),
        )

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        train, other = (measured[fold.key] for fold in folds)
        ridge, split, limit = float(statistics["ridge"]), statistics["split"], statistics["nmse_max"]
        score, problem = held_out(train, other, ridge, GramResult.nmse)
        values = spec[statistics["var"]].row_values
        message = f"{_what(statistics)}, fitted on train, scores NMSE {score:.6g} on {split}"
        worst, place = score, ""
        found: dict[str, Any] = {"nmse": score, "split": split}
        if not problem and np.isfinite(score):
            scores = other.nmse_each(ridge, train)
            found["each"] = _named(scores, other.groups)
            if (statistics["judged"] == "each") and not np.isnan(scores).all():
                cell = np.unravel_index(int(np.nanargmax(scores)), scores.shape)
                worst = float(scores[cell])
                place = f"target {cell[1]}" + (
                    f" of {statistics['group']} {other.groups[cell[0]]}" if other.groups else ""
                )
                found["nmse_worst"] = worst
                message += f"; worst: NMSE {worst:.6g} for {place}"
        left_out = train.nonfinite + other.nonfinite
        return verdict(
            spec,
            worst <= limit,
            examined=(train.rows + other.rows) * values if train.rows and other.rows else 0,
            present=sum(rows_in(fold.scope) for fold in folds) * values,
            limit=f"NMSE{' of the worst target' if statistics['judged'] == 'each' else ''} ≤ {limit:g} "
            "(predicting zero: 1)",
            message=problem or message,
            remedy="see that inputs and targets belong together and that there is a signal above the noise; where it "
            f"cannot be better, drop the target, or set nmse_max and say why in prep.learnability.{statistics['var']}",
            worst=worst,
            failing=left_out,
            unfit=f"{left_out} samples of {statistics['var']} or {statistics['input']} are" if left_out else "",
            measured=found,
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
        judged: str,
        ridge: float,
        nmse_max: float,
    ) -> bool:
        train, other = memory.in_split(ds, "train"), memory.in_split(ds, split)
        arrays = in_memory(ds, (var, mask), (input, input_mask), last, train | other)
        if arrays is None:
            return False
        inputs, targets, counted = arrays
        codes = memory.group_codes(ds, group)
        errors: list[float] = []
        squares: list[float] = []
        for code in np.unique(codes[other]):
            for column in range(targets.shape[1]):
                fit = train & (codes == code) & counted[:, column]
                rows = other & (codes == code) & counted[:, column]
                if not rows.any():
                    continue
                if not fit.any():
                    return False
                weights, intercept = least_squares(inputs[fit], targets[fit, column], ridge)
                errors.append(float(np.sum((targets[rows, column] - inputs[rows] @ weights - intercept) ** 2)))
                squares.append(float(np.sum(targets[rows, column] ** 2)))
        if not (train.any() and sum(squares) > 0):
            return False
        if judged == "each" and any(
            error > nmse_max * square for error, square in zip(errors, squares, strict=True) if square > 0
        ):
            return False
        return sum(errors) <= nmse_max * sum(squares)


def _what(statistics: Statistics) -> str:
    return f"a linear probe of {statistics['var']} from {statistics['input']}"


def _named(scores: Any, groups: tuple[int, ...]) -> dict[str, Any]:
    """Scores by group and target for the certificate; nothing where they are too many to read."""
    if scores.size > _SHOWN:
        return {}
    lines = [{str(target): float(score) for target, score in enumerate(line)} for line in scores]
    return dict(zip(map(str, groups), lines, strict=True)) if groups else lines[0]
