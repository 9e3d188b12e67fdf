"""`prep diff`: how one dataset differs from another, and whether that is beyond the limits of a schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import SPLITS, DatasetSpec
from prep.certificate import manifest
from prep.certificate.tree import logical_root
from prep.engine import DatasetSource, Progress, Workers, one_of, silent
from prep.errors import EXIT_DATA, EXIT_OK, PrepError, SchemaError, UsageError, Where
from prep.formats import no_such_dataset
from prep.formats.digests import ChunkDigests
from prep.schema import Schema
from prep.schema.drift import limits_within
from prep.verbs.changed import KEEP, Samples, Side, changed_samples
from prep.verbs.described import Change, changes
from prep.verbs.diff_plan import Plan
from prep.verbs.drift import Judgement, judgements, worst
from prep.verbs.features import Feature, Groups, features, groups, to_dict
from prep.verbs.published import unreplaced
from prep.verbs.rawdata import read_manifest
from prep.verbs.schemas import in_project, schema_for

DIFF_VERSION = 1
_PASSES = 3  # over A, over B, samples side by side


@dataclass(frozen=True, slots=True)
class Dataset:
    """One side: where it lies, what it is called, its samples and its logical root; ``hashed`` where no manifest told
    the digests of its chunks.
    """

    path: Path
    name: str
    version: str
    rows: int
    root: str
    hashed: bool


@dataclass(frozen=True, slots=True)
class Diff:
    """How B differs from A.

    ``changes`` are those of the descriptions, ``constants`` says what changed of each constant, ``features`` are those
    measured, the farthest apart first, over ``split`` ("" is all samples). ``within`` are those of single groups of the
    fields ``by``, of ``measured_within`` the thousand farthest apart; ``not_within`` are fields not measured like that.
    ``unread`` are the fields that hold the same values by digest, ``apart`` says why others cannot be compared.
    ``judged`` are measured against the limits of the schema at ``limits``, which is empty where no schema states any.
    """

    a: Dataset
    b: Dataset
    changes: tuple[Change, ...]
    constants: Mapping[str, str]
    features: tuple[Feature, ...]
    within: tuple[Feature, ...]
    measured_within: int
    by: tuple[str, ...]
    not_within: Mapping[tuple[str, str], str]
    unread: tuple[str, ...]
    apart: Mapping[str, str]
    groups: tuple[Groups, ...]
    samples: Samples
    judged: tuple[Judgement, ...]
    limits: str
    split: str

    @property
    def breaches(self) -> tuple[Judgement, ...]:
        """What is beyond a limit, the farthest first."""
        return tuple(sorted((each for each in self.judged if each.beyond), key=attrgetter("excess"), reverse=True))

    @property
    def same(self) -> bool:
        """Whether nothing differs: no description, no constant, no sample."""
        rows = self.samples
        return not (self.changes or self.constants or rows.changed.count or rows.added or rows.removed)

    @property
    def exit_code(self) -> int:
        """1 where something is beyond a limit of the schema."""
        return EXIT_DATA if self.breaches else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form (``diff.schema.json`` beside `prep.report`); infinity is ``"inf"``, what was not measured
        None.
        """
        rows = self.samples
        return {
            "diff_version": DIFF_VERSION,
            "exit_code": self.exit_code,
            "same": self.same,
            "a": {**asdict(self.a), "path": str(self.a.path)},
            "b": {**asdict(self.b), "path": str(self.b.path)},
            "limits": self.limits or None,
            "beyond": [to_dict(asdict(each)) for each in self.breaches[:KEEP]],
            "judged": [to_dict(asdict(each)) for each in worst(self.judged)],
            "changes": [asdict(each) for each in self.changes],
            "constants": dict(self.constants),
            "split": self.split,
            "features": [_feature(each) for each in self.features],
            "by": list(self.by),
            "within_groups": [_feature(each) for each in self.within],
            "within_groups_measured": self.measured_within,
            "not_within_groups": [{"field": name, "by": by, "why": why} for (name, by), why in self.not_within.items()],
            "fields_unread": list(self.unread),
            "fields_apart": dict(self.apart),
            "groups": [
                {
                    **asdict(each),
                    "new": {str(key): count for key, count in each.new.items()},
                    "lost": {str(key): count for key, count in each.lost.items()},
                }
                for each in self.groups
            ],
            "samples": {
                "compared": rows.rows,
                "fields": list(rows.compared),
                "fields_apart": list(rows.apart),
                "changed": asdict(rows.changed),
                "changed_by_field": {name: asdict(each) for name, each in rows.fields.items()},
                "added": {split: list(each) for split, each in rows.added.items()},
                "removed": {split: list(each) for split, each in rows.removed.items()},
                "rows_read": dict(rows.read),
            },
        }


