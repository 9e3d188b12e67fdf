"""What a file is taken for, without a schema: a dataset of ours by what it states, anything else by a guess."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np

from prep.blocks import SPLITS, Array, DatasetSpec, FieldSpec, Role, row_ranges
from prep.engine import DatasetSource
from prep.engine.foreign import ForeignSource
from prep.errors import DataError, PrepError, UnfinishedError, UsageError, Where
from prep.importers import IMPORTERS
from prep.importers.arranged import Arranged, arrange
from prep.importers.columns import Column, Source
from prep.importers.foreign import has_member
from prep.importers.mapping import fitting_roles
from prep.importers.names import is_group, is_time
from prep.importers.roles import assign
from prep.importers.sources import existing
from prep.importers.specify import specify
from prep.importers.splitting import given_codes
from prep.importers.stated import statistics_beside
from prep.schema import Schema
from prep.symptoms import Guess, Stored
from prep.verbs.schemas import schema_for

_SPLIT_ROWS = 1 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """A file understood and open: the guess, the rows, and what to tell about it.

    ``ours`` says that it is a dataset of prep, ``split`` is the path of the column that divides a foreign file, ``""``
    where none does. ``unchanged`` raises where the file is another one than at the start.
    """

    guess: Guess
    source: DatasetSource | ForeignSource
    bytes: int
    form: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ours: bool = False
    split: str = ""
    unchanged: Callable[[], None] = lambda: None


def is_ours(path: Path) -> bool:
    """Whether this says of itself that it is a dataset of prep; whether it is one shows when it is opened."""
    if path.is_dir():
        return (path / "zarr.json").is_file() and (path / "prep").is_dir()
    return path.is_file() and has_member(path, "prep")


def foreign(path: Path, roles: Mapping[str, str]) -> Taken:
    """What a file that is no dataset of ours is taken for.

    Raises `UsageError` for a kind of file that nobody reads and for roles that cannot be, `IntegrityError` for a
    damaged one, `UnfinishedError` where there is nothing to look at.
    """
    layout, found = survey(path)
    arranged = arrange(found.columns)
    if arranged is None or not arranged.columns or arranged.rows == 0:
        raise UnfinishedError(
            "nothing to examine: there are no rows of numbers here",
            where=Where(path=str(path)),
            measured=f"{len(found.columns)} arrays"
            if found.columns
            else "; ".join(found.warnings)[:500] or "no arrays",
            allowed="one array of numbers with one row a sample, or more",
            remedy="check that this is the right file",
        )
    left_out = dict(arranged.left_out)
    columns, notes = _readable(found, arranged, left_out)
    assigned = assign(columns, arranged.group, roles)
    chosen = list(zip(assigned.fields, columns, strict=True))
    fields, remarks = specify(str(path), chosen, {}, assigned.group)
    splits, codes, divided = _divided(arranged, notes)
    spec = DatasetSpec(name=_name(path), fields=fields, splits=splits)
    by_name = {wanted.name: column for wanted, column in chosen}
    stored = tuple(
        Stored(*each)
        for each in statistics_beside(path, [(each, by_name[each.name]) for each in fields], arranged.others)
    )
    used = {each.place.removeprefix("array ") for each in stored}
    left_out |= {
        column.path: f"shape {column.shape}: not one row a sample, a constant of the whole file"
        for column in arranged.others
        if column.path not in used
    }
    why = {name: reason for name, reason in assigned.why.items() if reason}
    trees = layout in ("hdf5", "zarr") and not (arranged.group or arranged.splits)
    unplain = trees and any("/" in each.path or each.shape[:1] != (arranged.rows,) for each in found.columns)
    guess = Guess(str(path), layout, spec, divided, why, assigned.time, assigned.group, stored, unplain)
    return Taken(
        guess,
        ForeignSource(spec, path, by_name, codes=codes),
        sum(file.size for file in found.inputs.files),
        arranged.form,
        left_out,
        (*found.warnings, *notes, *_remarks(remarks, fields)),
        split=arranged.split.path if arranged.split is not None and divided else "",
        unchanged=found.inputs.unchanged,
    )


def ours(path: Path, source: DatasetSource, roles: Mapping[str, str]) -> Taken:
    """What a dataset of prep states of itself; of raw data roles and masks come from its schema, where there is one."""
    schema = _schema(source.spec)
    spec = source.spec.with_fields(tuple(_stated(each, schema) for each in source.spec.fields))
    given = fitting_roles(roles, {each.name: (each.dtype, each.shape) for each in (*spec.fields, *spec.constants)})
    spec = spec.with_fields(
        tuple(replace(each, role=cast(Role, given.get(each.name, each.role))) for each in spec.fields)
    )
    ids = [each.name for each in spec.fields if each.role == "id" and not each.shape]
    together = [plan.about for plan in schema.checks if plan.name == "groups_disjoint"] if schema else []
    group = next((name for name in (*together, *ids) if name in ids and (name in together or is_group(name))), "")
    scalars = [each.name for each in spec.fields if not each.shape and each.role in ("aux", "id", "input")]
    time = next((name for name, role in roles.items() if role == "time"), "")
    time = time or next((name for name in scalars if name not in roles and is_time(name)), "")
    filled = {name: rows for name, rows in spec.splits.items() if rows[1] > rows[0]}
    why = {each.name: "stated by you" if each.name in roles else "stated by the dataset" for each in spec.fields}
    guess = Guess(str(path), "prep", replace(spec, splits=filled), len(filled) > 1, why, time, group)
    state = "normalised" if any(each.transform_state == "normalized" for each in spec.fields) else "raw"
    return Taken(guess, source, _size(path), f"a {state} dataset of prep, version {spec.version}", ours=True)


def survey(path: Path) -> tuple[str, Source]:
    """The name of the importer that reads ``path``, and everything it finds; `UsageError` where there is none."""
    for name in IMPORTERS:
        importer = IMPORTERS.load(name)()
        if importer.recognises(str(path)):
            return name, importer.survey(str(path))
    raise UsageError(
        "this is no kind of file that prep reads",
        where=Where(path=str(existing(path))),
        measured=path.suffix or "no ending",
        allowed=", ".join(name for name in IMPORTERS.names()),
        remedy="save the data as one of these",
    )


def _readable(found: Source, arranged: Arranged, left_out: dict[str, str]) -> tuple[list[Column], list[str]]:
    """The columns that nothing forbids reading, and what was noticed; the others are left out with the reason."""
    columns: list[Column] = []
    notes: list[str] = []
    paths = {column.path for column in found.columns}
    for column in arranged.columns:
        try:
            notes += found.vet([column.path] if column.path in paths else [])
        except UnfinishedError:
            raise
        except PrepError as error:
            left_out[column.path] = error.what + (f" ({error.measured})" if error.measured else "")
            continue
        columns.append(column)
    if not columns:
        raise DataError(
            "nothing in this file can be read",
            where=Where(path=found.path),
            measured="; ".join(f"{name}: {reason}" for name, reason in left_out.items())[:1000],
            remedy="write it again",
        )
    return columns, notes


def _remarks(remarks: list[str], fields: tuple[FieldSpec, ...]) -> Iterator[str]:
    """What is said to whoever ingests, in the words of somebody who looks."""
    for each in remarks:
        if "masks no field" in each or not ("mapping file" in each or "set roles" in each):
            yield each
    roles = {each.role for each in fields}
    if missing := [role for role in ("input", "target") if role not in roles]:
        yield f"no {' and no '.join(missing)} recognised; with --role FIELD={missing[0]} more is looked for"


def _divided(arranged: Arranged, notes: list[str]) -> tuple[dict[str, tuple[int, int]], Array | None, bool]:
    """Splits, the split of each row where rows have to be put in the order of splits, and whether any were found."""
    whole = {"train": (0, arranged.rows)}
    if arranged.splits:
        return dict(arranged.splits), None, len(arranged.splits) > 1
    if arranged.split is None:
        return whole, None, False
    where = Where(key=arranged.split.path)
    codes = np.empty(arranged.rows, np.uint8)
    try:
        with arranged.split.reader() as read:
            for start, stop in row_ranges(arranged.rows, _SPLIT_ROWS):
                codes[start:stop] = given_codes(read(start, stop), start, where)
    except DataError as error:
        notes.append(f"{arranged.split.path} was not used to divide the rows: {error.what} ({error.measured})")
        return whole, None, False
    counts = np.bincount(codes, minlength=3).tolist()
    ends = np.cumsum(counts).tolist()
    splits = {name: (end - count, end) for name, count, end in zip(SPLITS, counts, ends, strict=True) if count}
    if (np.diff(codes.astype(np.int8)) >= 0).all():
        return splits, None, len(splits) > 1
    notes.append("samples are counted split by split, in the order " + ", ".join(splits))
    return splits, codes, len(splits) > 1


def _schema(spec: DatasetSpec) -> Schema | None:
    try:
        return schema_for(spec)
    except PrepError:
        return None


def _stated(each: FieldSpec, schema: Schema | None) -> FieldSpec:
    """A raw field with the role, mask and features that its schema declares."""
    plan = schema.fields.get(each.name) if schema and each.transform_state == "raw" else None
    if plan is None:
        return each
    features = tuple(name for name in plan.features if name in each.dims) or each.features
    return replace(each, role=plan.role, mask=plan.mask or each.mask, features=features)


def _name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.name.split(".")[0]).strip("_-")
    return name if name and not name[0].isdigit() else f"data_{name}".rstrip("_")


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file())
