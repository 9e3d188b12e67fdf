"""What is measured of the fields of two datasets to compare them: folds on common buckets, feature by feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec, FieldSpec
from prep.engine import Measurements
from prep.folds import Fold, Scope
from prep.folds.distance import distances
from prep.folds.ids import Ids, IdsState
from prep.folds.moments import Moments, MomentsResult
from prep.folds.sketch import Quantiles, QuantilesResult
from prep.transforms.original import SUFFIX, Originals
from prep.verbs.pivots import OFF, rounding_of

MEASURES = ("jensen_shannon", "psi", "l_inf", "mean_shift", "std_ratio", "nonfinite")
_OWN_FEATURES = 64
_ROUNDINGS = 8
# Standard deviations between mean and pivot beyond which a bucket is wider than a sixteenth of one.
_FAR = 8


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a field on both sides: ``index`` over its feature dims (and re/im of a complex field, ``part``).

    ``measures`` are those of `MEASURES`: three distances (`prep.folds.distance`), the difference of the means in units
    of the root mean square of both standard deviations, the larger standard deviation over the smaller, and the share
    of counted values that are not finite in B beyond that in A. ``a`` and ``b`` hold count, finite, nonfinite, mean,
    std, min and max. ``chance`` is the L∞ distance that two lots of as many independent samples of one distribution
    exceed once in a hundred times (N. Smirnov, Ann. Math. Stat. 19, 1948); values of one sample are taken for one.
    Of one ``group`` of the field ``by`` alone, none of its groups and features exceeds it more often than that.
    """

    field: str
    index: tuple[int, ...]
    part: str
    measures: Mapping[str, float]
    a: Mapping[str, float]
    b: Mapping[str, float]
    chance: float
    by: str = ""
    group: int | None = None

    @property
    def apart(self) -> tuple[float, ...]:
        """Larger for what is farther apart."""
        measures = self.measures
        return measures["jensen_shannon"], measures["l_inf"], measures["nonfinite"], measures["mean_shift"]

    @property
    def beyond_chance(self) -> bool:
        """Whether the two sides are farther apart than two draws of one distribution are."""
        return self.measures["l_inf"] > self.chance or self.measures["nonfinite"] > 0

    @property
    def name(self) -> str:
        """As a person names it: ``states[3]``, ``snapshots.re``, ``states[3] in system 7``."""
        index = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        within = f" in {self.by} {self.group}" if self.by else ""
        return f"{self.field}{index}{'.' if self.part else ''}{self.part}{within}"


@dataclass(frozen=True, slots=True)
class Groups:
    """The ids of a field that only B has (``new``) and only A has (``lost``): id → samples. Not ``complete`` where
    there are more than a million ids.
    """

    field: str
    a: int
    b: int
    new: Mapping[int, int]
    lost: Mapping[int, int]
    complete: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """A field as it is measured on both sides: in original units, with one set of features."""

    name: str
    a: FieldSpec
    b: FieldSpec


def pairs(a: DatasetSpec, b: DatasetSpec, companions: frozenset[str]) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """The fields whose distributions can be compared, and why others cannot: every number that is no id, constant or
    split flag, nor a part of another field's original values (``companions``). Features and masks are those that
    either side states; a field without has those of its one short dimension.
    """
    found, reasons = [], {}
    for field in a.fields:
        if (
            field.name in companions
            or field.role in ("id", "split")
            or field.dtype.kind not in "biufc"
            or not field.row_values
        ):
            continue
        if field.name not in b:
            reasons[field.name] = "B does not have it"
            continue
        other = b[field.name]
        features = field.features or other.features or _own(field)
        mask = field.mask or other.mask
        one, two = (replace(each, features=features, mask=mask) for each in (field, other))
        if (one.dtype.kind == "c") != (two.dtype.kind == "c"):
            reasons[field.name] = f"{one.dtype} in A, {two.dtype} in B"
        elif one.dims != two.dims or _sizes(one) != _sizes(two):
            reasons[field.name] = f"{_shape(one)} in A, {_shape(two)} in B"
        else:
            found.append(Pair(field.name, one, two))
    return tuple(found), reasons


