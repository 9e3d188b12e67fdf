"""`prep doctor --write-schema`: a schema for a file that has none, in the form that `prep ingest` takes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prep.blocks import FieldSpec
from prep.engine import DatasetSource, Progress, Workers, run, silent
from prep.errors import PrepError, UsageError, Where
from prep.folds import Fold, Scope
from prep.folds.moments import Moments, MomentsResult
from prep.folds.sentinels import SentinelsResult
from prep.formats.commit import write_atomically
from prep.importers import IngestOptions, Opened
from prep.importers.sources import existing
from prep.schema import draft_schema, load_schema
from prep.symptoms.repeats import expected_whole_rows, whole_row_folds
from prep.symptoms.words import argument
from prep.verbs.ingest import open_source
from prep.verbs.rawdata import SPLIT_FIELD
from prep.verbs.schemas import in_project
from prep.verbs.statistics import described_fields, sentinel_folds
from prep.verbs.taken_for import Taken, foreign, is_ours, ours


@dataclass(frozen=True, slots=True)
class Drafted:
    """The schema that was written, the mapping file that `prep ingest` needs (None where it needs none), and the
    commands that follow.
    """

    schema: Path
    mapping: Path | None
    commands: tuple[str, ...]


def write_schema(
    path: str | Path,
    *,
    output: str | Path | None = None,
    roles: Mapping[str, str] | None = None,
    force: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
) -> Drafted:
    """Draft a schema of one file and write it to ``output`` (default ``schemas/NAME.yaml``), with a mapping file beside
    it where `prep ingest` would not take the file for the same.

    Roles are those of `prep.doctor`, bounds what was measured in one pass. The draft passes the strict loader. Raises
    `UsageError` where one of the files is there already and not ``force``, and what `prep.doctor` raises.
    """
    place = existing(Path(path))
    options: list[str] = []
    mapping = ""
    if is_ours(place):
        with DatasetSource.open(place) as source:
            taken = ours(place, source, roles or {})
            text = _of_ours(taken, workers, progress)
    else:
        taken = foreign(place, roles or {})
        text, mapping, options = _of_foreign(place, taken, workers, progress)
    name = taken.guess.spec.name
    load_schema(text, name=f"draft of {name}", verify=True)
    schema = Path(output) if output else in_project(Path("schemas") / f"{name}.yaml")
    beside = schema.with_name(f"{schema.stem}.mapping.yaml") if mapping else None
    for each in (schema, beside):
        if each is not None and each.exists() and not force:
            raise UsageError(
                "there is a file already where the draft would go",
                where=Where(path=str(each)),
                allowed="a path where nothing is",
                remedy="name another with --output, or replace it with --force",
            )
    if beside is not None:
        write_atomically(beside, mapping.encode())
        options = ["--mapping", argument(str(beside)), *options]
    write_atomically(schema, text.encode())
    raw, stats = (argument(str(place)) if taken.ours else f"data/raw/{name}.h5"), f"data/stats/{name}.json"
    stated = ["--schema", argument(str(schema))] if output else []
    commands = [] if taken.ours else [["prep", "ingest", argument(str(place)), *options, "-o", raw, *stated]]
    commands += [["prep", "stats", raw, "-o", stats, *stated]]
    commands += [["prep", "normalize", raw, "--stats", stats, "-o", f"data/normalized/{name}.h5", *stated]]
    return Drafted(schema, beside, tuple(shlex.join(each) for each in commands))


def _of_ours(taken: Taken, workers: Workers, progress: Progress) -> str:
    spec = taken.guess.spec
    if any(each.transform_state == "normalized" for each in spec.fields):
        if "schema" in spec.documents:
            return spec.documents["schema"]
        raise UsageError(
            "a schema is drafted from raw data, and this dataset is normalised",
            where=Where(path=taken.guess.source, dataset=spec.name),
            remedy="name the raw dataset",
        )
    moments, fills, by_chance = _measured(taken, workers, progress)
    return draft_schema(spec, moments, fills, by_chance=by_chance, group=taken.guess.group, by="prep doctor")


def _of_foreign(place: Path, taken: Taken, workers: Workers, progress: Progress) -> tuple[str, str, list[str]]:
    """The draft, a mapping file (``""`` where none is needed), and options for `prep ingest`."""
    guess = taken.guess
    wanted = {each.name: each for each in guess.spec.fields}
    opened = _ingested(place, IngestOptions())
    mapping = ""
    options: list[str] = []
    if opened is not None and guess.layout == "minari":
        roles = {each.name: wanted[each.name].role for each in opened.fields if each.name in wanted}
        differing = {
            each.name: roles[each.name] for each in opened.fields if roles.get(each.name, each.role) != each.role
        }
        opened = open_source(str(place), None, IngestOptions(roles=differing))
        options = [text for name, role in differing.items() for text in ("--role", f"{name}={role}")]
    elif opened is None or any(not _alike(each, wanted.get(each.name)) for each in opened.fields):
        body = _mapping(taken)
        mapping = _yaml(body)
        opened = open_source(str(place), None, IngestOptions(mapping=body))
    elif guess.group and opened.group != guess.group:
        options = ["--group", guess.group]
        opened = open_source(str(place), None, IngestOptions(group=guess.group))
    splits, start = {}, 0
    for name, rows in opened.rows.items():
        splits[name] = (start, start + rows)
        start += rows
    spec = replace(guess.spec, fields=(*opened.fields, SPLIT_FIELD), splits=splits)
    known = {each.name: each for each in opened.fields}
    moments, fills, by_chance = _measured(taken, workers, progress)
    moments = {name: each for name, each in moments.items() if _alike(wanted[name], known.get(name))}
    text = draft_schema(spec, moments, fills, by_chance=by_chance, group=opened.group, by="prep doctor")
    return text, mapping, options


def _ingested(place: Path, options: IngestOptions) -> Opened | None:
    """What `prep ingest` takes the file for by itself; None where it needs to be told."""
    try:
        return open_source(str(place), None, options)
    except PrepError:
        return None


def _alike(a: FieldSpec, b: FieldSpec | None) -> bool:
    return b is not None and (a.role, a.mask, a.shape, a.dtype) == (b.role, b.mask, b.shape, b.dtype)


def _mapping(taken: Taken) -> dict[str, Any]:
    source: Any = taken.source
    fields = {}
    for each in taken.guess.spec.fields:
        entry: dict[str, Any] = {"path": source.columns[each.name].path, "role": each.role}
        entry |= {"mask": each.mask, "dims": list(each.dims)} if each.mask else {}
        entry |= {"dims": list(each.dims)} if each.role == "mask" else {}
        fields[each.name] = entry
    body: dict[str, Any] = {"fields": fields}
    if taken.guess.group:
        body["group"] = taken.guess.group
    if taken.split:
        body["split"] = taken.split
    return body


def _yaml(body: Mapping[str, Any]) -> str:
    import yaml

    head = "# Drafted by `prep doctor`: what each array is. Yours to edit.\n"
    return head + str(yaml.safe_dump(dict(body), sort_keys=False, allow_unicode=True, width=100))


def _measured(
    taken: Taken, workers: Workers, progress: Progress
) -> tuple[dict[str, MomentsResult], dict[str, SentinelsResult], float]:
    """Train moments of each field, the fill values of those of real numbers, and how many pairs of rows are equal by
    chance.
    """
    spec = taken.guess.spec
    scope = Scope.of(spec, "train")
    moments = {
        each.name: Moments(each, scope, mask=spec[each.mask] if each.mask else None) for each in described_fields(spec)
    }
    fills = sentinel_folds(spec)
    folds: list[Fold] = [*moments.values(), *fills.values(), *whole_row_folds(spec).values()]
    found = run(taken.source, folds, workers=workers, progress=progress).results
    return (
        {name: found[fold.key] for name, fold in moments.items()},
        {name: found[fold.key] for name, fold in fills.items()},
        expected_whole_rows(spec, found),
    )
