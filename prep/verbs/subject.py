"""A field to look at: opened, verified where it is certified, with what it means and the values it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.engine import DatasetSource
from prep.errors import DataError, PrepError, UsageError, Where
from prep.formats import no_such_dataset
from prep.transforms.original import SUFFIX, Originals
from prep.verbs.inspect import certified_here
from prep.verbs.published import unreplaced
from prep.verbs.schemas import schema_for

_MODULUS = ".modulus"


@dataclass(frozen=True, slots=True)
class View:
    """One kind of values of a field: ``values`` (raw, normalised, original) and ``part`` (``""`` or ``modulus``), as
    the variable ``spec`` of the rows that `Values` gives, in ``units``.
    """

    values: str
    part: str
    spec: FieldSpec
    units: str


@dataclass(frozen=True, slots=True)
class Values:
    """Rows of a dataset with originals and, of complex fields, moduli in float64 beside them."""

    originals: Originals
    moduli: tuple[str, ...]

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All arrays of the same rows; `DataError` where a transform cannot be undone."""
        result = self.originals(arrays)
        for name in self.moduli:
            result[name + _MODULUS] = np.abs(result[name]).astype(np.float64, copy=False)
        return result


@dataclass(frozen=True, slots=True)
class Subject:
    """A field of an open dataset. ``field`` has mask and features as stored, or as the schema of raw data says them.

    ``groups`` are the integer fields with one value for each sample, the one that the transform knows first:
    ``scaled_by`` (``""`` for none). ``unread`` says why there are no original values, ``""`` where there are or need
    not be any.
    """

    path: Path
    source: DatasetSource
    field: FieldSpec
    originals: Originals
    groups: tuple[str, ...]
    scaled_by: str
    certified: bool
    certificate: str
    unread: str

    @property
    def spec(self) -> DatasetSpec:
        """The whole dataset."""
        return self.source.spec

    @property
    def mask(self) -> FieldSpec | None:
        """The field that says which values count."""
        return self.spec[self.field.mask] if self.field.mask else None

    def views(self) -> tuple[View, ...]:
        """The stored values, the original ones where transforms made them others, and moduli of both."""
        stored = "normalised" if self.field.transform_state == "normalized" else "raw"
        found = [View(stored, "", self.field, self.field.units)]
        for name, bound in self.originals.inverses.items():
            spec = replace(self.originals.spec[name + SUFFIX], mask=self.field.mask, features=self.field.features)
            found.append(View("original", "", spec, bound.field.units if bound else self.field.units))
        if self.field.dtype.kind == "c":
            found += [replace(each, part="modulus", spec=_modulus(each.spec)) for each in tuple(found)]
        return tuple(found)

    def values(self) -> Values:
        """What makes the variables of `views` of stored rows."""
        return Values(self.originals, tuple(view.spec.name for view in self.views() if view.spec.dtype.kind == "c"))

    def narrowed(self, *further: str) -> DatasetSource:
        """The source with nothing but the fields that `views` need, and ``further``."""
        wanted = {self.field.name, self.field.mask, *further}
        for bound in self.originals.inverses.values():
            wanted |= bound.reads if bound else set()
        spec = self.spec.with_fields(tuple(each for each in self.spec.fields if each.name in wanted))
        return replace(self.source, container=replace(self.source.container, spec=spec))

    def stored_only(self, why: str) -> Subject:
        """The same without original values."""
        return replace(self, originals=replace(self.originals, inverses={}), unread=why)


@contextmanager
def subject(
    dataset: str | Path,
    name: str,
    *,
    schema: str | Path | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
) -> Iterator[Subject]:
    """Open the field ``name`` of a dataset, certified or not; of one that is, every chunk read is verified.

    Raises `UsageError` for a path or a field that is not there or a field without samples, `IntegrityError` for bytes
    that cannot be opened, and whatever the schema raises where one is named.
    """
    path = Path(dataset)
    if not path.exists():
        raise no_such_dataset(path)
    certificate, admitted = certified_here(path, lock_path=lock_path, trust_path=trust_path)
    with unreplaced(path), DatasetSource.open(path, admitted.manifest.digests if admitted else None) as source:
        spec = source.spec
        field = demand_field(path, spec, name)
        group = ""
        if field.transform_state == "raw":
            field, group = _planned(spec, field, schema)
        originals, unread = Originals(spec, {}), ""
        if field.transform_state == "normalized":
            try:
                originals = Originals.bind(spec, [name + SUFFIX])
                bound = originals.inverses[name]
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                bound, originals, unread = (
                    None,
                    Originals(spec, {}),
                    f"the embedded transforms cannot be read: {error!r}",
                )
            if bound is None or bound.name == "identity":
                originals = Originals(spec, {})
                unread = unread or ("" if "transforms" in spec.documents else "no transforms are embedded")
            else:
                group = str(bound.params.get("group", ""))
        ids = [each.name for each in spec.fields if each.role == "id" and not each.shape and each.dtype.kind in "iu"]
        scaled_by = group if group in spec else ""
        groups = tuple(dict.fromkeys([*([scaled_by] if scaled_by else []), *ids]))
        yield Subject(path, source, field, originals, groups, scaled_by, admitted is not None, certificate, unread)


def demand_field(path: Path, spec: DatasetSpec, name: str) -> FieldSpec:
    """The field of that name; `UsageError` that lists the fields where there is none."""
    if name in spec:
        return spec[name]
    constant = name in spec.names
    raise UsageError(
        f"{name!r} is an array without samples" if constant else f"the dataset has no field {name!r}",
        where=Where(path=str(path), dataset=spec.name, field=name),
        measured="stored once for the whole dataset" if constant else name,
        allowed=", ".join(each.name for each in spec.fields),
        remedy="name one of its fields; `prep inspect DATASET` lists them with what they are",
    )


def demand_rows(subject: Subject, split: str) -> tuple[int, int]:
    """The rows of a split; `UsageError` where there is no such split, `DataError` where it is empty."""
    spec = subject.spec
    where = Where(path=str(subject.path), dataset=spec.name, field=subject.field.name, split=split)
    filled = [name for name, (start, stop) in spec.splits.items() if stop > start]
    if split not in spec.splits:
        raise UsageError(
            f"the dataset has no split {split!r}",
            where=where,
            measured=split,
            allowed=", ".join(spec.splits),
            remedy="name one of its splits with --split",
        )
    if split not in filled:
        raise DataError(
            "there are no samples to look at",
            where=where,
            measured="0 samples",
            allowed="1 or more",
            remedy=f"name a split that has some: {', '.join(filled)}" if filled else "build the dataset with samples",
        )
    return spec.splits[split]


def _planned(spec: DatasetSpec, field: FieldSpec, named: str | Path | None) -> tuple[FieldSpec, str]:
    """A raw field with mask and features as its schema declares them, and the group of its transform."""
    try:
        schema = schema_for(spec, named)
        plan = schema.fields.get(field.name)
        if plan is None:
            return field, ""
        entry = schema.transform_plan().get(field.name, {"options": {}})
        known = replace(field, mask=plan.mask or field.mask, features=tuple(plan.features) or field.features)
        return known, str(entry["options"].get("group", ""))
    except PrepError:
        if named:
            raise
        return field, ""


def _modulus(spec: FieldSpec) -> FieldSpec:
    return replace(spec, name=spec.name + _MODULUS, dtype=np.dtype(np.float64))
