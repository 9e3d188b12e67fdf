"""Equal-length columns of any container become fields, splits and bounded blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from prep.blocks import SPLITS, Array, row_ranges
from prep.errors import DataError, UsageError, Where
from prep.importers import Blocks, IngestOptions, Opened
from prep.importers.ahead import read_ahead
from prep.importers.columns import Column, Elsewhere, Source, read_step
from prep.importers.divide import divide
from prep.importers.mapping import FieldMapping, SourceMapping, field_name, parse_mapping
from prep.importers.names import is_group
from prep.importers.roles import assign
from prep.importers.specify import specify
from prep.importers.splitting import Splitter

READ_BYTES = 8 << 20


def open_columns(source: Source, options: IngestOptions) -> Opened:
    """Fields, splits and a way to read them, from columns of equal length and what the user says about them.

    Without a mapping every column but ``split`` becomes a field. Rows are divided by the source's split column, else by
    the group field, else one by one; inside a split they keep the order of the source.
    """
    mapping = parse_mapping(options.mapping) if options.mapping else _everything(source)
    chosen = [(wanted, source.find(wanted.path, f"fields.{wanted.name}")) for wanted in mapping.fields]
    split = source.find(mapping.split, "split") if mapping.split else None
    rows = _common_rows(source, [column for _, column in chosen] + ([split] if split else []))
    group = _group_name(mapping, options)
    if not options.mapping and all(column.dtype.kind in "biufc" for _, column in chosen):
        grouping = next((column.path for wanted, column in chosen if wanted.name == group), "")
        guessed = assign([column for _, column in chosen], grouping, options.roles).fields
        chosen = [(wanted, column) for wanted, (_, column) in zip(guessed, chosen, strict=True)]
    fields, warnings = specify(source.path, chosen, options.roles, group)
    by_name = {wanted.name: column for wanted, column in chosen}
    deciding = split or (by_name[group] if group else None)
    if not split and not group and (candidates := [spec.name for spec in fields if is_group(spec.name)]):
        warnings.append(
            f"rows are divided one by one although {candidates[0]!r} looks like a group: "
            f"name it as the group, or rows of one {candidates[0]} end up on both sides of a split"
        )
    step = read_step([column for _, column in chosen], sum(spec.row_bytes for spec in fields), READ_BYTES)
    splitter, how = divide(rows, options, split, by_name.get(group), Where(path=source.path), step=step)

    def read() -> Blocks:
        source.inputs.unchanged()
        columns = {spec.name: (by_name[spec.name], spec.dtype) for spec in fields}
        for code, name in enumerate(SPLITS):
            for arrays in _selected(columns, deciding, source.elsewhere, splitter=splitter, code=code, step=step):
                yield name, arrays
        source.inputs.unchanged()

    def blocks() -> Blocks:
        return read_ahead(read(), source.elsewhere.abandon) if source.elsewhere else read()

    if options.mapping and not mapping.split and any(column.path == "split" for column in source.columns):
        warnings.append("the source has a column 'split' that the mapping does not name; it was not used")
    notes = {
        "importer": source.importer,
        "inputs": source.inputs.notes(),
        "columns": {name: column.path for name, column in by_name.items()},
        "split": how,
        "left_out": list(source.left_out),
    }
    counts = dict(zip(SPLITS, splitter.counts, strict=True))
    return Opened(fields, counts, group, notes, (*source.warnings, *warnings), blocks)


def _everything(source: Source) -> SourceMapping:
    fields: dict[str, FieldMapping] = {}
    for column in source.columns:
        if column.path == "split":
            continue
        name = field_name(column.path)
        if name in fields:
            raise UsageError(
                "two arrays would get the same field name",
                where=Where(path=source.path, field=name),
                measured=f"{fields[name].path!r} and {column.path!r}",
                remedy="name the fields in a mapping file (--mapping mapping.yaml):\n" + source.draft(),
            )
        fields[name] = FieldMapping(name, column.path)
    if not fields:
        raise UsageError(
            "the source holds no arrays",
            where=Where(path=source.path),
            measured="0 arrays",
            allowed="at least one",
            remedy="check that this is the right source",
        )
    return SourceMapping(tuple(fields.values()), split="split" if len(fields) < len(source.columns) else "")


def _common_rows(source: Source, columns: Sequence[Column]) -> int:
    lengths = {column.shape[0] if column.shape else None for column in columns}
    if len(lengths) == 1 and (rows := lengths.pop()):
        return rows
    listed = ", ".join(f"{column.path} {column.shape}" for column in columns[:30])
    raise DataError(
        "the arrays do not have one row for each sample",
        where=Where(path=source.path),
        measured=listed,
        allowed="the same leading length, at least 1, in every array",
        remedy="take only arrays that belong together, with a mapping file (--mapping mapping.yaml):\n"
        + source.draft(),
    )


def _group_name(mapping: SourceMapping, options: IngestOptions) -> str:
    names = tuple(wanted.name for wanted in mapping.fields)
    if options.group and mapping.group and options.group != mapping.group:
        raise UsageError(
            "the group is named twice, differently",
            measured=f"{options.group!r} and, in the mapping, {mapping.group!r}",
            allowed="one name",
            remedy="name the group in one place",
        )
    group = options.group or mapping.group
    if group and group not in names:
        raise UsageError(
            f"there is no field {group!r} to group by",
            where=Where(field=group),
            allowed=", ".join(names),
            remedy="name one of the fields",
        )
    return group


def _selected(
    columns: Mapping[str, tuple[Column, np.dtype[Any]]],
    deciding: Column | None,
    elsewhere: Elsewhere | None,
    *,
    splitter: Splitter,
    code: int,
    step: int,
) -> Iterator[dict[str, Array]]:
    """One pass over the source that keeps the rows of one split."""
    rows = sum(splitter.counts)
    chosen = [column for column, _ in columns.values()]
    with ExitStack() as stack:
        decide = stack.enter_context(deciding.reader()) if deciding else None
        readers = [] if elsewhere else [stack.enter_context(column.reader()) for column in chosen]
        for start, stop in row_ranges(rows, step):
            values = decide(start, stop) if decide else None
            keep = np.flatnonzero(splitter.codes(start, stop, values) == code)
            if len(keep) == 0:
                continue
            some = keep if len(keep) < stop - start else None
            if elsewhere:
                parts = elsewhere.rows(chosen, start, stop, some)
            else:
                parts = [read(start, stop) if some is None else read(start, stop)[some] for read in readers]
            yield {
                name: np.ascontiguousarray(part, dtype=dtype)
                for (name, (_, dtype)), part in zip(columns.items(), parts, strict=True)
            }
