"""A held-out split comes from the distribution that train has, and was normalised with train's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import refuse
from prep.checks.masked import moment_folds, place_of, present_values, unusable
from prep.checks.statistics import DIMS, FIELD, OPTIONAL_FIELD, POSITIVE, SPLIT, Statistics, named
from prep.checks.verdict import verdict
from prep.folds import Scope
from prep.folds.moments import MomentsResult

# Mean 0 and std 1 this exactly are no accident: among n values, each of the two is that close with probability
# 0.8 ε √n and 1.1 ε √n, and features multiply.
_EXACT = 1e-5
_CHANCE = 1e-9
_FEWEST = 10


class HeldOut:
    """|mean − mean_train| ≤ shift_max·std_train and 1/ratio_max ≤ std/std_train ≤ ratio_max for each feature and group.

    Means and standard deviations are over what ``mask`` counts in ``split`` and in the train split. The ratio is judged
    where train varies; a feature or group that train does not have fails. And not all features that vary may have mean
    0 and standard deviation 1 to within 1e-5: then the split was normalised by its own statistics. That is judged where
    chance would do it less than once in 1e9 (nearly n·1e-10 for each feature of n values, at least ten), so hardly ever
    for one feature alone. ``worst`` is the shift over std_train or the ratio, whichever is nearer to its limit, which
    then comes first in ``limit``.
    """

    name = "held_out"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "mask": OPTIONAL_FIELD,
        "group": OPTIONAL_FIELD,
        "features": DIMS,
        "split": SPLIT,
        "shift_max": POSITIVE,
        "ratio_max": {"type": "number", "minimum": 1},
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["mask"], statistics["group"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Any, ...]:
        if statistics["split"] == "train":
            raise refuse(spec, statistics["var"], self.name, measured="split train", allowed="split val or test")
        names = ("var", "mask", "group", "split", "features")
        held = moment_folds(spec, self.name, **{name: statistics[name] for name in names})
        train = Scope.of(spec, "train")
        return (*held, *(replace(fold, scope=train) for fold in held))

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        folds = self.folds(spec, statistics)
        pairs = folds[: len(folds) // 2], folds[len(folds) // 2 :]
        held, train = (measured[pair[0].key] for pair in pairs)
        problem = next(filter(None, (unusable(pair, measured) for pair in pairs)), "")
        unfit = held if held.nonfinite_rows else train
        held, train = _exact(held), _exact(train)
        mean, std, count = _aligned(train, held) if folds[0].group else (train.mean, train.std, train.count)
        shift_max, ratio_max = statistics["shift_max"], statistics["ratio_max"]
        excess = _excess(held, mean, std, count, shift_max, ratio_max)
        worst = tuple(np.argwhere(excess == excess.max())[0].tolist()) if excess.size else None
        limits = [
            f"|mean − mean_train| / std_train ≤ {shift_max:g}",
            f"{1 / ratio_max:.4g} ≤ std / std_train ≤ {ratio_max:g}",
        ]
        value = None
        if worst is not None:
            of_std, value = _nearest(held.mean[worst], held.std[worst], mean[worst], std[worst], shift_max, ratio_max)
            limits = limits[::-1] if of_std else limits
        var, split = statistics["var"], statistics["split"]
        bad = excess > 1.0
        message = f"{int((held.count > 0).sum())} features of {var} are in the {split} split as they are in train"
        if worst is not None and bad.any():
            message = (
                f"{int(bad.sum())} of {int((held.count > 0).sum())} features of {var} are not in the {split} split as "
                f"they are in train; worst: mean {held.mean[worst]:.6g} (train {mean[worst]:.6g}), "
                f"std {held.std[worst]:.6g} (train {std[worst]:.6g}) in {place_of(pairs[0], held, worst)}"
            )
        elif own := standardised_alone(held):
            message = (
                f"all {own} features of {var} have mean 0 and std 1 in the {split} split, to five digits: it was "
                "normalised by its own statistics"
            )
            bad, value = np.ones(1, bool), None
        examined = int(held.count.sum()), int(train.count.sum())
        return verdict(
            spec,
            not bad.any() and not problem,
            examined=sum(examined) if all(examined) else 0,
            present=sum(present_values(pair, measured) for pair in pairs),
            limit=f"{', '.join(limits)}, by train's statistics",
            message=problem or message,
            remedy="normalise every split with the statistics of train (`prep stats` and `prep normalize` do), and "
            "draw the splits from one distribution; a column that died in one split has std 0",
            worst=value,
            samples=unfit.nonfinite_samples,
            failing=unfit.nonfinite_rows,
        )

    @staticmethod
    def pandera_function(
        ds: Any,
        *,
        var: str,
        mask: str,
        group: str,
        features: list[str],
        split: str,
        shift_max: float,
        ratio_max: float,
    ) -> bool:
        found: dict[str, dict[tuple[int, int], Any]] = {}
        if not all(memory.are_flags(ds, mask, each) for each in ("train", split)):
            return False
        codes = memory.group_codes(ds, group)
        for each in ("train", split):
            found[each] = {}
            for code in np.unique(codes[memory.in_split(ds, each)]).tolist():
                own = ds.isel(sample=np.flatnonzero(codes == code))
                keep = [dim for dim in ds[var].dims if dim in features]
                others = [dim for dim in ds[var].dims if dim != "sample" and dim not in keep]
                chosen = memory.in_split(own, each)
                values = own[var].transpose("sample", *others, *keep).values[chosen]
                flags = memory.counted(own, var, mask)[chosen]
                flags = np.transpose(flags, [ds[var].dims.index(dim) for dim in ("sample", *others, *keep)])
                width = int(np.prod([ds.sizes[dim] for dim in keep], dtype=int))
                lines, counts = values.reshape(-1, width), flags.reshape(-1, width)
                parts = (lines.real, lines.imag) if lines.dtype.kind == "c" else (lines,)
                for place, part in enumerate(parts):
                    for feature in range(width):
                        column = part[counts[:, feature], feature].astype(np.float64)
                        if column.size:
                            found[each][code, feature * len(parts) + place] = column
        if not all(found.values()) or not all(
            np.isfinite(column).all() for columns in found.values() for column in columns.values()
        ):
            return False
        logarithm, own_statistics = 0.0, True
        for key, column in found[split].items():
            if key not in found["train"]:
                return False
            train = found["train"][key]
            # From the first value on, so that equal values have exactly their mean.
            mean, mean_train = (each[0] + (each - each[0]).mean() for each in (column, train))
            std, std_train = column.std() * np.any(column != column[0]), train.std() * np.any(train != train[0])
            if not abs(mean - mean_train) <= shift_max * std_train:
                return False
            if std_train > 0 and not std_train <= std * ratio_max <= std_train * ratio_max**2:
                return False
            if std > 0:
                own_statistics &= len(column) >= 10 and abs(mean) < 1e-5 and abs(std - 1) < 1e-5
                logarithm += min(0.0, np.log(len(column) * 1e-10))
        return not (own_statistics and logarithm < np.log(1e-9))


def _exact(moments: MomentsResult) -> MomentsResult:
    """The moments with exactly the one value as mean, and 0 as std, where all values are equal."""
    mean, std = np.where(moments.constant, moments.min, moments.mean), np.where(moments.constant, 0.0, moments.std)
    return replace(moments, mean=mean, std=std)


def _aligned(train: MomentsResult, held: MomentsResult) -> tuple[Array, Array, Array]:
    """Mean, std and count of the train split for the groups of ``held``, count 0 for those it does not have."""
    shape = held.mean.shape
    mean, std, count = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, np.int64)
    places = {group: place for place, group in enumerate(train.groups)}
    for place, group in enumerate(held.groups):
        if group in places:
            own = places[group]
            mean[place], std[place], count[place] = train.mean[own], train.std[own], train.count[own]
    return mean, std, count


def _excess(held: MomentsResult, mean: Array, std: Array, count: Array, shift_max: float, ratio_max: float) -> Array:
    """By how much the worse of shift and ratio goes beyond its limit (1 is at the limit), 0 where nothing is held."""
    shift = np.abs(held.mean - mean)
    with np.errstate(all="ignore"):
        # The shift of a feature that train never varies is none, or infinite.
        shifts = np.where(shift > 0, shift / (shift_max * std), 0.0)
        ratios = np.where(std > 0, np.maximum(held.std / std, std / held.std) / ratio_max, 0.0)
        excess = np.maximum(shifts, ratios)
    excess = np.where(count > 0, np.nan_to_num(excess, nan=np.inf, posinf=np.inf), np.inf)
    return np.where(held.count > 0, excess, 0.0)


def _nearest(
    mean: float, std: float, mean_train: float, std_train: float, shift_max: float, ratio_max: float
) -> tuple[bool, float]:
    """Whether the ratio of the standard deviations is nearer to its limit than the shift; and that ratio, or shift."""
    with np.errstate(all="ignore"):
        shift, ratio = np.abs(mean - mean_train) / std_train, std / std_train
        nearer = std_train > 0 and bool(np.maximum(ratio, 1 / ratio) / ratio_max > shift / shift_max)
    if nearer:
        return True, float(ratio)
    return False, 0.0 if mean == mean_train else float(np.nan_to_num(shift, nan=np.inf, posinf=np.inf))


def standardised_alone(held: MomentsResult) -> int:
    """How many features vary, if all of these are standardised too exactly for chance; else 0."""
    varies = (held.count > 0) & ~held.constant
    if not varies.any():
        return 0
    count, mean, std = held.count[varies], held.mean[varies], held.std[varies]
    exact = (np.abs(mean) < _EXACT) & (np.abs(std - 1.0) < _EXACT) & (count >= _FEWEST)
    logarithm = np.sum(np.minimum(np.log(count * _EXACT**2), 0.0))
    return int(varies.sum()) if exact.all() and logarithm < np.log(_CHANCE) else 0
