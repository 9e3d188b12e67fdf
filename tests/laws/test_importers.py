"""Every importer brings rows through unchanged, whole groups to one split, and does it the same way each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from prep.blocks import SPLITS
from prep.importers import IMPORTERS, IngestOptions, Opened
from tests.make_minari import make_pendulum

ROWS, GROUPS = 3000, 23


@pytest.fixture(scope="module")
def few_pendulum_episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pendulum(tmp_path_factory.mktemp("minari"), episodes=12, shortest=5, longest=30)


@dataclass(frozen=True)
class Case:
    """A source, how to read it, and what direct reading gives; sorting by the fields ``key`` restores the order."""

    source: str
    expected: Mapping[str, np.ndarray]
    key: tuple[str, ...]
    options: IngestOptions = field(default_factory=IngestOptions)


def columns() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    x = random.standard_normal((ROWS, 4, 3)).astype(np.float32)
    x[5, 0, 0], x[6, 1, 1], x[7, 2, 2] = np.nan, -0.0, np.inf
    return {
        "row": np.arange(ROWS),
        "x": x,
        "y": random.standard_normal((ROWS, 2)) + 1j * random.standard_normal((ROWS, 2)),
        "big": random.standard_normal(ROWS).astype(">f8"),
        "half": random.standard_normal((ROWS, 1)).astype(np.float16),
        "flag": random.random((ROWS, 2)) < 0.5,
        "episode": np.repeat(np.arange(GROUPS), -(-ROWS // GROUPS))[:ROWS] * 3 - 20,
    }


def mapping() -> dict[str, object]:
    return {"fields": {name: f"deep/{name}" for name in columns()}, "group": "episode"}


def minari_case(folder: Path, request: pytest.FixtureRequest) -> Case:
    source = request.getfixturevalue("few_pendulum_episodes")
    found: dict[str, list[np.ndarray]] = {}
    with h5py.File(source / "data" / "main_data.hdf5") as file:
        for number in range(12):
            episode = {name: item[()] for name, item in file[f"episode_{number}"].items() if name != "infos"}
            steps = len(episode["rewards"])
            episode["next_observations"] = episode["observations"][1:]
            episode["observations"] = episode["observations"][:-1]
            episode |= {"episode": np.full(steps, number), "step": np.arange(steps)}
            for name, values in episode.items():
                found.setdefault(name, []).append(values)
    expected = {name: np.concatenate(parts) for name, parts in found.items()}
    return Case(f"minari:{source}", expected, ("episode", "step"))


def npz_case(folder: Path, request: pytest.FixtureRequest) -> Case:
    expected = columns()
    members: dict[str, Any] = {**expected, "y": np.asfortranarray(expected["y"])}
    np.savez_compressed(folder / "a.npz", **members)
    return Case(str(folder / "a.npz"), expected, ("row",), IngestOptions(group="episode"))


def npy_case(folder: Path, request: pytest.FixtureRequest) -> Case:
    np.save(folder / "table.npy", np.arange(ROWS * 6.0).reshape(ROWS, 6))
    return Case(str(folder / "table.npy"), {"table": np.load(folder / "table.npy")}, ("table",))


def hdf5_case(folder: Path, request: pytest.FixtureRequest) -> Case:
    expected = columns()
    with h5py.File(folder / "a.h5", "w") as file:
        for name, values in expected.items():
            file.create_dataset(f"deep/{name}", data=values, chunks=(700, *values.shape[1:]), compression="gzip")
    return Case(str(folder / "a.h5"), expected, ("row",), IngestOptions(mapping=mapping()))


def zarr_case(folder: Path, request: pytest.FixtureRequest) -> Case:
    import zarr

    expected = columns()
    root = zarr.open_group(str(folder / "a.zarr"), mode="w")
    for name, values in expected.items():
        root.create_array(f"deep/{name}", data=values, chunks=(700, *values.shape[1:]))
    return Case(str(folder / "a.zarr"), expected, ("row",), IngestOptions(mapping=mapping()))


def table_columns() -> dict[str, np.ndarray]:
    found = columns()
    return {
        "row": found["row"],
        "x": found["x"][:, :, 0],
        "big": found["big"].astype("f8"),
        "episode": found["episode"],
    }


def csv_case(folder: Path, request: pytest.FixtureRequest) -> Case:
    expected = table_columns()
    flat = {"row": expected["row"]} | {f"x{place}": expected["x"][:, place].astype("f8") for place in range(4)}
    flat |= {"big": expected["big"], "episode": expected["episode"]}
    lines = [",".join(map(repr, (each.item() for each in row))) for row in zip(*flat.values(), strict=True)]
    (folder / "a.csv").write_text(",".join(flat) + "\n" + "\n".join(lines) + "\n")
    return Case(
        str(folder / "a.csv"), expected | {"x": expected["x"].astype("f8")}, ("row",), IngestOptions(group="episode")
    )


def parquet_case(folder: Path, request: pytest.FixtureRequest) -> Case:
    import pyarrow as pa
    from pyarrow import parquet

    expected = table_columns()
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(expected["x"].reshape(-1)), 4)
    parquet.write_table(pa.table({**expected, "x": vectors}), folder / "a.parquet", row_group_size=700)
    return Case(str(folder / "a.parquet"), expected, ("row",), IngestOptions(group="episode"))


def folder_case(folder: Path, request: pytest.FixtureRequest) -> Case:
    import pyarrow as pa
    from pyarrow import parquet

    expected = {name: values for name, values in table_columns().items() if name != "x"}
    (folder / "parts").mkdir()
    for number, rows in enumerate((slice(0, 1100), slice(1100, None))):
        part = pa.table({name: values[rows] for name, values in expected.items()})
        parquet.write_table(part, folder / f"parts/part-{number}.parquet")
    return Case(str(folder / "parts"), expected, ("row",), IngestOptions(group="episode"))


CASES: dict[str, Callable[[Path, pytest.FixtureRequest], Case]] = {
    "csv": csv_case,
    "minari": minari_case,
    "parquet": parquet_case,
    "npz": npz_case,
    "npy": npy_case,
    "hdf5": hdf5_case,
    "zarr": zarr_case,
    "folder": folder_case,
}


@pytest.fixture(params=IMPORTERS.names())
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Case, Opened]:
    # Small reads, so that every importer needs many of them.
    monkeypatch.setattr("prep.importers.aligned.READ_BYTES", 20_000)
    monkeypatch.setattr("prep.importers.minari.READ_BYTES", 2_000)
    monkeypatch.setattr("prep.importers.splitting.STRATUM", 256)
    case = CASES[request.param](tmp_path, request)
    return case, IMPORTERS.load(request.param)().open(case.source, case.options)


def read(opened: Opened) -> tuple[list[str], dict[str, np.ndarray]]:
    """The split of each row, and the fields, in stored order."""
    splits: list[str] = []
    parts: dict[str, list[np.ndarray]] = {spec.name: [] for spec in opened.fields}
    for split, arrays in opened.blocks():
        lengths = {len(array) for array in arrays.values()}
        assert len(lengths) == 1, "fields of one block differ in length"
        assert set(arrays) == set(parts)
        splits += [split] * lengths.pop()
        for name, array in arrays.items():
            parts[name].append(array)
    return splits, {name: np.concatenate(arrays) for name, arrays in parts.items()}


def test_every_importer_has_a_case() -> None:
    assert set(CASES) == set(IMPORTERS.names())


def test_every_value_comes_through_bit_for_bit(opened: tuple[Case, Opened]) -> None:
    case, result = opened
    _, fields = read(result)
    assert set(fields) == set(case.expected)

    def order(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        keys = [arrays[name] for name in reversed(case.key)]
        return np.lexsort([key.reshape(len(key), -1)[:, 0] for key in keys])

    arrived, sent = order(fields), order(case.expected)
    for spec in result.fields:
        found, wanted = fields[spec.name], case.expected[spec.name]
        assert (found.dtype, found.shape[1:]) == (spec.dtype, spec.shape)
        assert found.dtype.byteorder in "<=|"
        if wanted.dtype != np.float16:
            assert found.dtype == wanted.dtype.newbyteorder("<")
        assert found[arrived].tobytes() == wanted[sent].astype(spec.dtype).tobytes(), spec.name


def test_promised_rows_arrive_split_after_split(opened: tuple[Case, Opened]) -> None:
    case, result = opened
    splits, _ = read(result)
    assert {name: splits.count(name) for name in SPLITS} == dict(result.rows)
    assert splits == sorted(splits, key=SPLITS.index)
    assert sum(result.rows.values()) == len(next(iter(case.expected.values())))
    assert all(result.rows[name] > 0 for name in SPLITS)


def test_no_block_is_larger_than_what_is_read_at_once(opened: tuple[Case, Opened]) -> None:
    _, result = opened
    row_bytes = sum(spec.row_bytes for spec in result.fields)
    # HDF5 and Zarr are read in whole chunks, here of 700 rows.
    most = {"minari": 2_000 // row_bytes, "hdf5": 700, "zarr": 700}.get(result.notes["importer"], 20_000 // row_bytes)
    assert max(len(next(iter(arrays.values()))) for _, arrays in result.blocks()) <= most


def test_no_group_is_in_two_splits(opened: tuple[Case, Opened]) -> None:
    case, result = opened
    splits, fields = read(result)
    assert result.group or case.source.endswith(".npy"), "every case with more than one field has groups"
    groups = fields[result.group].reshape(-1).tolist() if result.group else list(range(len(splits)))
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
    assert all(spec.role == "id" for spec in result.fields if spec.name == result.group)


def test_reading_twice_gives_the_same_blocks(opened: tuple[Case, Opened]) -> None:
    _, result = opened
    for (split, arrays), (split_again, again) in zip(result.blocks(), result.blocks(), strict=True):
        assert split == split_again
        assert all(arrays[name].tobytes() == again[name].tobytes() for name in arrays)


@pytest.mark.parametrize("name", IMPORTERS.names())
def test_the_seed_alone_decides_the_split(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    case = CASES[name](tmp_path, request)

    def content(seed: int) -> tuple[list[str], dict[str, bytes]]:
        options = IngestOptions(mapping=case.options.mapping, group=case.options.group, seed=seed)
        splits, fields = read(IMPORTERS.load(name)().open(case.source, options))
        return splits, {field: array.tobytes() for field, array in fields.items()}

    assert content(1) == content(1)
    assert content(1) != content(2)


@pytest.mark.parametrize("name", IMPORTERS.names())
def test_exactly_one_importer_recognises_a_source(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    case = CASES[name](tmp_path, request)
    assert [other for other in IMPORTERS.names() if IMPORTERS.load(other)().recognises(case.source)] == [name]


@pytest.mark.parametrize("name", IMPORTERS.names())
def test_recognising_never_raises(name: str, tmp_path: Path) -> None:
    (tmp_path / "rubbish.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 40)
    (tmp_path / "empty").mkdir()
    for source in ("", "nowhere", "minari:nowhere", str(tmp_path / "rubbish.h5"), str(tmp_path / "empty"), "a\0b"):
        assert IMPORTERS.load(name)().recognises(source) in (True, False)
