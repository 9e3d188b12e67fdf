"""Validation that passes because it looked at nothing: lazy data, switches, typos, no checks, no rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandera.xarray as pa
import pytest
import xarray as xr
import yaml

import prep
from prep.errors import PrepError
from prep.importers import IngestOptions
from tests.attacks.outcomes import command, printed, refused
from tests.attacks.tiny import MAPPING, Tiny, arrays, build, overwrite, replace_dataset, rewrite_manifest


def plain(values: Any, change: Callable[[str], str] = str, **options: Any) -> bool:
    """Whether vanilla pandera passes data by a schema (read from YAML) that allows -10 to 10."""
    check = pa.Check.in_range(-10, 10, **options)
    schema = pa.DatasetSchema(data_vars={"inputs": pa.DataVar(dtype=values.dtype, dims=("sample", "f"), checks=check)})
    if change is not str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schema = pa.DatasetSchema.from_yaml(change(schema.to_yaml()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            schema.validate(xr.Dataset({"inputs": (("sample", "f"), values)}))
        except (pa.errors.SchemaError, pa.errors.SchemaErrors):
            return False
    return True


BAD = np.full((4, 2), 999.0, "f4")


def spoiled(make: Callable[..., Tiny], variant: str = "hdf5") -> Tiny:
    """A project whose normalised data hold values far beyond their bounds, with a manifest that fits."""
    tiny = make(variant)
    file, offset, _ = tiny.file_of("inputs", 1)
    overwrite(file, offset, np.full((16, 8), 999.0, "f4").tobytes())
    rewrite_manifest(tiny)
    return tiny


def test_lazy_data_are_examined_like_any_other(make):
    """Row 20: pandera looks only at names and types of dask-backed data."""
    assert not plain(BAD)
    lazy = xr.Dataset({"inputs": (("sample", "f"), BAD)}).chunk()
    schema = pa.DatasetSchema(data_vars={"inputs": pa.DataVar(dtype="float32", checks=pa.Check.in_range(-10, 10))})
    schema.validate(lazy)

    tiny = spoiled(make)
    (outcome,) = prep.validate(tiny.path)
    assert outcome.exit_code() == 1
    assert {each.check for each in outcome.report.failed} >= {"in_bounds", "standardised"}
    assert outcome.report.rows == 96
    refused(lambda: prep.certify(tiny.path), "in_bounds", 1)


SWITCH = """
import json, warnings
import numpy as np, xarray as xr, pandera.xarray as pa
schema = pa.DatasetSchema(data_vars={"inputs": pa.DataVar(dtype="float32", checks=pa.Check.in_range(-10, 10))})
try:
    schema.validate(xr.Dataset({"inputs": (("sample", "f"), np.full((4, 2), 999.0, "f4"))}))
    print(json.dumps(True))
except Exception:
    print(json.dumps(False))
"""


@pytest.mark.parametrize(
    "switch", [("PANDERA_VALIDATION_ENABLED", "False"), ("PANDERA_VALIDATION_DEPTH", "SCHEMA_ONLY")]
)
def test_validation_cannot_be_switched_off_by_the_environment(make, switch: tuple[str, str]):
    """Row 20."""
    tiny = spoiled(make)
    environment = dict([switch])
    assert printed(tiny.folder, SWITCH) is False
    assert printed(tiny.folder, SWITCH, **environment) is True

    done = command(tiny.folder, "validate", str(tiny.path), **environment)
    assert done.returncode == 1, done.stderr
    assert "in_bounds" in done.stdout + done.stderr


def rewritten(tiny: Tiny, change: Callable[[dict[str, Any]], object]) -> Path:
    """The project's schema with a change to it."""
    text = yaml.safe_load(tiny.schema.read_text())
    change(text)
    place = tiny.folder / "doctored.yaml"
    place.write_text(yaml.safe_dump(text, sort_keys=False))
    return place


def bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """The first check of bounds."""
    return next(each for each in schema["checks"] if each["options"]["check_name"] == "in_bounds")


DOCTORED: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "a check that does not exist": (
        "no check 'in_bonds'",
        lambda s: bounds(s)["options"].update(check_name="in_bonds"),
    ),
    "a failure that only warns": ("raise_warning", lambda s: bounds(s)["options"].update(raise_warning=True)),
    "an option that does not exist": ("ignore", lambda s: bounds(s)["options"].update(ignore_na=True)),
    "a bound under another name": ("hihg", lambda s: bounds(s).update(hihg=bounds(s).pop("high"))),
    "no checks": ("checks", lambda s: s.update(checks=[])),
    "checks that are missing": ("checks", lambda s: s.pop("checks")),
    "checks under another name": ("check", lambda s: s.update(check=s.pop("checks"))),
    "checks of nothing": ("checks", lambda s: s.update(checks=None)),
    "checks inside a variable": ("inputs", lambda s: s["data_vars"]["inputs"].update(checks={"in_range": {}})),
    "bounds the wrong way round": ("", lambda s: bounds(s).update(low=10.0, high=-10.0)),
    "bounds that are text": ("", lambda s: bounds(s).update(low="-10")),
    "a variable that is not there": ("nothing", lambda s: bounds(s).update(var="nothing")),
    "another byte order": ("dtype", lambda s: s["data_vars"]["inputs"].update(dtype=">f4")),
    "only a warning for what is not finite": (
        "finite",
        lambda s: next(e for e in s["checks"] if e["options"]["check_name"] == "finite")["options"].update(
            raise_warning=True
        ),
    ),
}


