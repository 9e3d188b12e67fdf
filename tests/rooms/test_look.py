"""A quick look at one field: `prep inspect --stats` and `prep plot`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep import cli
from prep.blocks import Array, Block, DatasetSpec
from prep.errors import DataError, IntegrityError, UsageError
from prep.folds import Scope
from prep.folds.binned import binned, edges_of
from prep.folds.sketch import Quantiles
from prep.report.looked import Panel
from tests.conftest import dataset_of, largest_file
from tests.rooms.formats_demo import FIELDS, demo_arrays, demo_spec, write_demo

RAW = tuple(replace(each, transform="identity", transform_state="raw") for each in FIELDS)


@pytest.fixture(params=[".h5", ".zarr"])
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, DatasetSpec, dict[str, Array]]:
    """An uncertified raw dataset with masked values, a NaN, an infinity, a constant feature and two groups."""
    spec = replace(demo_spec(400), fields=RAW)
    arrays = demo_arrays(spec)
    arrays["states"] = arrays["states"] * 3 + 100
    arrays["states"][7, 2, 0], arrays["states"][9, 1, 1] = np.nan, np.inf
    arrays["states"][:, :, 2] = 5
    arrays["state_mask"] = np.ones((400, 3), bool)
    arrays["state_mask"][:50, 1] = False
    arrays["states"][:50, :, 1] = 1e9
    arrays["episode"] = np.arange(400) % 2
    arrays["matrix"] = arrays["matrix"] @ arrays["matrix"].conj().swapaxes(1, 2)
    write_demo(tmp_path / f"demo{request.param}", spec, arrays=arrays)
    return tmp_path / f"demo{request.param}", spec, arrays


def panel(found: Any, **wanted: Any) -> Panel:
    (one,) = (each for each in found.panels if all(getattr(each, key) == value for key, value in wanted.items()))
    return one  # type: ignore[no-any-return]


def test_statistics_are_those_of_the_stored_values_that_the_mask_counts(raw: Any):
    path, spec, arrays = raw
    found = panel(prep.look(path, "states"), split="train")

    start, stop = spec.splits["train"]
    first = arrays["states"][start:stop, :, 0].astype(np.float64).ravel()
    first = first[np.isfinite(first)]
    second = arrays["states"][50:stop, :, 1].astype(np.float64).ravel()
    assert (found.values, found.units, found.features) == ("raw", "m", ("state 0", "state 1", "state 2"))
    assert found.mean[0] == pytest.approx(first.mean(), rel=1e-12)
    assert found.std[0] == pytest.approx(first.std(), rel=1e-12)
    assert (found.min[1], found.max[1]) == (second.min(), second.max())  # not the 1e9 behind the mask
    assert found.quantiles["q50"][0] == pytest.approx(np.median(first), abs=0.1)
    assert found.count.tolist() == [1000, 750, 1000]
    assert (found.nan.tolist(), found.masked.tolist()) == ([1, 0, 0], [0, 250, 0])
    assert found.constant.tolist() == [False, False, True]
    assert found.shares()["masked"] == pytest.approx(250 / 3000)


def test_each_group_is_measured_on_demand(raw: Any):
    path, _, arrays = raw
    found = prep.look(path, "states", by="episode", split="val")

    assert [each.group for each in found.panels] == [0, 1]
    odd = arrays["states"][201:300:2, :, 0].astype(np.float64)
    assert found.panels[1].samples == 50
    assert found.panels[1].mean[0] == pytest.approx(odd.mean(), rel=1e-12)


def test_quantiles_are_right_whatever_the_first_samples_hold(tmp_path: Path):
    spec = replace(demo_spec(400), fields=RAW)
    arrays = {**demo_arrays(spec), "episode": np.arange(400) // 20, "state_mask": np.ones((400, 3), bool)}
    arrays["states"][:20] = 1e6
    arrays["states"][100:140] += 4096
    write_demo(tmp_path / "demo.h5", spec, arrays=arrays)

    start, stop = spec.splits["train"]
    train = panel(prep.look(tmp_path / "demo.h5", "states"), split="train")
    exact = np.quantile(arrays["states"][start:stop], 0.25, axis=(0, 1), method="inverted_cdf")
    assert train.quantiles["q25"] == pytest.approx(exact, abs=0.02)
    for each in prep.look(tmp_path / "demo.h5", "states", by="episode").panels:
        for quantile in each.quantiles.values():
            assert (each.min <= quantile).all()
            assert (quantile <= each.max).all()
    far = panel(prep.look(tmp_path / "demo.h5", "states", by="episode"), split="train", group=6)
    exact = np.quantile(arrays["states"][120:140], 0.25, axis=(0, 1), method="inverted_cdf")
    assert far.quantiles["q25"] == pytest.approx(exact, abs=0.02)


def test_more_groups_than_can_be_measured_are_refused(raw: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("prep.verbs.look.MOST_CELLS", 5)
    with pytest.raises(UsageError, match="too many values"):
        prep.look(raw[0], "states", by="episode")
    assert len(prep.look(raw[0], "matrix", by="episode", split="train").panels) == 6


def test_a_complex_field_is_measured_by_real_part_imaginary_part_and_modulus(raw: Any):
    path, _, arrays = raw
    found = prep.look(path, "matrix", split="test")

    rows = arrays["matrix"][300:].astype(np.complex128)
    wanted = {"real": rows.real, "imaginary": rows.imag, "modulus": np.abs(rows)}
    assert {each.part: each.mean[0] for each in found.panels} == {
        part: pytest.approx(values.mean(), rel=1e-6, abs=1e-9) for part, values in wanted.items()
    }


def test_a_normalised_field_is_measured_in_both_units(certified_project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(certified_project)
    found = prep.look(dataset_of(certified_project, "control"), "states", split="train")
    before = panel(prep.look("data/raw/control.h5", "states", split="train"))

    original, stored = panel(found, values="original"), panel(found, values="normalised")
    assert found.certified
    assert found.groups[0] == "system"
    assert np.allclose(stored.mean, 0, atol=1e-6)
    assert np.allclose(original.mean, before.mean, rtol=1e-5)
    assert np.allclose(original.std, before.std, rtol=1e-5)
    assert before.masked.tolist() == original.masked.tolist()
    assert before.masked.sum() > 0  # the mask of raw data is the schema's


def test_original_units_that_cannot_be_had_are_said_and_the_rest_is_measured(tmp_path: Path):
    write_demo(tmp_path / "demo.h5")
    found = prep.look(tmp_path / "demo.h5", "states")

    assert {each.values for each in found.panels} == {"normalised"}
    assert found.notes == ("no original values: no transforms are embedded",)
    with pytest.raises(DataError, match="no original values"):
        prep.plot(tmp_path / "demo.h5", "states", original=True)


def test_changed_bytes_of_a_certified_dataset_are_refused(certified_copy: Path):
    path = dataset_of(certified_copy, "regression")
    data = bytearray(largest_file(path).read_bytes())
    at = prep.open(path).manifest.layouts["inputs"].offsets[0]
    data[int(at) + 100] ^= 1
    largest_file(path).write_bytes(data)

    with pytest.raises(IntegrityError):
        prep.look(path, "inputs")


def test_a_histogram_of_equal_bins_comes_near_the_exact_one():
    spec = replace(demo_spec(20_000), fields=RAW)
    values = np.random.default_rng(0).normal(size=(20_000, 5, 3)).astype("f4")
    field = replace(RAW[0], mask="")
    fold = Quantiles(field, Scope.of(spec), pivot=(2.0, 0.0, -1.0))
    block = Block(0, 20_000, {"states": values})
    found = fold.finish(fold.absorb(fold.empty(), block))

    for feature in range(3):
        column = values[:, :, feature].astype(np.float64)
        edges = edges_of(column.min(), column.max(), 40)
        exact = np.histogram(column, edges)[0]
        counts = binned(found, 0, feature, edges)
        assert counts.sum() == pytest.approx(column.size)
        assert np.abs(counts - exact).max() < 0.02 * exact.max()


def test_whole_numbers_have_a_bin_each():
    assert edges_of(0, 3, 120, whole=True).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]
    assert len(edges_of(0, 999, 120, whole=True)) <= 121
    assert edges_of(2.0, 2.0, 120).tolist() == [2.0, 2.0]


def test_the_command_shows_tables_and_json(raw: Any, capsys: pytest.CaptureFixture[str]):
    path, _, _ = raw
    assert cli.run(["inspect", str(path), "--stats", "states"]) == 0
    shown = capsys.readouterr().out
    assert "certified: no: this dataset is not certified" in shown
    assert "state 2" in shown
    assert "--by episode" in shown
    assert cli.run(["inspect", str(path), "--stats", "states", "--json", "-"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [each["split"] for each in body["statistics"]] == ["train", "val", "test"]
    assert body["statistics"][0]["features"][0]["nan"] == 1
    assert body["statistics"][0]["features"][2]["constant"] is True
    for options in (["--stats", "states"], []):
        file = path.with_name("k.json")
        assert cli.run(["inspect", str(path), *options, "--json", str(file)]) == 0
        assert "states" in capsys.readouterr().out, "text besides a file"
        assert json.loads(file.read_text())


def test_the_terminal_shows_histograms_series_and_matrices(raw: Any, capsys: pytest.CaptureFixture[str]):
    path, _, _ = raw
    assert cli.run(["plot", str(path), "states", "--samples", "2"]) == 0
    shown = capsys.readouterr().out
    assert "█" in shown
    assert "always 5" in shown
    assert "1 not finite" in shown
    assert "sample 199 along time (index)" in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines()[4:])) <= 80
    assert cli.run(["plot", str(path), "matrix"]) == 0
    assert "Hermitian, largest eigenvalue" in capsys.readouterr().out


def test_a_picture_says_what_it_counts_and_its_ends_can_be_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("prep.verbs.look.SKETCHED_VALUES", 100)
    spec = replace(demo_spec(400), fields=RAW)
    arrays = {**demo_arrays(spec), "episode": 1_700_000_000 + np.arange(400) % 60}
    write_demo(tmp_path / "demo.h5", spec, arrays=arrays)

    assert cli.run(["plot", str(tmp_path / "demo.h5"), "episode"]) == 0
    shown = capsys.readouterr().out
    assert "200 samples, over every 2. of them" in shown
    assert "1700000000 " in shown
    assert " 1700000059" in shown
    arrays["episode"] = (1 << 62) + np.arange(400)
    write_demo(tmp_path / "large.h5", spec, arrays=arrays)
    assert cli.run(["inspect", str(tmp_path / "large.h5"), "--stats", "episode"]) == 0
    assert "rounds numbers of this size to multiples of 1,024" in capsys.readouterr().out


def test_an_output_without_blocks_gets_plain_characters(
    raw: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("prep.cli.look._room", lambda: (80, True))
    assert cli.run(["plot", str(raw[0]), "states"]) == 0
    assert "#" in (shown := capsys.readouterr().out)
    assert "█" not in shown


@pytest.mark.parametrize(("name", "ending"), [("states", ".png"), ("matrix", ".svg"), ("episode", ".png")])
def test_a_picture_is_drawn(raw: Any, name: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    picture = tmp_path / f"picture{ending}"
    assert cli.run(["plot", str(raw[0]), name, "-o", str(picture)]) == 0
    assert f"in {picture}" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG" if ending == ".png" else b"<?xml")
    if ending == ".svg":
        prep.plot(raw[0], name, output=tmp_path / "again.svg")
        assert (tmp_path / "again.svg").read_bytes() == picture.read_bytes()


def test_without_matplotlib_the_extra_is_named(raw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError) as caught:
        prep.plot(raw[0], "states", output=tmp_path / "x.png")
    assert "prep-certified[train]" in caught.value.remedy
    assert prep.plot(raw[0], "states").kinds == ("histogram", "series")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["inspect", "--stats", "nothing"], "allowed:  states, matrix, state_mask, episode, split"),
        (["inspect", "--stats", "scene"], "is an array without samples"),
        (["inspect", "--stats", "states", "--by", "matrix"], "allowed:  episode"),
        (["inspect", "--stats", "states", "--split", "dev"], "allowed:  train, val, test"),
        (["inspect", "--stats", "states", "--table"], "leave --table"),
        (["inspect", "--by", "episode"], "--by without --stats"),
        (["plot", "states", "--kind", "pie"], "auto, histogram, series, matrix"),
        (["plot", "states", "--kind", "matrix"], "holds no square matrices"),
        (["plot", "episode", "--kind", "series"], "has no series"),
        (["plot", "states", "--samples", "0"], "1 to 16"),
        (["plot", "states", "-o", "x.pdf"], ".png or .svg"),
    ],
)
def test_wrong_usage_says_what_is_allowed(
    tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "demo.h5"
    write_demo(path, replace(demo_spec(), fields=RAW))

    assert cli.run([arguments[0], str(path), *arguments[1:]]) == 2
    assert told in capsys.readouterr().err


def test_an_empty_split_is_no_success(tmp_path: Path):
    spec = replace(demo_spec(10), fields=RAW, splits={"train": (0, 10), "val": (10, 10), "test": (10, 10)})
    write_demo(tmp_path / "demo.h5", spec)

    with pytest.raises(DataError, match="no samples"):
        prep.look(tmp_path / "demo.h5", "states", split="val")
    assert [each.split for each in prep.look(tmp_path / "demo.h5", "states").panels] == ["train"]


def test_only_what_the_field_needs_is_read(raw: Any):
    """A damaged field does not keep another one from being looked at."""
    from prep.verbs.subject import subject

    with subject(raw[0], "states") as found:
        assert {each.name for each in found.narrowed("episode").spec.fields} == {"states", "state_mask", "episode"}
