"""Judges: each check says what it needs measured (folds) and decides on the measurements; none reads data itself.

A check is one file here and one line in `CHECKS`. Each is also registered with pandera at dataset level under the same
name (`pandera_function`), written independently in plain NumPy/xarray, so that a schema means the same in memory and
out of core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from prep.blocks import DatasetSpec
from prep.folds import Fold
from prep.registry import Table

CHECKS = Table(
    "checks",
    {
        "aligned": "prep.checks.aligned:Aligned",
        "binary": "prep.checks.binary:Binary",
        "boltzmann_slope": "prep.checks.boltzmann_slope:BoltzmannSlope",
        "bond_lengths": "prep.checks.bond_lengths:BondLengths",
        "chirality": "prep.checks.chirality:Chirality",
        "constant_feature": "prep.checks.constant_feature:ConstantFeature",
        "count_matches": "prep.checks.count_matches:CountMatches",
        "effective_sample_size": "prep.checks.effective_sample_size:EffectiveSampleSize",
        "encoding": "prep.checks.encoding:Encoding",
        "factorised": "prep.checks.factorised:Factorised",
        "finite": "prep.checks.finite:Finite",
        "fir_probe": "prep.checks.fir_probe:FirProbe",
        "fresh_symbols": "prep.checks.fresh_symbols:FreshSymbols",
        "group_count": "prep.checks.group_count:GroupCount",
        "groups_disjoint": "prep.checks.groups_disjoint:GroupsDisjoint",
        "growth": "prep.checks.growth:Growth",
        "held_out": "prep.checks.held_out:HeldOut",
        "hermitian": "prep.checks.hermitian:Hermitian",
        "in_bounds": "prep.checks.in_bounds:InBounds",
        "learnability": "prep.checks.learnability:Learnability",
        "linear_fit": "prep.checks.linear_fit:LinearFit",
        "loss_share": "prep.checks.loss_share:LossShare",
        "mask_prefix": "prep.checks.mask_prefix:MaskPrefix",
        "mean_probe": "prep.checks.mean_probe:MeanProbe",
        "near_unique_rows": "prep.checks.near_unique_rows:NearUniqueRows",
        "norm_bounds": "prep.checks.norm_bounds:NormBounds",
        "one_hot": "prep.checks.one_hot:OneHot",
        "psd": "prep.checks.psd:Psd",
        "rank": "prep.checks.rank:Rank",
        "separated": "prep.checks.separated:Separated",
        "split_flags": "prep.checks.split_flags:SplitFlags",
        "standardised": "prep.checks.standardised:Standardised",
        "steering_span": "prep.checks.steering_span:SteeringSpan",
        "time_steps": "prep.checks.time_steps:TimeSteps",
        "trace_n": "prep.checks.trace_n:TraceN",
        "unique_rows": "prep.checks.unique_rows:UniqueRows",
        "unit_rms": "prep.checks.unit_rms:UnitRms",
        "whitened_power": "prep.checks.whitened_power:WhitenedPower",
        "windows_disjoint": "prep.checks.windows_disjoint:WindowsDisjoint",
        "zero_baseline": "prep.checks.zero_baseline:ZeroBaseline",
        "zero_padding": "prep.checks.zero_padding:ZeroPadding",
    },
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's verdict on one field.

    ``examined`` and ``present`` count values: equal, or the verdict does not stand. ``worst`` is the most extreme
    measured value, ``limit`` what it was compared with (text, with the comparison), ``failing`` the number of failing
    samples, ``samples`` the first failing sample indices (stored order, at most 10) and ``splits`` their splits.
    ``measured`` is what a probe found beside its verdict: numbers, texts and mappings of them, for the certificate.
    """

    passed: bool
    examined: int
    present: int
    worst: float | None
    limit: str
    message: str
    remedy: str
    failing: int = 0
    samples: tuple[int, ...] = ()
    splits: tuple[str, ...] = ()
    worst_sample: int | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)


class Check(Protocol):
    """One judge. ``statistics`` maps every statistic (all must be written out in a schema) to its JSON Schema.

    ``var`` is always the first: the field the check is about (for ``splits_disjoint`` and the like, the id field).
    A class that sets ``bounds = True`` limits how large the values of ``var`` can be; one that sets ``probe = True``
    fails where nothing can be learnt of the target ``var``, its statistic ``nmse_max`` relative to predicting zero.
    """

    name: str
    statistics: Mapping[str, Mapping[str, Any]]

    def fields(self, statistics: Mapping[str, Any]) -> tuple[str, ...]:
        """Every field the check reads, for the loader to verify that it exists."""

    def folds(self, spec: DatasetSpec, statistics: Mapping[str, Any]) -> tuple[Fold, ...]:
        """What to measure; `SchemaError` where the check makes no sense for the field (a PSD check on a vector)."""

    def judge(self, spec: DatasetSpec, statistics: Mapping[str, Any], measured: Mapping[str, Any]) -> Finding:
        """The verdict, from ``measured`` (fold key → finished measurement)."""

    @staticmethod
    def pandera_function(ds: Any, **statistics: Any) -> Any:
        """The same verdict in memory: ds is an `xarray.Dataset`; returns a bool DataArray over ``sample`` or one
        bool.
        """
