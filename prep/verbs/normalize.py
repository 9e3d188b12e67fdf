"""`prep normalize`: apply the fitted transforms to every split, and embed all that is needed to know and to undo
them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from prep.canonical import canonical_json, value_digest
from prep.certificate.manifest import Manifest
from prep.engine import DatasetSource, Journal, Progress, Workers, run, silent
from prep.errors import DataError, Where
from prep.formats import create
from prep.schema import Schema
from prep.transforms.pipeline import Pipeline
from prep.verbs.rawdata import commit, demand_output, is_made, read_manifest, versions
from prep.verbs.schemas import schema_for
from prep.verbs.statistics import statistics_folds, to_document
from prep.verbs.stats import Statistics, planned_spec, read_statistics, refuse_normalised


def normalize(
    raw: str | Path,
    *,
    stats: str | Path,
    output: str | Path,
    schema: str | Path | None = None,
    compression: str = "none",
    force: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
) -> Path:
    """Normalise every sample of ``raw`` with the parameters in ``stats`` and write ``output``; returns it.

    Statistics of other data, of another plan, without a field or edited are refused, as is a dataset that is normalised
    already. The result embeds statistics before and after, transforms, schema text, recipe and provenance. An output
    made of the same statistics under the same plan, whose stored bytes are still as they were written, is left as it
    is, and what an interrupted run of the same has finished is taken over, unless ``force``. Raises `DataError`,
    `StorageError`, `IntegrityError` for raw data or statistics that changed since they were written, and `UsageError`
    for an output that would destroy an input or what prep did not write.
    """
    raw, output = Path(raw), Path(output)
    demand_output(output, [raw, Path(stats), *([Path(schema)] if schema else [])])
    contents = read_manifest(raw)
    refuse_normalised(raw, contents.spec)
    fitted = read_statistics(Path(stats))
    _demand_same_data(contents, fitted, Path(stats))
    chosen = schema_for(contents.spec, schema)
    _demand_same_plan(chosen, fitted, Path(stats))
    identity = value_digest(
        "normalize",
        {
            "stats": fitted.digest,
            "version": contents.spec.version,
            "plan": chosen.transform_digest(),
            "compression": compression,
        },
    )
    if not force and is_made(output, identity, workers, progress):
        return output
    pipeline = Pipeline.bind(
        planned_spec(contents.spec, chosen),
        {name: {"name": bound.name, "params": bound.params} for name, bound in fitted.transforms.items()},
    )
    groups = {name: str(field["group"]) for name, field in fitted.fields.items()}
    spec = pipeline.output_spec()
    journal = Journal.of(output, "normalize", identity)
    # What another version of the code has written is not gone on with: it may have written something else.
    rows = "" if force else journal.unit({}, 0, 0, ()).key.hex()
    with DatasetSource.open(raw, contents.digests) as source, create(output, spec, compression, rows) as writer:
        for field, array in zip(spec.constants, source.constants()[0].values(), strict=True):
            writer.write_constant(field, array)
        described = statistics_folds(source, spec, groups)
        folds = [fold for each in described for fold in (each.moments, each.quantiles)]
        measured = run(
            source,
            folds,
            transform=pipeline.apply,
            sink=writer,
            workers=workers,
            progress=progress,
            journal=journal,
        ).results
        statistics = {
            "raw": dict(fitted.fields),
            "normalized": {each.field.name: to_document(each, measured) for each in described},
        }
        provenance = {
            "stage": "normalize",
            "identity": identity,
            "input": {"root": contents.root, "provenance": json.loads(contents.spec.documents["provenance"])},
            "plan": chosen.transform_digest(),
            "versions": versions(),
        }
        documents = {
            **contents.spec.documents,
            "statistics": canonical_json(statistics).decode(),
            "transforms": canonical_json(pipeline.to_document()).decode(),
            "schema": chosen.text,
            "provenance": canonical_json(provenance).decode(),
        }
        commit(writer, output, replace(spec, documents=documents))
    return output


def _demand_same_data(contents: Manifest, fitted: Statistics, path: Path) -> None:
    if fitted.root != contents.root or fitted.dataset != contents.spec.name:
        raise DataError(
            "these statistics were taken of other data",
            where=Where(path=str(path), dataset=contents.spec.name),
            measured=f"{fitted.dataset} {fitted.root}",
            allowed=f"{contents.spec.name} {contents.root}",
            remedy="run `prep stats` on this raw dataset and use its result",
        )


def _demand_same_plan(schema: Schema, fitted: Statistics, path: Path) -> None:
    if fitted.plan != schema.transform_digest():
        raise DataError(
            "these statistics were fitted for another plan of transforms",
            where=Where(path=str(path), dataset=fitted.dataset),
            measured=fitted.plan,
            allowed=f"{schema.transform_digest()} of {schema.path or 'the embedded schema'}",
            remedy="run `prep stats` again: the schema's fields or transforms changed since",
        )
