"""A dataset judged by its schema: what to measure in the one pass over it, and what follows from that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prep.blocks import DatasetSpec
from prep.canonical import value_digest
from prep.certificate import manifest
from prep.certificate.matching import manifest_bytes, match_container
from prep.certificate.tree import logical_root
from prep.checks import CHECKS, Check, Finding
from prep.engine import DatasetSource, Journal, Measurements, Progress, Workers, run
from prep.errors import PrepError, SchemaError, Where
from prep.folds import Fold
from prep.folds.relative import RelativeScores
from prep.formats.digests import ChunkDigests
from prep.report import CheckResult, Report
from prep.schema import Schema, structure
from prep.schema.embedded import embedded, stated_raw
from prep.schema.plan import CheckPlan
from prep.transforms.original import Originals
from prep.verbs.baselines import baselines, relative_fold
from prep.verbs.statistics import FieldFolds, statistics_folds, to_document
from prep.verbs.stats import group_of


@dataclass(frozen=True, slots=True)
class Judged:
    """An open dataset and the schema that judges it: what to measure, and what follows from it.

    ``checks`` are those of the schema with the folds they need (() where a field is missing); ``before`` are results
    that need no pass.
    """

    source: DatasetSource
    schema: Schema
    originals: Originals
    checks: tuple[tuple[CheckPlan, Check, tuple[Fold, ...]], ...]
    before: tuple[CheckResult, ...]
    described: tuple[FieldFolds, ...]
    relative: tuple[RelativeScores, ...]

    @classmethod
    def of(cls, source: DatasetSource, schema: Schema) -> Judged:
        """Plan what ``schema`` asks for. `SchemaError` where it has no checks."""
        spec = source.spec
        if not schema.checks:
            raise SchemaError("the schema has no checks", where=Where(path=str(schema.path)), remedy="add checks to it")
        before = [
            CheckResult(name, field, finding, line=schema.line_of(field))
            for name, field, finding in structure(schema, spec)
        ]
        judges: list[tuple[CheckPlan, Check]] = [(plan, CHECKS.load(plan.name)()) for plan in schema.checks]
        originals = _originals(spec, [name for plan, check in judges for name in check.fields(plan.statistics)])
        checks = []
        for (plan, check), variant in zip(judges, schema.variants(), strict=True):
            absent = [name for name in check.fields(plan.statistics) if name not in originals.spec.names]
            checks.append((plan, check, () if absent else tuple(check.folds(originals.spec, plan.statistics))))
            if absent:
                before.append(_result(plan, variant, _unexamined(absent)))
        described, relative = _described(source, schema), relative_fold(schema, spec)
        return cls(source, schema, originals, tuple(checks), tuple(before), described, relative)

    @property
    def transform(self) -> Originals | None:
        """What makes the rows that the checks are about of those stored."""
        return self.originals if self.originals.inverses else None

    @property
    def journal_key(self) -> str:
        """What the measurements depend on besides rows and folds."""
        return self.source.spec.documents.get("transforms", "") if self.transform else ""

    def measure(
        self, further: Iterable[Fold], *, workers: Workers, progress: Progress, journal: Journal | None = None
    ) -> Measurements:
        """One pass for all of it, and for the ``further`` folds."""
        folds = [fold for _, _, group in self.checks for fold in group]
        folds += [fold for each in self.described for fold in (each.moments, each.quantiles)]
        return run(
            self.source,
            [*folds, *self.relative, *further],
            transform=self.transform,
            digests=True,
            workers=workers,
            progress=progress,
            journal=journal,
        )

    def report(self, measured: Measurements) -> Report:
        """What follows from one pass."""
        spec, schema, container = self.source.spec, self.schema, self.source.container
        digests = {**measured.digests, **self.source.constants()[1]}
        results = list(self.before)
        for (plan, check, group), variant in zip(self.checks, schema.variants(), strict=True):
            if group:
                finding = check.judge(self.originals.spec, plan.statistics, measured.results)
                results.append(_result(plan, variant, finding))
        documents = {each.field.name: to_document(each, measured.results) for each in self.described}
        results.extend(
            CheckResult(name, field, finding, line=schema.line_of(field))
            for name, field, finding in embedded(schema, spec, documents)
        )
        results.append(_stored_bytes(container.path, container, digests))
        return Report(
            dataset=spec.name,
            version=spec.version,
            root=logical_root(spec, container.layouts, digests),
            schema_digest=schema.digest,
            registry_digest=registry_digest(),
            rows=measured.rows,
            values=spec.rows * sum(field.row_values for field in spec.fields),
            results=tuple(results),
            baselines=baselines(schema, self.described, self.relative, measured.results, results),
            schema_path=str(schema.path),
        )


def registry_digest() -> str:
    """Identifies the checks that exist and the statistics each takes."""
    return value_digest("checks", {name: dict(CHECKS.load(name)().statistics) for name in CHECKS})


def _originals(spec: DatasetSpec, names: Sequence[str]) -> Originals:
    try:
        return Originals.bind(spec, names)
    except (KeyError, ValueError, TypeError, AttributeError):
        return Originals(spec, {})  # the comparison of the embedded transforms says what is wrong with them


def _result(plan: CheckPlan, variant: str, finding: Finding) -> CheckResult:
    return CheckResult(plan.name, plan.about, finding, plan.severity, line=plan.line, variant=variant)


def _unexamined(absent: Sequence[str]) -> Finding:
    return Finding(
        passed=False,
        examined=0,
        present=0,
        worst=None,
        limit="the field exists",
        message=f"it reads field {', '.join(absent)}, which the dataset does not have",
        remedy="build the dataset with the field, or remove the check from the schema",
    )


def _described(source: DatasetSource, schema: Schema) -> tuple[FieldFolds, ...]:
    """What to measure to compare with the embedded statistics: groups as the schema plans them, all as `normalize`
    measured it.
    """
    spec = source.spec
    start, stop = spec.splits.get("train", (0, 0))
    if stop <= start:
        return ()
    planned = group_of(schema.transform_plan())
    groups = {name: planned[name] for name in stated_raw(spec) if planned.get(name, "") in spec}
    return tuple(
        # `normalize` counts what a transform gives from zero: it has not seen a sample of it before.
        replace(each, quantiles=replace(each.quantiles, pivot=()))
        if each.field.transform_state == "normalized"
        else each
        for each in statistics_folds(source, spec, groups)
    )


def _stored_bytes(path: Path, container: Any, digests: Mapping[str, ChunkDigests]) -> CheckResult:
    """Every stored byte against the manifest that the writer left; nothing is examined where that is missing."""
    place = manifest.path_of(path)
    chunks = sum(len(each.stored) for each in digests.values())
    problem, count, compared = "", 0, chunks
    remedy = "the file was changed or is damaged: restore it, or run `prep normalize` again"
    samples: tuple[int, ...] = ()
    try:
        data = manifest_bytes(path)
        contents = manifest.parse(data, path=str(place))
        match_container(path, contents)
    except FileNotFoundError:
        compared = 0
        problem = f"the sidecar {place.name} is missing, so the stored bytes could not be compared with those written"
        remedy = f"copy {place.name} beside the dataset (the two belong together), or run `prep normalize` again"
    except OSError as error:
        compared = 0
        problem = f"the sidecar {place.name} cannot be read ({error.strerror}), so the stored bytes were not compared"
        remedy = f"make {place.name} a file that can be read, or run `prep normalize` again"
    except PrepError as error:
        problem = f"{place.name}: {error.what}" if error.where.path == str(place) else error.what
    else:
        changed = [
            (name, index)
            for name, each in digests.items()
            for index, digest in enumerate(each.stored)
            if name not in contents.digests
            or index >= len(contents.digests[name].stored)
            or contents.digests[name].stored[index] != digest
        ]
        if changed or set(digests) != set(contents.digests):
            name, index = changed[0] if changed else (next(iter(set(digests) ^ set(contents.digests))), 0)
            problem = f"chunk {index} of field {name} is not what was written"
            samples = (index * container.layouts[name].chunk_rows,) if name in container.layouts else ()
            count = len(changed)
        elif manifest.encode(container, digests) != data:
            problem = "the manifest does not describe the dataset as it describes itself"
    finding = Finding(
        passed=not problem,
        examined=compared,
        present=chunks,
        worst=None,
        limit="every stored byte is the one that was written",
        message=problem or f"{chunks} chunks match the manifest",
        remedy=remedy,
        failing=count,
        samples=samples,
        splits=tuple(container.spec.split_of(row) for row in samples),
    )
    return CheckResult("stored_bytes", "manifest", finding, kind="integrity")
