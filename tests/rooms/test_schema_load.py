"""The strict loader: nothing in a schema is skipped, and each mistake is one error with file, line and key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from prep.errors import PrepError, Refusal, SchemaError
from prep.schema import Schema, load_schema
from tests.conftest import ROOT, SYSTEMS

GOOD = """\
schema_type: dataset
version: 0.35.0
title: demo
strict: true
sizes: {feature: 3, unit: 2}
data_vars:
  x: {dtype: float32, dims: [sample, feature]}
  y: {dtype: float32, dims: [sample, unit]}
  m: {dtype: uint8, dims: [sample, feature]}
  run: {dtype: int32, dims: [sample]}
  split: {dtype: uint8, dims: [sample]}
checks:
- {var: split, options: {check_name: split_flags}}
- {var: x, options: {check_name: finite}}
- {var: y, options: {check_name: finite}}
- {var: x, low: -9.0, high: 9.0, options: {check_name: in_bounds, raise_warning: true}}
- {var: "y", options: {check_name: binary}}
prep:
  dataset: demo
  loss: {name: mse, target: y}
  learnability: {y: {floor: 1.0, why: a demonstration}}
  fields:
    x: {role: input, mask: m, features: [feature], transform: {name: standardize, group: run}}
    y: {role: target, units: N m, transform: {name: identity}}
    m: {role: mask}
    run: {role: id}
    split: {role: split}
