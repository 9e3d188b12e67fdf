"""No group dominates the loss: each contributes about what its number of values warrants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.masked import moment_folds, present_values, unusable
from prep.checks.statistics import FIELD, OPTIONAL_FIELD, POSITIVE, SPLIT, Statistics, named
from prep.checks.verdict import verdict
from prep.folds.moments import Moments, MomentsResult


class LossShare:
    """Each group's squared error of predicting zero is at most ``max_ratio`` times its fair share, in one split.

    The fair share is the total error times the group's share of the counted values, so that the ratio is the group's
    mean squared error over everybody's.
    """

    name = "loss_share"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "mask": OPTIONAL_FIELD,
        "group": FIELD,
        "split": SPLIT,
        "max_ratio": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["mask"], statistics["group"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Moments, ...]:
        names = {key: statistics[key] for key in ("var", "mask", "group", "split")}
        return moment_folds(spec, self.name, features=(), **names)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        moments: MomentsResult = measured[folds[0].key]
        groups = len(moments.groups)
        counts, squares = moments.finite, np.nan_to_num((moments.mean**2 + moments.std**2) * moments.finite)
        if counts.ndim > 1:  # real and imaginary parts
            counts, squares = counts.sum(axis=1), squares.sum(axis=1)
        overall = squares.sum() / counts.sum() if counts.any() else 0.0
        ratios = squares / np.maximum(counts, 1) / overall if overall > 0 else np.full(groups, np.inf)
        place = int(np.argmax(ratios)) if groups else 0
        worst = float(ratios[place]) if groups else None
        problem = unusable(folds, measured)
        name, ratio = statistics["group"], statistics["max_ratio"]
        message = "there is no group"
        if worst is not None:
            message = (
                f"{name} {moments.groups[place]} weighs most in the loss of {statistics['var']}: {worst:.3g} times its "
                f"fair share ({squares[place] / max(squares.sum(), 1e-300):.1%} of it, {statistics['split']} split)"
            )
        return verdict(
            spec,
            worst is not None and worst <= ratio and not problem,
            examined=int(moments.count.sum()),
            present=present_values(folds, measured),
            limit=f"≤ {ratio:g} times the fair share",
            message=problem or message,
            remedy=f"normalise {statistics['var']} per {name}; over mixed units one scale lets one group hide the rest",
            worst=worst,
            measured={
                "shares": {
                    str(group): float(own) / max(float(squares.sum()), 1e-300)
                    for group, own in zip(moments.groups, squares, strict=True)
                }
            },
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, mask: str, group: str, split: str, max_ratio: float) -> bool:
        flags = memory.counted(ds, var, mask)
        chosen, codes = memory.in_split(ds, split), memory.values(ds, group)
        own: list[Any] = []
        for code in np.unique(codes[chosen]):
            rows = chosen & (codes == code)
            own.append(np.abs(memory.values(ds, var)[rows][flags[rows]].astype(np.complex128)) ** 2)
        everything = np.concatenate(own) if own else np.zeros(0)
        if (
            not memory.are_flags(ds, mask, split)
            or not everything.size
            or not np.isfinite(everything).all()
            or not everything.any()
        ):
            return False
        return all(part.mean() <= max_ratio * everything.mean() for part in own if part.size)