@pytest.mark.parametrize("doctored", DOCTORED)
def test_a_schema_that_would_examine_less_than_it_seems_to_is_refused(make, doctored: str):
    """Row 20: what pandera skips with a warning, or without one, ends with exit code 2 here."""
    if doctored == "a check that does not exist":
        assert plain(BAD, lambda text: text.replace("in_range", "in_rnage"))
    if doctored == "no checks":
        pa.DatasetSchema().validate(xr.Dataset({"inputs": (("sample", "f"), BAD)}))
    if doctored == "another byte order":
        assert plain(np.ones((4, 2), ">f4"), lambda text: text.replace(">f4", "float32"))
    tiny = spoiled(make)
    cause, change = DOCTORED[doctored]
    place = rewritten(tiny, change)

    (outcome,) = prep.validate(tiny.path, schema=place)
    if doctored == "a failure that only warns":  # it is known, and may not be made of a check that has to hold
        assert outcome.exit_code() in (1, 2), outcome
        return
    assert outcome.exit_code() == 2, outcome.report
    assert cause in str(outcome.error)
    assert str(place) in str(outcome.error)
    refused(lambda: prep.certify(tiny.path, schema=place), cause, 2)


def test_a_warning_does_not_make_failed_data_certified_under_strict(make):
    """Row 20: pandera only warns where the schema says so; with --strict that is a failure."""
    tiny = spoiled(make)
    place = rewritten(tiny, lambda schema: bounds(schema)["options"].update(raise_warning=True))
    done = command(tiny.folder, "validate", str(tiny.path), "--schema", str(place), "--strict")
    assert done.returncode in (1, 2), done.stdout


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_without_samples_passes_nothing(make, tmp_path: Path, split: str):
    """Row 20: pandera passes a table of no rows."""
    assert plain(BAD[:0])
    raw = arrays()
    try:
        fractions = (0.9, 0.1, 0.0) if split == "test" else (0.9, 0.0, 0.1)
        np.savez(tmp_path / "t.npz", **raw)
        made = prep.ingest(
            str(tmp_path / "t.npz"),
            output=tmp_path / "raw/tiny.h5",
            schema=tmp_path / "tiny.yaml",
            options=IngestOptions(mapping=MAPPING, group="episode", fractions=fractions),
        )
        stats = prep.stats(made.path, output=tmp_path / "s.json", schema=tmp_path / "tiny.yaml")
        path = prep.normalize(made.path, stats=stats, output=tmp_path / "tiny.h5", schema=tmp_path / "tiny.yaml")
    except PrepError as error:
        assert error.exit_code in (1, 2)  # noqa: PT017
        return
    (outcome,) = prep.validate(path, schema=tmp_path / "tiny.yaml")
    assert outcome.exit_code() in (1, 2), outcome.report.results


def test_no_samples_at_all_are_no_dataset(tmp_path: Path):
    """Row 20."""
    np.savez(tmp_path / "t.npz", inputs=np.zeros((0, 4), "f4"), targets=np.zeros((0, 2), "f4"))
    refused(lambda: prep.ingest(str(tmp_path / "t.npz"), output=tmp_path / "tiny.h5"), "", 1, 2)


def test_masks_cannot_hide_all_values(tmp_path: Path):
    """Row 20: everything is masked, so everything that is left is good."""
    raw = arrays()
    raw["visible"] = np.zeros_like(raw["visible"])
    with pytest.raises(PrepError) as caught:
        build(tmp_path / "hidden", raw=raw)
    assert caught.value.exit_code in (1, 2)


def test_a_folder_without_datasets_is_no_pass(tmp_path: Path):
    """Row 20: `prep validate data/` where nothing was built."""
    done = command(tmp_path, "validate", ".")
    assert done.returncode == 4, done.stderr
    (tmp_path / "data/raw").mkdir(parents=True)
    assert command(tmp_path, "validate", "data/").returncode == 4


def test_big_endian_data_do_not_pass_as_little_endian(make):
    """Row 20: to pandera float32 and >f4 are the same."""
    schema = pa.DatasetSchema(data_vars={"inputs": pa.DataVar(dtype="float32")})
    schema.validate(xr.Dataset({"inputs": (("sample", "f"), np.ones((4, 2), ">f4"))}))
    tiny = make("hdf5")
    replace_dataset(tiny.path, "inputs", data=tiny.values["inputs"].astype(">f4"), chunks=(16, 8), maxshape=(None, 8))
    (outcome,) = prep.validate(tiny.path)
    assert (outcome.exit_code(), "little-endian" in str(outcome.error)) == (3, True)


def test_complex_values_are_examined_in_both_parts(make):
    """Row 20: bounds of a complex field hold for real and imaginary parts."""
    tiny = make("hdf5")
    values = tiny.values["matrices"][:4].copy()
    values[1, 0, 0] = 1 + 999j
    file, offset, _ = tiny.file_of("matrices", 0)
    overwrite(file, offset, values.tobytes())
    rewrite_manifest(tiny)
    error = refused(lambda: prep.certify(tiny.path), "in_bounds", 1)
    assert "matrices" in str(error)
