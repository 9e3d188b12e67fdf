"""How a measurement becomes a `Finding`: one rule for all, and a verdict stands only if everything was examined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prep.blocks import DatasetSpec
from prep.checks import Finding
from prep.errors import counted
from prep.folds import Scope
from prep.folds.duplicates import DuplicatesResult, RowHashes
from prep.folds.rowwise import KEEP, Rowwise, RowwiseResult


def verdict(
    spec: DatasetSpec,
    passed: bool,
    *,
    examined: int,
    present: int,
    limit: str,
    message: str,
    remedy: str,
    worst: float | None = None,
    failing: int = 0,
    samples: Sequence[int] = (),
    worst_sample: int | None = None,
    measured: Mapping[str, Any] | None = None,
    unfit: str = "",
) -> Finding:
    """The finding; it never passes unless ``examined`` equals ``present`` and both are positive, nor where ``unfit``
    says which values had to be left out for being NaN or infinite.
    """
    if unfit:
        passed, message = False, f"{unfit} NaN or infinite, so nothing can be said of all the data"
        remedy = "mend or drop the samples that hold NaN or infinity, then validate again"
    elif present <= 0 or examined <= 0:
        passed, message = False, f"there was nothing to examine ({examined} of {present} values)"
        remedy = "build the dataset with samples, in every split that the schema's checks name"
    elif passed and examined != present:
        passed, message = False, f"{examined} values were examined where {present} are present, so no verdict stands"
        remedy = "see that masks hold 0 and 1 only and that the file is complete, then validate again"
    first = tuple(int(row) for row in samples[:KEEP])
    return Finding(
        passed=passed,
        examined=int(examined),
        present=int(present),
        worst=None if worst is None else float(worst),
        limit=limit,
        message=message,
        remedy=remedy,
        failing=int(failing),
        samples=first,
        splits=tuple(spec.split_of(row) for row in first),
        worst_sample=worst_sample,
        measured=_numbers(measured or {}),
    )


def _numbers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Only what JSON has: numbers that are not finite are left out, and mappings without any."""
    kept: dict[str, Any] = {}
    for name, value in measured.items():
        if isinstance(value, str):
            kept[name] = value
        elif isinstance(value, Mapping):
            if inner := _numbers(value):
                kept[name] = inner
        elif math.isfinite(value):
            kept[name] = float(value)
    return kept


def row_verdict(
    spec: DatasetSpec,
    fold: Rowwise,
    measured: Mapping[str, Any],
    *,
    limit: str,
    good: str,
    bad: str,
    remedy: str,
    sign: float = 1.0,
    counts: str = "",
) -> Finding:
    """The finding of a per-sample check. ``good`` and ``bad`` complete the sentence "all / 3 of 80 samples of x …".

    ``sign`` -1 tells of what was measured with its sign turned, so that the smallest is the worst. The worst
    value is to be compared with ``limit`` as that is worded; ``counts`` says what it counts, where it does.
    """
    result: RowwiseResult = measured[fold.key]
    rows, name = rows_in(fold.scope), fold.names[0]
    value = sign * result.worst + 0.0  # -0.0 is 0
    place = ""
    if result.rows:
        most = "NaN" if math.isnan(value) else counted(int(value), counts) if counts else f"{value:.6g}"
        place = f" (worst: {most} in sample {result.worst_sample})"
    return verdict(
        spec,
        result.failing == 0,
        examined=result.values,
        present=rows * spec[name].row_values,
        limit=limit,
        message=f"{result.failing} of {rows} samples of {name} {bad}{place}"
        if result.failing
        else f"all {rows} samples of {name} {good}",
        remedy=remedy,
        worst=value if result.rows else None,
        failing=result.failing,
        samples=result.samples,
        worst_sample=result.worst_sample,
    )


def across_verdict(
    spec: DatasetSpec,
    fold: RowHashes,
    measured: Mapping[str, Any],
    *,
    parts: int = 1,
    limit: str,
    good: str,
    bad: Callable[[int, str, str], str],
    remedy: str,
) -> Finding:
    """The finding of a check that nothing is in two splits. ``parts`` hashes stand for a row, all of which count where
    it is repeated, so that the number of failing rows is one at least. ``bad`` words it from that number, and the first
    repeated sample and the one that it repeats, each with its split.
    """
    result: DuplicatesResult = measured[fold.key]
    values = sum(spec[name].row_values for name in fold.names)
    samples = [second for _, second in result.across]
    failing = max(-(-result.across_count // parts), len(samples))
    message = good
    if result.across:
        first, second = (f"sample {row} ({spec.split_of(row)})" for row in result.across[0])
        message = bad(failing, second, first)
    return verdict(
        spec,
        result.across_count == 0,
        examined=result.rows // parts * values,
        present=spec.rows * values,
        limit=limit,
        message=message,
        remedy=remedy,
        worst=float(failing),
        failing=failing,
        samples=samples,
        worst_sample=samples[0] if samples else None,
    )


def rows_in(scope: Scope) -> int:
    """Number of samples in a scope."""
    return max(scope.stop - scope.start, 0)