"""


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def errors_of(folder: Path, text: str | bytes) -> Sequence[PrepError]:
    path = folder / "demo.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((SchemaError, Refusal)) as caught:
        load_schema(path, verify=False)
    assert caught.value.exit_code == 2
    return caught.value.errors if isinstance(caught.value, Refusal) else (caught.value,)


def loaded(text: str) -> Schema:
    return load_schema(text, name="demo", verify=False)


def test_a_schema_says_what_it_says(tmp_path: Path):
    path = tmp_path / "demo.yaml"
    path.write_text(GOOD)
    schema = load_schema(path)

    assert (schema.name, schema.text, schema.path, schema.strict) == ("demo", GOOD, str(path), True)
    assert list(schema.variables) == list(schema.fields) == ["x", "y", "m", "run", "split"]
    assert (schema.variables["x"].dtype.str, schema.variables["x"].dims) == ("<f4", ("sample", "feature"))
    assert (schema.fields["x"].transform, schema.fields["x"].options) == ("standardize", {"group": "run"})
    assert (schema.fields["y"].units, schema.fields["m"].role) == ("N m", "mask")
    assert [(plan.name, plan.severity, plan.line) for plan in schema.checks] == [
        ("split_flags", "error", 13),
        ("finite", "error", 14),
        ("finite", "error", 15),
        ("in_bounds", "warning", 16),
        ("binary", "error", 17),
    ]
    assert schema.checks[3].statistics == {"var": "x", "low": -9.0, "high": 9.0}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_schemas_of_the_project_load_and_come_back_from_pandera(name: str):
    assert load_schema(ROOT / f"schemas/{name}.yaml").name == name


CASES = [
    # (replaced, by, line of, key, what is said)
    ("title: demo", "title: demo\ntitel: demo", "titel:", "titel", "unknown key 'titel'"),
    ("title: demo", "title: demo\ncoords: {}", "coords:", "coords", "unknown key 'coords'"),
    ("dtype: int32,", "dtype: int32, nullable: true,", "  run: {dtype", "data_vars.run.nullable", "'nullable'"),
    ("units: N m", "unit: N m", "unit: N m", "prep.fields.y.unit", "did you mean 'units'?"),
    ("target: y}", "target: y, weight: 1}", "weight", "prep.loss.weight", "unknown key 'weight'"),
    (
        "{check_name: in_bounds,",
        "{check_name: in_bounds, ignore_na: true,",
        "ignore_na",
        "checks.3.options.ignore_na",
        "'ignore_na'",
    ),
    ("title: demo", "title: demo\ntitle: other", "title: other", "", "duplicate key 'title'"),
    ("  run: {dtype", "  x: {dtype", "  x: {dtype: int32", "", "duplicate key 'x'"),
    ("role: input,", "role: input, role: aux,", "role: aux", "", "duplicate key 'role'"),
    ("x, low: -9.0", "x, low: -1.0, low: -9.0", "low: -1.0", "", "duplicate key 'low'"),
    ("check_name: in_bounds", "check_name: in_bound", "in_bound,", "checks.3.options.check_name", "did you mean"),
    ("check_name: in_bounds", "check_name: isnull", "isnull", "checks.3.options.check_name", "no check 'isnull'"),
    ("low: -9.0", "lower: -9.0", "lower", "checks.3.lower", "unknown key 'lower'"),
    ("low: -9.0, ", "", "high: 9.0", "checks.3", "lacks 'low'"),
    ("low: -9.0", "low: small", "low: small", "checks.3.low", "wrong type"),
    ("low: -9.0", "low: -.inf", "low: -.inf", "checks.3.low", "finite numbers only"),
    ("low: -9.0", "low: .nan", "low: .nan", "checks.3.low", "finite numbers only"),
    ("high: 9.0", f"high: 1{'0' * 400}", "x, low: -9.0", "checks.3", "makes no sense"),
    ("low: -9.0", f"low: -1{'0' * 400}", "x, low: -1", "checks.3", "a bound is beyond float64"),
    ("low: -9.0", "low: 9.5", "x, low: 9.5", "checks.3", "low 9.5 > high 9"),
    ("raise_warning: true", "raise_warning: !!bool maybe", "raise_warning", "", "tags are not allowed"),
    ("raise_warning: true", "raise_warning: yes", "raise_warning", "checks.3.options.raise_warning", "wrong type"),
    ("sizes: {feature: 3, unit: 2}\n", "", "schema_type", "the schema", "lacks 'sizes'"),
    ("  dataset: demo\n", "", "prep:", "prep", "lacks 'dataset'"),
    ("strict: true\n", "", "schema_type", "the schema", "lacks 'strict'"),
    ("feature: 3", "feature: 0", "feature: 0", "sizes.feature", "out of range"),
    ("feature: 3", "feature: 3.5", "feature: 3.5", "sizes.feature", "wrong type"),
    ("dtype: int32", "dtype: int33", "int33", "data_vars.run.dtype", "did you mean 'int32'?"),
    ("dtype: int32", "dtype: object", "object", "data_vars.run.dtype", "does not exist"),
    ("role: input", "role: inputs", "role: inputs", "prep.fields.x.role", "did you mean 'input'?"),
    ("schema_type: dataset", "schema_type: data_array", "data_array", "schema_type", "does not exist"),
    ("name: mse", "name: mae", "name: mae", "prep.loss.name", "mse, masked_mse, nmse"),
    # What the parts say about each other.
    ("    run: {role: id}\n", "", "  run: {dtype", "data_vars.run", "stands in data_vars and not in prep.fields"),
    ("  run: {dtype: int32, dims: [sample]}\n", "", "run: {role", "prep.fields.run", "in prep.fields and not in"),
    ("dims: [sample, unit]", "dims: [unit, sample]", "  y: {dtype", "data_vars.y", "first dimension of 'y'"),
    ("unit: 2}", "units: 2}", "  y: {dtype", "data_vars.y", "'unit' of 'y' has no size"),
    ("unit: 2}", "unit: 2, more: 4}", "more: 4", "sizes.more", "no variable has the dimension 'more'"),
    ("mask: m,", "mask: run,", "role: input", "prep.fields.x", "'run' cannot be the mask of 'x'"),
    ("[feature], transform", "[unit], transform", "role: input", "prep.fields.x", "'unit' is no dimension of 'x'"),
    ("group: run", "group: m", "group: m", "prep.fields.x.transform.group", "'m' is no group of samples"),
    ("group: run", "groups: run", "groups: run", "prep.fields.x.transform", "no option 'groups'"),
    ("name: identity", "name: zscore", "name: zscore", "prep.fields.y.transform.name", "no transform 'zscore'"),
    ('- {var: "y", options: {check_name: binary}}\n', "", "  y: {dtype", "data_vars.y", "nothing limits it"),
    (", transform: {name: identity}", "", "role: target", "prep.fields.y", "states no transform"),
    ("m: {role: mask}", "m: {role: mask, transform: {name: standardize}}", "role: mask", "transform", "never scaled"),
    ("m: {role: mask}", "m: {role: mask, companion_of: y}", "role: mask", "prep.fields.m", "cannot be a companion"),
    ("split: {role: split}", "split: {role: id}", "  fields:", "prep.fields", "exactly one split flag"),
    ("target: y}", "target: x}", "target: x}", "prep.loss.target", "which is no target"),
    ("name: mse", "name: masked_mse", "masked_mse", "prep.loss", "counts other entries"),
    ("- {var: y,", "- {var: z,", "- {var: z", "checks.2", "reads 'z', which is no field"),
    ("- {var: y,", "- {var: x,", "- {var: x, options: {check_name: finite}}\n- {var: x, low", "checks.2", "twice"),
    ("- {var: y, options: {check_name: finite}}\n", "", "  y: {dtype", "data_vars.y", "that 'y' is finite"),
    (
        "{check_name: finite}}\n- {var: x, low",
        "{check_name: finite, raise_warning: true}}\n- {var: x, low",
        "  y: {dtype",
        "data_vars.y",
        "not as a warning",
    ),
    ("- {var: split, options: {check_name: split_flags}}\n", "", "checks:", "checks", "split flags"),
    ("check_name: in_bounds", "check_name: hermitian", "hermitian", "checks.3.low", "unknown key 'low'"),
    (
        "{var: y, options: {check_name: finite}}",
        "{var: y, tolerance: 1.0e-6, options: {check_name: hermitian}}",
        "hermitian",
        "checks.2",
        "makes no sense",
    ),
]


@pytest.mark.parametrize(("old", "new", "at", "key", "said"), CASES)
def test_a_mistake_is_one_clear_error_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, at: str, key: str, said: str
):
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)

    errors = [error for error in errors_of(tmp_path, text) if said in str(error)]

    assert len(errors) == 1, errors
    (error,) = errors
    assert error.where.path == str(tmp_path / "demo.yaml")
    assert error.where.line == line_of(text, at), error
    assert error.where.key.endswith(key) if key else error.where.key == ""
    assert error.remedy


@pytest.mark.parametrize(
    "section", ["schema_type", "version", "title", "strict", "sizes", "data_vars", "checks", "prep"]
)
def test_a_missing_section_is_named(tmp_path: Path, section: str):
    lines = GOOD.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{section}:"))
    stop = next((n for n in range(start + 1, len(lines)) if lines[n][0] not in " -"), len(lines))

    (error,) = errors_of(tmp_path, "".join(lines[:start] + lines[stop:]))

    assert error.what == f"the schema lacks {section!r}"


def test_several_mistakes_are_all_told_at_once(tmp_path: Path):
    text = GOOD.replace("units: N m", "unit: N m").replace("dtype: int32", "dtype: int33").replace("title:", "titel:")

    errors = errors_of(tmp_path, text)

    assert {error.where.line for error in errors} == {1, line_of(text, "titel"), 10, line_of(text, "unit: N m")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "a schema is a mapping"),
        (b"- 1\n", "a schema is a mapping"),
        (b"hello\n", "a schema is a mapping"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"#" * (4 << 20) + b"\n", "larger than 4 MiB"),
        (b"title: [1\n", "not strict YAML"),
        (b"title: &a x\nversion: *a\n", "aliases are not allowed"),
        (b"title: &a x\n", "anchors and aliases are not allowed"),
        (b"title: !!python/name:os.system x\n", "tags are not allowed"),
    ],
)
def test_a_file_that_is_no_schema_at_all_is_refused(tmp_path: Path, content: bytes, said: str):
    (error,) = errors_of(tmp_path, content)

    assert said in str(error)
    assert error.where.path == str(tmp_path / "demo.yaml")
    assert isinstance(error, SchemaError)


def test_a_schema_that_cannot_be_read_is_a_schema_error(tmp_path: Path):
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(SchemaError, match="cannot be read") as caught:
            load_schema(path)
        assert caught.value.where.path == str(path)


def test_leaving_an_option_out_is_the_same_plan_as_writing_its_default():
    written = GOOD.replace("group: run}", "group: run, constant: error}")
    other = GOOD.replace("group: run}", "group: run, constant: unit}")
    matrix = GOOD.replace("[sample, unit]", "[sample, unit, unit_]").replace("unit: 2}", "unit: 2, unit_: 2}")
    traces = [
        matrix.replace("{name: identity}", f"{{name: trace_n{options}}}")
        for options in ("", ", loading: 0", ", loading: 0.0, asymmetry: 1.0e-3", ", loading: 0.1")
    ]

    assert loaded(written).transform_digest() == loaded(GOOD).transform_digest()
    assert loaded(written).transform_plan() == loaded(GOOD).transform_plan()
    assert loaded(other).transform_digest() != loaded(GOOD).transform_digest()
    assert len({loaded(text).transform_digest() for text in traces[:3]}) == 1
    assert loaded(traces[3]).transform_digest() != loaded(traces[0]).transform_digest()


def test_comments_and_order_of_checks_do_not_change_the_plan_of_transforms_but_the_digest_of_the_schema():
    commented = "# mine\n" + GOOD

    assert loaded(commented).transform_digest() == loaded(GOOD).transform_digest()
    assert loaded(commented).digest != loaded(GOOD).digest
