"""`prep ingest`: bring own data into the pipeline: read a foreign layout, split it by group, write it as a raw
dataset.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prep.blocks import DatasetSpec
from prep.canonical import canonical_json, value_digest
from prep.engine import DatasetSource, Progress, Workers, run, silent
from prep.errors import UsageError, Where
from prep.folds import Fold
from prep.formats.commit import write_atomically
from prep.importers import IMPORTERS, IngestOptions, Opened
from prep.importers.minari import locate
from prep.importers.sources import existing, tree_files
from prep.schema import draft_schema, load_schema
from prep.symptoms.repeats import expected_whole_rows, whole_row_folds
from prep.verbs.rawdata import Rows, demand_output, is_made, read_manifest, versions, write_dataset
from prep.verbs.schemas import demand_name, in_project
from prep.verbs.statistics import sentinel_folds, statistics_folds


@dataclass(frozen=True, slots=True)
class Ingested:
    """What `ingest` wrote: the raw dataset, the drafted schema (None where one was there), what the reader noticed."""

    path: Path
    schema: Path | None
    rows: Mapping[str, int]
    warnings: tuple[str, ...]

    def remarks(self) -> list[str]:
        """What a person has to know of it, a line each."""
        drafted = f"drafted {self.schema}: read it, correct roles, units and bounds, then run `prep stats`"
        return [*(f"note: {each}" for each in self.warnings), *([drafted] if self.schema else ())]


def ingest(
    source: str,
    *,
    output: str | Path,
    layout: str | None = None,
    options: IngestOptions | None = None,
    schema: str | Path | None = None,
    version: str = "0.1.0",
    compression: str = "none",
    force: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
) -> Ingested:
    """Read ``source`` (``minari:<id or path>``, ``.npz``, ``.npy``, CSV, Parquet, HDF5, Zarr, or a folder of
    numbered parts) into the raw dataset ``output``.

    The dataset is named after ``output``. Groups (episodes) stay on one side of the split. ``layout`` names the
    importer where the source does not tell. If ``schema`` (default ``schemas/<name>.yaml``) does not exist, one is
    drafted there from what was measured, for the user to edit. An output made of the same bytes under the same options
    and versions, and still as it was written, is left as it is unless ``force``. Raises `UsageError` for a source
    nobody recognises, an output whose name is no dataset name or that would destroy the source or what prep did not
    write, and what the importer raises.
    """
    path = Path(output)
    name, origin = path.name.split(".")[0], _origin(source)
    demand_name(name, path)
    demand_output(path, [place for place in (Path(source.removeprefix("minari:")),) if place.exists()])
    options = options or IngestOptions()
    place = Path(schema) if schema else in_project(Path("schemas") / f"{name}.yaml")
    if place.exists():
        _ = load_schema(place, verify=False)  # it judges what is written now, so it has to be one
    opened = open_source(source, layout, options)
    provenance = {
        "stage": "ingest",
        "layout": layout or _recognised(source),
        "fractions": list(options.fractions),
        "seed": options.seed,
        "notes": dict(opened.notes),
        "versions": versions(),
    }
    spec = DatasetSpec(
        name=name,
        fields=opened.fields,
        splits={},
        version=version,
        attributes={"title": name, "source": f"prep ingest {provenance['layout']}"},
        documents={"recipe": canonical_json({"ingest": origin, "group": opened.group}).decode()},
    )
    # The digests of the inputs, among the notes, say what was read; where it lay is nobody's business.
    stored = {"name": name, "version": version, "compression": compression, "group": opened.group}
    identity = value_digest("ingest", {**provenance, **stored, "fields": [each.to_dict() for each in opened.fields]})
    provenance |= {"source": origin, "identity": identity}
    if force or not is_made(path, identity, workers, progress):
        rows = _rows(opened, progress)
        write_dataset(path, spec, (), rows, provenance, compression=compression)
    drafted = None
    if not place.exists():
        write_atomically(place, _draft(path, opened, workers).encode())
        drafted = place
    return Ingested(path, drafted, dict(opened.rows), opened.warnings)


def open_source(source: str, layout: str | None, options: IngestOptions) -> Opened:
    """What the importer makes of ``source``: its fields, rows by split and a way to read them. Raises as `ingest`."""
    name = layout or _recognised(source)
    if not name:
        raise UsageError(
            "no importer recognises this source",
            where=Where(path=source),
            allowed=", ".join(IMPORTERS.names()),
            remedy="name the layout with --as, or give a mapping file for an HDF5 or Zarr tree",
        )
    opened: Opened = IMPORTERS.load(name)().open(source, options)
    return opened


def source_files(source: str) -> list[Path]:
    """Every file that a source consists of; `UsageError` where there is none."""
    place = Path(source.removeprefix("minari:"))
    if source.startswith("minari:") and not place.exists():
        place = locate(source).parent
    return tree_files(place) if existing(place).is_dir() else [place]


def _recognised(source: str) -> str:
    for name in IMPORTERS:
        if IMPORTERS.load(name)().recognises(source):
            return name
    return ""


def _origin(source: str) -> str:
    """The source's own name, without the folders of this machine."""
    return os.path.basename(os.path.abspath(source.removeprefix("minari:")))


def _rows(opened: Opened, progress: Progress) -> Iterator[Rows]:
    total, done = sum(opened.rows.values()), 0
    progress(0, total)
    for split, arrays in opened.blocks():
        yield Rows(split, arrays, {})
        done += len(next(iter(arrays.values())))
        progress(done, total)


def _draft(path: Path, opened: Opened, workers: Workers) -> str:
    contents = read_manifest(path)
    with DatasetSource.open(path, contents.digests) as source:
        described = statistics_folds(source, source.spec, {})
        fills = sentinel_folds(source.spec)
        rows = whole_row_folds(source.spec)
        folds: list[Fold] = [*(each.moments for each in described), *fills.values(), *rows.values()]
        measured = run(source, folds, workers=workers).results
    return draft_schema(
        contents.spec,
        {each.field.name: measured[each.moments.key] for each in described},
        {name: measured[fold.key] for name, fold in fills.items()},
        by_chance=expected_whole_rows(contents.spec, measured),
        group=opened.group,
    )
