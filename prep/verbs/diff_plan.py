"""What has to be measured to compare two datasets: not what has the same values by digest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prep.engine import DatasetSource, Measurements, Progress, Workers, run, silent
from prep.errors import IntegrityError, Where
from prep.folds.ids import Ids
from prep.formats.digests import ChunkDigests
from prep.transforms.original import SUFFIX, Originals
from prep.verbs.changed import Side, same_bytes
from prep.verbs.features import Measure, Pair, closer, folds_of, id_folds, measured_as, pairs
from prep.verbs.groupings import Samples, groupings, id_fields, too_many
from prep.verbs.pivots import pivots


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured of each side: the folds of each field, and of its groups by each field of ``by`` (which holds
    the samples of each group), and the ids; all else holds the same values. ``not_within`` says which fields cannot be
    measured group by group, and why.
    """

    sources: tuple[DatasetSource, DatasetSource]
    originals: tuple[Originals, Originals]
    measures: tuple[dict[str, Measure], dict[str, Measure]]
    within: tuple[dict[tuple[str, str], Measure], dict[tuple[str, str], Measure]]
    by: dict[str, tuple[Samples, Samples]]
    not_within: dict[tuple[str, str], str]
    ids: tuple[dict[str, Ids], dict[str, Ids]]
    unread: tuple[str, ...]
    apart: dict[str, str]

    @classmethod
    def of(
        cls,
        sources: Sequence[DatasetSource],
        known: Sequence[Mapping[str, ChunkDigests] | None],
        split: str,
        deep: bool,
        wanted: Sequence[str] = (),
        workers: Workers = None,
    ) -> Plan:
        """For two datasets and the digests that are known of them; where some are not, or ``deep``, all is measured.
        ``wanted`` are the fields by whose groups they are to be compared; by default `groupings` chooses.
        """
        a, b = sources
        originals = _originals(a), _originals(b)
        compared, apart = pairs(a.spec, b.spec, _companions(originals[0]) | _companions(originals[1]))
        sure = not deep and None not in known
        sides = Side(a, known[0] or {}), Side(b, known[1] or {})
        scopes = [source.spec.splits.get(split, (0, source.spec.rows)) for source in sources]
        alike = sure and scopes[0] == scopes[1]
        unread = []
        measures: tuple[dict[str, Measure], dict[str, Measure]] = ({}, {})
        for pair in compared:
            if alike and _same(sides, originals, pair):
                unread.append(pair.name)
                continue
            folds = [
                measured_as(source.spec, each, field, split)
                for source, each, field in zip(sources, originals, (pair.a, pair.b), strict=True)
            ]
            rounding = max(each.rounding for each in folds)
            pivot = pivots(a, originals[0], folds[0].quantiles, rounding) or pivots(
                b, originals[1], folds[1].quantiles, rounding
            )
            for side, fold in zip(measures, folds, strict=True):
                side[pair.name] = replace(fold, quantiles=replace(fold.quantiles, pivot=pivot))
        by = groupings(sources, originals, wanted, split, workers) if measures[0] else {}
        within, not_within = _within(measures, by)
        both = frozenset(id_fields(a.spec)) & frozenset(id_fields(b.spec))
        same = {name for name in both if alike and same_bytes(*sides, name)}
        ids = id_folds(a.spec, both - same, split), id_folds(b.spec, both - same, split)
        return cls((a, b), originals, measures, within, by, not_within, ids, (*unread, *sorted(same)), apart)

    def measure(self, side: int, whole: bool, workers: Workers, progress: Progress) -> Measurements:
        """One pass over a side: its folds; ``whole`` also hashes what they do not look at."""
        source, originals = self.sources[side], self.originals[side]
        folds = folds_of([*self.measures[side].values(), *self.within[side].values()], self.ids[side])
        wanted = frozenset().union(*(fold.fields for fold in folds)) if folds else frozenset()
        inverses = {name: each for name, each in originals.inverses.items() if name + SUFFIX in wanted}
        names = {name.removesuffix(SUFFIX) for name in wanted}
        for each in inverses.values():
            names |= each.reads if each is not None else frozenset()
        if not whole:
            fields = tuple(field for field in source.spec.fields if field.name in names)
            container = replace(source.container, spec=source.spec.with_fields(fields))
            source = replace(source, container=container)
        apply = Originals(originals.spec, inverses) if inverses else None
        if not names and not whole:
            return Measurements({fold.key: fold.finish(fold.empty()) for fold in folds}, {}, 0)
        return run(source, folds, transform=apply, digests=whole, workers=workers, progress=progress)

    def look_closer(
        self, passes: Sequence[Measurements], workers: Workers
    ) -> tuple[Plan, tuple[Measurements, Measurements]]:
        """The plan and what was measured by it, after one more pass over the fields of which the first one could tell
        that it counted too far from their values (`closer`).
        """
        measures: tuple[dict[str, Measure], dict[str, Measure]] = ({}, {})
        within: tuple[dict[tuple[str, str], Measure], dict[tuple[str, str], Measure]] = ({}, {})
        for name in self.measures[0]:
            if better := closer(self.measures[0][name], self.measures[1][name], passes):
                measures[0][name], measures[1][name] = better
        for key in self.within[0]:
            if better := closer(self.within[0][key], self.within[1][key], passes):
                within[0][key], within[1][key] = better
        if not measures[0] and not within[0]:
            return self, (passes[0], passes[1])
        again = replace(self, measures=measures, within=within, ids=({}, {}))
        found = [again.measure(side, False, workers, silent) for side in (0, 1)]
        both = [replace(old, results={**old.results, **new.results}) for old, new in zip(passes, found, strict=True)]
        plan = replace(
            self,
            measures=({**self.measures[0], **measures[0]}, {**self.measures[1], **measures[1]}),
            within=({**self.within[0], **within[0]}, {**self.within[1], **within[1]}),
        )
        return plan, (both[0], both[1])


