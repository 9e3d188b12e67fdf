"""By which groups the distributions of two datasets are compared: a shift of one group alone is lost in the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from prep.blocks import DatasetSpec
from prep.engine import DatasetSource, Workers, run
from prep.folds.ids import IdsState
from prep.transforms.original import Originals
from prep.verbs.features import id_folds

MOST_GROUPS = 64
MOST_CELLS = 4096  # groups times features of a field: their sketches take some hundred MiB then
Samples = Mapping[int, int]


def id_fields(spec: DatasetSpec) -> tuple[str, ...]:
    """The fields of role id with one integer a sample."""
    return tuple(each.name for each in spec.fields if each.role == "id" and each.dtype.kind in "iu" and not each.shape)


def groupings(
    sources: Sequence[DatasetSource],
    originals: Sequence[Originals],
    wanted: Sequence[str],
    split: str,
    workers: Workers,
) -> dict[str, tuple[Samples, Samples]]:
    """The fields that name the groups, and how many samples each group has on both sides: those ``wanted``, else the
    first with 2 to 64 groups, by which a transform was fitted if there is one. Reads the candidates and nothing else.
    """
    both = [name for name in id_fields(sources[0].spec) if name in id_fields(sources[1].spec)]
    fitted = {bound.params.get("group") for each in originals for bound in each.inverses.values() if bound is not None}
    names = [name for name in wanted if name in both] or sorted(both, key=lambda name: name not in fitted)
    counted = [_count(source, names, split, workers) for source in sources]
    found = {name: (_samples(counted[0][name]), _samples(counted[1][name])) for name in names}
    if wanted:
        return found
    few = [name for name in names if all(2 <= len(each) <= MOST_GROUPS for each in found[name])]
    return {name: found[name] for name in few[:1]}


def too_many(groups: tuple[Samples, Samples], features: tuple[int, ...]) -> str:
    """Why a field cannot be compared group by group, empty where it can."""
    count, width = max(map(len, groups)), int(np.prod(features, dtype=np.int64))
    return f"{count:,} groups of {width:,} features, more than {MOST_CELLS:,}" if count * width > MOST_CELLS else ""


def _count(source: DatasetSource, names: Sequence[str], split: str, workers: Workers) -> dict[str, IdsState]:
    if not names:
        return {}
    folds = id_folds(source.spec, frozenset(names), split)
    fields = tuple(each for each in source.spec.fields if each.name in names)
    narrow = replace(source, container=replace(source.container, spec=source.spec.with_fields(fields)))
    measured = run(narrow, list(folds.values()), workers=workers)
    return {name: measured.results[fold.key] for name, fold in folds.items()}


def _samples(state: IdsState) -> Samples:
    return dict(zip(state.ids.tolist(), state.counts.tolist(), strict=True))
