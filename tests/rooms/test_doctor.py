"""`prep doctor` on files as people have them: what they are taken for, what is told, how it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import numpy as np
import pytest

import prep
from prep.cli import run
from prep.errors import UsageError
from prep.importers import IngestOptions
from prep.report.examined import Examined
from prep.verbs.drafted import write_schema
from prep.verbs.ingest import open_source
from tests.conftest import working_in
from tests.rooms.tables import write_parquet

RANDOM = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape)


def npz(folder: Path) -> Path:
    x = normal(60, 3)
    np.savez(folder / "a.npz", x=x, y=x @ normal(3, 1), sample_id=np.arange(60), x_mean=x.mean(0), scene=normal(9, 2))
    return folder / "a.npz"


def named_splits(folder: Path) -> Path:
    np.savez(folder / "b.npz", x_train=normal(40, 3), y_train=normal(40, 1), x_test=normal(20, 3), y_test=normal(20, 1))
    return folder / "b.npz"


def robomimic(folder: Path) -> Path:
    with h5py.File(folder / "c.h5", "w") as file:
        for number in range(11):
            group = file.create_group(f"data/demo_{number}")
            group["actions"], group["obs/pose"] = normal(5 + number, 2), normal(5 + number, 3)
            group["dones"] = np.arange(5 + number) == 4 + number
        file["mask/train"] = np.array([f"demo_{number}" for number in range(11) if number % 5], "S")
        file["mask/valid"] = np.array(["demo_0", "demo_5", "demo_10"], "S")
    return folder / "c.h5"


def maniskill(folder: Path) -> Path:
    with h5py.File(folder / "d.h5", "w") as file:
        for number in range(3):
            file[f"traj_{number}/actions"], file[f"traj_{number}/obs"] = normal(9, 2), normal(10, 3)
    return folder / "d.h5"


def act(folder: Path) -> Path:
    (folder / "act").mkdir()
    for number in range(2):
        with h5py.File(folder / f"act/episode_{number}.hdf5", "w") as file:
            file["action"], file["observations/qpos"] = normal(8, 2), normal(8, 3)
    return folder / "act"


def diffusion_policy(folder: Path) -> Path:
    import zarr

    root = zarr.open_group(str(folder / "e.zarr"), mode="w", zarr_format=2)
    root.create_array("data/state", data=normal(35, 3))
    root.create_array("data/action", data=normal(35, 2))
    root.create_array("meta/episode_ends", data=np.array([10, 30]))
    return folder / "e.zarr"


def d4rl(folder: Path) -> Path:
    with h5py.File(folder / "j.hdf5", "w") as file:
        file["observations"], file["actions"], file["rewards"] = normal(90, 3), normal(90, 2), normal(90)
        file["terminals"], file["timeouts"] = np.arange(90) % 20 == 9, np.arange(90) % 30 == 4
        file["metadata/algorithm"] = "SAC"
    return folder / "j.hdf5"


def sequences(folder: Path) -> Path:
    with h5py.File(folder / "f.h5", "w") as file:
        file["signal"], file["target"] = normal(30, 8, 2), normal(30, 8, 1)
        file["valid"] = np.arange(8) < RANDOM.integers(4, 9, (30, 1))
        file["timestamp"], file["split"] = np.arange(30) * 0.1, np.array([0, 2, 1] * 10)
    return folder / "f.h5"


def csv(folder: Path) -> Path:
    lines = [f"{a!r},{b!r},{a + b!r},ada" for a, b in normal(30, 2).tolist()]
    (folder / "g.csv").write_text("x1,x2,label,name\n" + "\n".join(lines))
    return folder / "g.csv"


def parquet(folder: Path) -> Path:
    write_parquet(folder / "h.parquet", 100)
    return folder / "h.parquet"


def array(folder: Path) -> Path:
    np.save(folder / "i.npy", normal(30, 3))
    return folder / "i.npy"


Expected = tuple[int, dict[str, str], dict[str, tuple[int, int]], str]
LAYOUTS: dict[Callable[[Path], Path], Expected] = {
    npz: (60, {"x": "input", "y": "target", "sample_id": "id"}, {"train": (0, 60)}, ""),
    named_splits: (60, {"x": "input", "y": "target"}, {"train": (0, 40), "test": (40, 60)}, ""),
    robomimic: (
        110,
        {"actions": "target", "obs_pose": "input", "dones": "aux", "episode": "id"},
        {"train": (0, 80), "val": (80, 110)},
        "episode",
    ),
    maniskill: (27, {"actions": "target", "obs": "input", "episode": "id"}, {"train": (0, 27)}, "episode"),
    act: (16, {"action": "target", "observations_qpos": "input", "episode": "id"}, {"train": (0, 16)}, "episode"),
    diffusion_policy: (
        30,
        {"data_action": "target", "data_state": "input", "episode": "id"},
        {"train": (0, 30)},
        "episode",
    ),
    d4rl: (
        90,
        {"observations": "input", "actions": "target", "rewards": "aux", "terminals": "aux", "timeouts": "aux"}
        | {"episode": "id"},
        {"train": (0, 90)},
        "episode",
    ),
    sequences: (
        30,
        {"signal": "input", "target": "target", "valid": "mask", "timestamp": "aux"},
        {"train": (0, 10), "val": (10, 20), "test": (20, 30)},
        "",
    ),
    csv: (30, {"x": "input", "label": "target"}, {"train": (0, 30)}, ""),
    parquet: (
        100,
        {"x": "input", "vector": "aux", "list": "aux", "gaps": "aux", "when": "aux", "ok": "aux"},
        {"train": (0, 100)},
        "",
    ),
    array: (30, {"i": "input"}, {"train": (0, 30)}, ""),
}


def examined(path: Path, **options: Any) -> Examined:
    (found,) = prep.doctor(path, **options)
    assert found.found is not None
    return found.found


@pytest.mark.parametrize("make", LAYOUTS, ids=lambda make: make.__name__)
def test_a_layout_is_found_and_each_guess_says_why(make: Callable[[Path], Path], tmp_path: Path) -> None:
    rows, roles, splits, group = LAYOUTS[make]
    guess = examined(make(tmp_path)).guess
    assert (guess.spec.rows, {each.name: each.role for each in guess.spec.fields}) == (rows, roles)
    assert (dict(guess.spec.splits), guess.divided, guess.group) == (splits, len(splits) > 1, group)
    assert all(guess.why.get(each.name) for each in guess.spec.fields)


def test_flat_arrays_are_cut_where_flags_end_an_episode_and_never_inside_one(tmp_path: Path) -> None:
    opened = open_source(str(d4rl(tmp_path)), None, IngestOptions())
    assert opened.group == "episode"
    homes: dict[int, set[str]] = {}
    lengths: dict[int, int] = {}
    for split, arrays in opened.blocks():
        for episode, count in zip(*np.unique(arrays["episode"], return_counts=True), strict=True):
            homes.setdefault(episode, set()).add(split)
            lengths[episode] = lengths.get(episode, 0) + count
    assert [lengths[episode] for episode in range(8)] == [5, 5, 20, 5, 15, 15, 5, 20]
    assert {len(splits) for splits in homes.values()} == {1}


def test_masks_times_and_statistics_are_linked_to_what_they_are_of(tmp_path: Path) -> None:
    guess = examined(sequences(tmp_path)).guess
    assert (guess.spec["signal"].mask, guess.spec["target"].mask, guess.time) == ("valid", "valid", "timestamp")
    found = examined(npz(tmp_path))
    assert [(each.field, each.kind, each.place) for each in found.guess.stored] == [("x", "mean", "array x_mean")]
    assert "one row a sample" in found.left_out["scene"]


def test_rows_keep_their_values_where_a_split_column_mixes_them(tmp_path: Path) -> None:
    from prep.verbs.taken_for import foreign

    path = sequences(tmp_path)
    source = foreign(path, {}).source
    blocks = [block["signal"] for block in source.segments(frozenset({"signal"}))]
    with h5py.File(path) as file:
        signal, split = file["signal"][()], file["split"][()]
    np.testing.assert_array_equal(np.concatenate(blocks), signal[np.argsort(split, kind="stable")])


def test_pickled_members_are_left_out_and_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=normal(30, 3), meta=np.array({"made": "somewhere"}, object))
    found = examined(tmp_path / "a.npz")
    assert ([each.name for each in found.guess.spec.fields], list(found.left_out)) == (["x"], ["meta"])


def test_links_to_other_files_are_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = normal(30, 3), h5py.ExternalLink("/etc/passwd", "/y")
    assert examined(tmp_path / "a.h5").left_out == {"y": "a link to data elsewhere"}


def test_a_file_of_which_nothing_can_be_said_is_not_healthy(tmp_path: Path) -> None:
    np.save(tmp_path / "flags.npy", np.ones((9, 2), bool))
    assert run(["doctor", str(tmp_path / "flags.npy")]) == 4


def test_the_user_overrules_a_role(tmp_path: Path) -> None:
    path = array(tmp_path)
    assert examined(path, roles={"i": "target"}).guess.spec["i"].role == "target"
    with pytest.raises(UsageError, match="no field 'j'"):
        prep.doctor(path, roles={"j": "target"})
    assert run(["doctor", str(path), "--role", "i=wrong"]) == 2


@pytest.mark.parametrize("role", ["split", "constant", "id", "time", "tme"])
def test_a_role_that_cannot_be_is_refused_with_those_that_can(
    role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", str(npz(tmp_path)), "--role", f"x={role}"]) == 2
    told = capsys.readouterr().err
    allowed = {"id": "one integer a sample", "time": "one real number a sample"}
    assert allowed.get(role, "input, target, mask, id, aux, time\n") in told


def test_a_field_masks_not_itself_and_a_clock_with_gaps_is_told(tmp_path: Path) -> None:
    clock = np.arange(60.0)
    clock[7] = np.nan
    np.savez(tmp_path / "a.npz", x=normal(60, 6), y=normal(60), clock=clock)
    found = examined(tmp_path / "a.npz", roles={"x": "mask", "clock": "time"})
    assert found.guess.spec["x"].mask == ""
    assert any("masks no field" in each for each in found.notes)
    assert ("non-finite", "clock") in [(each.code, each.field) for each in found.diagnostics]


def test_what_is_found_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    path = sequences(tmp_path)
    assert examined(path, workers=1).to_dict() == examined(path, workers=3).to_dict()


def test_raw_units_are_harmful_and_the_json_is_what_its_schema_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "raw.npz", x=normal(200, 3) * [1, 1e4, 1], y=normal(200, 1) * 3e7)
    assert run(["doctor", str(tmp_path / "raw.npz"), "--json", str(tmp_path / "a.json")]) == 1
    told = capsys.readouterr().out
    assert "HARMFUL" in told
    assert len(told.splitlines()) <= 40
    document = json.loads((tmp_path / "a.json").read_text())
    schema = json.loads(files("prep.report").joinpath("examined.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert document["exit_code"] == 1
    diagnostics = document["files"][0]["diagnostics"]
    assert {"y", "x"} <= {each["field"] for each in diagnostics}
    assert all(each["consequence"] and each["remedy"] for each in diagnostics)


def test_a_folder_is_every_file_in_it_and_a_bad_one_hides_no_other(tmp_path: Path) -> None:
    npz(tmp_path)
    csv(tmp_path)
    (tmp_path / "bad.h5").write_bytes(b"no HDF5" * 100)
    (tmp_path / "notes.txt").write_text("nothing for us")
    assert run(["doctor", str(tmp_path), "--json", str(tmp_path / "out.json")]) == 3
    document = json.loads((tmp_path / "out.json").read_text())
    schema = json.loads(files("prep.report").joinpath("examined.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert [(Path(each["path"]).name, "error" in each) for each in document["files"]] == [
        ("a.npz", False),
        ("bad.h5", True),
        ("g.csv", False),
    ]


def test_truth_values_of_a_table_are_examined_as_zeros_and_ones(tmp_path: Path) -> None:
    lines = [f"{a},true,{b}" for a, b in np.array(["true", "false"])[RANDOM.integers(0, 2, (80, 2))]]
    (tmp_path / "b.csv").write_text("\n".join(["adult,alive,y", *lines]))
    found = examined(tmp_path / "b.csv")
    assert [found.guess.spec[name].role for name in ("adult", "alive", "y")] == ["input", "input", "target"]
    assert "alive" in [each.field for each in found.diagnostics]


def test_a_file_with_nothing_to_examine_does_not_hide_that_another_is_harmful(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", x=normal(60, 3) * 1e6, y=normal(60))
    (tmp_path / "words.csv").write_text("name\nada\nbob\n")
    assert run(["doctor", str(tmp_path / "words.csv")]) == 4
    assert run(["doctor", str(tmp_path)]) == 1


def test_ingest_takes_a_table_for_what_doctor_does_and_is_told_only_where_it_mends(tmp_path: Path) -> None:
    lines = [f"{a!r},{b!r},{a + b!r}" for a, b in (normal(300, 2) * 1e3).tolist()]
    path = tmp_path / "t.csv"
    path.write_text("pressure,flow,y\n" + "\n".join([*lines, "nan,-999999,0"]))
    found = examined(path)
    opened = open_source(str(path), None, IngestOptions())
    assert [(each.name, each.role) for each in opened.fields] == [
        (each.name, each.role) for each in found.guess.spec.fields
    ]
    commands = {each.code: each.command for each in found.diagnostics}
    assert commands["unnormalised-input"].startswith("prep ingest")
    assert commands["non-finite"] == ""


@pytest.mark.parametrize("share", [5, 60])
def test_a_dataset_with_fill_values_fails_the_schema_that_was_drafted_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], share: int
) -> None:
    x = normal(300, 2)
    x[np.arange(300) % (300 // share) == 0] = -999
    np.savez(tmp_path / "a.npz", x=x, y=x[:, :1] + normal(300, 1))
    with working_in(tmp_path):
        done = write_schema("a.npz")
        assert f'-999 ({2 * share} times) in x may mean "missing": the bounds leave it out' in done.schema.read_text()
        for command in done.commands:
            assert run(command.split()[1:]) == 0
        capsys.readouterr()
        assert run(["validate", "data/normalized/a.h5"]) == 1
        assert re.search(r"FAIL +in_bounds +x ", capsys.readouterr().out)


def test_a_table_of_several_inputs_passes_the_schema_that_was_drafted_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(11).standard_normal((300, 3)) * 50 + 300
    rows = [";".join(f"{value:.4f}" for value in (*line, line[1] - line[2])) for line in x.tolist()]
    (tmp_path / "t.csv").write_text("flow;pressure;temperature;y\n" + "\n".join(rows).replace(".", ","))
    with working_in(tmp_path):
        assert run(["doctor", "t.csv", "--write-schema"]) == 0
        commands = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  prep ")]
        for command in [*commands, ["prep", "validate", "data/normalized/t.h5"]]:
            assert run(command[1:]) == 0
        assert "passed with warnings" in capsys.readouterr().out


def test_rows_that_chance_makes_equal_are_warned_of_by_the_draft_and_are_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x = RANDOM.integers(0, 3, 600)
    table = {"x": x, "z": normal(600).round(1), "label": x + RANDOM.integers(0, 2, 600)}
    lines = [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    Path("coarse.csv").write_text("\n".join([",".join(table), *lines]))
    assert run(["doctor", "coarse.csv", "--write-schema"]) == 0
    commands = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  prep ")]
    for command in [*commands, ["prep", "validate", "data/normalized/coarse.h5"]]:
        assert run(command[1:]) == 0
    assert "WARN  unique_rows" in capsys.readouterr().out
    found = examined(Path("data/normalized/coarse.h5"))
    (told,) = (each for each in found.diagnostics if each.code == "check-unique-rows")
    assert (told.severity, told.command) == ("note", "")


def test_commands_take_a_path_that_begins_with_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("-x.npz", x=normal(60, 3) * 1e6, y=normal(60))
    (found,) = prep.doctor("-x.npz")
    assert found.found is not None
    assert found.found.diagnostics[0].command.startswith("prep ingest ./-x.npz -o data/raw/x.h5 && ")
    assert run(["doctor", "--write-schema", "--", "-x.npz"]) == 0
    assert "  prep ingest ./-x.npz " in capsys.readouterr().out


def test_a_fill_value_is_told_before_the_scale_that_it_makes_and_no_command_bakes_it_in(tmp_path: Path) -> None:
    x = normal(300, 4)
    x[::10, 2] = -999
    np.savez(tmp_path / "a.npz", x=x, y=x[:, :1] + normal(300, 1))
    found = examined(tmp_path / "a.npz").diagnostics
    assert [each.code for each in found[:2]] == ["fill-value", "unnormalised-input"]
    assert {each.command for each in found if each.field == "x"} == {""}


def test_splits_of_two_types_are_read_in_the_wider_one(tmp_path: Path) -> None:
    x, test = normal(40, 3).astype(np.float32), normal(20, 3)
    np.savez(tmp_path / "a.npz", x_train=x, x_test=test, y_train=normal(40), y_test=normal(20))
    found = examined(tmp_path / "a.npz")
    assert found.guess.spec["x"].dtype == np.float64
    assert "x is of several types and read as float64" in found.form


def test_a_link_to_nothing_and_a_very_long_name_are_told_shortly(tmp_path: Path) -> None:
    (tmp_path / "a.npy").symlink_to("gone.npy")
    with pytest.raises(UsageError, match="link to something that is not there"):
        prep.doctor(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", **{"x" * 5000: normal(30, 3), "y": normal(30)})
    assert max(len(each.name) for each in examined(tmp_path / "b.npz").guess.spec.fields) == 100
    assert write_schema(tmp_path / "b.npz", output=tmp_path / "b.yaml").schema.exists()


def test_numbered_files_hide_no_other_file_beside_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for number in range(2):
        write_parquet(tmp_path / f"sub/part-{number}.parquet", 100)
    assert [each.path.name for each in prep.doctor(tmp_path)] == ["sub"]
    npz(tmp_path)
    assert [each.path.name for each in prep.doctor(tmp_path)] == ["a.npz", "sub"]
    npz(tmp_path / "sub")
    assert [each.path.name for each in prep.doctor(tmp_path / "sub")] == ["a.npz", "part-0.parquet", "part-1.parquet"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.h5", b"", 3),
        ("a.npz", b"PK\x03\x04 and nothing else", 3),
        ("a.npy", b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (3,), }".ljust(80), 2),
        ("a.parquet", b"PAR1" + b"\xff" * 99 + b"PAR1", 3),
        ("a.csv", b"a,b\n", 4),
        ("a.txt", b"hello", 2),
    ],
)
def test_what_cannot_be_examined_ends_in_an_exit_code_and_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, code: int
) -> None:
    (tmp_path / name).write_bytes(content)
    assert run(["doctor", str(tmp_path / name)]) == code
    told = capsys.readouterr().err
    assert "remedy:" in told
    assert "Traceback" not in told


def test_a_drafted_schema_takes_the_file_to_a_dataset_that_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = normal(600, 3)
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["log/x"], file["log/y"] = x * [1, 50, 1] + 7, x @ normal(3, 2)
        file["episode"], file["scene"] = np.repeat(np.arange(30), 20), normal(4, 4)
    with working_in(tmp_path):
        told = {each.command for each in examined(Path("mine.h5")).diagnostics if each.command}
        assert told == {"prep doctor mine.h5 --write-schema"}
        assert run(["doctor", "mine.h5", "--write-schema"]) == 0
        commands = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  prep ")]
        assert (tmp_path / "schemas/mine.mapping.yaml").exists()
        assert run(["doctor", "mine.h5", "--write-schema"]) == 2
        for command in commands:
            assert run(command[1:]) == 0
        assert run(["validate", "data/normalized/mine.h5"]) == 0
        found = examined(Path("data/normalized/mine.h5"))
        assert (found.count("harmful"), found.checks > 10, found.exit_code) == (0, True, 0)
        data = bytearray(Path("data/normalized/mine.h5").read_bytes())
        data[len(data) // 2] ^= 1
        Path("data/normalized/mine.h5").write_bytes(data)
        assert run(["doctor", "data/normalized/mine.h5"]) == 3


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_dates_are_a_clock_whatever_their_name_unless_they_are_in_no_order(kind: str, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import csv as text
    from pyarrow import parquet

    minutes = np.arange(60) * 60
    minutes[[30, 31]] = minutes[[31, 30]]
    dates = {
        "born": RANDOM.permutation(60) * 86400,
        "recorded_on": minutes,
    }
    table = pyarrow.table(
        {name: pyarrow.array(each, pyarrow.timestamp("s")) for name, each in dates.items()}
        | {"x": normal(60), "y": normal(60)}
    )
    path = tmp_path / f"visits.{kind}"
    (text.write_csv if kind == "csv" else parquet.write_table)(table, path)
    found = examined(path)
    assert found.guess.time == "recorded_on"
    assert "dates" in found.guess.why["recorded_on"]
    assert found.guess.spec["born"].role == "aux"
    assert [(each.code, each.field) for each in found.diagnostics if each.severity == "harmful"] == [
        ("time-backward", "recorded_on")
    ]
    (tmp_path / "only").mkdir()
    other = tmp_path / "only" / path.name
    (text.write_csv if kind == "csv" else parquet.write_table)(table.drop(["recorded_on"]), other)
    assert examined(other).guess.time == ""
