"""Drafted schemas: odd data get one that loads again, that they pass, and that notices when the data change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.errors import SchemaError
from prep.importers import IngestOptions
from prep.schema import Schema, load_schema

ROWS = 500
Arrays = dict[str, Any]


def plain(rng: np.random.Generator) -> Arrays:
    return {"inputs": rng.normal(size=(ROWS, 3)), "targets": rng.normal(size=(ROWS, 2)).astype(np.float32)}


def odd_scales(rng: np.random.Generator) -> Arrays:
    """Twenty decades, large offsets, a constant column, float16."""
    wide = rng.normal(size=(ROWS, 4)) * [1e-12, 1.0, 1e8, 0.0] + [0.0, 1e6, -3e9, 7.0]
    return {"inputs": wide, "targets": (rng.normal(size=ROWS) * 3 + 5).astype(np.float16)}


def odd_names(rng: np.random.Generator) -> Arrays:
    """Names that YAML 1.1 takes for something else."""
    return {name: rng.normal(size=(ROWS, 2)) for name in ("y", "no", "Null", "on", "e1", "x")}


def complex_values(rng: np.random.Generator) -> Arrays:
    values = rng.normal(size=(ROWS, 4, 2)) + 1j * rng.normal(size=(ROWS, 4, 2))
    return {"inputs": values.astype(np.complex64) * 1e-7, "targets": rng.normal(size=(ROWS, 1))}


def integers(rng: np.random.Generator) -> Arrays:
    """Classes, counts, flags and ids; many rows are alike."""
    return {
        "inputs": rng.integers(0, 3, (ROWS, 2)),
        "labels": rng.integers(0, 2, ROWS).astype(np.int8),
        "run_mask": rng.integers(0, 2, ROWS).astype(bool),
        "episode": np.arange(ROWS) // 10,
        "weight": rng.uniform(size=ROWS),
    }


def tokens(rng: np.random.Generator) -> Arrays:
    """Token ids with a code for padding, and labels that are the same with -100 there."""
    ids, mask = rng.integers(2, 30_000, (ROWS, 8)), np.arange(8) < rng.integers(2, 9, (ROWS, 1))
    padded, labels = np.where(mask, ids, 1), np.where(mask, ids, -100)
    weights = {"weight": rng.uniform(size=ROWS)}
    return {"input_ids": padded, "attention_mask": mask.astype(np.int64), "labels": labels, **weights}


def heavy_tails(rng: np.random.Generator) -> Arrays:
    return {"inputs": rng.standard_cauchy(size=(ROWS, 3)), "targets": np.exp(5 * rng.normal(size=(ROWS, 1)))}


ODD: Mapping[str, Callable[[np.random.Generator], Arrays]] = {
    each.__name__: each for each in (plain, odd_scales, odd_names, complex_values, integers, tokens, heavy_tails)
}


def ingest(arrays: Arrays, **options: Any) -> Path:
    np.savez("mine.npz", **arrays)
    return prep.ingest("mine.npz", output="data/raw/mine.h5", options=IngestOptions(**options)).path


def failures(raw: Path) -> list[tuple[str, str]]:
    """(check, field) of what fails once ``raw`` went through the line with the drafted schema."""
    stats = prep.stats(raw, output="mine.json")
    (found,) = prep.validate(prep.normalize(raw, stats=stats, output="data/normalized/mine.h5"))
    assert found.report is not None
    return [(each.check, each.field) for each in found.report.failed]


def drafted() -> Schema:
    return load_schema(Path("schemas/mine.yaml"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ODD)
def test_odd_data_pass_the_schema_that_was_drafted_from_them(name: str):
    arrays = ODD[name](np.random.default_rng(3))
    raw = ingest(arrays, group="episode" if "episode" in arrays else "")

    assert [each for each in failures(raw) if each[0] != "learnability"] == []
    assert set(drafted().fields) >= {*arrays, "split"}
    assert {plan.name for plan in drafted().checks} >= {"split_flags", "unique_rows"}


def test_codes_are_left_as_they_are_by_the_draft():
    ingest(tokens(np.random.default_rng(0)))
    assert [drafted().fields[name].transform for name in ("input_ids", "labels")] == ["identity", "identity"]


def test_a_target_of_which_nothing_can_be_learnt_fails_the_draft_until_a_floor_and_its_reason_are_stated():
    arrays = plain(np.random.default_rng(3))
    assert failures(ingest(arrays)) == [("learnability", "targets")] * 2  # on val and on test

    place = Path("schemas/mine.yaml")
    lines = [line for line in place.read_text().splitlines() if "check_name: learnability" not in line]
    place.write_text("\n".join(lines))
    with pytest.raises(SchemaError, match="nothing checks that there is something to learn of 'targets'"):
        drafted()
    why = "the targets are dice, and this set tests how dice are handled"
    place.write_text(
        "\n".join(lines).replace("  fields:", f"  learnability: {{targets: {{floor: 1.0, why: {why!r}}}}}\n  fields:")
    )
    assert failures(Path("data/raw/mine.h5")) == []


def test_a_target_that_follows_from_the_inputs_passes_the_draft_and_the_score_is_in_the_certificate():
    arrays = plain(np.random.default_rng(3))
    arrays["targets"] = (arrays["inputs"][:, :2] * 4 + 1).astype(np.float32)
    raw = ingest(arrays)

    assert failures(raw) == []

    found = prep.certify("data/normalized/mine.h5").report.baselines
    assert [(probe["check"], probe["field"], probe["split"]) for probe in found["probes"]] == [
        ("learnability", "targets", "val"),
        ("learnability", "targets", "test"),
    ]
    assert all(probe["nmse"] < 1e-6 for probe in found["probes"])
    assert found["zero"] == pytest.approx(1.0, abs=1e-5)
    assert found["targets"]["targets"]["mean"] == pytest.approx(1.0, abs=1e-5)


def test_a_probe_that_predicting_zero_would_pass_needs_a_reason():
    arrays = plain(np.random.default_rng(3))
    ingest(arrays)
    place = Path("schemas/mine.yaml")
    text = place.read_text()
    place.write_text(text.replace("nmse_max: 0.99", "nmse_max: 5.0"))
    with pytest.raises(SchemaError, match="nothing checks that there is something to learn of 'targets'"):
        drafted()
    place.write_text(
        place.read_text().replace(
            "  fields:", "  learnability: {targets: {floor: 1.0, why: these are dice}}\n  fields:"
        )
    )
    assert failures(Path("data/raw/mine.h5")) == []


def test_inputs_too_wide_for_a_probe_get_a_stated_floor():
    rng = np.random.default_rng(3)
    ingest({"inputs": rng.normal(size=(60, 600)), "targets": rng.normal(size=(60, 1))})

    assert drafted().learnability["targets"]["floor"] == 1.0


@pytest.mark.parametrize("name", ODD)
def test_every_float_field_of_a_draft_is_checked_for_finite_values(name: str):
    ingest(ODD[name](np.random.default_rng(3)))
    schema = drafted()
    floats = {field for field, plan in schema.variables.items() if plan.dtype.kind in "fc"}

    assert {plan.statistics["var"] for plan in schema.checks if plan.name == "finite"} == floats
    assert floats


def test_a_group_is_kept_in_one_split_by_the_draft():
    ingest(integers(np.random.default_rng(0)), group="episode")

    assert [plan.statistics for plan in drafted().checks if plan.name == "groups_disjoint"] == [
        {"var": "episode", "with_fields": []}
    ]


def test_rows_alike_are_an_error_for_continuous_values_and_a_warning_for_integers():
    ingest(integers(np.random.default_rng(0)))
    (coarse,) = [plan for plan in drafted().checks if plan.name == "unique_rows"]
    Path("schemas/mine.yaml").unlink()
    ingest(plain(np.random.default_rng(0)))
    (fine,) = [plan for plan in drafted().checks if plan.name == "unique_rows"]

    assert (coarse.severity, fine.severity) == ("warning", "error")


def far_away(arrays: Arrays) -> None:
    arrays["inputs"][7, 1] += 1e4


def doubled_rows(arrays: Arrays) -> None:
    for name in arrays:
        arrays[name][250:] = arrays[name][:250]


def beyond_aux(arrays: Arrays) -> None:
    arrays["weight"][7] = 40.0


@pytest.mark.parametrize(
    ("make", "change", "expected"),
    [
        (plain, far_away, ("in_bounds", "inputs")),
        (plain, doubled_rows, ("unique_rows", "inputs")),
        (integers, beyond_aux, ("in_bounds", "weight")),
    ],
)
def test_a_draft_notices_that_the_data_changed(
    make: Callable[[np.random.Generator], Arrays], change: Callable[[Arrays], None], expected: tuple[str, str]
):
    arrays = make(np.random.default_rng(1))
    ingest(arrays)
    change(arrays)

    assert expected in failures(ingest(arrays))


def test_a_field_more_or_less_does_not_go_unnoticed():
    arrays = plain(np.random.default_rng(1))
    ingest(arrays)
    for other in ({**arrays, "extra": arrays["targets"]}, {"inputs": arrays["inputs"]}):
        with pytest.raises(prep.errors.SchemaError, match="do not have the same fields"):
            failures(ingest(other))


def test_a_dtype_that_changed_is_named():
    arrays = plain(np.random.default_rng(1))
    ingest(arrays)
    arrays["inputs"] = arrays["inputs"].astype(np.float32)

    assert ("structure", "inputs") in failures(ingest(arrays))


def test_a_constant_feature_is_pointed_out_in_the_draft():
    ingest(odd_scales(np.random.default_rng(0)))

    assert "1 of 4 features of inputs are constant in the train split" in drafted().text


def test_an_edited_schema_is_never_overwritten():
    arrays = plain(np.random.default_rng(1))
    ingest(arrays)
    path = Path("schemas/mine.yaml")
    path.write_text("# mine\n" + path.read_text())
    ingest(arrays)

    assert path.read_text().startswith("# mine\n")
