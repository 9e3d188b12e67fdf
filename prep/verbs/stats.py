"""`prep stats`: measure the train split of a raw dataset and fit its transforms, once, into one JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prep.blocks import DatasetSpec
from prep.canonical import canonical_json, parse_json, value_digest
from prep.engine import DatasetSource, Journal, Progress, Workers, run, silent
from prep.errors import DataError, IntegrityError, PrepError, SchemaError, UsageError, Where
from prep.formats.commit import storage_errors, tidy_up, write_atomically
from prep.formats.replace import demand_no_input
from prep.schema import Schema
from prep.transforms import TRANSFORMS
from prep.transforms.pipeline import BoundTransform, bound_transforms
from prep.verbs.rawdata import hash_all, read_manifest
from prep.verbs.schemas import schema_for
from prep.verbs.statistics import statistics_folds, to_document

STATISTICS_VERSION = 2
_MARK = b'"statistics_version"'


@dataclass(frozen=True, slots=True)
class Statistics:
    """A statistics file: which raw data it was measured on, the fitted transforms, the statistics of each field.

    ``digest`` is of all its content; ``identity`` is of what it was made from.
    """

    dataset: str
    root: str
    identity: str
    plan: str
    digest: str
    transforms: Mapping[str, BoundTransform]
    fields: Mapping[str, Any]


def stats(
    raw: str | Path,
    *,
    output: str | Path,
    schema: str | Path | None = None,
    force: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
) -> Path:
    """Measure the train split of ``raw`` and fit the transforms that its schema plans; write them to ``output`` and
    return it.

    Only the train split is looked at, only what masks count, per group where the plan says so. ``schema`` defaults to
    ``schemas/<dataset>.yaml``, else the schema embedded at ingest. Raises `DataError` for data that are normalised
    already, without train samples, or that a transform cannot be fitted on (a constant feature, a trace ≤ 0),
    `SchemaError` for a plan that does not fit the fields, `IntegrityError` for raw data that changed since they were
    written, `UsageError` for an output that is no statistics file of prep.
    """
    raw, output = Path(raw), Path(output)
    demand_statistics_output(output, [raw, *([Path(schema)] if schema else [])])
    contents = read_manifest(raw)
    refuse_normalised(raw, contents.spec)
    chosen = schema_for(contents.spec, schema)
    plan = chosen.transform_plan()
    about = {"root": contents.root, "version": contents.spec.version, "plan": chosen.transform_digest()}
    identity = value_digest("stats", {**about, "statistics_version": STATISTICS_VERSION})
    if not force and _unchanged(output, identity):
        hash_all(raw, contents, workers, progress)
        tidy_up(output)
        return output
    spec = planned_spec(contents.spec, chosen)
    start, stop = spec.splits.get("train", (0, 0))
    if start >= stop:
        raise DataError(
            "there are no train samples to take statistics of",
            where=Where(path=str(raw), dataset=spec.name, split="train"),
            measured="0 samples",
            allowed="1 or more",
            remedy="build the dataset with a train split; statistics never come from validation or test data",
        )
    with DatasetSource.open(raw, contents.digests) as source:
        fits = {
            name: TRANSFORMS.load(entry["name"])().folds(spec, spec[name], entry["options"])
            for name, entry in plan.items()
        }
        described = statistics_folds(source, spec, group_of(plan))
        folds = [fold for group in fits.values() for fold in group]
        folds += [fold for each in described for fold in (each.moments, each.quantiles)]
        journal = Journal.of(raw, "stats")
        measured = run(source, folds, workers=workers, progress=progress, journal=journal).results
    transforms = {}
    for name, entry in plan.items():
        params = TRANSFORMS.load(entry["name"])().fit(spec, spec[name], entry["options"], measured)
        transforms[name] = {"name": entry["name"], "params": params, "field": spec[name].to_dict()}
    document = {
        "statistics_version": STATISTICS_VERSION,
        "dataset": spec.name,
        "version": spec.version,
        "split": "train",
        "samples": stop - start,
        "root": contents.root,
        "identity": identity,
        "plan": chosen.transform_digest(),
        "transforms": transforms,
        "fields": {each.field.name: to_document(each, measured) for each in described},
    }
    write_atomically(output, canonical_json({**document, "digest": content_digest(document)}) + b"\n")
    return output


def content_digest(document: Mapping[str, Any]) -> str:
    """The digest that a statistics file carries of everything else in it."""
    return value_digest("statistics", {key: value for key, value in document.items() if key != "digest"})


def read_statistics(path: Path) -> Statistics:
    """A statistics file; `UsageError` where there is none, `IntegrityError` where it is damaged or was edited."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "the statistics file cannot be read",
            where=Where(path=str(path)),
            measured=error.strerror,
            remedy="run `prep stats RAW -o STATS.json` first",
        ) from error
    body = parse_json(data, path=str(path), limit=1 << 30)
    try:
        if body["statistics_version"] != STATISTICS_VERSION:
            raise KeyError("statistics_version")
        found = Statistics(
            dataset=body["dataset"],
            root=body["root"],
            identity=body["identity"],
            plan=body["plan"],
            digest=body["digest"],
            transforms=bound_transforms(body["transforms"]),
            fields=body["fields"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "this is not a complete statistics file of prep",
            where=Where(path=str(path)),
            measured=f"{type(error).__name__}: {error}",
            allowed=f"statistics version {STATISTICS_VERSION} with every key",
            remedy="run `prep stats` again; do not edit the file",
        ) from error
    if found.digest != content_digest(body):
        raise IntegrityError(
            "this statistics file was edited or damaged after it was written",
            where=Where(path=str(path), dataset=str(found.dataset)),
            measured=content_digest(body),
            allowed=found.digest,
            remedy="run `prep stats --force` to measure again; to change a transform, change the schema's plan",
        )
    return found


def planned_spec(spec: DatasetSpec, schema: Schema) -> DatasetSpec:
    """The raw dataset with role, mask and features as its schema declares them; `SchemaError` where the two do not
    fit.
    """
    missing = [
        name
        for name, plan in schema.fields.items()
        if not plan.companion_of and name not in spec and plan.role != "constant"
    ]
    unplanned = [field.name for field in spec.fields if field.name not in schema.fields]
    if missing or unplanned:
        raise SchemaError(
            f"schema and raw dataset {spec.name} do not have the same fields",
            where=Where(path=str(schema.path), dataset=spec.name, field=", ".join([*missing, *unplanned])),
            measured=f"not in the data: {missing or 'none'}; not in the schema: {unplanned or 'none'}",
            allowed="each field of the data in prep.fields, and no other",
            remedy="edit prep.fields of the schema; every field is declared, none passes through unseen",
        )
    return spec.with_fields(
        tuple(
            replace(
                field,
                role=schema.fields[field.name].role,
                mask=schema.fields[field.name].mask,
                features=tuple(schema.fields[field.name].features),
            )
            for field in spec.fields
        )
    )


def group_of(plan: Mapping[str, Any]) -> dict[str, str]:
    """The group field of each planned transform that has one."""
    return {name: entry["options"].get("group", "") for name, entry in plan.items()}


def refuse_normalised(path: Path, spec: DatasetSpec) -> None:
    """`DataError` if any field has been through a transform: normalising twice is never meant."""
    done = [field.name for field in spec.fields if field.transform_state == "normalized"]
    if done:
        raise DataError(
            "this dataset is normalised already",
            where=Where(path=str(path), dataset=spec.name, field=", ".join(done)),
            measured="transform_state normalized",
            allowed="raw",
            remedy="start from the raw dataset; a second normalisation would silently change the units again",
        )


def _unchanged(path: Path, identity: str) -> bool:
    if not path.exists():
        return False
    try:
        return read_statistics(path).identity == identity
    except PrepError:
        return False


def demand_statistics_output(output: Path, inputs: list[Path]) -> None:
    """`UsageError` for an output that is an input, or that is there and is no statistics file of prep."""
    demand_no_input(output, inputs)
    with storage_errors(output):
        if not output.exists() or (output.is_file() and _MARK in output.read_bytes()):
            return
    raise UsageError(
        "what is at the output is not a statistics file that prep wrote",
        where=Where(path=str(output)),
        allowed="nothing, or a statistics file of prep",
        remedy="move it away or name another output; prep replaces nothing that it did not write",
    )
