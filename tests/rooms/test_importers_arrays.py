"""Plain `.npz` and `.npy` files: what becomes of their members, and what is refused."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prep.errors import ConfigError, DataError, IntegrityError, UsageError
from prep.importers import IngestOptions, Opened
from prep.importers.arrays import Npy, Npz


def save(folder: Path, **members: Any) -> Path:
    np.savez(folder / "a.npz", **members)
    return folder / "a.npz"


def load(path: Path, **options: Any) -> Opened:
    importer = Npy() if path.suffix == ".npy" else Npz()
    return importer.open(str(path), IngestOptions(**options))


def read(opened: Opened, name: str) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {}
    for split, arrays in opened.blocks():
        found.setdefault(split, []).append(arrays[name])
    return {split: np.concatenate(arrays) for split, arrays in found.items()}


def test_roles_are_guessed_from_plain_names_and_can_be_set(tmp_path: Path):
    path = save(
        tmp_path,
        X=np.ones((10, 4, 3), np.float32),
        y=np.ones((10, 2)),
        X_mask=np.ones((10, 3), bool),
        session_id=np.arange(10),
        step=np.arange(10),
        step_size=np.ones(10),
        extra=np.ones(10),
    )
    roles = {spec.name: spec.role for spec in load(path, group="session_id").fields}
    assert roles == {
        "X": "input",
        "y": "target",
        "X_mask": "mask",
        "session_id": "id",
        "step": "id",
        "step_size": "aux",
        "extra": "aux",
    }
    chosen = load(path, group="session_id", roles={"extra": "target", "y": "aux"})
    assert {spec.name: spec.role for spec in chosen.fields} == {**roles, "extra": "target", "y": "aux"}
    with pytest.raises(UsageError, match="did you mean 'extra'"):
        load(path, roles={"extras": "target"})


def test_dimensions_are_named_after_the_field_and_a_mask_shares_those_it_fits(tmp_path: Path):
    path = save(tmp_path, states=np.ones((10, 4, 3)), state_mask=np.ones((10, 3), bool), y=np.ones(10))
    fields = {spec.name: spec for spec in load(path).fields}
    assert fields["states"].dims == ("sample", "states_0", "states_1")
    assert fields["states"].mask == "state_mask"
    assert fields["state_mask"].dims == ("sample", "states_1")
    assert fields["y"].dims == ("sample",)


def test_a_mask_that_fits_in_two_ways_is_left_to_the_user(tmp_path: Path):
    path = save(tmp_path, x=np.ones((10, 3, 3)), x_mask=np.ones((10, 3), bool), y=np.ones(10))
    opened = load(path)
    assert not any(spec.mask for spec in opened.fields)
    assert any("'x_mask' masks no field" in warning for warning in opened.warnings)


def test_members_of_different_length_are_listed_with_a_draft(tmp_path: Path):
    path = save(tmp_path, x=np.ones((10, 3)), y=np.ones((9, 1)), dt=0.1, z=np.ones(10))
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert all(text in message for text in ("x (10, 3)", "y (9, 1)", "dt ()", "z (10,)"))
    assert "x: {path: x, role: input}" in message
    assert "# not taken: y float64 (9, 1)" in message


def test_a_mapping_picks_and_renames_members(tmp_path: Path):
    path = save(tmp_path, arr_0=np.arange(30.0).reshape(10, 3), arr_1=np.arange(10.0), dt=0.1)
    fields = {"observations": {"path": "arr_0", "units": "m", "dims": ["sample", "joint"]}, "actions": "arr_1"}
    opened = load(path, mapping={"fields": fields})
    assert [(spec.name, spec.role, spec.units, spec.dims) for spec in opened.fields] == [
        ("observations", "input", "m", ("sample", "joint")),
        ("actions", "target", "1", ("sample",)),
    ]
    with pytest.raises(ConfigError, match=r"no array 'arr_2'[\s\S]*arr_0, arr_1, dt"):
        load(path, mapping={"fields": {"x": "arr_2"}})


def test_one_column_beside_none_is_pointed_out(tmp_path: Path):
    opened = load(save(tmp_path, x=np.ones((10, 1)), y=np.ones(10)))
    assert any("(rows, rows)" in warning for warning in opened.warnings)


def test_an_id_that_looks_like_a_group_is_pointed_out(tmp_path: Path):
    path = save(tmp_path, x=np.ones(12), y=np.ones(12), episode=np.arange(12) // 3)
    assert any("'episode' looks like a group" in warning for warning in load(path).warnings)
    assert load(path, group="episode").warnings == ()


@pytest.mark.parametrize(
    "codes", [np.repeat([2, 0, 1], 4).astype(np.int8), np.repeat(["test", "train", "validation"], 4)]
)
def test_a_split_member_is_honoured(tmp_path: Path, codes: np.ndarray):
    opened = load(save(tmp_path, x=np.arange(12.0), y=np.zeros(12), split=codes))
    assert {name: values.tolist() for name, values in read(opened, "x").items()} == {
        "train": [4, 5, 6, 7],
        "val": [8, 9, 10, 11],
        "test": [0, 1, 2, 3],
    }
    assert "split" not in {spec.name for spec in opened.fields}


def test_a_split_member_that_means_nothing_is_refused_with_the_row(tmp_path: Path):
    x = np.zeros(6)
    with pytest.raises(DataError, match=r"samples 4, 5[\s\S]*measured: 3"):
        load(save(tmp_path, x=x, split=np.array([0, 1, 2, 0, 3, 3])))
    with pytest.raises(DataError, match="'dev'"):
        load(save(tmp_path, x=x, split=np.array(["train", "dev", "test", "val", "val", "val"])))
    with pytest.raises(DataError, match=r"a split is empty[\s\S]*val 0 rows"):
        load(save(tmp_path, x=x, split=np.array([0, 0, 2, 0, 2, 2])))
    with pytest.raises(DataError, match="one split for each row"):
        load(save(tmp_path, x=x, split=np.zeros(6)))


def test_a_group_in_two_given_splits_is_refused(tmp_path: Path):
    path = save(tmp_path, x=np.zeros(6), split=np.array([0, 1, 2, 0, 1, 1]), run=np.array([5, 6, 7, 8, 6, 7]))
    with pytest.raises(DataError, match=r"samples 5, 2[\s\S]*group 7 in val and in test"):
        load(path, group="run")


def test_a_group_that_is_no_integer_id_is_refused(tmp_path: Path):
    path = save(tmp_path, x=np.zeros(6), run=np.linspace(0, 1, 6), pair=np.zeros((6, 2), int))
    for name in ("run", "pair"):
        with pytest.raises(UsageError, match="only be grouped by an integer id"):
            load(path, group=name)
    with pytest.raises(UsageError, match="no field 'runs' to group by"):
        load(path, group="runs")


@pytest.mark.parametrize(
    ("member", "remedy"),
    [
        (np.array([{"a": 1}, None, "x"], object), "pickle"),
        (np.array(["a", "b", "c"]), "integer codes"),
        (np.zeros(3, "datetime64[s]"), "reference time"),
        (np.zeros(3, [("a", "f4"), ("b", "i4")]), "one array for each quantity"),
        (np.zeros(3, np.longdouble), "float64"),
    ],
)
def test_what_is_not_a_plain_number_is_refused_with_a_way_out(tmp_path: Path, member: np.ndarray, remedy: str):
    with pytest.raises(UsageError, match=remedy):
        load(save(tmp_path, x=np.zeros(3), member=member))
    np.save(tmp_path / "member.npy", member)
    with pytest.raises(UsageError, match=remedy):
        load(tmp_path / "member.npy")


def test_half_precision_is_widened_and_said_so(tmp_path: Path):
    opened = load(save(tmp_path, x=np.arange(9, dtype=np.float16) / 3, y=np.zeros(9)))
    assert opened.fields[0].dtype == np.float32
    assert any("float16" in warning for warning in opened.warnings)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_either_memory_order_and_byte_order_is_read(tmp_path: Path, order: Any, suffix: str):
    values = np.arange(60 * 6, dtype=">i4").reshape(60, 2, 3).copy(order)
    np.save(tmp_path / "x.npy", values)
    np.savez_compressed(tmp_path / "x.npz", x=values)
    opened = load(tmp_path / f"x{suffix}")
    rows = np.concatenate(list(read(opened, "x").values()))
    assert rows.dtype == np.dtype("<i4")
    assert np.array_equal(rows[np.argsort(rows[:, 0, 0])], values)


def test_a_damaged_archive_is_refused_before_a_wrong_value_gets_through(tmp_path: Path):
    path = save(tmp_path, x=np.arange(3000.0), y=np.arange(3000.0))
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(IntegrityError, match="truncated or damaged"):
        load(path)
    flipped = bytearray(good)
    flipped[5000] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(IntegrityError, match="Bad CRC-32"):
        list(load(path).blocks())


def test_a_npy_file_must_hold_exactly_its_array(tmp_path: Path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(30.0))
    good = path.read_bytes()
    for changed, said in ((good[:-1], "truncated"), (good + b"\0", "bytes follow"), (b"rubbish" * 9, "not an array")):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match=said):
            load(path)


def test_a_size_that_the_archive_does_not_hold_is_refused(tmp_path: Path):
    path = save(tmp_path, x=np.arange(300.0))
    content = zipfile.ZipFile(path).read("x.npy").replace(b"(300,), }       ", b"(30000000000,),}")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(IntegrityError, match="truncated"):
        load(path)


def test_a_name_twice_or_a_stranger_in_the_archive_is_noticed(tmp_path: Path):
    path = save(tmp_path, x=np.arange(30.0), y=np.arange(30.0))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "hello")
    opened = load(path)
    assert any("readme.txt" in warning for warning in opened.warnings)
    assert opened.notes["left_out"] == ["readme.txt"]
    content = zipfile.ZipFile(path).read("y.npy")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x.npy", content)
    with pytest.raises(IntegrityError, match="name twice"):
        load(path)


def test_a_missing_file_names_its_neighbour(tmp_path: Path):
    save(tmp_path, x=np.arange(3.0))
    with pytest.raises(UsageError, match=r"did you mean '.*/a\.npz'"):
        load(tmp_path / "aa.npz")


def test_too_few_rows_for_three_splits_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"2 rows[\s\S]*at least 3"):
        load(save(tmp_path, x=np.zeros(2)))
    with pytest.raises(DataError, match=r"2 groups[\s\S]*at least 3"):
        load(save(tmp_path, x=np.zeros(6), run=np.array([1, 1, 2, 2, 1, 2])), group="run")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_memory_does_not_grow_with_the_array(tmp_path: Path, suffix: str):
    values = np.zeros((1 << 20, 12))
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "x.npz", x=values)
    size = values.nbytes
    del values
    tracemalloc.start()
    try:
        rows = sum(len(arrays["x"]) for _, arrays in load(tmp_path / f"x{suffix}").blocks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 1 << 20
    assert peak < size / 3
