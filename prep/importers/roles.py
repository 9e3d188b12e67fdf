"""What the columns of a source are, guessed from names, types, shapes and their first rows, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prep.blocks import Array
from prep.importers.columns import Column
from prep.importers.mapping import FieldMapping, field_name, fitting_roles
from prep.importers.names import is_group, is_time, role_of

# So many bytes of a column's first rows decide where its name does not.
_PEEKED = 1 << 16
# Of dates drawn at random half the steps go back.
_MOST_BACK = 0.25


@dataclass(frozen=True, slots=True)
class Assigned:
    """Roles of all columns as a mapping would state them; ``why`` gives the reason for each field by name.

    ``time`` and ``group`` name a field or are empty.
    """

    fields: tuple[FieldMapping, ...]
    why: Mapping[str, str]
    time: str
    group: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """A column by its field name, with what its first rows show."""

    name: str
    column: Column
    binary: bool
    counts_up: bool
    in_order: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.column.shape[1:]

    @property
    def single(self) -> bool:
        return self.shape in ((), (1,))

    @property
    def clock(self) -> bool:
        """Whether it may tell the time of the rows: times by name, or dates that mostly go on from row to row."""
        return self.single and (is_time(self.column.path) or (self.column.tells_time and self.in_order))

    def clock_order(self) -> tuple[bool, bool, bool]:
        """Which clock counts of several: dates in no order (of birth, say) last; a time says more than the number of
        its step.
        """
        unordered = self.column.tells_time and not self.in_order
        return unordered, not is_time(self.column.path), self.column.dtype.kind != "f"


def assign(columns: Sequence[Column], group: str, given: Mapping[str, str]) -> Assigned:
    """Roles of ``columns``; ``group`` is the path of the one that counts episodes, ``""`` for none.

    ``given`` are roles that the user states, by field; ``time`` is one of them here. `UsageError` for a field or a role
    that there is not, and for an id or a time that cannot be one.
    """
    seen = list(_seen(columns))
    stated = fitting_roles(given, {each.name: (each.column.dtype, each.shape) for each in seen})
    roles, why = {}, {}
    odd: dict[str, str] = {}
    for each in seen:
        role, reason = role_of(each.column.path, each.column.dtype, each.shape)
        if role == "mask" and not each.binary:
            role, reason = "", ""
            odd[each.name] = "named as a mask, but it holds other than 0 and 1"
        if each.column.tells_time and role != "id":
            role, reason = "aux", "stored as dates or times"
        if not role and each.counts_up:
            role, reason = "id", "integers that count up by one"
        if each.column.path == group:
            role, reason = "id", "counts the episodes"
        roles[each.name], why[each.name] = role, reason
        if each.name in stated:
            roles[each.name], why[each.name] = stated[each.name], "stated by you"
    masked = _masks(seen, roles, why)
    _rest(seen, roles, why)
    why |= {name: reason for name, reason in odd.items() if roles[name] == "aux" and name not in stated}
    times = sorted((each for each in seen if each.name not in stated and each.clock), key=_Seen.clock_order)
    time = next((name for name, role in given.items() if role == "time"), "") or next((each.name for each in times), "")
    ids = [each for each in seen if roles[each.name] == "id" and each.single and each.column.dtype.kind in "iu"]
    grouping = next((each.name for each in ids if each.column.path == group), "") or next(
        (each.name for each in ids if is_group(each.column.path) and not each.counts_up), ""
    )
    fields = []
    for each in seen:
        mask, dims = masked.get(each.name, ("", None))
        fields.append(FieldMapping(each.name, each.column.path, roles[each.name], mask=mask, dims=dims))
    return Assigned(tuple(fields), why, time, grouping)


def _seen(columns: Iterable[Column]) -> Iterable[_Seen]:
    names: set[str] = set()
    for column in columns:
        name = base = field_name(column.path)
        count = 1
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names.add(name)
        rows = _first(column)
        flat = rows.reshape(-1)
        single = column.shape[1:] in ((), (1,))
        counts_up = bool(
            single and rows.dtype.kind in "iu" and len(flat) > 2 and (np.diff(flat.astype(np.int64)) == 1).all()
        )
        binary = bool(((flat == 0) | (flat == 1)).all())
        with np.errstate(invalid="ignore"):
            back = np.diff(flat.astype(np.float64)) < 0 if single and column.tells_time else np.zeros(0, bool)
        yield _Seen(name, column, binary, counts_up, not back.any() or bool(back.mean() <= _MOST_BACK))


def _first(column: Column) -> Array:
    width = max(int(np.prod(column.shape[1:], dtype=np.int64)) * column.dtype.itemsize, 1)
    with column.reader() as read:
        return np.asarray(read(0, min(column.shape[0], max(_PEEKED // width, 1))))


def _masks(
    seen: Sequence[_Seen], roles: dict[str, str], why: dict[str, str]
) -> dict[str, tuple[str, tuple[str, ...] | None]]:
    """(mask, dims) of fields that are masked and of what masks them; a mask that fits nothing is none.

    A mask has the shape of its field or the first part of it (one truth value a time step). Names like
    ``<field>_mask`` are left to `prep.importers.specify`, which knows more of their shapes.
    """
    entries: dict[str, tuple[str, tuple[str, ...] | None]] = {}
    for mask in seen:
        told = roles[mask.name] == "mask"
        if not (told or (not roles[mask.name] and mask.binary and mask.shape)):
            continue
        stem = mask.name.removesuffix("_mask")
        if any(each.name in (stem, f"{stem}s") for each in seen if each is not mask):
            roles[mask.name] = "mask"
            why[mask.name] = why[mask.name] or f"zeros and ones beside {stem}"
            continue
        owners = [
            each
            for each in seen
            if each is not mask
            and not each.binary
            and roles[each.name] in ("input", "target", "")
            and mask.shape
            and each.shape[: len(mask.shape)] == mask.shape
            and each.name not in entries
        ]
        if not owners:
            if told and why[mask.name] != "stated by you":
                roles[mask.name], why[mask.name] = "aux", "named as a mask, but no field has its shape"
            continue
        shared = tuple(f"{mask.name}_{axis}" for axis in range(len(mask.shape)))
        roles[mask.name] = "mask"
        why[mask.name] = why[mask.name] or f"zeros and ones of the shape of {', '.join(each.name for each in owners)}"
        entries[mask.name] = ("", ("sample", *shared))
        for each in owners:
            own = tuple(f"{each.name}_{axis}" for axis in range(len(mask.shape), len(each.shape)))
            entries[each.name] = (mask.name, ("sample", *shared, *own))
    return entries


def _rest(seen: Sequence[_Seen], roles: dict[str, str], why: dict[str, str]) -> None:
    """Numbers that no name tells are inputs where nothing else is one; without a name they are never targets."""
    if "input" not in roles.values():
        for each in seen:
            if not roles[each.name] and each.column.dtype.kind in "iufc" and not is_time(each.column.path):
                roles[each.name], why[each.name] = "input", "no name says what it is; nothing else is an input"
    for each in seen:
        if not roles[each.name]:
            roles[each.name], why[each.name] = "aux", "no name says what it is"
