"""The whole line as a user walks it, on each system, through the command line and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import prep
from prep.verbs.stats import content_digest
from tests.conftest import FORMATS, SYSTEMS, dataset_of


def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "prep", *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


# The workflow builds all five in the short suite too (test_workflow.py).
SLOW = ("covariance", "peptide")


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.long if each in SLOW else ()) for each in SYSTEMS]
)
def test_the_line_from_nothing_to_a_certificate(name: str, project: Path):
    ending = FORMATS[name]
    raw, stats, out = f"data/raw/{name}{ending}", f"data/stats/{name}.json", f"data/normalized/{name}{ending}"

    run("generate", name)
    run("stats", raw, "-o", stats)
    run("normalize", raw, "--stats", stats, "-o", out)
    report = json.loads(run("validate", out, "--json", "-").stdout)
    run("certify", out)
    verified = json.loads(run("verify", out, "--deep", "--json", "-").stdout)
    table = run("inspect", "--table", out).stdout
    shown = run("inspect", out).stdout

    body = report["datasets"][0]["report"]
    assert body["verdict"] == "passed"
    assert body["root"] == verified["root"]
    assert all(check["examined"] == check["present"] > 0 for check in body["checks"])
    assert verified["root"].removeprefix("blake3:")[:32] in table
    assert f"{name} 1.0.0" in shown


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_inverse_gives_the_raw_values_back(name: str, certified_project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(certified_project)
    data = prep.open(dataset_of(certified_project, name))
    raw = prep.inspect(certified_project / "data/raw" / dataset_of(certified_project, name).name)
    from prep.engine import DatasetSource

    with DatasetSource.open(raw.path) as source:
        for field, bound in data.transforms.items():
            original = source.reader.rows(field, 0, data.spec.rows)
            rows = {each.name: data.rows(each.name, 0, data.spec.rows) for each in data.spec.fields}
            values = rows.pop(field)
            inverse = bound.invert(values, **rows)
            mask = rows[bound.field.mask] if bound.field.mask else None
            scale = np.abs(original).max()
            np.testing.assert_allclose(inverse, original, rtol=2e-5, atol=2e-6 * scale, err_msg=field)
            if mask is not None:
                assert np.array_equal(inverse == 0, original == 0) or bound.name == "identity" or np.any(original == 0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_xarray_reads_the_dataset_with_names_and_units(name: str, certified_project: Path):
    import xarray as xr

    path = dataset_of(certified_project, name)
    opened = xr.open_zarr(path, consolidated=False) if path.is_dir() else xr.open_dataset(path, engine="h5netcdf")
    with opened as dataset:
        for field in prep.inspect(path).spec.fields:
            assert dataset[field.name].dims == field.dims
            assert dataset[field.name].attrs["units"] == field.units
            assert dataset[field.name].dtype == field.dtype
        assert dataset["split"].attrs["flag_meanings"] == "train val test"


def test_a_stage_whose_inputs_did_not_change_is_skipped(project: Path):
    raw = prep.generate("regression")
    stats = prep.stats(raw, output="data/stats/regression.json")
    out = prep.normalize(raw, stats=stats, output="data/normalized/regression.h5")
    before = [path.stat().st_mtime_ns for path in (raw, stats, out)]

    prep.generate("regression")
    prep.stats(raw, output=stats)
    prep.normalize(raw, stats=stats, output=out)
    assert [path.stat().st_mtime_ns for path in (raw, stats, out)] == before

    prep.generate("regression", seed=3)
    assert raw.stat().st_mtime_ns != before[0]


def test_the_same_seed_gives_the_same_root_whatever_the_number_of_workers(project: Path):
    roots = set()
    for workers in (1, 2):
        raw = prep.generate("control", output=f"data/raw/control-{workers}.h5", workers=workers)
        stats = prep.stats(raw, output=f"data/stats/{workers}.json", workers=workers)
        out = prep.normalize(raw, stats=stats, output=f"data/normalized/{workers}.h5", workers=workers)
        roots.add(prep.certify(out, workers=workers).root)

    assert len(roots) == 1


def test_normalising_twice_is_refused(certified_copy: Path):
    path = str(dataset_of(certified_copy, "regression"))

    done = run("stats", path, "-o", "again.json", code=1)
    assert "normalised already" in done.stderr
    done = run("normalize", path, "--stats", "data/stats/regression.json", "-o", "again.h5", code=1)
    assert "normalised already" in done.stderr
    assert not Path("again.h5").exists()


def test_statistics_of_other_data_are_refused(certified_copy: Path):
    run("generate", "regression", "--seed", "9", "-o", "data/raw/other.h5")

    done = run("normalize", "data/raw/other.h5", "--stats", "data/stats/regression.json", "-o", "x.h5", code=1)
    assert "taken of other data" in done.stderr


@pytest.mark.parametrize("part", ["transforms", "fields", "root"])
def test_statistics_with_a_missing_part_are_refused(part: str, certified_copy: Path):
    place = Path("data/stats/regression.json")
    body = json.loads(place.read_text())
    del body[part]
    place.write_text(json.dumps(body))

    done = run("normalize", "data/raw/regression.h5", "--stats", str(place), "-o", "x.h5", code=2)
    assert "not a complete statistics file" in done.stderr


def test_statistics_without_a_field_are_refused(certified_copy: Path):
    place = Path("data/stats/regression.json")
    body = json.loads(place.read_text())
    del body["transforms"]["inputs"]
    place.write_text(json.dumps({**body, "digest": content_digest(body)}))

    done = run("normalize", "data/raw/regression.h5", "--stats", str(place), "-o", "x.h5", code=1)
    assert "say nothing about input field 'inputs'" in done.stderr


def test_raw_data_fail_validation_and_cannot_be_certified(certified_copy: Path):
    done = run("validate", "data/raw/regression.h5", code=1)
    assert "transform" in done.stdout
    run("certify", "data/raw/regression.h5", code=1)
    assert not Path("data/raw/regression.h5.cert.json").exists()


def test_validate_of_a_folder_examines_every_normalised_dataset(certified_copy: Path):
    done = run("validate", "data/")

    assert f"{len(SYSTEMS)} of {len(SYSTEMS)} datasets passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("validate", "nowhere.h5"), 2, "no such file or folder"),
        (("validate", "data/stats"), 4, "nothing to examine"),
        (("validate", "data/normalized/regression.h5", "--schema", "schemas/control.yaml"), 2, "another dataset"),
        (("generate", "regresion"), 2, "did you mean 'regression'"),
        (("generate", "regression", "--scale", "huge"), 2, "no such scale"),
        (("generate", "regression", "-o", "x.txt"), 2, "does not name a format"),
        (("stats", "nowhere.h5", "-o", "x.json"), 2, "no dataset at this path"),
        (("verify", "data/raw/regression.h5"), 3, "is not certified"),
        (("ingest", "nowhere.bin", "-o", "x.h5"), 2, "remedy"),
        (("train", "nowhere.h5"), 2, "remedy"),
        (("train", "data/raw/regression.h5"), 3, "is not certified"),
        (("train", "regression", "--require", "gold"), 2, "sealed, signed"),
        (("train", "regression", "--require", "signed"), 3, "signature"),
        (("train", "regression", "--device", "abacus"), 2, "no such device"),
        (("train", "regression", "--resume"), 2, "no checkpoint"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_wrong_usage_gets_one_clear_error_and_the_right_code(
    arguments: tuple[str, ...], code: int, message: str, certified_copy: Path
):
    done = run(*arguments, code=code)

    assert message in done.stderr + done.stdout  # why data were not examined is a row of the report


def test_help_shows_an_example_for_every_verb():
    for verb in ("generate", "ingest", "stats", "normalize", "validate", "certify", "verify", "inspect", "train"):
        assert "Example" in run(verb, "--help").stdout
    assert run("--version").stdout.startswith("prep ")
