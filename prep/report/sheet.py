"""What a page says of one dataset: its verdict, and what was measured for its pictures; a frozen value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.report.looked import FieldLook, Panel, Sample, is_hermitian, matrices, modulus, spectrum, trace
from prep.report.validation import Validation

WHOLE = ("real", "imaginary", "")


@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """A few square matrices of a field: ``rows`` (n,) says of which samples, ``shown`` are the first few of them.

    ``trace`` (n,) is the real part; of Hermitian matrices of N rows ``eigenvalues`` (n, N) float64, largest first, and
    ``floor`` (n,), the size below which they are rounding of the stored type; NaN throughout where a matrix is not
    finite or not Hermitian. ``original`` (n,) are traces in original ``units``, () where there are none.
    """

    rows: Array
    shown: tuple[Array, ...]
    trace: Array
    eigenvalues: Array
    floor: Array
    original: Array
    units: str

    @classmethod
    def of(cls, samples: Sequence[Sample], stored: np.dtype[Any], originals: Sequence[Sample], units: str) -> Matrices:
        """Of each sample the first matrix."""
        taken = [next(matrices(each))[1] for each in samples]
        found = [
            spectrum(each, stored) if is_hermitian(each) else (np.full(len(each), np.nan), np.nan) for each in taken
        ]
        return cls(
            rows=np.asarray([each.row for each in samples]),
            shown=tuple(modulus(each) for each in taken[:3]),
            trace=np.asarray([trace(each).real for each in taken], np.float64),
            eigenvalues=np.asarray([values for values, _ in found]),
            floor=np.asarray([floor for _, floor in found]),
            original=np.asarray([trace(next(matrices(each))[1]).real for each in originals], np.float64),
            units=units,
        )

    @property
    def hermitian(self) -> Array:
        """(n,) whether a matrix is finite and Hermitian."""
        return np.asarray(np.isfinite(self.eigenvalues).all(axis=1))

    @property
    def shares(self) -> Array:
        """(m, N) eigenvalues as shares of the largest one, of the matrices that have a positive one; what is not above
        rounding, negative ones too, counts as the share that `rounding` has.
        """
        kept = self._positive
        return np.maximum(self.eigenvalues[kept], self.floor[kept, None]) / self.eigenvalues[kept, :1]

    @property
    def rounding(self) -> float:
        """The share of the largest eigenvalue below which nothing is told from rounding in any of the `shares`."""
        kept = self._positive
        return float((self.floor[kept] / self.eigenvalues[kept, 0]).max(initial=0.0))

    @property
    def band(self) -> Array:
        """(3, K) least, median and largest of the `shares` at each place, up to the first that is rounding in all."""
        shares = self.shares
        last = int((shares > self.rounding).sum(axis=1).max(initial=0)) + 1
        return np.asarray([each(shares[:, :last], axis=0) for each in (np.min, np.median, np.max)])

    @property
    def negative(self) -> int:
        """How many matrices have an eigenvalue that is negative beyond rounding."""
        kept = self.hermitian
        return int((self.eigenvalues[kept].min(axis=1, initial=0.0) < -self.floor[kept]).sum())

    @property
    def _positive(self) -> Array:
        return np.asarray(self.hermitian & (self.eigenvalues[:, 0] > 0))

    @property
    def rank(self) -> Array:
        """(n,) eigenvalues that are not zero up to rounding, int64."""
        return np.asarray((np.abs(self.eigenvalues) > self.floor[:, None]).sum(axis=1))

    @property
    def condition(self) -> Array:
        """(n,) largest modulus of an eigenvalue over the least one above rounding, float64; NaN where there is none."""
        sizes = np.abs(self.eigenvalues)
        with np.errstate(all="ignore"):
            kept = np.where(sizes > self.floor[:, None], sizes, np.inf).min(axis=1)
            return np.where(np.isfinite(kept), sizes.max(axis=1) / kept, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A field as it was measured in one split: ``look`` by feature with histograms, ``grouped`` also by the group that
    its transform knows; ``problems`` says what could not be measured, and why.
    """

    field: FieldSpec
    look: FieldLook | None = None
    grouped: FieldLook | None = None
    matrices: Matrices | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Certification:
    """How a dataset is trusted here: ``digest`` is that of its certificate, or ``""`` with the reason why not.

    ``signers`` are (owner, key); ``created`` and ``expires`` are what the certificate states, ``""`` for never.
    """

    digest: str = ""
    why_not: str = ""
    level: str = ""
    pinned: bool = False
    signers: tuple[tuple[str, str], ...] = ()
    created: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """One dataset: ``found`` is what `validate` says of it, the rest what could be learned about it beside that.

    ``spec`` is None where it could not be opened, and ``closed`` says why. ``split`` is the one that was ``measured``,
    or ``unmeasured`` says why none was; ``left_out`` counts the fields that were not, because there are many. ``loss``
    is what the schema says of it.
    """

    found: Validation
    spec: DatasetSpec | None = None
    closed: str = ""
    format: str = ""
    size: int = 0
    root: str = ""
    about: str = ""
    documents: Mapping[str, Any] = field(default_factory=dict)
    certification: Certification = Certification()
    split: str = ""
    unmeasured: str = ""
    measured: tuple[Measured, ...] = ()
    left_out: int = 0
    loss: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the dataset is."""
        return self.found.path

    @property
    def holds(self) -> bool:
        """Whether the data are certified here and, as they were examined now, what the certificate says."""
        report = self.found.report
        return bool(self.certification.digest) and report is not None and not report.failed and report.root == self.root

    @property
    def normalised(self) -> bool:
        """Whether any field was normalised."""
        return self.spec is not None and any(each.transform_state == "normalized" for each in self.spec.fields)


def log_costs(panels: Sequence[Panel]) -> Array:
    """(F,) logarithm of what predicting zero costs each feature, summed over its values: their finite count times their
    mean square; of a complex field over both parts. As a logarithm, since squares of large values overflow; NaN where
    mean or standard deviation are not known.
    """
    parts = [each for each in panels if each.part in WHOLE]
    costs = []
    for each in parts:
        finite = each.count - each.nan - each.inf
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            cost = np.log(finite) + 2 * np.log(np.hypot(each.mean, each.std))
        costs.append(np.where(finite > 0, np.where(np.isfinite(cost) | each.constant, cost, np.nan), -np.inf))
    return log_sum(costs)


def log_sum(logs: Sequence[Array] | Array) -> Array:
    """The logarithm of a sum, over the first axis, of what ``logs`` are logarithms of; NaN with one that is."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.logaddexp.reduce(logs, axis=0), np.float64)