def diff(
    a: str | Path,
    b: str | Path,
    *,
    schema: str | Path | None = None,
    split: str = "",
    check: bool = False,
    deep: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
) -> Diff:
    """Compare dataset ``b`` with ``a``, raw or normalised, in any container, chunking and codec.

    Fields whose chunks have the same digests in both manifests hold the same values and are not read; the others are
    measured in one pass over each dataset, in original units and as their masks say, and the chunks that differ are
    read once more to name the samples. Every chunk that is read is verified against the manifest; a dataset without one
    is hashed whole, and so are both with ``deep``. ``split`` limits statistics and distances to one split. The limits
    are those of section ``prep.drift`` of ``schema``, else of the project's schema of A, else of that embedded in A;
    ``check`` demands that there are some. Raises `UsageError`, `SchemaError`, and `IntegrityError` where stored bytes
    are not what the manifest says.
    """
    paths = Path(a), Path(b)
    with ExitStack() as stack:
        for path in paths:
            if not path.exists():
                raise no_such_dataset(path)
        for path in paths:
            stack.enter_context(unreplaced(path))
        known = [_manifest(path) for path in paths]
        sources = [stack.enter_context(DatasetSource.open(path, each)) for path, each in zip(paths, known, strict=True)]
        specs = [source.spec for source in sources]
        limited = _limits(specs[0], schema, check)
        _demand_split(specs, paths, split)
        plan = Plan.of(sources, known, split, deep, tuple(limits_within(limited)) if limited else (), workers)
        whole = [deep or each is None for each in known]
        first = [plan.measure(side, whole[side], workers, one_of(progress, side, _PASSES, "")) for side in (0, 1)]
        plan, passes = plan.look_closer(first, workers)
        sides = [
            Side(source, {**(found.digests if each is None else each), **source.constants()[1]})
            for source, found, each in zip(sources, passes, known, strict=True)
        ]
        constants = dict(_constants(*sides))
        samples = changed_samples(sides[0], sides[1], workers, one_of(progress, 2, _PASSES, ""))
        found = tuple(
            feature
            for name in plan.measures[0]
            for feature in features(name, plan.measures[0][name], plan.measures[1][name], passes)
        )
        within = tuple(
            feature
            for (name, by), measure in plan.within[0].items()
            for feature in features(name, measure, plan.within[1][name, by], passes, plan.by[by])
        )
        ids = tuple(
            groups(fold, passes[0].results[fold.key], passes[1].results[plan.ids[1][name].key])
            for name, fold in plan.ids[0].items()
        )
        about = [
            Dataset(
                path,
                side.source.spec.name,
                side.source.spec.version,
                side.source.spec.rows,
                logical_root(side.source.spec, side.source.container.layouts, side.digests),
                each is None,
            )
            for path, side, each in zip(paths, sides, known, strict=True)
        ]
        return Diff(
            a=about[0],
            b=about[1],
            changes=changes(*specs),
            constants=constants,
            features=tuple(sorted(found, key=attrgetter("apart"), reverse=True)),
            within=tuple(each for each in sorted(within, key=_alone, reverse=True)[:KEEP] if any(each.apart)),
            measured_within=len(within),
            by=tuple(plan.by),
            not_within=plan.not_within,
            unread=plan.unread,
            apart=plan.apart,
            groups=ids,
            samples=samples,
            judged=tuple(judgements(limited, (*found, *within), ids, plan.apart, plan.not_within, plan.unread))
            if limited
            else (),
            limits=limited.path if limited else "",
            split=split,
        )


def undone(a: str | Path, b: str | Path, error: PrepError) -> dict[str, Any]:
    """The JSON form of a comparison that was not made."""
    return {
        "diff_version": DIFF_VERSION,
        "exit_code": error.exit_code,
        "a": {"path": str(a)},
        "b": {"path": str(b)},
        "error": error.to_dict(),
    }


_alone = attrgetter("beyond_chance", "apart")


def _feature(each: Feature) -> dict[str, Any]:
    told = {**asdict(each), "index": list(each.index), "name": each.name, "beyond_chance": each.beyond_chance}
    found: dict[str, Any] = to_dict(told)
    return found


def _manifest(path: Path) -> Mapping[str, ChunkDigests] | None:
    """The digests that the manifest beside a dataset tells, None where there is no manifest."""
    return read_manifest(path).digests if manifest.path_of(path).exists() else None


def _limits(spec: DatasetSpec, named: str | Path | None, demanded: bool) -> Schema | None:
    """The schema that states limits, None where none does and none is ``demanded``."""
    place = in_project(Path("schemas") / f"{spec.name}.yaml")
    there = named or "schema" in spec.documents or place.exists()
    schema = schema_for(spec, named) if there else None
    if schema is not None and schema.drift:
        return schema
    if demanded:
        raise SchemaError(
            "no limits of drift are stated, so that nothing would be judged",
            where=Where(path=schema.path if schema else str(place), dataset=spec.name, key="prep.drift"),
            measured="no section prep.drift" if schema else "no schema",
            allowed="prep: {drift: {limits: {psi: 0.2, …}}}",
            remedy="add the section to the schema, or name another one with --schema",
        )
    return None


def _demand_split(specs: list[DatasetSpec], paths: tuple[Path, Path], split: str) -> None:
    for spec, path in zip(specs, paths, strict=True):
        if split and split not in spec.splits:
            raise UsageError(
                "there is no such split",
                where=Where(path=str(path), dataset=spec.name, key="--split"),
                measured=split,
                allowed=", ".join(spec.splits) or ", ".join(SPLITS),
                remedy="name a split that both datasets have, or leave it out to compare all samples",
            )


def _constants(a: Side, b: Side) -> Iterator[tuple[str, str]]:
    mine, theirs = ({each.name: each for each in side.source.spec.constants} for side in (a, b))
    for name in mine.keys() & theirs.keys():
        if a.digests[name].logical == b.digests[name].logical:
            continue
        one, other = (side.source.constants()[0][name] for side in (a, b))
        if one.shape != other.shape:
            yield name, f"{one.shape} in A, {other.shape} in B"
            continue
        with np.errstate(all="ignore"):
            gap = np.abs(np.asarray(other, np.complex128) - np.asarray(one, np.complex128))
        changed = int((one != other).sum())
        yield name, f"{changed:,} of {one.size:,} values changed, by up to {np.nanmax(gap, initial=0.0):.4g}"
