"""The columns of a field and their moments: what most symptoms measure, once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.folds import Scope
from prep.folds.layout import Layout
from prep.folds.moments import Moments, MomentsResult
from prep.symptoms import Guess

# A last dimension beyond this is a sequence or an image line, not a list of variables.
MOST_COLUMNS = 256
CHANCE = 1e-9
# So many equal values of a fair coin happen by chance less often than once in 1e9 (2⁻³⁰).
FEWEST = 31


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Moments of the columns of ``field`` in one split: float64 and bool arrays (columns,), ``count`` int64.

    ``rms`` is the root of the mean square about zero, ``names`` what a column is called. ``binary`` columns hold 0 and
    1 only: flags and one-hot codes, whose scale nobody normalises.
    """

    field: FieldSpec
    split: str
    names: tuple[str, ...]
    moments: MomentsResult
    count: Array
    mean: Array
    std: Array
    low: Array
    high: Array
    constant: Array
    binary: Array

    @property
    def rms(self) -> Array:
        """√E[x²] of each column."""
        return np.hypot(self.mean, self.std)

    def moment_pair(self, about: Array | float) -> tuple[Array, Array]:
        """Mean square and mean fourth power of the distance from ``about``; infinite or NaN beyond float64."""
        with np.errstate(all="ignore"):
            return self._moment_pair(about)

    def _moment_pair(self, about: Array | float) -> tuple[Array, Array]:
        m2 = self.std**2
        m3 = np.nan_to_num(self.moments.skewness.reshape(-1)) * self.std**3
        m4 = np.nan_to_num(self.moments.kurtosis.reshape(-1) + 3) * m2**2
        gap = self.mean - about
        return m2 + gap**2, m4 + 4 * m3 * gap + 6 * m2 * gap**2 + gap**4

    @property
    def certain(self) -> Array:
        """By what factor the RMS of each column could be smaller or larger by chance: 1 less three of its standard
        errors, √((E[x⁴]/E[x²]² − 1)/n)/2; 0 where a few values make it.
        """
        with np.errstate(all="ignore"):
            # Of the column in units of its RMS, so that no power of it overflows or vanishes.
            mean, std = self.mean / self.rms, self.std / self.rms
            skewness = np.nan_to_num(self.moments.skewness.reshape(-1))
            kurtosis = np.nan_to_num(self.moments.kurtosis.reshape(-1) + 3)
            fourth = kurtosis * std**4 + 4 * skewness * std**3 * mean + 6 * std**2 * mean**2 + mean**4
            error = np.sqrt(np.maximum(fourth - 1, 0) / np.maximum(self.count, 1)) / 2
        return np.asarray(np.maximum(1 - 3 * np.nan_to_num(error, nan=1.0, posinf=1.0), 0.0))

    @property
    def loss(self) -> float:
        """Mean squared error of predicting zero, over all counted finite values."""
        some = self.moments.finite.reshape(-1)
        weights = some / max(int(some.sum()), 1)
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.nansum(np.where(some > 0, self.rms**2, 0.0) * weights))


def fields_of(guess: Guess, roles: str = "input target", kinds: str = "fiuc") -> Iterator[FieldSpec]:
    """The fields of some roles and dtype kinds, without the one that tells time."""
    for field in guess.spec.fields:
        if field.role in roles.split() and field.dtype.kind in kinds and field.name != guess.time and field.row_values:
            yield field


def is_square(field: FieldSpec) -> bool:
    """Whether the samples are square matrices of floats."""
    return field.dtype.kind in "fc" and len(field.shape) == 2 and field.shape[0] == field.shape[1] > 1


def columns_fold(guess: Guess, field: FieldSpec, split: str = "train") -> Moments:
    """Moments of each column of ``field``: of its features, where they are known, else of each place of the last
    dimension, unless that is long or the field holds square matrices; then all values are one column.
    """
    features = field.features
    if not features and field.shape and field.shape[-1] <= MOST_COLUMNS and not is_square(field):
        features = field.dims[-1:]
    described = replace(field, features=features)
    if guess.layout != "prep" and Layout(described).width > 2 * MOST_COLUMNS:
        described = replace(field, features=())
    mask = guess.spec[field.mask] if field.mask in guess.spec and field.mask else None
    return Moments(described, Scope.of(guess.spec, split), mask)


def columns(guess: Guess, field: FieldSpec, measured: Mapping[str, Any], split: str = "train") -> Columns:
    """What was measured for `columns_fold`."""
    fold = columns_fold(guess, field, split)
    found: MomentsResult = measured[fold.key]
    flat = {name: getattr(found, name).reshape(-1) for name in ("finite", "mean", "std", "min", "max", "constant")}
    mean = np.where(flat["constant"], flat["min"], flat["mean"])
    std = np.where(flat["constant"], 0.0, flat["std"])
    with np.errstate(all="ignore"):
        flags = (flat["min"] == 0) & (flat["max"] == 1) & (np.abs(mean * (1 - mean) - std**2) < 1e-6)
    return Columns(
        field=field,
        split=split,
        names=tuple(_names(fold)),
        moments=found,
        count=flat["finite"],
        mean=mean,
        std=std,
        low=flat["min"],
        high=flat["max"],
        constant=flat["constant"],
        binary=flags,
    )


def two_valued(found: Columns) -> bool:
    """Whether every column that varies has two values: kurtosis 1 + skewness², which no other distribution has."""
    varies = (found.count > 0) & ~found.constant
    skewness, kurtosis = found.moments.skewness.reshape(-1), found.moments.kurtosis.reshape(-1) + 3
    return bool(varies.any() and (np.abs(kurtosis - skewness**2 - 1)[varies] < 1e-4 * kurtosis[varies]).all())


def _names(fold: Moments) -> Iterator[str]:
    sizes = fold.layout.feature_sizes
    if fold.field.dtype.kind == "c":
        sizes = sizes[:-1]
    parts = ("real", "imaginary") if fold.field.dtype.kind == "c" else ("",)
    for place in np.ndindex(*sizes):
        column = f"column {place[0] if len(place) == 1 else place}" if place else "all values"
        for part in parts:
            yield f"{part} part of {column}" if part else column


def listed(names: tuple[str, ...], chosen: Array, most: int = 5) -> str:
    """The first chosen names: "columns 1, 4, 7 and 3 more"."""
    places = np.flatnonzero(chosen).tolist()
    own = [names[place] for place in places[:most]]
    if all(name.startswith("column ") for name in own):
        short = ", ".join(name.removeprefix("column ") for name in own)
        own = [f"column{'s' if len(own) > 1 else ''} {short}"]
    more = len(places) - most
    return ", ".join(own) + (f" and {more} more" if more > 0 else "")
