"""Samples of two splits are far enough apart in time: neighbours in a trajectory are nearly the same sample."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prep.blocks import DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_one_integer, refuse
from prep.checks.statistics import FIELD, OPTIONAL_FIELD, POSITIVE, Statistics, named
from prep.checks.verdict import verdict
from prep.errors import counted
from prep.folds.intervals import Intervals, IntervalsResult, Stretches


class Separated:
    """|t_a − t_b| ≥ ``gap`` for every two samples of one ``group`` that are in different splits.

    ``var`` is the time of a sample, in its own units; ``group`` is the id of a trajectory, within which times can be
    compared (empty: all samples are of one). ``worst`` is the least distance, 0 where samples of one split lie between
    near ones of another.
    """

    name = "separated"
    statistics: Mapping[str, Mapping[str, Any]] = {"var": FIELD, "group": OPTIONAL_FIELD, "gap": POSITIVE}

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return named(statistics["var"], statistics["group"])

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Intervals]:
        field = demand_kind(spec, statistics["var"], self.name, "iuf", "real numbers")
        if field.shape:
            raise refuse(spec, field.name, self.name, measured=f"dims {field.dims}", allowed="dims (sample,)")
        if statistics["group"]:
            demand_one_integer(spec, statistics["group"], self.name)
        return (Intervals(field.name, statistics["group"], dict(spec.splits), float(statistics["gap"])),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        result: IntervalsResult = measured[fold.key]
        units = spec[fold.values].units
        unit = "" if units in ("", "1") else f" {units}"
        pairs = sorted(_pairs(result), key=lambda pair: (pair.apart, pair.group, pair.samples))
        near = [pair for pair in pairs if not pair.apart >= fold.gap]
        message = "no group has samples in two splits"
        if pairs:
            first, second = pairs[0].samples
            group = f"{fold.group} {pairs[0].group}: " if fold.group else ""
            apart = f"{pairs[0].apart:.6g}{unit} apart" if pairs[0].apart else "among each other in time"
            place = f"{group}sample {first} ({spec.split_of(first)}) and sample {second} ({spec.split_of(second)})"
            message = f"samples of two splits are at least {pairs[0].apart:.6g}{unit} apart ({place})"
            if near:
                message = f"samples of two splits are too near in {len(near)} places; nearest: {place} are {apart}"
        if result.nonfinite:
            message = f"{counted(result.nonfinite, 'sample')} of {fold.values} not finite; {message}"
        return verdict(
            spec,
            not near and not result.nonfinite,
            examined=result.rows,
            present=spec.rows,
            limit=f"≥ {fold.gap:g}{unit} between samples of two splits" + (f" in a {fold.group}" if fold.group else ""),
            message=message,
            remedy="split trajectories by blocks of time, never frame by frame, and drop the samples between blocks of "
            "different splits for as long as the trajectory remembers",
            worst=pairs[0].apart if pairs else None,
            failing=len(near) + result.nonfinite,
            samples=sorted({*result.samples, *(max(pair.samples) for pair in near)}),
        )

    @staticmethod
    def pandera_function(ds: Any, *, var: str, group: str, gap: float) -> bool:
        time, groups = memory.values(ds, var).astype(np.float64), memory.group_codes(ds, group)
        splits = memory.values(ds, "split")
        if not len(time) or not np.isfinite(time).all():
            return False
        # The nearest two samples of different splits are neighbours in time.
        order = np.lexsort((time, groups))
        other = (splits[order][1:] != splits[order][:-1]) & (groups[order][1:] == groups[order][:-1])
        return bool((np.diff(time[order])[other] >= gap).all())


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two stretches of different splits that follow each other in a group: distance and samples at their ends."""

    group: int
    apart: float
    samples: tuple[int, int]


def _pairs(result: IntervalsResult) -> Iterator[_Pair]:
    for group, cells in itertools.groupby(result.stretches, key=lambda cell: cell[0]):
        for one, other in itertools.combinations(cells, 2):
            yield from _neighbours(group, result.stretches[one], result.stretches[other])


def _neighbours(group: int, left: Stretches, right: Stretches) -> Iterator[_Pair]:
    """Each stretch of ``left`` with the nearest of ``right`` that does not begin after it, and with the next."""
    after = np.searchsorted(right.ends[:, 0], left.ends[:, 0], side="right")
    for place, next_ in enumerate(after.tolist()):
        if next_ > 0:
            apart = left.ends[place, 0] - right.ends[next_ - 1, 1]
            yield _Pair(group, max(float(apart), 0.0), (int(left.rows[place, 0]), int(right.rows[next_ - 1, 1])))
        if next_ < len(right.ends):
            apart = right.ends[next_, 0] - left.ends[place, 1]
            yield _Pair(group, max(float(apart), 0.0), (int(left.rows[place, 1]), int(right.rows[next_, 0])))
