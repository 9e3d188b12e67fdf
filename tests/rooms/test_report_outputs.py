"""What `prep validate` writes for machines: one document, and JUnit, SARIF and GitHub's commands that say the same."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import sarif_pydantic
import yaml

import prep
from prep.checks import CHECKS, Finding
from prep.errors import DataError, IntegrityError, Refusal, Where
from prep.report import CheckResult, Report
from prep.report.github import append_summary, commands, summary
from prep.report.junit import junit
from prep.report.outcomes import CAUSES, outcomes
from prep.report.sarif import sarif
from prep.report.text import lines
from prep.report.validation import Validation, document
from prep.verbs.validate import find_datasets
from tests.conftest import dataset_of

DIGEST = "blake3:" + "ab" * 32
WITHOUT_PLAN = ("stored_bytes", "structure", "transform_plan", "embedded_transforms", "embedded_statistics")
PLACES = ("4, 9, … (train, val)", "below 3")
NASTY = "a|b <script> *x* `y`\n\x1b[2J 100 %, a:b"


def result(check: str, *, passed: bool = False, line: int = 7, **about: Any) -> CheckResult:
    finding = Finding(
        passed=passed,
        examined=1000,
        present=1000,
        worst=about.pop("worst", 3.25),
        limit="below 3",
        message=about.pop("message", f"{check} was measured"),
        remedy="mend it",
        failing=0 if passed else 12,
        samples=() if passed else (4, 9),
        splits=() if passed else ("train", "val"),
        worst_sample=4,
    )
    return CheckResult(check, about.pop("field", "inputs"), finding, line=line, **about)


def report(*results: CheckResult) -> Report:
    return Report(
        dataset="demo",
        version="1.0.0",
        root=DIGEST,
        schema_digest=DIGEST,
        registry_digest=DIGEST,
        rows=1000,
        values=8000,
        results=results,
        schema_path="schemas/demo.yaml",
    )


def mixed(*, strict: bool = False) -> dict[str, Any]:
    """A dataset with one of everything, and two that could not be examined."""
    refused = Refusal(
        [
            IntegrityError(
                "a chunk is gone", where=Where(path="data/b.h5", field="x"), measured="no", remedy="restore"
            ),
            DataError("it is not normalised", where=Where(path="data/b.h5"), allowed="yes", remedy="normalise"),
        ]
    )
    schema = IntegrityError("the schema is wrong", where=Where(path="schemas/c.yaml", line=3), remedy="mend line 3")
    return document(
        [
            Validation(
                Path("data/demo.h5"),
                report(
                    result("finite", passed=True),
                    result("outliers", severity="warning", line=11),
                    result("standardised", line=9, worst=float("inf"), message=NASTY),
                    result("stored_bytes", field="manifest", kind="integrity", line=0),
                ),
            ),
            Validation(Path("data/b.h5"), None, refused),
            Validation(Path("data/c.h5"), None, schema),
        ],
        strict=strict,
    )


def demand_schema(found: dict[str, Any]) -> None:
    text = files("prep.report").joinpath("validation.schema.json").read_text()
    jsonschema.Draft202012Validator(json.loads(text)).validate(json.loads(json.dumps(found, allow_nan=False)))


def test_the_document_keeps_its_schema():
    demand_schema(mixed())


def test_what_is_to_be_mended_first_comes_first():
    rows = list(outcomes(mixed()))
    assert [(row.check, row.status) for row in rows[:4]] == [
        ("stored_bytes", "error"),
        ("standardised", "failed"),
        ("outliers", "warning"),
        ("finite", "passed"),
    ]
    assert [(row.place, row.line) for row in rows] == [
        ("data/demo.h5", 0),
        ("schemas/demo.yaml", 9),
        ("schemas/demo.yaml", 11),
        ("schemas/demo.yaml", 7),
        ("data/b.h5", 0),
        ("data/b.h5", 0),
        ("schemas/c.yaml", 3),
    ]
    assert {row.check: row.status for row in outcomes(mixed(strict=True))}["outliers"] == "failed"


def test_datasets_are_in_one_order_in_every_output():
    names = {"good": True, "bad": False}
    found = [Validation(Path(f"{name}.h5"), report(result("finite", passed=good))) for name, good in names.items()]
    told = document([*found, Validation(Path("gone.h5"), None, DataError("no", remedy="mend"))], strict=False)
    ranked = ["gone.h5", "bad.h5", "good.h5"]
    suites = [suite.attrib["name"] for suite in ElementTree.fromstring(junit(told))]
    texts = "\n".join(text for _, text in lines(told))
    assert [each["path"] for each in told["datasets"]] == ranked == suites
    for text in (summary(told), texts):
        assert re.findall(r"^(?:\| )?(\w+\.h5)(?:\: | \|)", text, re.MULTILINE) == ranked


def test_causes_come_before_what_follows_from_them():
    names = ("learnability", "in_bounds", "standardised", "my_own_check", "finite", "transform_plan", "structure")
    found = document([Validation(Path("a.h5"), report(*map(result, names)))], strict=False)
    assert [row.check for row in outcomes(found)] == [
        *("structure", "transform_plan", "finite", "standardised", "my_own_check", "in_bounds", "learnability")
    ]
    assert {name for names in CAUSES for name in names} <= {*CHECKS, *WITHOUT_PLAN}


def test_each_check_and_field_has_a_line_with_its_numbers():
    told = [text for _, text in lines(mixed(), verbose=True)]
    row = next(line for line in told if line.startswith("  FAIL"))
    assert re.split("  +", row) == ["", "FAIL", *("standardised", "inputs", "1,000", "12", "inf"), *PLACES]
    passed = next(line for line in told if line.startswith("  ok"))
    assert re.split("  +", passed) == ["", "ok", "finite", "inputs", "1,000", "3.25", "below 3"]
    assert not any(each in "".join(told) for each in ("\n", "\x1b"))


@pytest.mark.parametrize(
    ("width", "cells"),
    [
        (120, ("near_unique_rows", "1,000", "12", "3.25", *PLACES)),
        (80, ("near_unique_rows", "1,000", "12", "3.25", "4, 9, …", "below 3")),
        (64, ("near_unique_rows", "12", "3.25", "4, 9, …")),
        (56, ("near_uniqu…", "12", "3.25", "4, …")),
    ],
)
def test_the_first_failing_samples_are_seen_at_any_width(width: int, cells: tuple[str, ...]):
    many = report(*[result("near_unique_rows", field="covariance") for _ in range(2)])
    told = lines(document([Validation(Path("a.h5"), many)], strict=False), width=width, height=30)
    row = [text for _, text in told if text.startswith("  FAIL")][-1]
    assert [each for each in re.split("  +", row)[2:] if each != "covariance"] == [*cells]


@pytest.mark.parametrize(("datasets", "failing"), [(1, 0), (1, 40), (30, 0), (30, 3), (200, 150)])
@pytest.mark.parametrize(("width", "height"), [(80, 22), (40, 22), (160, 46)])
def test_what_is_found_fits_a_screen_and_starts_with_what_to_mend_first(
    datasets: int, failing: int, width: int, height: int
):
    bad = [result(f"check_{place}", message="word " * 40) for place in range(20)]
    found = [
        Validation(Path(f"data/a{place}.h5"), report(result("finite", passed=True), *(bad if place < failing else [])))
        for place in range(datasets)
    ]
    told = lines(document(found, strict=False), width=width, height=height)
    texts = [text for _, text in told]
    assert len(texts) <= height
    assert max(map(len, texts)) <= width
    if failing:
        assert any("check_0" in text for text in texts)
        assert any("remedy:   mend it" in text for text in texts)
        assert "-v shows everything" in texts[-1]
        assert told[0][0] == "verdict-bad"
    elif datasets > 1:
        assert "30 of 30 datasets passed" in texts[-2:]


def test_every_failure_is_told_where_there_is_no_screen():
    bad = [result(f"check_{place}") for place in range(60)]
    texts = [text for _, text in lines(document([Validation(Path("a.h5"), report(*bad))], strict=False))]
    assert sum(text.startswith("  FAIL") for text in texts) == 60


def test_junit_has_a_case_for_each_check_and_field_and_keeps_errors_and_failures_apart():
    root = ElementTree.fromstring(junit(mixed()))
    assert root.attrib | {"name": ""} == {"name": "", "tests": "7", "failures": "1", "errors": "4"}
    suite = root[0]
    assert [suite.attrib[name] for name in ("name", "tests", "failures", "errors")] == ["data/demo.h5", "4", "1", "1"]
    cases = {case.attrib["name"]: case for case in root.iter("testcase")}
    assert all(set(case.attrib) == {"classname", "name"} for case in cases.values()), "others are in no schema"
    failure, error = cases["standardised [inputs]"].find("failure"), cases["stored_bytes [manifest]"].find("error")
    assert failure is not None
    assert error is not None
    assert "samples 4, 9 and 10 more (split train, val)" in str(failure.text)
    assert str(failure.text).endswith("at: schemas/demo.yaml:9")
    assert "\x1b" not in str(failure.text)
    assert "worst 3.25 at sample 4, 1,000 values examined" in str(cases["finite [inputs]"].findtext("system-out"))
    assert str(cases["outliers [inputs]"].findtext("system-out")).startswith("warning: ")


def test_no_two_cases_of_a_junit_file_have_one_name():
    """Of two, GitLab reads the first only."""
    twice = report(result("held_out", passed=True), result("held_out"), result("held_out", severity="warning"))
    found = document([Validation(Path(path), twice) for path in ("a/demo.h5", "b/demo.h5")], strict=False)
    cases = [
        (case.attrib["classname"], case.attrib["name"])
        for case in ElementTree.fromstring(junit(found)).iter("testcase")
    ]
    assert cases[:3] == [("demo (a/demo.h5)", f"held_out [inputs]{nth}") for nth in (" 2", " 3", "")]
    assert len(set(cases)) == len(cases) == 6
    prints = [str(each["partialFingerprints"]) for each in json.loads(sarif(found))["runs"][0]["results"][:2]]
    assert prints[0] != prints[1]


def test_checks_that_differ_by_their_split_are_told_apart_in_every_output(certified_copy: Path):
    found = prep.validate(dataset_of(certified_copy, "regression"))
    shown = document(found, strict=False)
    demand_schema(shown)
    names = [f"{row.check} [{row.field}]" for row in outcomes(shown)]
    assert {"held_out [inputs (val)]", "held_out [inputs (test)]", "learnability [targets (test)]"} <= set(names)
    assert "standardised [inputs]" in names
    assert [case.attrib["name"] for case in ElementTree.fromstring(junit(shown)).iter("testcase")] == names
    known = prep.validate(dataset_of(certified_copy, "regression"), changed_only=True)
    assert document(known, strict=False)["datasets"][0]["variants"] == shown["datasets"][0]["variants"]


def test_a_raw_dataset_has_one_finding_for_its_structure_and_is_to_be_normalised(certified_copy: Path):
    (found,) = prep.validate(certified_copy / "data/raw/peptide.h5", schema="schemas/peptide.yaml")
    assert found.report is not None
    rows = [each for each in found.report.results if (each.check, each.field) == ("structure", "positions")]
    assert len(rows) == 1
    assert all(word in rows[0].finding.message for word in ("units", "transform is", "transform state"))
    assert rows[0].finding.remedy.startswith("run `prep normalize`")


def test_schemas_without_data_are_counted_apart_from_datasets():
    passed = Validation(Path("a.h5"), report(result("finite", passed=True)))
    schemas = [Validation(Path(f"{name}.yaml"), None, note="it loads") for name in "bc"]
    found = document([passed, *schemas], strict=False)
    assert lines(found)[-1] == ("verdict-good", "1 of 1 dataset passed, 2 of 2 schemas load")
    assert "1 of 1 dataset passed, 2 of 2 schemas load; checks: 1," in summary(found)
    assert summary(found).count("✅ passed") == 1


def test_sarif_points_at_the_line_of_the_schema_and_holds_no_alert_for_what_passed():
    text = sarif(mixed())
    sarif_pydantic.Sarif.model_validate_json(text)
    (run,) = json.loads(text)["runs"]
    results = {each["ruleId"]: each for each in run["results"]}
    assert "finite" not in results
    place = results["standardised"]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "schemas/demo.yaml", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 9}
    assert [results[name]["level"] for name in ("standardised", "outliers", "stored_bytes")] == [
        "error",
        "warning",
        "error",
    ]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(dict.fromkeys(results))
    (invocation,) = run["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 3)
    again = json.loads(sarif(mixed()))["runs"][0]["results"]
    assert [each["partialFingerprints"] for each in again] == [each["partialFingerprints"] for each in run["results"]]


def test_alerts_of_two_files_with_one_dataset_name_are_two():
    found = document([Validation(Path(f"{part}/a.h5"), report(result("finite"))) for part in ("x", "y")], strict=False)
    told = [each["partialFingerprints"] for each in json.loads(sarif(found))["runs"][0]["results"]]
    assert told[0] != told[1]


def test_a_place_outside_of_the_working_folder_is_a_whole_address(tmp_path: Path):
    found = document([Validation(tmp_path / "x y.h5", None, DataError("wrong", remedy="mend"))], strict=False)
    (each,) = json.loads(sarif(found))["runs"][0]["results"]
    location = each["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": (tmp_path / "x y.h5").as_uri()}


def test_places_are_relative_to_the_checkout_of_the_ci_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "part").mkdir()
    monkeypatch.chdir(tmp_path / "part")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert any(line.startswith("::error file=part/schemas/demo.yaml,line=9,") for line in commands(mixed()))
    (run,) = json.loads(sarif(mixed()))["runs"]
    assert run["originalUriBaseIds"]["%SRCROOT%"]["uri"] == tmp_path.as_uri() + "/"
    uris = [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in run["results"]]
    assert "part/schemas/demo.yaml" in uris


def test_annotations_are_one_line_each_and_no_text_of_strangers_is_a_command():
    lines = commands(mixed())
    assert all(line.startswith(("::error ", "::warning ")) and line.isprintable() for line in lines)
    (line,) = [each for each in lines if "standardised" in each]
    assert line.startswith("::error file=schemas/demo.yaml,line=9,title=demo%3A standardised on inputs::a|b")
    assert "100 %25, a:b" in line


def test_githubs_limits_are_kept_and_what_goes_beyond_is_counted():
    many = [result(f"check_{place}", line=place + 1) for place in range(30)]
    mild = [result(f"mild_{place}", severity="warning") for place in range(10)]
    lines = commands(document([Validation(Path("a.h5"), report(*many, *mild))], strict=False))
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == 10
    assert "21 more" in errors[-1]
    assert len(lines) == 20

    huge = [result(f"check_{place}", message="m" * 20000) for place in range(100)]
    text = summary(document([Validation(Path("a.h5"), report(*huge))], strict=False))
    assert len(text.encode()) <= 1 << 20
    assert "more are in the log" in text


def test_the_summary_of_the_step_is_a_table_in_which_text_stays_text(tmp_path: Path):
    place = tmp_path / "summary.md"
    place.write_text("before\n")
    assert append_summary(mixed(), {"GITHUB_STEP_SUMMARY": str(place)})
    assert not append_summary(mixed(), {})
    text = place.read_text()
    assert text.startswith("before\n## prep validate")
    row = next(line for line in text.splitlines() if "standardised" in line)
    assert row.count("|") == 9
    assert "<script>" not in row
    assert "| data/demo.h5 | ❌ not examined or changed | 1 of 4 | 1,000 |" in text


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prep", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_one_run_writes_every_output_also_where_data_fail(certified_copy: Path):
    schema = certified_copy / "schemas/regression.yaml"
    text = schema.read_text().replace("var: targets, low: -10.0, high: 10.0", "var: targets, low: -0.5, high: 0.5")
    schema.write_text(text)
    line = next(place for place, each in enumerate(text.splitlines(), 1) if "low: -0.5" in each)
    path = dataset_of(certified_copy, "regression").relative_to(certified_copy)
    options = ["--json", "v.json", "--junit", "j.xml", "--sarif", "s.sarif", "--github"]

    done = run("validate", str(path), *options, cwd=certified_copy)

    assert done.returncode == 1
    found = json.loads((certified_copy / "v.json").read_text())
    demand_schema(found)
    assert found == document(prep.validate(path), strict=False)
    (failure,) = ElementTree.parse(certified_copy / "j.xml").getroot().iter("failure")
    assert "in_bounds" in failure.attrib["type"]
    (each,) = json.loads((certified_copy / "s.sarif").read_text())["runs"][0]["results"]
    assert each["locations"][0]["physicalLocation"]["region"] == {"startLine": line}
    assert f"::error file=schemas/regression.yaml,line={line}," in done.stdout


def test_outputs_are_written_although_nothing_could_be_examined(tmp_path: Path):
    done = run("validate", "no.h5", "--junit", "j.xml", "--json", "v.json", cwd=tmp_path)
    assert done.returncode == 2
    demand_schema(json.loads((tmp_path / "v.json").read_text()))
    (error,) = ElementTree.parse(tmp_path / "j.xml").getroot().iter("error")
    assert "no such file" in error.attrib["message"]


@pytest.mark.parametrize("options", [["--json", "-", "--junit", "-"], ["--junit", "x", "--sarif", "x"]])
def test_two_outputs_cannot_go_to_one_place(options: list[str], tmp_path: Path):
    done = run("validate", "no.h5", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "two outputs cannot go to one place" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_output_on_stdout_is_alone_there(tmp_path: Path):
    assert json.loads(run("validate", "no.h5", "--json", "-", cwd=tmp_path).stdout)["exit_code"] == 2
    done = run("validate", "no.h5", "--sarif", "-", "--github", cwd=tmp_path)
    assert json.loads(done.stdout)["version"] == "2.1.0"
    assert "::error" in done.stderr


def test_certified_data_that_did_not_change_are_hashed_and_not_measured(
    certified_copy: Path, monkeypatch: pytest.MonkeyPatch
):
    path = dataset_of(certified_copy, "regression").relative_to(certified_copy)
    measured = document(prep.validate(path), strict=False)
    with monkeypatch.context() as patch:
        patch.setattr("prep.verbs.validate.examine", lambda *_, **__: pytest.fail("it was measured again"))
        found = prep.validate(path, changed_only=True)

    recalled = document(found, strict=False)
    assert recalled["datasets"][0].pop("unchanged") is True
    assert measured["datasets"][0].pop("unchanged") is False
    assert recalled == measured
    demand_schema(document(found, strict=False))


@pytest.mark.parametrize("what", ["a byte", "the schema", "the certificate"])
def test_whatever_changed_is_measured(what: str, certified_copy: Path):
    path = dataset_of(certified_copy, "regression")
    if what == "a byte":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif what == "the schema":
        with (certified_copy / "schemas/regression.yaml").open("a") as file:
            file.write("# changed\n")
    else:
        path.with_name(path.name + ".cert.json").unlink()

    (found,) = prep.validate(path, changed_only=True)

    assert not found.unchanged
    assert found.exit_code() == (3 if what == "a byte" else 0)


def test_what_belongs_to_a_dataset_stands_for_it(certified_copy: Path):
    path, folder = dataset_of(certified_copy, "regression"), dataset_of(certified_copy, "covariance")
    paths = [
        path.with_name(path.name + ".manifest"),
        path,
        next(each for each in folder.rglob("c/*") if each.is_file()),
        certified_copy / "schemas/regression.yaml",
    ]
    assert find_datasets(paths) == [path, folder]
    below = find_datasets([certified_copy / "data"])
    assert {path, folder} < {*below}
    assert find_datasets([certified_copy / "data", path, certified_copy / "data/normalized"]) == below


def test_a_schema_without_its_dataset_is_loaded_strictly(certified_copy: Path):
    schema = certified_copy / "schemas/regression.yaml"
    shutil.rmtree(certified_copy / "data/normalized")
    (found,) = prep.validate(schema)
    assert found.exit_code() == 0
    assert "no dataset of it is built here" in found.note
    demand_schema(document([found], strict=False))

    schema.write_text(schema.read_text().replace("strict: true", "strict: maybe"))
    (found,) = prep.validate(schema)
    assert found.exit_code() == 2


ROOT = Path(__file__).parents[2]


def act(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """The script of the action's last step, as the runner calls it."""
    script = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"][-1]["run"]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OUTPUT": "out put",
        "GITHUB_OUTPUT": str(folder / "outputs"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        **settings,
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("strict", "paths", "code"), [("True", "a b.h5\r\n", 3), ("FALSE", "a b.h5", 3), ("1", "a b.h5", 2)]
)
def test_the_action_reads_its_inputs_as_people_write_them(strict: str, paths: str, code: int, tmp_path: Path):
    (tmp_path / "a b.h5").write_text("no dataset")
    done = act(tmp_path, PATHS=paths, STRICT=strict, CHANGED_ONLY="false")
    assert done.returncode == code, done.stderr
    assert f"exit-code={code}\n" in (tmp_path / "outputs").read_text()
    if code == 2:
        assert "json=\n" in (tmp_path / "outputs").read_text(), "nothing was written"
        assert "::error title=prep validate::input strict is neither true nor false" in done.stdout
    else:
        assert json.loads((tmp_path / "out put/validation.json").read_text())["strict"] is (strict == "True")
        assert "html=\n" in (tmp_path / "outputs").read_text()


