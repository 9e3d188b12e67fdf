"""`prep inspect --stats`: statistics of one field measured again from its stored bytes, by split, feature and group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.engine import DatasetSource, Measurements, Progress, Workers, run, silent
from prep.errors import DataError, SchemaError, UsageError, Where
from prep.folds import Scope
from prep.folds.binned import binned, edges_of
from prep.folds.moments import Moments, MomentsResult
from prep.folds.sketch import QUANTILES, Quantiles, QuantilesResult
from prep.report.looked import FieldLook, Panel
from prep.verbs.features import Measure, closer
from prep.verbs.groupings import MOST_CELLS as MOST_CLOSER
from prep.verbs.pivots import middles, rounding_of, sampled
from prep.verbs.statistics import SKETCHED_VALUES
from prep.verbs.subject import Subject, View, demand_rows, subject

BINS = 120
NO_ORIGINALS = "no original values: "
_WHOLE = 2.0**53
MOST_CELLS, _IDS = 1 << 17, 1 << 20
_LEAST_STD = float(np.sqrt(np.finfo(np.float64).tiny / np.finfo(np.float64).eps))  # its square has all digits
_KEPT = ("count", "nan", "inf", "constant", "mean", "std", "min", "max")
_PARTS = (("real", 0), ("imaginary", 1))


@dataclass(frozen=True, slots=True)
class _Measured:
    """The folds of one kind of values in one split; ``rows`` counts the samples of each group."""

    view: View
    scope: Scope
    moments: Moments
    quantiles: Quantiles
    rows: Moments | None


def look(
    dataset: str | Path,
    field: str,
    *,
    by: str = "",
    split: str = "",
    schema: str | Path | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    workers: Workers = None,
    progress: Progress = silent,
) -> FieldLook:
    """Measure ``field`` of a dataset, raw or normalised, certified or not, in one pass over it and what it needs.

    Each split (or one), each feature, what the mask counts; ``by`` a group field, statistics are of each group. A
    normalised field is measured as stored and in original units, a complex one by real part, imaginary part and
    modulus. Mask, features and group of raw data come from their schema, where they have one. Raises `UsageError` for
    a field, split or group that is not there, `DataError` for a split without samples, `IntegrityError` for damaged
    bytes, and of a certified dataset for bytes that are not the certified ones.
    """
    with subject(dataset, field, schema=schema, lock_path=lock_path, trust_path=trust_path) as found:
        splits = [split] if split else [name for name, (start, stop) in found.spec.splits.items() if stop > start]
        for each in splits:
            demand_rows(found, each)
        return measure(found, splits, by=by, workers=workers, progress=progress)


def measure(
    subject: Subject,
    splits: Sequence[str],
    *,
    by: str = "",
    workers: Workers = None,
    progress: Progress = silent,
) -> FieldLook:
    """What `look` returns, of an open field; where original values cannot be had, a note says why."""
    _demand_group(subject, by, splits)
    try:
        panels = _pass(subject, splits, by, workers, progress)
    except (DataError, SchemaError) as error:
        if not subject.originals.inverses:
            raise
        subject = subject.stored_only(f"the transform cannot be undone: {error.what}")
        panels = _pass(subject, splits, by, workers, progress)
    spec = subject.spec
    return FieldLook(
        path=subject.path,
        dataset=spec.name,
        version=spec.version,
        field=subject.field,
        by=by,
        groups=subject.groups,
        certified=subject.certified,
        certificate=subject.certificate,
        notes=(
            *((f"{NO_ORIGINALS}{subject.unread}",) if subject.unread else ()),
            *_rounded(subject.field, panels),
            *_unresolved(panels),
        ),
        panels=panels,
    )


def _pass(subject: Subject, splits: Sequence[str], by: str, workers: Workers, progress: Progress) -> tuple[Panel, ...]:
    values, source = subject.values(), subject.narrowed(by)
    plans = []
    for split in splits:
        scope = Scope.of(subject.spec, split)
        arrays = values(sampled(source, frozenset(each.name for each in source.spec.fields), scope))
        plans += [_folds(subject, view, scope, by, arrays) for view in subject.views()]
    folds = [fold for plan in plans for fold in (plan.moments, plan.quantiles, plan.rows) if fold is not None]
    measured = run(source, folds, transform=values, workers=workers, progress=progress)
    if by:
        plans, measured = _look_closer(subject, source, plans, measured, workers)
    found = measured.results
    return tuple(panel for plan in plans for panel in _panels(subject.field, plan, found))


def _look_closer(
    subject: Subject, source: DatasetSource, plans: list[_Measured], measured: Measurements, workers: Workers
) -> tuple[list[_Measured], Measurements]:
    """Plans and what they found, after one more pass where groups lie far from the middle of the split (`closer`)."""
    again = []
    for place, plan in enumerate(plans):
        if not 0 < measured.results[plan.moments.key].mean.size <= MOST_CLOSER:
            continue
        own = Measure(plan.moments, plan.quantiles, rounding_of(subject.field.dtype))
        if better := closer(own, own, (measured, measured)):
            plans[place] = replace(plan, quantiles=better[0].quantiles)
            again.append(plans[place].quantiles)
    if not again:
        return plans, measured
    more = run(source, again, transform=subject.values(), workers=workers)
    return plans, replace(measured, results={**measured.results, **more.results})


def _rounded(field: FieldSpec, panels: Sequence[Panel]) -> Iterator[str]:
    """A note where whole numbers are too large to be measured as they are."""
    ends = np.asarray([end for panel in panels for end in (*panel.min, *panel.max) if panel.values != "original"])
    largest = float(np.abs(ends[np.isfinite(ends)]).max(initial=0.0))
    if field.dtype.kind in "iu" and largest > _WHOLE:
        step = int(np.spacing(largest))
        yield f"measured as float64, which rounds numbers of this size to multiples of {step:,}: less is not told apart"


def _unresolved(panels: Sequence[Panel]) -> Iterator[str]:
    """A note where float64 does not hold the squares that standard deviations are made of."""
    if any((np.isnan(each.std) & ~each.constant & (each.count > each.nan + each.inf)).any() for each in panels):
        yield "standard deviations whose squares float64 does not hold (above 1e154, below 1e-146) are not known"


def _folds(subject: Subject, view: View, scope: Scope, by: str, arrays: Mapping[str, Array]) -> _Measured:
    stride = max(1, (scope.stop - scope.start) * view.spec.row_values // SKETCHED_VALUES)
    sketch = Quantiles(view.spec, scope, mask=subject.mask, group=by, stride=stride)
    return _Measured(
        view,
        scope,
        Moments(view.spec, scope, mask=subject.mask, group=by),
        replace(sketch, pivot=middles(sketch, arrays, rounding_of(subject.field.dtype))),
        Moments(subject.spec[by], scope, group=by) if by else None,
    )


def _panels(field: FieldSpec, plan: _Measured, found: Mapping[str, Any]) -> Iterator[Panel]:
    moments: MomentsResult = found[plan.moments.key]
    sketch: QuantilesResult = found[plan.quantiles.key]
    groups: tuple[int | None, ...] = moments.groups or (None,)
    samples = found[plan.rows.key].count.tolist() if plan.rows else [plan.scope.stop - plan.scope.start]
    parts = _PARTS if plan.view.spec.dtype.kind == "c" else ((plan.view.part, 0),)
    # What a bucket stands for may lie beyond the outermost values in it.
    known = {name: np.clip(sketch.quantile(q), moments.min, moments.max) for name, q in QUANTILES.items()}
    width = max(int(np.prod(moments.count.shape[1:], dtype=np.int64)), 1)
    for index, group in enumerate(groups):
        for part, place in parts:
            columns = slice(place, None, len(parts))
            own = {name: getattr(moments, name)[index].reshape(-1)[columns] for name in _KEPT}
            resolved = own["constant"] | ((own["std"] > _LEAST_STD) & np.isfinite(own["std"]))
            own["std"] = np.where(resolved, own["std"], np.nan)
            panel = Panel(
                split=plan.scope.split,
                values=plan.view.values,
                part=part,
                units=plan.view.units,
                group=group,
                samples=samples[index],
                features=_labels(field),
                masked=samples[index] * field.row_values // max(len(own["count"]), 1) - own["count"],
                quantiles={name: each[index].reshape(-1)[columns] for name, each in known.items()},
                stride=sketch.stride,
                relative_error=sketch.relative_error,
                histograms=(),
                **own,
            )
            histograms = () if plan.rows else tuple(_histograms(field, panel, sketch, range(width)[columns]))
            yield replace(panel, histograms=histograms)


def _histograms(field: FieldSpec, panel: Panel, sketch: QuantilesResult, cells: range) -> Iterator[tuple[Array, Array]]:
    whole = field.dtype.kind in "biu" and panel.values != "original"
    for index, cell in enumerate(cells):
        low, high = float(panel.min[index]), float(panel.max[index])
        if np.isnan(low):
            yield np.zeros(0), np.zeros(0)
            continue
        edges = edges_of(low, high, BINS, whole=whole)
        yield edges, binned(sketch, 0, cell, edges, whole=whole)


def _labels(field: FieldSpec) -> tuple[str, ...]:
    """The features of a field by name and place, row-major; one empty name where all is averaged."""
    kept = [(name, n) for name, n in zip(field.dims[1:], field.shape, strict=True) if name in field.features]
    places = np.ndindex(*(n for _, n in kept)) if kept else iter([()])
    return tuple(", ".join(f"{name} {i}" for (name, _), i in zip(kept, place, strict=True)) for place in places)


def _demand_group(subject: Subject, by: str, splits: Sequence[str]) -> None:
    """`UsageError` for a group that is no integer field of single values, or that has too many to measure each."""
    spec = subject.spec
    if not by:
        return
    where = Where(path=str(subject.path), dataset=spec.name, key="--by")
    if by not in spec or spec[by].shape or spec[by].dtype.kind not in "biu":
        raise UsageError(
            f"statistics cannot be taken by {by!r}",
            where=where,
            measured=f"dtype {spec[by].dtype}, dims {spec[by].dims}" if by in spec else "no such field",
            allowed=", ".join(subject.groups) or "an integer field with one value for each sample; there is none here",
            remedy="name one of these with --by, or leave it out",
        )
    most = max(MOST_CELLS // max(len(_labels(subject.field)), 1), 1)
    seen: Array = np.zeros(0, spec[by].dtype)
    for start, stop in (spec.splits[split] for split in splits):
        for low in range(start, stop, _IDS):
            seen = np.union1d(seen, subject.source.reader.rows(by, low, min(low + _IDS, stop)))
            if len(seen) > most:
                raise UsageError(
                    f"{by!r} has too many values for statistics of each",
                    where=where,
                    measured=f"more than {most:,} groups of {len(_labels(subject.field)):,} features",
                    allowed=f"{MOST_CELLS:,} groups times features",
                    remedy="name a field with fewer values, or one --split",
                )