def _own(field: FieldSpec) -> tuple[str, ...]:
    return field.dims[1:] if len(field.shape) == 1 and field.shape[0] <= _OWN_FEATURES else ()


def _sizes(field: FieldSpec) -> list[int]:
    return [size for dim, size in zip(field.dims[1:], field.shape, strict=True) if dim in field.features]


def _shape(field: FieldSpec) -> str:
    return f"({', '.join(f'{dim} {size}' for dim, size in zip(field.dims[1:], field.shape, strict=True))})"


@dataclass(frozen=True, slots=True)
class Measure:
    """The folds of one field of one dataset, and the relative rounding of its values as stored."""

    moments: Moments
    quantiles: Quantiles
    rounding: float

    def within(self, by: str) -> Measure:
        """The same of each group of the field ``by``."""
        return replace(self, moments=replace(self.moments, group=by), quantiles=replace(self.quantiles, group=by))


def measured_as(spec: DatasetSpec, originals: Originals, field: FieldSpec, split: str) -> Measure:
    """The folds of ``field`` of a dataset, of the values before its transform where it has one; no pivot yet."""
    name = field.name + SUFFIX if field.name in originals.inverses else field.name
    kept = replace(originals.spec[name], features=field.features)
    mask = spec[field.mask] if field.mask and field.mask in spec else None
    scope = Scope.of(spec, split)
    rounding = rounding_of(spec[field.name].dtype)
    return Measure(Moments(kept, scope, mask), Quantiles(kept, scope, mask), rounding)


def closer(a: Measure, b: Measure, passes: Sequence[Measurements]) -> tuple[Measure, Measure] | None:
    """The same folds with sketches that count from the means of A, where some of what both ``passes`` found of a
    feature (of one group) lies so far from its pivot that its buckets are coarse; None where all lies near enough.
    """
    one, other = (found.results[each.moments.key] for found, each in zip(passes, (a, b), strict=True))
    shared = sorted(set(one.groups) & set(other.groups))
    by, width = a.moments.group, a.quantiles.layout.width
    places = [[each.groups.index(group) for group in shared] if by else [0] for each in (one, other)]
    means, others = (each.mean[place].reshape(-1, width) for each, place in zip((one, other), places, strict=True))
    stds = (each.std[place].reshape(-1, width) for each, place in zip((one, other), places, strict=True))
    with np.errstate(all="ignore"):
        scale = np.fmax(np.fmax(*stds), np.abs(others - means))
        common = np.asarray(a.quantiles.pivot or (0.0,))
        rounding = _rounding(a, b, np.fmax(np.abs(means), np.abs(others)))
        far = (np.abs(means - common) > _FAR * scale) & (scale > rounding)
        near = means + OFF * scale
        better = np.where(far & np.isfinite(near), near, common)
    if np.array_equal(better, np.broadcast_to(common, better.shape)):
        return None
    pivots = [tuple(line) for line in better.tolist()]
    changed: Any = {"own_pivots": tuple(zip(shared, pivots, strict=True))} if by else {"pivot": pivots[0]}
    return replace(a, quantiles=replace(a.quantiles, **changed)), replace(b, quantiles=replace(b.quantiles, **changed))


def _rounding(a: Measure, b: Measure, size: Any) -> Any:
    """By how much numbers of a ``size`` may differ for no other reason than that they were stored."""
    return _ROUNDINGS * max(a.rounding, b.rounding) * size


