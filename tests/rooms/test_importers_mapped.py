"""HDF5 and Zarr trees: mapping files, trees that need none, and storage that cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from prep.errors import ConfigError, DataError, IntegrityError, UsageError
from prep.importers import IngestOptions, Opened
from prep.importers.mapped import MappedHdf5, MappedZarr
from prep.importers.mapping import load_mapping

X, Y = np.arange(36.0).reshape(12, 3), np.arange(12.0)


def load(path: Path, mapping: Any = None, **options: Any) -> Opened:
    importer = MappedZarr() if path.suffix == ".zarr" else MappedHdf5()
    return importer.open(str(path), IngestOptions(mapping=mapping or {}, **options))


def read(opened: Opened, name: str) -> np.ndarray:
    return np.concatenate([arrays[name] for _, arrays in opened.blocks()])


def write(path: Path, arrays: dict[str, Any], zarr_format: Any = 3) -> Path:
    if path.suffix == ".zarr":
        root = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
        for name, values in arrays.items():
            root.create_array(name, data=np.asarray(values))
        return path
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


@pytest.fixture(params=["a.h5", "a.zarr"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def test_a_flat_tree_of_equal_lengths_needs_no_mapping(path: Path):
    opened = load(write(path, {"x": X, "y": Y}))
    assert {spec.name: spec.role for spec in opened.fields} == {"x": "input", "y": "target"}
    assert sorted(read(opened, "y")) == Y.tolist()


@pytest.mark.parametrize("arrays", [{"log/x": X, "log/y": Y}, {"x": X, "y": Y[:5]}, {"x": X, "y": 1.0}])
def test_any_other_tree_gets_a_draft_that_works_once_saved(path: Path, tmp_path: Path, arrays: dict[str, Any]):
    with pytest.raises(UsageError) as caught:
        load(write(path, arrays))
    draft = tmp_path / "mapping.yaml"
    draft.write_text(caught.value.remedy.split("\n", 1)[1])
    opened = load(path, load_mapping(draft))
    assert np.array_equal(np.sort(read(opened, opened.fields[0].name), axis=0), X)


def test_units_and_long_names_are_taken_from_the_source(tmp_path: Path):
    path = write(tmp_path / "a.h5", {"x": X, "y": Y})
    with h5py.File(path, "r+") as file:
        file["x"].attrs.update({"unit": "nm", "long_name": "position"})
        file["y"].attrs["units"] = "m s-1"
    opened = load(path)
    assert [(spec.units, spec.long_name) for spec in opened.fields] == [("nm", "position"), ("m s-1", "")]
    stated = load(path, {"fields": {"x": {"path": "x", "units": "pm"}, "y": "y"}})
    assert stated.fields[0].units == "pm"


def test_a_mapped_path_that_does_not_exist_lists_what_does(path: Path):
    write(path, {"log/x": X, "log/y": Y})
    with pytest.raises(ConfigError, match=r"no array 'log/z'[\s\S]*log/x, log/y"):
        load(path, {"fields": {"x": "log/x", "z": "log/z"}})
    with pytest.raises(ConfigError, match="no array 'log/split'"):
        load(path, {"fields": {"x": "log/x"}, "split": "log/split"})


def test_unequal_lengths_are_refused(path: Path):
    write(path, {"x": X, "y": Y[:5]})
    with pytest.raises(DataError, match=r"x \(12, 3\), y \(5,\)"):
        load(path, {"fields": {"x": "x", "y": "y"}})


def test_a_mapped_split_and_group_are_honoured(path: Path):
    codes = np.repeat([1, 0, 2], 4)
    write(path, {"g/x": X, "g/run": np.arange(12) // 2, "g/which": codes})
    fields = {"x": "g/x", "run": "g/run"}
    opened = load(path, {"fields": fields, "group": "run", "split": "g/which"})
    assert opened.group == "run"
    assert [(split, arrays["run"].tolist()) for split, arrays in opened.blocks()] == [
        ("train", [2, 2, 3, 3]),
        ("val", [0, 0, 1, 1]),
        ("test", [4, 4, 5, 5]),
    ]


def test_names_of_splits_may_be_strings_in_hdf5(tmp_path: Path):
    names = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    for values in (names, np.array(names, "S5")):
        opened = load(write(tmp_path / "a.h5", {"x": X, "y": Y, "split": values}))
        assert opened.rows == {"train": 6, "val": 3, "test": 3}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_both_zarr_formats_are_read(tmp_path: Path, zarr_format: int):
    opened = load(write(tmp_path / "a.zarr", {"x": X.astype(">f8"), "y": Y}, zarr_format))
    assert opened.fields[0].dtype == np.dtype("<f8")
    assert np.array_equal(np.sort(read(opened, "x"), axis=0), X)


def test_a_mask_takes_the_dimensions_of_what_it_masks(path: Path):
    write(path, {"s": np.ones((12, 5, 3)), "valid": np.ones((12, 3), bool), "u": Y})
    fields = {"states": {"path": "s", "mask": "on", "dims": ["sample", "time", "state"]}, "on": "valid", "u": "u"}
    found = {spec.name: spec for spec in load(path, {"fields": fields}).fields}
    assert (found["on"].role, found["on"].dims) == ("mask", ("sample", "state"))
    square: dict[str, Any] = {"states": {"path": "s", "mask": "u"}, "u": {"path": "u", "dims": ["sample"]}}
    assert load(path, {"fields": square}).fields[0].mask == "u"
    square["u"] = {"path": "valid", "dims": ["sample", "other"]}
    with pytest.raises(ConfigError, match="which dimensions of 'states'"):
        load(path, {"fields": square})
    square["u"] = {"path": "u", "role": "aux"}
    with pytest.raises(ConfigError, match="cannot have another role"):
        load(path, {"fields": square})


def test_a_dimension_has_one_size(path: Path):
    write(path, {"x": X, "y": np.ones((12, 4))})
    fields = {name: {"path": name, "dims": ["sample", "d"]} for name in ("x", "y")}
    with pytest.raises(ConfigError, match="dimension 'd' has two sizes"):
        load(path, {"fields": fields})
    with pytest.raises(ConfigError, match="another number of dimensions"):
        load(path, {"fields": {"x": {"path": "x", "dims": ["sample"]}}})


def test_packed_values_are_refused(path: Path):
    write(path, {"x": X.astype(np.int16), "y": Y})
    node = h5py.File(path, "r+") if path.suffix == ".h5" else zarr.open_group(str(path), mode="r+")
    node["x"].attrs["scale_factor"] = 0.01
    if isinstance(node, h5py.File):
        node.close()
    with pytest.raises(DataError, match=r"packed[\s\S]*scale_factor 0\.01"):
        load(path)


def test_chunks_that_were_never_written_are_reported_and_empty_arrays_refused(path: Path):
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            array = file.create_dataset("x", (12, 3), "f8", chunks=(4, 3), fillvalue=7.0)
            array[:4] = X[:4]
    else:
        array = zarr.open_group(str(path), mode="w").create_array(
            "x", shape=(12, 3), chunks=(4, 3), dtype="f8", fill_value=7.0
        )
        array[:4] = X[:4]
    assert any("2 of 3 chunks are not stored and read as 7.0" in warning for warning in load(path).warnings)
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("x", (1 << 40, 3), "f8", chunks=(4, 3))
    else:
        zarr.open_group(str(path), mode="w").create_array("x", shape=(1 << 40, 3), chunks=(1 << 20, 3), dtype="f8")
    with pytest.raises(DataError, match="none of the array's values were ever written"):
        load(path)


def soft(file: h5py.File, other: Path) -> None:
    file["y"] = h5py.SoftLink("/z")


def external(file: h5py.File, other: Path) -> None:
    file["y"] = h5py.ExternalLink(str(other), "/x")


def external_group(file: h5py.File, other: Path) -> None:
    file["g"] = h5py.ExternalLink(str(other), "/")


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((12,), "f8")
    layout[:] = h5py.VirtualSource(str(other), "x", (12,))
    file.create_virtual_dataset("y", layout)


def raw(file: h5py.File, other: Path) -> None:
    file.create_dataset("y", (12,), "f8", external=[(str(other), 0, 96)])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (soft, "soft link"),
        (external, "external link"),
        (external_group, "external link"),
        (virtual, "virtual dataset"),
        (raw, "external raw storage"),
    ],
)
def test_values_that_lie_outside_the_file_are_refused(
    tmp_path: Path, make: Callable[[h5py.File, Path], None], said: str
):
    other = write(tmp_path / "other.h5", {"x": Y})
    path = write(tmp_path / "a.h5", {"x": X, "z": Y})
    with h5py.File(path, "r+") as file:
        make(file, other)
    with pytest.raises(IntegrityError, match=said):
        load(path)


def test_a_filter_that_would_load_a_plugin_is_refused_without_loading_it(tmp_path: Path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=X, chunks=(4, 3), compression="lzf")
    # The id of lzf, 32000, becomes 32001 (blosc), in the message of the object header.
    path.write_bytes(path.read_bytes().replace((32000).to_bytes(2, "little"), (32001).to_bytes(2, "little")))
    with pytest.raises(UsageError, match="filter id 32001"):
        load(path)


def test_groups_that_contain_each_other_are_refused(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/x"] = X
        file["g/h"] = file["g"]
    with pytest.raises(IntegrityError, match="contain each other"):
        load(tmp_path / "a.h5")


def test_a_symbolic_link_inside_a_zarr_store_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.zarr", {"x": X, "y": Y})
    (path / "y" / "c" / "0").rename(tmp_path / "elsewhere")
    (path / "y" / "c" / "0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="leads out of it"):
        load(path)


def test_truncated_stores_are_refused(path: Path):
    write(path, {"x": X, "y": Y})
    victim = path if path.suffix == ".h5" else path / "x" / "c" / "0" / "0"
    victim.write_bytes(victim.read_bytes()[:20])
    with pytest.raises(IntegrityError, match="cannot be read"):
        list(load(path).blocks())


def test_large_chunks_of_the_source_are_read_once_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("prep.importers.aligned.READ_BYTES", 64)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(6, 3), compression="gzip")
    opened = load(tmp_path / "a.h5")
    assert len(list(opened.blocks())) <= 6
