"""What a look at one field found: statistics by split, feature and group, and a few samples; a frozen value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.folds.jsonable import encode

LOOK_VERSION = 1
_LOG_FROM = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Statistics of each feature of a field in one split, or of one ``group`` of it.

    ``values`` says which values: ``raw``, ``normalised`` or ``original`` (the embedded transforms undone), in
    ``units``; ``part`` is ``""``, or ``real``, ``imaginary`` or ``modulus`` of a complex field. Arrays are (F,), one
    entry for each of ``features``: ``count`` values that the mask counts, of them ``nan`` and ``inf``; ``masked`` are
    the others (int64). The rest is float64 over the finite values, ``std`` with ddof 0; ``constant`` is True where all
    of them are equal. ``quantiles`` maps a share to (F,) within ``relative_error`` of the distance from a pivot, over
    every ``stride``-th sample. ``histograms`` are (edges, counts) for each feature, () for groups.
    """

    split: str
    values: str
    part: str
    units: str
    group: int | None
    samples: int
    features: tuple[str, ...]
    count: Array
    nan: Array
    inf: Array
    masked: Array
    constant: Array
    mean: Array
    std: Array
    min: Array
    max: Array
    quantiles: Mapping[str, Array]
    stride: int
    relative_error: float
    histograms: tuple[tuple[Array, Array], ...] = ()

    @property
    def label(self) -> str:
        """Which values these are, as people say it."""
        return ", ".join(each for each in (self.values, self.part) if each)

    def shares(self) -> dict[str, float]:
        """Shares of NaN and infinity among the counted values, of masked ones among all, of constant features."""
        counted, all_values = max(int(self.count.sum()), 1), max(int((self.count + self.masked).sum()), 1)
        return {
            "nan": int(self.nan.sum()) / counted,
            "inf": int(self.inf.sum()) / counted,
            "masked": int(self.masked.sum()) / all_values,
            "constant": float(self.constant.mean()) if len(self.constant) else 0.0,
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; NaN becomes None, infinity ``"inf"`` or ``"-inf"``."""
        return {
            "split": self.split,
            "values": self.values,
            "part": self.part,
            "units": self.units,
            "group": self.group,
            "samples": self.samples,
            "shares": self.shares(),
            "stride": self.stride,
            "quantile_relative_error": self.relative_error,
            "features": list(map(self._feature, range(len(self.features)))),
        }

    def _feature(self, index: int) -> dict[str, Any]:
        whole = {name: int(getattr(self, name)[index]) for name in ("count", "nan", "inf", "masked")}
        real = {name: encode(np.asarray(getattr(self, name)[index])) for name in ("mean", "std", "min", "max")}
        found = {
            "feature": self.features[index],
            **whole,
            "constant": bool(self.constant[index]),
            **real,
            **{name: encode(np.asarray(each[index])) for name, each in self.quantiles.items()},
        }
        if self.histograms:
            edges, counts = self.histograms[index]
            found["histogram"] = {"edges": encode(edges), "counts": encode(counts)}
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One sample of a field: ``array`` of the field's shape, ``counted`` bool of the same shape, and ``at``, the places
    of its values along time (float64), empty for a field without.
    """

    row: int
    array: Array
    counted: Array
    at: Array


@dataclass(frozen=True, slots=True, eq=False)
class FieldLook:
    """A field of a dataset as a look found it; ``field`` has the mask and the features that were counted by.

    ``groups`` are the fields that statistics may be asked for by, the one that the transform knows first. ``certified``
    says whether the gate lets the dataset in here, ``certificate`` its digest or why not; ``notes`` what could not be
    looked at. ``time`` is the dimension that is time-like, ``""`` for none, and ``time_label`` names its axis.
    """

    path: Path
    dataset: str
    version: str
    field: FieldSpec
    by: str
    groups: tuple[str, ...]
    certified: bool
    certificate: str
    notes: tuple[str, ...]
    panels: tuple[Panel, ...]
    samples: tuple[Sample, ...] = ()
    time: str = ""
    time_label: str = ""

    def title(self) -> str:
        """The field and what it is."""
        name = f"{self.dataset} {self.version}, {self.field.name}"
        return f"{name}: {self.field.long_name}" if self.field.long_name else name

    def standing(self) -> str:
        """Whether the dataset is certified here, in one line."""
        return f"certified: yes, {self.certificate}" if self.certified else f"certified: no: {self.certificate}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form of the statistics."""
        return {
            "look_version": LOOK_VERSION,
            "path": str(self.path),
            "dataset": self.dataset,
            "version": self.version,
            "field": self.field.to_dict(),
            "by": self.by,
            "groups": list(self.groups),
            "certified": self.certified,
            "certificate": self.certificate,
            "notes": list(self.notes),
            "statistics": [panel.to_dict() for panel in self.panels],
        }


def log_counts(counts: Array) -> bool:
    """Whether a histogram is told better by the logarithm of its counts: its fullest bin hides the ordinary ones."""
    filled = counts[counts >= 1]
    return len(filled) > 2 and float(filled.max()) > _LOG_FROM * float(np.median(filled))


def is_hermitian(matrix: Array) -> bool:
    """Whether a square matrix, finite throughout, is its own conjugate transpose to 1e-5 of its largest entry."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        return False
    with np.errstate(over="ignore"):
        apart = np.abs(matrix - matrix.conj().T).max(initial=0.0)
    return bool(apart <= 1e-5 * modulus(matrix).max(initial=0.0))


def modulus(matrix: Array) -> Array:
    """Moduli as float64; infinite where the type holds no larger ones."""
    with np.errstate(over="ignore"):
        return np.asarray(np.abs(matrix), np.float64)


def trace(matrix: Array) -> Any:
    """The sum of the diagonal, in float64 or complex128; infinite where that holds no larger ones."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.trace(matrix, dtype=np.complex128 if matrix.dtype.kind == "c" else np.float64)


def is_matrix(field: FieldSpec) -> bool:
    """Whether the last two dimensions of a field are of one size above 1: covariance-like."""
    return len(field.shape) >= 2 and field.shape[-1] == field.shape[-2] > 1


def spectrum(matrix: Array, stored: np.dtype[Any]) -> tuple[Array, float]:
    """Eigenvalues of a Hermitian (N, N) matrix, largest first, float64 (N,), and below which size they are rounding of
    its ``stored`` type: N ε of the largest.
    """
    values = np.linalg.eigvalsh(matrix.astype(np.complex128 if matrix.dtype.kind == "c" else np.float64))[::-1]
    exact = np.finfo(stored if stored.kind in "fc" else np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    return values, len(values) * max(largest * float(exact.eps), float(exact.smallest_subnormal))


def matrices(sample: Sample) -> Iterator[tuple[str, Array]]:
    """(place, matrix) of a sample: itself, or the first and the middle one where it holds several."""
    shape = sample.array.shape
    stack = sample.array.reshape(-1, *shape[-2:])
    for index in dict.fromkeys((0, len(stack) // 2)):
        place = ", ".join(map(str, np.unravel_index(index, shape[:-2]))) if len(shape) > 2 else ""
        yield place, stack[index]


def lines(look: FieldLook, sample: Sample) -> Iterator[tuple[str, Array]]:
    """(label, values along time) of each feature of a sample that the mask counts; what is masked within is NaN."""
    dims = look.field.dims[1:]
    axis = dims.index(look.time)
    table = np.moveaxis(sample.array, axis, -1)
    counted = np.moveaxis(sample.counted, axis, -1)
    others = [name for name in dims if name != look.time]
    for place in np.ndindex(table.shape[:-1]):
        if counted[place].any():
            label = ", ".join(f"{name} {index}" for name, index in zip(others, place, strict=True))
            values = np.where(counted[place], table[place], np.nan)
            if values.dtype.kind == "c":
                yield f"{label} modulus".strip(), np.abs(values)
            else:
                yield label, values.astype(np.float64)
