"""A dataset's description against its schema: every field there, with that dtype, dims, role, units and transform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prep.blocks import DatasetSpec, FieldSpec
from prep.checks import Finding
from prep.schema.plan import Schema

CHECK = "structure"
_REMEDIES = {
    "units": "convert the values, or correct the units where they are wrong: two units never meet in one loss",
    "transform": "run `prep normalize` on the raw dataset: each transform is applied exactly once",
    "transform state": "run `prep normalize` on the raw dataset: each transform is applied exactly once",
}
_REMEDY = "build the dataset again with the schema as it is now, or correct the schema"


def structure(schema: Schema, spec: DatasetSpec) -> tuple[tuple[str, str, Finding], ...]:
    """(check, field, finding) for each field of ``schema``, and for each of the dataset that the schema does not know.

    ``spec`` is what the stored dataset says about itself. ``examined`` counts the properties that were compared; a
    finding names every one that differs.
    """
    planned = schema.planned_spec()
    wanted = {field.name: field for field in (*planned.fields, *planned.constants)}
    found = {field.name: field for field in (*spec.fields, *spec.constants)}
    results = list(_rows(spec))
    for name, expected in wanted.items():
        if name in found:
            results.append((name, _compare(expected, found[name])))
        elif schema.variables[name].required:
            results.append((name, _missing(name, spec)))
    if schema.strict:
        results.extend((name, _unknown(name, schema)) for name in found if name not in wanted)
    return tuple((CHECK, name, finding) for name, finding in results)


def _rows(spec: DatasetSpec) -> Iterator[tuple[str, Finding]]:
    empty = [name for name, (start, stop) in spec.splits.items() if stop <= start]
    if spec.rows == 0 or "train" in empty or "train" not in spec.splits:
        counts = {name: stop - start for name, (start, stop) in spec.splits.items()}
        message = f"the dataset has no train samples ({counts})"
        yield "sample", _finding(False, 1, "1 train sample or more", message, "build it with a train split")


def _compare(expected: FieldSpec, found: FieldSpec) -> Finding:
    pairs = _properties(expected, found)
    wrong = [pair for pair in pairs if pair[1] != pair[2]]
    if not wrong:
        line = f"{found.dtype} {_shown(found.dims)} in {found.units}, {found.role}, {found.transform_state}"
        return _finding(True, len(pairs), "as the schema says", line, _REMEDY)
    told = (f"{name} is {_shown(measured)} where the schema says {_shown(wanted)}" for name, wanted, measured in wrong)
    limit = ", ".join(f"{name} {_shown(wanted)}" for name, wanted, _ in wrong)
    # Normalising a raw dataset changes its units too.
    raw = (found.transform_state, expected.transform_state) == ("raw", "normalized")
    names = ["transform state" if raw and name == "units" else name for name, _, _ in wrong]
    remedies = dict.fromkeys(_REMEDIES.get(name, _REMEDY) for name in names)
    return _finding(False, len(pairs), limit, f"{expected.name}: {'; '.join(told)}", "; ".join(remedies))


def _properties(expected: FieldSpec, found: FieldSpec) -> list[tuple[str, Any, Any]]:
    return [
        # numpy compares the byte order too
        ("dtype", expected.dtype, found.dtype),
        ("dims", expected.dims, found.dims),
        ("sizes", expected.shape, found.shape),
        ("role", expected.role, found.role),
        ("units", expected.units, found.units),
        ("mask", expected.mask, found.mask),
        ("features", expected.features, found.features),
        ("transform", expected.transform, found.transform),
        ("transform state", expected.transform_state, found.transform_state),
    ]


def _missing(name: str, spec: DatasetSpec) -> Finding:
    there = ", ".join(field.name for field in spec.fields)
    return _finding(False, 1, "the field exists", f"field {name} is missing; the dataset has {there}", _REMEDY)


def _unknown(name: str, schema: Schema) -> Finding:
    message = f"field {name} is in the dataset and not in the schema, so nothing checks it"
    return _finding(
        False, 1, f"the fields of schema {schema.name}", message, "declare it in the schema, or build without it"
    )


def _finding(passed: bool, compared: int, limit: str, message: str, remedy: str) -> Finding:
    return Finding(
        passed=passed, examined=compared, present=compared, worst=None, limit=limit, message=message, remedy=remedy
    )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(str, value))})"
    return str(value) or "none"
