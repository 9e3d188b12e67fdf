"""`prep validate`: re-measure a dataset from its stored bytes in one pass and judge it by its schema; trust nothing
the writer said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prep.blocks import DatasetSpec
from prep.canonical import value_digest
from prep.certificate import manifest
from prep.certificate.matching import manifest_bytes, match_container
from prep.certificate.tree import logical_root
from prep.checks import CHECKS, Finding
from prep.engine import DatasetSource, Journal, Progress, Workers, run, silent
from prep.errors import IntegrityError, PrepError, SchemaError, UnfinishedError, UsageError, Where
from prep.formats import ENDINGS, format_of, open_container
from prep.formats.digests import ChunkDigests
from prep.report import CheckResult, Report
from prep.report.validation import Validation
from prep.schema import Schema, load_schema, structure
from prep.schema.embedded import embedded, stated_raw
from prep.transforms.original import Originals
from prep.verbs.baselines import baselines, relative_fold
from prep.verbs.config import DEFAULT_PATH, load_config
from prep.verbs.published import unreplaced
from prep.verbs.schemas import in_project, schema_for
from prep.verbs.statistics import FieldFolds, statistics_folds, to_document
from prep.verbs.stats import group_of
from prep.verbs.unchanged import certified_report

DATASET_ENDINGS = tuple(ENDINGS)
_SCHEMA_ENDINGS = (".yaml", ".yml")
_SIDECARS = (".manifest", ".cert.json")


def validate(
    *paths: str | Path,
    schema: str | Path | None = None,
    changed_only: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
) -> tuple[Validation, ...]:
    """Validate datasets; a folder stands for every normalised dataset below it, a sidecar or a file inside a dataset
    for the dataset, a schema for the dataset of the configuration that it judges (without one, only the schema is).

    Each dataset is read once, whole; every check of its schema is judged on what was measured, structure and embedded
    statistics are compared, and every chunk is hashed against the manifest. A dataset that cannot be examined gives
    its error and does not keep the others from being examined. With ``changed_only`` a certified dataset whose bytes,
    schema and checks are as they were is hashed and not measured again; its report is the certified one. Raises
    `UsageError` for a path that does not exist or a folder without datasets.
    """
    found = []
    for path in find_datasets(paths):
        if path.suffix.lower() in _SCHEMA_ENDINGS:
            found.append(_schema_alone(path))
            continue
        if not path.exists():
            found.append(Validation(path, None, _gone(path)))
            continue
        try:
            if changed_only and (
                known := certified_report(path, schema, registry_digest(), workers=workers, progress=progress)
            ):
                found.append(Validation(path, known, unchanged=True))
                continue
            found.append(Validation(path, examine(path, schema=schema, workers=workers, progress=progress)))
        except PrepError as error:
            found.append(Validation(path, None, error))
    return tuple(found)


def find_datasets(paths: Iterable[str | Path]) -> list[Path]:
    """The datasets that paths stand for: itself, or below a folder every one, in name order, and those whose sidecars
    are there without them. Raw ones count unless they lie in a folder ``raw``.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(
                "there is no such file or folder",
                where=Where(path=str(path)),
                remedy="give the path of a dataset or of a folder that holds some",
            )
        known = {each.resolve() for each in found}
        if (whole := _dataset_of(path)) is not None:
            found.extend(each for each in _built_by(whole) if each.resolve() not in known)
            continue
        names = {each.with_name(each.name.removesuffix(end)) for end in _SIDECARS for each in path.rglob(f"*{end}")}
        names |= {each for each in path.rglob("*") if each.suffix.lower() in DATASET_ENDINGS}
        below = sorted(each for each in names if not each.name.startswith("."))
        normalised = [each for each in below if not (each.parent.name == "raw" and (_is_raw(each)))]
        if not normalised:
            raise UnfinishedError(
                "nothing to examine: this folder holds no normalised dataset",
                where=Where(path=str(path)),
                measured=f"{len(below)} raw datasets" if below else "no dataset",
                allowed="one normalised .h5 or .zarr or more",
                remedy="build them (`snakemake all`) or give another path",
            )
        found.extend(each for each in normalised if each.resolve() not in known)
    if not found:
        raise UsageError("no path was given", remedy="name a dataset or a folder: prep validate data/")
    return found


def _built_by(path: Path) -> list[Path]:
    """A schema stands for the datasets of the configuration that it judges, where they are built; else for itself."""
    if path.suffix.lower() not in _SCHEMA_ENDINGS or not in_project(DEFAULT_PATH).exists():
        return [path]
    settings = load_config(in_project(DEFAULT_PATH))
    places = [
        in_project(settings.normalized_path(entry))
        for entry in settings.datasets.values()
        if in_project(entry.schema).resolve() == path.resolve()
    ]
    return [each for each in places if each.exists()] or [path]


def _schema_alone(path: Path) -> Validation:
    try:
        schema = load_schema(path, verify=True)
    except PrepError as error:
        return Validation(path, None, error)
    note = f"the schema of {schema.name} loads: {len(schema.variables)} variables, {len(schema.checks)} checks"
    return Validation(path, None, note=f"{note}; no dataset of it is built here")