def features(
    name: str, a: Measure, b: Measure, passes: Sequence[Measurements], samples: Sequence[Mapping[int, int]] = ()
) -> Iterator[Feature]:
    """What both ``passes`` found of one field, feature by feature; of a field measured group by group, of each group
    that both sides have. ``samples`` are then those of each group, of both sides.
    """
    sketches: list[QuantilesResult] = [
        found.results[each.quantiles.key] for found, each in zip(passes, (a, b), strict=True)
    ]
    moments: list[MomentsResult] = [found.results[each.moments.key] for found, each in zip(passes, (a, b), strict=True)]
    by = a.moments.group
    shared = sorted(set(moments[0].groups) & set(moments[1].groups))
    apart = distances(*(each.only(shared) for each in sketches)) if by else distances(*sketches)
    is_complex = a.moments.field.dtype.kind == "c"
    rows = [max(each.moments.scope.stop - each.moments.scope.start, 0) for each in (a, b)]
    comparisons = apart.psi.size if by else 1
    for place in np.ndindex(*apart.psi.shape):
        group = shared[place[0]] if by else None
        sides = [
            _side(each, (each.groups.index(group), *place[1:]) if group is not None else place) for each in moments
        ]
        index = place[1:]
        part = ("re", "im")[index[-1]] if is_complex else ""
        counts = rows if group is None else [each[group] for each in samples]
        yield Feature(
            name,
            index[:-1] if is_complex else index,
            part,
            {
                **{key: float(getattr(apart, key)[place]) for key in ("jensen_shannon", "psi", "l_inf")},
                **_moments_apart(sides[0], sides[1], _rounding(a, b, max(abs(side["mean"]) for side in sides))),
            },
            sides[0],
            sides[1],
            _chance([min(side["finite"], count) for side, count in zip(sides, counts, strict=True)], comparisons),
            by,
            group,
        )


def _side(moments: MomentsResult, place: tuple[int, ...]) -> dict[str, Any]:
    return {
        "count": int(moments.count[place]),
        "finite": int(moments.finite[place]),
        "nonfinite": int(moments.nan[place] + moments.inf[place]),
        **{key: float(getattr(moments, key)[place]) for key in ("mean", "std", "min", "max")},
    }


def _chance(samples: Sequence[int], comparisons: int) -> float:
    # The limit law of the two-sample statistic; 1.628 for one comparison.
    n, m = samples
    return float(np.sqrt(np.log(200 * comparisons) / 2 * (n + m) / (n * m))) if n and m else 0.0


def _moments_apart(a: Mapping[str, float], b: Mapping[str, float], rounding: float) -> dict[str, float]:
    gone = [max(each["nonfinite"] / each["count"], 0.0) if each["count"] else 0.0 for each in (a, b)]
    found = {"mean_shift": 0.0, "std_ratio": 1.0, "nonfinite": max(gone[1] - gone[0], 0.0)}
    if np.isnan(a["mean"]) or np.isnan(b["mean"]):
        if np.isnan(a["mean"]) != np.isnan(b["mean"]):
            found |= {"mean_shift": np.inf, "std_ratio": np.inf}
        return found
    spread, shift = np.hypot(a["std"], b["std"]) / np.sqrt(2), abs(b["mean"] - a["mean"])
    # Of two constants that differ by rounding there is no spread to measure by.
    found["mean_shift"] = (
        0.0 if shift == 0 or spread + shift <= rounding else float(shift / spread) if spread else np.inf
    )
    low, high = sorted((a["std"], b["std"]))
    found["std_ratio"] = 1.0 if high == low or high <= rounding else float(high / low) if low else np.inf
    return found


def groups(fold: Ids, a: IdsState, b: IdsState) -> Groups:
    """The ids of one field that only one side has."""
    new, lost = ~np.isin(b.ids, a.ids), ~np.isin(a.ids, b.ids)
    return Groups(
        fold.field,
        len(a.ids),
        len(b.ids),
        dict(zip(b.ids[new].tolist(), b.counts[new].tolist(), strict=True)),
        dict(zip(a.ids[lost].tolist(), a.counts[lost].tolist(), strict=True)),
        a.complete and b.complete,
    )


def id_folds(spec: DatasetSpec, names: frozenset[str], split: str) -> dict[str, Ids]:
    """A fold for each of the ids ``names``."""
    return {name: Ids(name, Scope.of(spec, split)) for name in sorted(names)}


def folds_of(measures: Iterable[Measure], ids: Mapping[str, Ids]) -> list[Fold]:
    """All folds of one pass."""
    found: list[Fold] = [fold for each in measures for fold in (each.moments, each.quantiles)]
    return found + list(ids.values())


def to_dict(value: Any) -> Any:
    """Numbers as JSON has them: NaN is None, infinity ``"inf"``."""
    if isinstance(value, dict):
        return {key: to_dict(each) for key, each in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value
