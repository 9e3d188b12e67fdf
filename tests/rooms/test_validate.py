"""What a file says of itself is compared: plan, transforms and statistics that do not fit schema and values fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.engine import DatasetSource
from prep.errors import CertificateError, DataError, Refusal, SchemaError
from prep.formats import create
from prep.report.outcomes import by_dataset
from prep.report.sections_checks import verdict
from prep.report.validation import document
from prep.schema import load_schema
from prep.verbs.rawdata import commit
from tests.conftest import dataset_of, make_project, working_in

Document = dict[str, Any]


def rewrite(path: Path, document: str, edit: Callable[[Document], None]) -> Path:
    """The same values with another document and an honest manifest, as a careless writer would leave them."""
    with DatasetSource.open(path) as source:
        spec = source.spec
        body = json.loads(spec.documents[document])
        edit(body)
        place = path.parent / "edited" / path.name
        place.parent.mkdir(exist_ok=True)
        with create(place, spec) as writer:
            for name, array in zip(spec.constants, source.constants()[0].values(), strict=True):
                writer.write_constant(name, array)
            for field in spec.fields:
                writer.write(field.name, np.array(source.reader.rows(field.name, 0, spec.rows)))
            documents = {**spec.documents, document: json.dumps(body)}
            commit(writer, place, replace(spec, documents=documents))
    return place


def failed(path: Path) -> set[tuple[str, str]]:
    (found,) = prep.validate(path)
    assert found.report is not None
    return {(each.check, each.field) for each in found.report.failed}


def edit_schema(name: str, old: str, new: str) -> None:
    place = Path(f"schemas/{name}.yaml")
    assert old in place.read_text()
    place.write_text(place.read_text().replace(old, new))


def scaled(field: str, key: str, factor: float) -> Callable[[Document], None]:
    def edit(body: Document) -> None:
        body[field]["params"][key] = (factor * np.asarray(body[field]["params"][key])).tolist()

    return edit


def test_data_normalised_by_another_plan_fail(certified_copy: Path):
    edit_schema("control", "transform: {name: standardize, group: system,", "transform: {name: standardize,")

    (found,) = prep.validate(dataset_of(certified_copy, "control"))

    assert found.report is not None
    plan = next(each for each in found.report.failed if each.check == "transform_plan")
    assert "another plan of transforms" in plan.finding.message
    assert "`prep stats` and `prep normalize`" in plan.finding.remedy
    with pytest.raises((DataError, Refusal), match="not certified"):
        prep.certify(dataset_of(certified_copy, "control"))


def test_another_policy_in_the_schema_is_another_plan(certified_copy: Path):
    edit_schema("regression", "constant: error", "constant: unit")

    assert failed(dataset_of(certified_copy, "regression")) >= {
        ("transform_plan", "provenance"),
        ("embedded_transforms", "targets"),
    }


@pytest.mark.parametrize("key", ["mean", "std"])
def test_parameters_that_do_not_undo_the_transform_fail(key: str, certified_copy: Path):
    path = rewrite(dataset_of(certified_copy, "regression"), "transforms", scaled("targets", key, 1e6))

    assert failed(path) == {("embedded_transforms", "targets")}


def test_parameters_and_raw_statistics_changed_together_fail_where_the_values_contradict(certified_copy: Path):
    def raw(body: Document) -> None:
        moments = body["raw"]["targets"]["moments"]
        moments["std"] = [2 * each for each in np.ravel(moments["std"]).tolist()]
        moments["std"] = np.reshape(moments["std"], moments["shape"]).tolist()

    path = rewrite(dataset_of(certified_copy, "regression"), "statistics", raw)
    path = rewrite(path, "transforms", scaled("targets", "std", 2.0))

    assert failed(path) == {("embedded_transforms", "targets")}


@pytest.mark.parametrize("name", ["regression", "covariance"])
def test_a_dataset_without_its_transforms_fails(name: str, certified_copy: Path):
    path = rewrite(dataset_of(certified_copy, name), "transforms", dict.clear)

    assert {check for check, _ in failed(path)} == {"embedded_transforms"}


@pytest.mark.parametrize(
    "edit",
    [
        scaled("covariance", "std", -1.0),
        scaled("covariance", "mean", float("nan")),
        lambda body: body["covariance"]["params"].update(loading=0.5),
        lambda body: body["covariance"]["params"].update(companion="elsewhere"),
        lambda body: body["covariance"].update(name="identity"),
        lambda body: body["covariance"].pop("params"),
        lambda body: body["covariance"]["field"].update(dtype="<c16"),
    ],
    ids=["negative", "nan", "loading", "companion", "name", "no parameters", "dtype"],
)
def test_a_transform_that_is_not_the_planned_one_fails(edit: Callable[[Document], None], certified_copy: Path):
    path = rewrite(dataset_of(certified_copy, "covariance"), "transforms", edit)

    assert failed(path) == {("embedded_transforms", "covariance")}


def test_a_transform_that_nobody_planned_fails(certified_copy: Path):
    def edit(body: Document) -> None:
        body["split"] = {**body["encoding"], "field": {**body["encoding"]["field"], "name": "split"}}

    path = rewrite(dataset_of(certified_copy, "control"), "transforms", edit)

    assert ("embedded_transforms", "split") in failed(path)


@pytest.mark.parametrize("key", ["q50", "count", "pivot", "stride"])
def test_quantiles_that_are_not_those_of_the_values_fail(key: str, certified_copy: Path):
    def edit(body: Document) -> None:
        found = body["normalized"]["inputs"]["quantiles"]
        found[key] = [7.0] if key == "pivot" else (np.asarray(found[key]) + 7).tolist()

    path = rewrite(dataset_of(certified_copy, "regression"), "statistics", edit)

    assert failed(path) == {("embedded_statistics", "inputs")}


def test_a_dataset_without_its_manifest_is_not_said_to_have_changed(certified_copy: Path):
    path = dataset_of(certified_copy, "regression")
    path.with_name(path.name + ".manifest").unlink()
    found = prep.validate(path)
    ((entry, rows),) = by_dataset(document(found, strict=False))
    assert found[0].exit_code() == 3
    assert (rows[0].check, rows[0].status, rows[0].examined) == ("stored_bytes", "error", 0)
    assert "manifest is missing" in rows[0].message
    assert rows[0].remedy.startswith(f"copy {path.name}.manifest beside")
    assert verdict(entry, rows)[1] == "Stored bytes not compared"


@contextmanager
def ingested(folder: Path, edit: Callable[[str], str] = str, **arrays: Any) -> Iterator[Path]:
    """A normalised dataset of these arrays, by the drafted schema as edited."""
    with working_in(make_project(folder)):
        np.savez("mine.npz", **arrays)
        prep.ingest("mine.npz", output="data/raw/mine.h5")
        schema = Path("schemas/mine.yaml")
        schema.write_text(edit(schema.read_text()))
        statistics = prep.stats("data/raw/mine.h5", output="data/stats/mine.json")
        yield Path(prep.normalize("data/raw/mine.h5", stats=statistics, output="data/normalized/mine.h5"))


def test_statistics_are_compared_on_the_scale_of_the_field_however_small(tmp_path: Path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 2)), rng.normal(size=(400, 1))

    def moved(body: Document) -> None:
        body["normalized"]["tiny"]["moments"].update(mean=[7e-7], std=[0.0])

    with ingested(tmp_path / "p", x=x, y=y, tiny=rng.normal(size=400) * 1e-9 + 5e-9) as path:
        assert failed(path) == set()
        assert failed(rewrite(path, "statistics", moved)) == {("embedded_statistics", "tiny")}


def test_integers_that_are_standardised_hold(tmp_path: Path):
    rng = np.random.default_rng(0)
    x = rng.integers(-100, 100, (400, 2)).astype(np.int16)

    with ingested(tmp_path / "p", str, x=x, y=x[:, :1] + rng.normal(size=(400, 1))) as path:
        assert failed(path) == set()
        wrong = rewrite(path, "transforms", lambda body: body["x"]["params"].update(policy="error"))
        assert failed(wrong) == {("embedded_transforms", "x")}


def forged(place: Path, edit: Callable[[Document], None]) -> Path:
    body = json.loads(place.read_text())
    edit(body["datasets"][0]["report"])
    place.write_text(json.dumps(body))
    return place


def drop_checks(report: Document) -> None:
    report["checks"] = report["checks"][:1]


def pass_all(report: Document) -> None:
    report.update(verdict="passed", checks_passed=len(report["checks"]))
    for each in report["checks"]:
        each["passed"] = True


@pytest.fixture
def written_report(certified_copy: Path) -> Path:
    place = certified_copy / "report.json"
    place.write_text(json.dumps(document(prep.validate(dataset_of(certified_copy, "regression")), strict=False)))
    return place


def test_a_report_left_as_it_is_certifies(certified_copy: Path, written_report: Path):
    done = prep.certify(dataset_of(certified_copy, "regression"), report=written_report)

    assert done.report.verdict == "passed"


@pytest.mark.parametrize(
    "edit",
    [
        drop_checks,
        lambda report: report["checks"][0].update(passed=False),
        lambda report: report["checks"][0].update(severity="warning"),
        lambda report: report.update(verdict="warnings"),
        lambda report: report.update(rows=1),
        lambda report: report.pop("checks"),
    ],
    ids=["dropped", "flipped", "severity", "verdict", "rows", "no checks"],
)
def test_an_edited_report_is_refused(edit: Callable[[Document], None], certified_copy: Path, written_report: Path):
    with pytest.raises(CertificateError, match="does not say what the data say") as caught:
        prep.certify(dataset_of(certified_copy, "regression"), report=forged(written_report, edit))
    assert "prep validate" in caught.value.remedy


def test_a_report_cannot_make_failing_data_pass(certified_copy: Path):
    path = dataset_of(certified_copy, "regression")
    edit_schema("regression", "var: targets, low: -10.0, high: 10.0", "var: targets, low: -0.5, high: 0.5")
    place = certified_copy / "report.json"
    place.write_text(json.dumps(document(prep.validate(path), strict=False)))

    with pytest.raises(DataError, match="in_bounds"):
        prep.certify(path, report=place)
    with pytest.raises(CertificateError, match="does not say what the data say"):
        prep.certify(path, report=forged(place, pass_all))
    with pytest.raises(DataError, match="in_bounds"):
        prep.certify(path, report=forged(place, lambda report: report.update(root="blake3:00")))


def test_padding_of_the_smallest_integer_is_found():
    from prep.checks.zero_padding import largest_padding

    for kind in (np.int8, np.int16, np.int32, np.int64):
        least = np.iinfo(kind).min
        found = largest_padding({"x": np.array([[5, least]], kind), "mask": np.array([[1, 0]], np.uint8)}, [2])
        assert found.tolist() == [-float(least)]


def original_bounds(low: float, high: float, field: str = "targets") -> None:
    edit_schema(
        "regression",
        "checks:\n",
        f"checks:\n- {{var: {field}.original, low: {low}, high: {high}, options: {{check_name: in_bounds}}}}\n",
    )


def test_a_check_may_look_at_original_units_of_normalised_and_of_raw_data(certified_copy: Path):
    path = dataset_of(certified_copy, "regression")
    raw = certified_copy / "data/raw/regression.h5"
    data = prep.open(path)
    original = data.transforms["targets"].invert(data.rows("targets", 0, data.spec.rows))
    low, high = float(original.min()), float(original.max())
    assert high > 1e7

    original_bounds(low * 1.001, high * 1.001)
    assert ("in_bounds", "targets.original") not in failed(path) | failed(raw)

    edit_schema("regression", f"high: {high * 1.001}", f"high: {high * 0.999}")
    assert ("in_bounds", "targets.original") in failed(path) & failed(raw)
    (found,) = prep.validate(path)
    assert found.report is not None
    (result,) = [each for each in found.report.failed if each.field == "targets.original"]
    assert result.finding.worst == pytest.approx(high * 0.001, rel=1e-9)  # how far beyond
    assert result.finding.samples[0] == int(np.argwhere(original.max(axis=1) > high * 0.999)[0, 0])


def test_the_original_of_a_field_that_is_not_there_is_refused_by_the_schema(certified_copy: Path):
    original_bounds(0.0, 1.0, "nothing")
    with pytest.raises(SchemaError, match=r"reads 'nothing.original', which is no field"):
        load_schema(Path("schemas/regression.yaml"))
