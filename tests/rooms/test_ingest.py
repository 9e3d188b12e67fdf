"""Ingest: what lands in a dataset is the data and where it came from, and nothing of the machine it lay on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

import prep
from prep.formats import open_container
from prep.verbs.rawdata import read_manifest
from tests.conftest import arrays_in, make_project, working_in

HERE = "Some-Folder-Of-Mine"


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A project in a folder whose name must not leak; it is the working folder."""
    with working_in(make_project(tmp_path / HERE)) as folder:
        yield folder


def written(folder: Path, ending: str) -> Path:
    """The same 300 samples in each format."""
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(300, 3))
    arrays = {"inputs": inputs, "targets": 2 * inputs[:, :2] + 0.1 * rng.normal(size=(300, 2))}
    folder.mkdir(parents=True)
    path = folder / f"log{ending}"
    if ending == ".npz":
        np.savez(path, **arrays)
    elif ending == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        group = zarr.create_group(path)
        for name, array in arrays.items():
            group.create_array(name, data=array)
    return path


def provenance(path: Path) -> dict[str, object]:
    return dict(json.loads(open_container(path).spec.documents["provenance"]))


@pytest.mark.parametrize("ending", [".npz", ".h5", ".zarr"])
def test_the_same_source_in_another_folder_is_the_same_dataset(deep: Path, ending: str):
    first = written(deep / "a", ending)
    second = deep / "b" / "deeper" / first.name
    second.parent.mkdir(parents=True)
    shutil.move(shutil.copytree(first, f"{first}-2") if first.is_dir() else shutil.copy(first, f"{first}-2"), second)

    found = []
    for number, source in enumerate((first, second.relative_to(deep))):
        path = prep.ingest(str(source), output=deep / str(number) / "mine.h5").path
        found.append((read_manifest(path).root, provenance(path), open_container(path).spec.documents["recipe"]))

    assert found[0] == found[1]
    assert found[0][1]["source"] == f"log{ending}"


def test_a_renamed_folder_is_still_the_same_data(deep: Path):
    first = written(deep / "a", ".zarr")
    second = Path(shutil.copytree(first, deep / "renamed.zarr"))
    found = [
        provenance(prep.ingest(str(source), output=f"{number}/mine.h5").path)
        for number, source in enumerate((first, second))
    ]

    assert found[0]["identity"] == found[1]["identity"]
    assert (found[0]["source"], found[1]["source"]) == ("log.zarr", "renamed.zarr")


def test_another_source_is_another_identity(deep: Path):
    source = written(deep / "a", ".npz")
    first = provenance(prep.ingest(str(source), output="1/mine.h5").path)
    arrays = arrays_in(source)
    arrays["inputs"][7, 1] += 1
    np.savez(source, **arrays)
    second = provenance(prep.ingest(str(source), output="2/mine.h5").path)

    assert first["identity"] != second["identity"]


@pytest.mark.parametrize("ending", [".h5", ".zarr"])
def test_no_path_of_the_machine_is_in_a_dataset_or_its_certificate(deep: Path, ending: str):
    source = written(deep / "a", ".npz")
    raw = prep.ingest(str(source), output=deep / f"data/raw/mine{ending}", schema=deep / "schemas/mine.yaml").path
    stats = prep.stats(raw, output=deep / "mine.json", schema=deep / "schemas/mine.yaml")
    made = prep.normalize(
        raw, stats=stats, output=deep / f"data/normalized/mine{ending}", schema=deep / "schemas/mine.yaml"
    )
    prep.certify(made, schema=deep / "schemas/mine.yaml", lock_path=deep / "prep.lock")
    prep.generate("regression", config=deep / "config/config.yaml", output=deep / f"data/raw/regression{ending}")

    files = [path for path in deep.rglob("*") if path.is_file()]
    assert [path.name for path in files if HERE.encode() in path.read_bytes()] == []
    assert any(path.name.endswith(".cert.json") for path in files)