@pytest.mark.parametrize(
    ("output", "code", "said"), [("", 2, "input output is empty"), ("a b.h5", 4, "cannot be made")]
)
def test_the_action_refuses_a_folder_that_cannot_be_and_says_so(output: str, code: int, said: str, tmp_path: Path):
    (tmp_path / "a b.h5").write_text("no dataset")
    done = act(tmp_path, PATHS="a b.h5", STRICT="", CHANGED_ONLY="", HTML="", OUTPUT=output)
    assert done.returncode == code
    assert f"::error title=prep validate::{'the folder of ' if code == 4 else ''}input output" in done.stdout
    assert said in done.stdout
    assert f"exit-code={code}\n" in (tmp_path / "outputs").read_text()


def test_the_action_validates_and_hands_its_outputs_on_also_when_it_fails(certified_copy: Path):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    outputs = {name: each["value"].removesuffix(" }}") for name, each in action["outputs"].items()}
    (certified_copy / "schemas/regression.yaml").write_text("broken")
    paths = "\n  data/normalized/regression.h5 \n\n"
    done = act(certified_copy, PATHS=paths, STRICT="true", CHANGED_ONLY="true", HTML="True")
    assert done.returncode == 2, done.stderr
    told = dict(line.split("=") for line in (certified_copy / "outputs").read_text().splitlines())
    assert {name: str(value).partition(".outputs.")[2] for name, value in outputs.items()} == {
        each: each for each in told
    }
    assert told.pop("exit-code") == "2"
    assert all((certified_copy / each).is_file() for each in told.values())
    assert sorted(each.name for each in (certified_copy / "out put").iterdir()) == [
        "junit.xml",
        "validation.html",
        "validation.json",
        "validation.sarif",
    ]
    assert "not examined" in (certified_copy / "summary").read_text()


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("data/normalized/control.h5", True),
        ("data/normalized/control.h5.manifest", True),
        ("data/normalized/x.zarr/inputs/c/0", True),
        ("data/normalized/control.hdf5", True),
        ("data/normalized/control.nc.cert.json", True),
        ("data/normalized/CONTROL.H5", True),
        ("data/h5/readme.txt", False),
        ("schemas/control.yaml", True),
        ("data/raw/control.h5", False),
        ("prep/report/sarif.py", False),
    ],
)
def test_the_hook_runs_on_datasets_and_schemas(name: str, runs: bool):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert (bool(re.search(hook["files"], name)) and not re.search(hook["exclude"], name)) is runs
