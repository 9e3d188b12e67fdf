"""What differs between two datasets is named: descriptions, distributions in original units, groups, samples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from scipy.stats import ks_2samp

import prep
from prep import cli
from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.certificate import manifest
from prep.errors import PrepError, Refusal, SchemaError, UsageError
from prep.formats import create
from prep.schema import load_schema
from prep.schema.drift import limits_of
from prep.verbs.described import changes
from prep.verbs.diff import Diff
from prep.verbs.rawdata import commit
from tests.attacks import tiny
from tests.conftest import ROOT, SYSTEMS, working_in
from tests.measuring import field
from tests.rooms.test_schema_load import GOOD, errors_of, line_of, loaded

ROWS = 96
FIELDS = (
    field("states", "f4", ("time", 3), ("state", 4), features=("state",), mask="mask"),
    field("mask", "u1", ("state", 4), role="mask"),
    field("matrices", "c8", ("row", 2), ("column", 2), role="aux"),
    field("constant", "f8", role="aux"),
    field("empty", "f8", role="aux"),
    field("system", "i4", role="id"),
    field("split", "u1", role="split"),
)
SPLITS = {"train": (0, 64), "val": (64, 80), "test": (80, 96)}


def values(seed: int = 0, rows: int = ROWS) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    states = (random.normal(size=(rows, 3, 4)) * [1, 2, 3, 4] + [0, 10, 0, 1e6]).astype("f4")
    mask = np.ones((rows, 4), np.uint8)
    mask[::3, 2] = 0
    states[np.broadcast_to(mask[:, np.newaxis] == 0, states.shape)] = 0
    return {
        "states": states,
        "mask": mask,
        "matrices": (random.normal(size=(rows, 2, 2)) + 1j * random.normal(size=(rows, 2, 2))).astype("c8"),
        "constant": np.full(rows, 5.0),
        "empty": np.full(rows, np.nan),
        "system": np.arange(rows, dtype=np.int32) // 8,
    }


def store(
    path: Path,
    arrays: Mapping[str, Array],
    *,
    splits: Mapping[str, tuple[int, int]] = SPLITS,
    compression: str = "none",
    chunks: bool = True,
    **changes: Any,
) -> Path:
    """A raw dataset of these arrays, in chunks of a few rows."""
    fields = tuple(each for each in FIELDS if each.name in arrays or each.name == "split")
    fields = tuple(replace(each, dtype=arrays[each.name].dtype) if each.name in arrays else each for each in fields)
    spec = replace(DatasetSpec("demo", fields, splits), **changes)
    flags = np.repeat(np.arange(3, dtype=np.uint8), [stop - start for start, stop in splits.values()])
    with tiny.small_chunks() if chunks else working_in(Path.cwd()), create(path, spec, compression) as writer:
        for each in spec.fields:
            writer.write(each.name, flags if each.name == "split" else arrays[each.name])
        commit(writer, path, spec)
    return path


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "pyproject.toml").touch()
    with working_in(tmp_path):
        yield


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return store(tmp_path / "a.h5", values())


def measure(found: Diff, name: str) -> Mapping[str, float]:
    return next(each.measures for each in found.features if each.name == name)


@pytest.mark.parametrize("ending", [".h5", ".zarr"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_copy_in_another_container_or_codec_is_the_same_and_is_not_read(
    ending: str, compression: str, a: Path, tmp_path: Path
):
    found = prep.diff(a, store(tmp_path / f"b{ending}", values(), compression=compression))

    assert (found.same, found.exit_code, found.features, found.samples.read) == (True, 0, (), {})
    assert set(found.unread) == {"states", "mask", "matrices", "constant", "empty", "system"}


def test_a_copy_in_other_chunks_has_the_same_samples(a: Path, tmp_path: Path):
    found = prep.diff(a, store(tmp_path / "b.h5", values(), chunks=False))

    assert found.same
    assert found.samples.read["states"] == ROWS


def test_changed_samples_are_named_and_only_their_chunks_are_read(a: Path, tmp_path: Path):
    changed = values()
    changed["states"][[5, 6, 7, 90]] += 1
    changed["constant"][90] = 6

    rows = prep.diff(a, store(tmp_path / "b.zarr", changed)).samples

    assert (rows.rows, rows.changed.count, rows.changed.ranges) == (ROWS, 4, [(5, 7), (90, 90)])
    assert {name: each.ranges for name, each in rows.fields.items()} == {
        "states": [(5, 7), (90, 90)],
        "constant": [(90, 90)],
    }
    assert 0 < rows.read["states"] < ROWS
    assert "matrices" not in rows.read


def test_samples_appended_to_a_split_move_no_other(a: Path, tmp_path: Path):
    more, old = values(1, rows=10), values()
    arrays = {name: np.concatenate([each[:64], more[name], each[64:80], each[80:90]]) for name, each in old.items()}
    splits = {"train": (0, 74), "val": (74, 90), "test": (90, 100)}

    rows = prep.diff(a, store(tmp_path / "b.h5", arrays, splits=splits)).samples

    assert (rows.changed.count, rows.added, rows.removed) == (0, {"train": (64, 73)}, {"test": (90, 95)})


def test_the_same_rows_in_other_splits_are_other_samples(a: Path, tmp_path: Path):
    b = store(tmp_path / "b.h5", values(), splits={"train": (0, 72), "val": (72, 88), "test": (88, 96)})
    found = prep.diff(a, b)

    assert (found.samples.fields["states"].ranges, found.samples.added) == ([(72, 95)], {"train": (64, 71)})
    assert "states" in found.unread
    assert prep.diff(a, b, split="val").features[0].b["count"] > 0


def test_what_drifted_most_comes_first_and_what_is_masked_does_not_count(a: Path, tmp_path: Path):
    changed = values(1)
    changed["states"][..., 1] += 4
    changed["states"][..., 3] += 40
    changed["states"][::3, :, 2] = 1e30
    found = prep.diff(a, store(tmp_path / "b.h5", changed))

    assert [each.name for each in found.features[:2]] == ["states[3]", "states[1]"]
    assert measure(found, "states[3]")["l_inf"] > 0.99
    assert measure(found, "states[1]")["mean_shift"] == pytest.approx(2, abs=0.4)
    assert measure(found, "states[2]")["l_inf"] < 0.25
    assert found.features[0].b["count"] == ROWS * 3


def test_complex_constant_and_empty_fields_are_compared(a: Path, tmp_path: Path):
    changed = values()
    changed["matrices"] = changed["matrices"] * 2j
    changed["empty"][3:] = 1.0
    changed["constant"][:] = 5.5
    found = prep.diff(a, store(tmp_path / "b.h5", changed))

    assert measure(found, "matrices.re")["std_ratio"] == pytest.approx(2, abs=0.3)
    assert measure(found, "matrices.im")["std_ratio"] == pytest.approx(2, abs=0.3)
    assert (measure(found, "empty")["l_inf"], measure(found, "empty")["psi"]) == (1.0, np.inf)
    assert (measure(found, "constant")["l_inf"], measure(found, "constant")["mean_shift"]) == (1.0, np.inf)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_a_heavy_tail_does_not_hide_what_small_values_do(tmp_path: Path):
    random = np.random.default_rng(0)
    wide = {"constant": 10.0 ** random.uniform(-1, 4, ROWS)}
    moved = {"constant": np.where(wide["constant"] < 10, wide["constant"] / 3, wide["constant"])}
    found = prep.diff(store(tmp_path / "a.h5", wide), store(tmp_path / "b.h5", moved))

    exact = ks_2samp(wide["constant"], moved["constant"]).statistic
    assert measure(found, "constant")["l_inf"] == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("first", [1e6, 0.0, np.nan])
def test_what_the_first_samples_hold_does_not_hide_drift(first: float, tmp_path: Path):
    rows = 8000
    splits = {"train": (0, rows), "val": (rows, rows), "test": (rows, rows)}
    system = np.arange(rows, dtype=np.int32) // 800
    calm = 100 * system + np.random.default_rng(0).normal(size=rows) / 100
    calm[:800] = first
    moved = np.where(system > 0, calm + 0.05, calm)
    a, b = (
        store(tmp_path / name, {"constant": each, "system": system}, splits=splits, chunks=False)
        for name, each in (("a.h5", calm), ("b.h5", moved))
    )
    found = prep.diff(a, b)

    within = {each.group: each.measures["l_inf"] for each in found.within if each.field == "constant"}
    exact = {n: ks_2samp(calm[system == n], moved[system == n]).statistic for n in range(1, 10)}
    assert [within[n] for n in range(1, 10)] == [pytest.approx(exact[n], abs=0.02) for n in range(1, 10)]
    whole = [np.where(system == 5, each, 7.0) for each in (calm - 500, moved - 500)]
    one = {"constant": whole[0]}, {"constant": whole[1]}
    found = prep.diff(*(store(tmp_path / f"whole{n}.h5", each, splits=splits) for n, each in enumerate(one)))
    assert measure(found, "constant")["l_inf"] == pytest.approx(ks_2samp(*whole).statistic, abs=0.02)


@pytest.mark.parametrize(("dtype", "offset"), [("f8", 1.7e9), ("f4", 1e3), ("i8", 1 << 40), ("u8", 1 << 63)])
def test_a_shift_far_from_zero_is_measured_in_standard_deviations(dtype: str, offset: float, tmp_path: Path):
    step = 1 << 20 if dtype == "u8" else 1
    apart = step * np.random.default_rng(0).integers(0, 60, ROWS)
    one, other = (
        (np.full(ROWS, offset, dtype) + each.astype(dtype)).astype(dtype) for each in (apart, 600 * step + 2 * apart)
    )
    found = measure(
        prep.diff(store(tmp_path / "a.h5", {"constant": one}), store(tmp_path / "b.h5", {"constant": other})),
        "constant",
    )
    spread = np.hypot(apart.std(), 2 * apart.std()) / np.sqrt(2)

    assert found["mean_shift"] == pytest.approx((600 * step + apart.mean()) / spread, rel=1e-3)
    assert (found["std_ratio"], found["l_inf"]) == (pytest.approx(2, rel=1e-3), 1)


def test_values_that_became_nan_are_counted(a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    changed = values()
    changed["states"][:24, :, 1] = np.nan
    b = store(tmp_path / "b.h5", changed)

    assert measure(prep.diff(a, b), "states[1]")["nonfinite"] == 0.25
    assert cli.run(["diff", str(a), str(b), "-v"]) == 0
    assert "NaN/Inf 0 in A, 24 in B" in capsys.readouterr().out


def test_a_number_as_long_as_a_line_is_told_as_a_power(a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    changed = values()
    changed["states"][..., 0] = 1e30
    changed["states"][..., 1] = np.nan
    b = store(tmp_path / "b.h5", changed)

    assert cli.run(["diff", str(a), str(b)]) == 0

    told = capsys.readouterr().out
    huge, gone = (
        next(line for line in told.splitlines() if line.startswith(name)) for name in ("states[0]", "states[1]")
    )
    assert re.search(r" \d\.\d+e\+\d\d ", huge)
    assert len(huge) < 120
    assert (gone.count(" - "), "nan" in gone) == (2, False)


def test_one_split_is_compared_alone(a: Path, tmp_path: Path):
    changed = values()
    changed["states"][80:] += 100
    b = store(tmp_path / "b.h5", changed)

    assert measure(prep.diff(a, b, split="train"), "states[0]")["l_inf"] == 0
    assert measure(prep.diff(a, b, split="test"), "states[0]")["l_inf"] == 1
    with pytest.raises(UsageError, match="no such split"):
        prep.diff(a, b, split="valid")


def test_new_and_lost_groups_are_named_with_their_samples(a: Path, tmp_path: Path):
    changed = values()
    changed["system"][:16] = [40] * 10 + [41] * 6
    (found,) = prep.diff(a, store(tmp_path / "b.h5", changed)).groups

    assert (found.field, found.new, found.lost) == ("system", {40: 10, 41: 6}, {0: 8, 1: 8})


def test_a_shift_that_one_group_alone_has_is_seen_and_can_be_limited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arrays = {**values(), "system": np.arange(ROWS, dtype=np.int32) // 24}
    a, chosen = store(tmp_path / "a.h5", arrays), arrays["system"] == 2
    before = arrays["states"][chosen, :, 1].copy()
    arrays["states"][chosen, :, 1] += 20
    b = store(tmp_path / "b.h5", arrays)
    found = prep.diff(a, b)

    (alone,) = [each for each in found.within if each.beyond_chance]
    assert (alone.name, alone.by, alone.group) == ("states[1] in system 2", "system", 2)
    assert (alone.measures["l_inf"], found.measured_within) == (pytest.approx(1), 4 * 4)
    assert measure(found, "states[1]")["l_inf"] == pytest.approx(0.25, abs=0.01)
    assert (alone.a["mean"], alone.b["count"]) == (pytest.approx(before.mean()), before.size)

    whole = limited(a, "{limits: {l_inf: 0.3}, groups: {system: {new: 0}}}")
    assert cli.run(["diff", str(a), str(b), "--check", "--schema", str(whole)]) == 0
    assert "states[1] in system 2: JS" in capsys.readouterr().out
    each = limited(a, "{limits: {l_inf: 0.3}, groups: {system: {l_inf: 0.7}}}")
    assert cli.run(["diff", str(a), str(b), "--check", "--schema", str(each)]) == 1
    assert "states[1] in system 2: L∞ distance 1, at most 0.7" in capsys.readouterr().out


def demand_document(told: Any) -> None:
    text = files("prep.report").joinpath("diff.schema.json").read_text()
    jsonschema.Draft202012Validator(json.loads(text)).validate(json.loads(json.dumps(told, allow_nan=False)))


def test_every_limit_is_a_case_for_ci_and_errors_are_no_drift(
    a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    changed = values()
    changed["states"][..., 1] += 1
    changed["constant"][::8] = np.inf
    b = store(tmp_path / "b.h5", changed)
    limits = limited(a, "{limits: {psi: 0.05, nonfinite: 1.0}, groups: {system: {new: 0, psi: 99.0}}}")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    options = ["--schema", str(limits), "--json", "d.json", "--junit", "d.xml", "--sarif", "d.sarif", "--github"]

    assert cli.run(["diff", str(a), str(b), *options]) == 1
    assert f"::error file={limits.name},title=demo%3A drift_psi on states::states[1]: PSI" in capsys.readouterr().out
    demand_document(json.loads(Path("d.json").read_text()))
    cases = {each.attrib["name"]: each for each in ElementTree.parse("d.xml").getroot().iter("testcase")}
    failed = [name for name, each in cases.items() if each.find("failure") is not None]
    assert failed == ["drift_psi [states]"]
    assert {"drift_nonfinite [constant]", "drift_psi [states by system]", "drift_same [matrices]"} <= {*cases}
    results = json.loads(Path("d.sarif").read_text())["runs"][0]["results"]
    assert {each["ruleId"] for each in results} == {"drift_psi"}
    assert "exceeded: 1, exit code 1" in Path("summary.md").read_text()

    assert cli.run(["diff", "nowhere.h5", str(b), *options]) == 2
    demand_document(json.loads(Path("d.json").read_text()))
    (error,) = ElementTree.parse("d.xml").getroot().iter("error")
    assert "no dataset at this path" in error.attrib["message"]


def test_without_limits_ci_is_told_that_nothing_was_judged(a: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.run(["diff", str(a), str(a), "--github", "--json", "d.json"]) == 0
    assert "::warning" in capsys.readouterr().out
    demand_document(json.loads(Path("d.json").read_text()))


def test_groups_too_many_to_compare_are_beyond_their_limits(a: Path, tmp_path: Path):
    changed = values()
    changed["states"][0] += 1
    b = store(tmp_path / "b.h5", changed)
    schema = limited(a, "{limits: {psi: 9.0}, groups: {system: {l_inf: 1.0}}}")
    assert prep.diff(a, b, schema=schema).exit_code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prep.verbs.groupings.MOST_CELLS", 40)
        (breach,) = prep.diff(a, b, schema=schema).breaches
    assert (breach.feature, breach.measured) == ("states by system", "12 groups of 4 features, more than 40")


def test_descriptions_that_differ_are_named(a: Path, tmp_path: Path):
    changed = values()
    changed["constant"] = changed["constant"].astype("f4")
    del changed["empty"]
    b = store(tmp_path / "b.h5", changed, version="2.0.0", attributes={"title": "new"})

    assert {str(each) for each in prep.diff(a, b).changes} == {
        "dataset version: 0.1.0 → 2.0.0",
        "attribute title: only in B, new",
        "field constant dtype: float64 → float32",
        "field empty: only in A, float64 (sample) in 1, aux",
    }


def test_checks_and_recipes_that_differ_are_named():
    added = "- {var: y, low: 0.0, high: 1.0, options: {check_name: in_bounds}}\nprep:\n"
    embedded = GOOD.replace("low: -9.0", "low: -3.0").replace("prep:\n", added)
    one, other = (
        DatasetSpec("demo", FIELDS, SPLITS, documents={"schema": schema, "recipe": recipe})
        for schema, recipe in ((GOOD, '{"seed": 1, "parameters": {"n": 3}}'), (embedded, '{"seed": 2}'))
    )

    assert [str(each) for each in changes(one, other)] == [
        "recipe seed: 1 → 2",
        "recipe n: only in A, 3",
        "check in_bounds on x low: -9.0 → -3.0",
        "check in_bounds on y: only in B, low 0.0, high 1.0 (error)",
    ]


def test_constants_that_differ_are_named(tmp_path: Path):
    scene = FieldSpec("scene", np.dtype("c8"), ("point",), (), "constant")
    paths = []
    for name, numbers in (("a.h5", [1, 2, 3]), ("b.zarr", [1, 2, 3 + 4j])):
        spec = DatasetSpec("demo", FIELDS[-1:], {"train": (0, 4)}, constants=(scene,))
        with create(tmp_path / name, spec) as writer:
            writer.write_constant(scene, np.asarray(numbers, "c8"))
            writer.write("split", np.zeros(4, "u1"))
            commit(writer, tmp_path / name, spec)
        paths.append(tmp_path / name)
    found = prep.diff(*paths)

    assert found.constants == {"scene": "1 of 3 values changed, by up to 4"}
    assert not found.same


def test_normalised_datasets_are_compared_in_original_units(tmp_path: Path):
    """Standardised by its own statistics, each has mean 0 and standard deviation 1, whatever drifted."""
    arrays = tiny.arrays()
    moved = {**arrays, "inputs": arrays["inputs"] * 2 + 7}
    one = tiny.build(tmp_path / "one", certify=False)
    other = tiny.build(tmp_path / "other", "zarr-zstd", raw=moved, certify=False)

    found = prep.diff(one.path, other.path)
    assert all(measure(found, f"inputs[{place}]")["l_inf"] > 0.5 for place in range(8))
    assert any(each.kind == "transform" and each.name == "inputs" for each in found.changes)
    raw = prep.diff(one.raw, one.path)
    assert max(each.measures["jensen_shannon"] for each in raw.features) < 1e-3
    assert raw.samples.apart == ("inputs", "targets")


def test_values_that_were_rounded_on_the_way_are_no_drift(tmp_path: Path):
    """Zeros and ones, half and half, lie as far from their mean as the borders of buckets do."""
    arrays = tiny.arrays()
    arrays["inputs"][:] = (np.arange(tiny.ROWS) % 4 < 2)[:, np.newaxis]
    arrays["visible"][:] = True
    made = tiny.build(tmp_path / "project", raw=arrays, certify=False)

    found = prep.diff(made.raw, made.path)
    assert max(each.measures["l_inf"] for each in found.features if each.field == "inputs") == 0


def limited(a: Path, section: str) -> Path:
    """A schema of ``demo`` with this section ``drift``."""
    text = (
        GOOD.replace("x: {dtype: float32, dims: [sample, feature]}", "x: {dtype: float64, dims: [sample]}")
        .replace("{role: input, mask: m, features: [feature],", "{role: input,")
        .replace("  loss:", f"  drift: {section}\n  loss:")
    )
    text = text.replace("x:", "constant:").replace("var: x", "var: constant").replace("run", "system")
    place = a.parent / "limits.yaml"
    place.write_text(text)
    return place


def test_limits_of_the_schema_make_it_a_check(a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    changed = values()
    changed["states"][..., 1] += 1
    changed["system"][:8] = 40
    b = store(tmp_path / "b.h5", changed)
    command = ["diff", str(a), str(b), "--check", "--schema"]

    tight = limited(a, "{limits: {psi: 0.05, l_inf: 0.05}, groups: {system: {new: 0}}}")
    assert cli.run([*command, str(tight), "--json", "drift.json"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith(f"DRIFT: B is beyond the limits of {tight} in 3 measures at 2 places\n")
    assert shown.count("  BEYOND  ") == 3
    assert "states[1]: PSI" in shown
    assert "system: new groups 1, at most 0" in shown
    told = json.loads(Path("drift.json").read_text())
    assert {(each["feature"], each["measure"]) for each in told["beyond"]} == {
        ("states[1]", "psi"),
        ("states[1]", "l_inf"),
        ("system", "new"),
    }

    loose = limited(a, "{limits: {psi: 9.0}, groups: {system: {new: 1, lost: 1}}}")
    assert cli.run([*command, str(loose)]) == 0
    assert "within the limits of" in capsys.readouterr().out


def test_a_field_with_limits_that_cannot_be_compared_is_beyond_them(a: Path, tmp_path: Path):
    lost = values()
    del lost["constant"]
    b = store(tmp_path / "b.h5", lost)

    (breach,) = prep.diff(a, b, schema=limited(a, "{limits: {psi: 9.0}}")).breaches
    assert (breach.field, breach.measure) == ("constant", "comparable")
    assert prep.diff(a, b, schema=limited(a, "{limits: {psi: 9.0}, ignore: [constant]}")).exit_code == 0


def test_a_check_without_limits_is_no_check(a: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.run(["diff", str(a), str(a)]) == 0
    assert capsys.readouterr().out.startswith("the same: ")
    assert cli.run(["diff", str(a), str(a), "--check"]) == 2
    assert "no limits of drift are stated" in capsys.readouterr().err


def test_stored_bytes_that_changed_are_no_drift(a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    changed = values()
    changed["states"] += 1
    b = store(tmp_path / "b.h5", changed)
    contents = manifest.parse(manifest.path_of(b).read_bytes(), path="b")
    tiny.flip(b, int(contents.layouts["states"].offsets[1]))

    assert cli.run(["diff", str(a), str(b)]) == 3
    assert "stored bytes changed" in capsys.readouterr().err
    tiny.flip(b, int(contents.layouts["states"].offsets[1]))
    tiny.flip(b, int(contents.layouts["matrices"].offsets[1]))
    assert cli.run(["diff", str(a), str(b)]) == 0, "what the manifests call equal is not read"
    assert cli.run(["diff", str(a), str(b), "--deep"]) == 3
    assert not prep.diff(a, a).features
    assert {each.field for each in prep.diff(a, a, deep=True).features} == {"states", "mask", *values()} - {"system"}


def test_without_a_manifest_every_chunk_is_hashed(a: Path, tmp_path: Path):
    changed = values()
    changed["states"][5] += 1
    b = store(tmp_path / "b.h5", changed)
    manifest.path_of(b).unlink()
    found = prep.diff(a, b)

    assert (found.a.hashed, found.b.hashed) == (False, True)
    assert (found.samples.changed.ranges, list(found.samples.read)) == ([(5, 5)], ["states"])
    assert found.b.root == prep.diff(b, b).a.root


def test_two_workers_say_what_one_says(a: Path, tmp_path: Path):
    b = store(tmp_path / "b.h5", values(3))

    assert prep.diff(a, b, workers=2).to_dict() == prep.diff(a, b, workers=1).to_dict()


def test_the_output_fits_a_screen_unless_everything_is_asked_for(
    a: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    changed = values(1)
    changed["constant"][1::2] = 7
    changed["empty"][1::2] = 7
    b = store(tmp_path / "b.h5", {name: each[::-1] for name, each in changed.items()}, version="2")

    assert cli.run(["diff", str(a), str(b)]) == 0
    short = capsys.readouterr().out
    assert cli.run(["diff", str(a), str(b), "-v"]) == 0
    everything = capsys.readouterr().out
    assert short.startswith("B differs from A: ")
    assert len(short.splitlines()) <= 40
    assert "-v shows all" in short
    assert "-v shows all" not in everything
    assert "constant" in everything


def test_the_section_of_limits_is_loaded_strictly(tmp_path: Path):
    section = "  drift: {limits: {psi: 0.2}, fields: {y: {l_inf: 0.1}}, ignore: [m], groups: {run: {new: 0}}}\n"
    good = GOOD.replace("  loss:", section + "  loss:")
    schema = loaded(good)
    assert limits_of(schema, "x") == {"psi": 0.2}
    assert limits_of(schema, "y") == {"psi": 0.2, "l_inf": 0.1}
    assert limits_of(schema, "m") == limits_of(schema, "run") == {}

    for old, new, what in (
        ("psi: 0.2", "pci: 0.2", "unknown key 'pci'"),
        ("l_inf: 0.1", "l_inf: 1.5", "out of range"),
        ("fields: {y:", "fields: {z:", "'z' is no field whose drift"),
        ("ignore: [m]", "ignore: [run]", "'run' is no field whose drift"),
        ("groups: {run:", "groups: {x:", "'x' is no group"),
        ("limits: {psi: 0.2}, ", "", "lacks 'limits'"),
    ):
        (error,) = errors_of(tmp_path, good.replace(old, new))
        assert what in error.what
        assert error.where.line == line_of(good, "drift:")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_schema_without_limits_is_what_it_was(system: str):
    """The section changes no plan of transforms, so that data certified before stay certified."""
    text = (ROOT / f"schemas/{system}.yaml").read_text(encoding="utf-8")
    before = load_schema(text, name=system, verify=False)
    after = load_schema(text.replace("\nprep:\n", "\nprep:\n  drift: {limits: {psi: 0.2}}\n"), verify=False)

    assert before.drift == {}
    assert after.drift == {"limits": {"psi": 0.2}}
    assert after.transform_digest() == before.transform_digest()
    assert after.checks[0].statistics == before.checks[0].statistics


def test_what_is_no_dataset_is_refused(a: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.run(["diff", str(a), "nowhere.h5"]) == 2
    Path("text.h5").write_text("no dataset")
    assert cli.run(["diff", str(a), "text.h5"]) == 3
    with pytest.raises((PrepError, Refusal, SchemaError)):
        prep.diff("nowhere.h5", a)