def _within(
    measures: tuple[dict[str, Measure], dict[str, Measure]], by: Mapping[str, tuple[Samples, Samples]]
) -> tuple[tuple[dict[tuple[str, str], Measure], dict[tuple[str, str], Measure]], dict[tuple[str, str], str]]:
    found: tuple[dict[tuple[str, str], Measure], dict[tuple[str, str], Measure]] = ({}, {})
    refused = {}
    for name, measure in measures[0].items():
        for field, samples in by.items():
            if why := too_many(samples, measure.quantiles.layout.feature_sizes):
                refused[name, field] = why
                continue
            for side in (0, 1):
                found[side][name, field] = measures[side][name].within(field)
    return found, refused


def _same(sides: tuple[Side, Side], originals: tuple[Originals, Originals], pair: Pair) -> bool:
    """Whether a field has the same values, counted the same way, in the same units."""
    needed = {pair.name, *filter(None, (pair.a.mask, pair.b.mask))}
    bound = [each.inverses.get(pair.name) for each in originals]
    if bound[0] != bound[1] or replace(pair.a, units="", long_name="") != replace(pair.b, units="", long_name=""):
        return False
    for each in bound:
        needed |= each.reads if each is not None else frozenset()
    return all(name in side.source.spec for name in needed for side in sides) and all(
        same_bytes(*sides, name) for name in needed
    )


def _originals(source: DatasetSource) -> Originals:
    """What undoes the transforms of a dataset; those that leave values as they are need not be undone."""
    spec = source.spec
    try:
        stated = json.loads(spec.documents.get("transforms", "{}"))
        names = [name for name, entry in stated.items() if entry["name"] != "identity"]
        return Originals.bind(spec, [name + SUFFIX for name in names])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(
            "the transforms that the dataset carries cannot be read",
            where=Where(path=str(source.container.path), dataset=spec.name),
            measured=f"{type(error).__name__}: {error}",
            allowed="transforms as `prep normalize` writes them",
            remedy="restore the dataset or run `prep normalize` again; compare the raw datasets meanwhile",
        ) from error


def _companions(originals: Originals) -> frozenset[str]:
    bound = filter(None, originals.inverses.values())
    return frozenset(companion.name for each in bound for companion in each.outputs()[1:])