def _dataset_of(path: Path) -> Path | None:
    """The dataset that a path names or is a part of (a sidecar, a file inside a folder); None for other folders."""
    for folder in (path, *path.parents):
        if folder.suffix.lower() == ".zarr" and (folder / "zarr.json").exists():
            return folder
    if path.is_dir():
        return path if (path / "zarr.json").exists() else None
    for end in _SIDECARS:
        if path.name.endswith(end):
            return path.with_name(path.name.removesuffix(end))
    return path


def registry_digest() -> str:
    """Identifies the checks that exist and the statistics each takes."""
    return value_digest("checks", {name: dict(CHECKS.load(name)().statistics) for name in CHECKS})


def _gone(path: Path) -> IntegrityError:
    return IntegrityError(
        "there are sidecars of a dataset that is gone",
        where=Where(path=str(path)),
        measured=", ".join(path.name + end for end in _SIDECARS if path.with_name(path.name + end).exists()),
        allowed="a dataset beside its manifest and certificate",
        remedy="restore or rebuild the dataset, or remove what is left of it",
    )


def _is_raw(path: Path) -> bool:
    """Whether the dataset says that it is raw; what is gone was no loss."""
    if not path.exists():
        return True
    try:
        return "transforms" not in open_container(path).spec.documents
    except PrepError:
        return False


def examine(
    path: Path,
    *,
    schema: str | Path | None = None,
    recall: bool = True,
    workers: Workers = None,
    progress: Progress = silent,
) -> Report:
    """The report of one dataset, from one pass over its stored bytes; raises where it cannot be examined, or was
    replaced meanwhile.

    Without ``recall`` every value is measured now, whatever an interrupted pass has measured of the same bytes.
    """
    with unreplaced(path):
        return _examine(path, schema, recall, workers, progress)


def _examine(path: Path, schema: str | Path | None, recall: bool, workers: Workers, progress: Progress) -> Report:
    _ = format_of(path)
    with DatasetSource.open(path) as source:
        spec = source.spec
        judging = schema_for(spec, schema, verify=True)
        results = [
            CheckResult(name, field, finding, line=judging.line_of(field))
            for name, field, finding in structure(judging, spec)
        ]
        judges = [(plan, CHECKS.load(plan.name)()) for plan in judging.checks]
        originals = _originals(spec, [name for plan, check in judges for name in check.fields(plan.statistics)])
        judged = originals.spec
        names = judged.names
        planned = []
        for plan, check in judges:
            absent = [name for name in check.fields(plan.statistics) if name not in names]
            planned.append(() if absent else tuple(check.folds(judged, plan.statistics)))
            if absent:
                missing = _unexamined(absent)
                results.append(CheckResult(plan.name, plan.about, missing, plan.severity, line=plan.line))
        described = _described(source, judging)
        folds = [fold for group in planned for fold in group]
        folds += [fold for each in described for fold in (each.moments, each.quantiles)]
        relative = relative_fold(judging, spec)
        folds += relative
        apply = originals if originals.inverses else None
        measured = run(
            source,
            folds,
            transform=apply,
            digests=True,
            workers=workers,
            progress=progress,
            journal=Journal.of(path, "validate", spec.documents.get("transforms", "") if apply else "")
            if recall
            else None,
        )
        digests = {**measured.digests, **source.constants()[1]}
        container = source.container
    for (plan, check), group in zip(judges, planned, strict=True):
        if group:
            finding = check.judge(judged, plan.statistics, measured.results)
            results.append(CheckResult(plan.name, plan.about, finding, plan.severity, line=plan.line))
    documents = {each.field.name: to_document(each, measured.results) for each in described}
    results.extend(
        CheckResult(name, field, finding, line=judging.line_of(field))
        for name, field, finding in embedded(judging, spec, documents)
    )
    results.append(_stored_bytes(path, container, digests))
    if not judging.checks:
        raise SchemaError("the schema has no checks", where=Where(path=str(judging.path)), remedy="add checks to it")
    return Report(
        dataset=spec.name,
        version=spec.version,
        root=logical_root(spec, container.layouts, digests),
        schema_digest=judging.digest,
        registry_digest=registry_digest(),
        rows=measured.rows,
        values=spec.rows * sum(field.row_values for field in spec.fields),
        results=tuple(results),
        baselines=baselines(judging, described, relative, measured.results, results),
        schema_path=str(judging.path),
    )


def _originals(spec: DatasetSpec, names: Sequence[str]) -> Originals:
    try:
        return Originals.bind(spec, names)
    except (KeyError, ValueError, TypeError, AttributeError):
        return Originals(spec, {})  # the comparison of the embedded transforms says what is wrong with them


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
    """Every stored byte against the manifest that the writer left."""
    place = manifest.path_of(path)
    chunks = sum(len(each.stored) for each in digests.values())
    problem, count = "", 0
    samples: tuple[int, ...] = ()
    try:
        data = manifest_bytes(path)
        contents = manifest.parse(data, path=str(place))
        match_container(path, contents)
    except OSError as error:
        problem = f"there is no manifest beside the dataset ({error.strerror})"
    except PrepError as error:
        problem = error.what
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
        examined=chunks,
        present=chunks,
        worst=None,
        limit="every stored byte is the one that was written",
        message=problem or f"{chunks} chunks match the manifest",
        remedy="the file was changed or is damaged: restore it, or run `prep normalize` again",
        failing=count,
        samples=samples,
        splits=tuple(container.spec.split_of(row) for row in samples),
    )
    return CheckResult("stored_bytes", "manifest", finding, kind="integrity")
