"""Statistics and transforms that say something else than the data: edited, or of another split or dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import prep
from tests.attacks.outcomes import refused, refused_when_used
from tests.attacks.tiny import Tiny, build, edit_json, reseal, rewrite_manifest
from tests.conftest import working_in


def edit_document(tiny: Tiny, name: str, change: Callable[[Any], object]) -> None:
    """Change one of the embedded JSON documents."""
    if tiny.path.is_file():
        with h5py.File(tiny.path, "r+", libver=("v110", "v110")) as file:
            owner = file["prep"].attrs
            body = json.loads(owner[name])
            change(body)
            data = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
            del owner[name]
            owner.create(name, np.array(data, dtype=h5py.string_dtype("utf-8", len(data))))
    else:

        def inside(node: dict[str, Any]) -> None:
            body = json.loads(node["attributes"][name])
            change(body)
            node["attributes"][name] = json.dumps(body, sort_keys=True, separators=(",", ":"))

        edit_json(tiny.path / "prep/zarr.json", inside)


def document(tiny: Tiny, name: str) -> Any:
    """What plain h5py or JSON reads."""
    if tiny.path.is_file():
        with h5py.File(tiny.path) as file:
            return json.loads(file["prep"].attrs[name])
    return json.loads(json.loads((tiny.path / "prep/zarr.json").read_text())["attributes"][name])


def shifted(body: Any) -> int:
    """Every mean a little larger, wherever it stands; how many tables of them there were."""
    if isinstance(body, list):
        return sum(map(shifted, body))
    if not isinstance(body, dict):
        return 0
    count = 0
    for key, value in body.items():
        if key == "mean":
            body[key] = (np.asarray(value, float) + 0.5).tolist()
            count += 1
        else:
            count += shifted(value)
    return count


@pytest.mark.parametrize("variant", ["hdf5", "zarr"])
@pytest.mark.parametrize("name", ["statistics", "transforms"])
def test_embedded_numbers_that_were_edited_are_refused(make, variant: str, name: str):
    """Row 27: plain readers undo the normalisation with whatever numbers they find."""
    tiny = make(variant)
    before = document(tiny, name)
    edit_document(tiny, name, shifted)
    assert document(tiny, name) != before

    refused_when_used(tiny)
    (outcome,) = prep.validate(tiny.path)
    assert outcome.exit_code() == 3
    # with a manifest that fits, what is measured again still differs
    root = rewrite_manifest(tiny)
    (outcome,) = prep.validate(tiny.path)
    assert outcome.exit_code() == 1, outcome.error
    assert [each for each in outcome.report.failed if "embedded" in each.check or name[:5] in each.check]
    refused(lambda: prep.certify(tiny.path), "not certified", 1)
    # and under a certificate from before, too
    reseal(tiny, root)
    assert prep.validate(tiny.path)[0].exit_code() == 1


def test_statistics_taken_of_other_data_are_refused(make):
    """Row 27: the same names, other values."""
    tiny = make("hdf5")
    other = tiny.folder / "other"
    raw = {name: array[::-1].copy() * 2 for name, array in plain_arrays(tiny).items()}
    spoilt = build(
        other, raw={**raw, "visible": plain_arrays(tiny)["visible"], "episode": plain_arrays(tiny)["episode"]}
    )
    with working_in(tiny.folder):
        error = refused(
            lambda: prep.normalize(
                tiny.raw, stats=other / "data/stats/tiny.json", output=tiny.folder / "data/normalized/again.h5"
            ),
            "other data",
            1,
        )
    assert str(other) in str(error)
    assert spoilt.path.exists()


def plain_arrays(tiny: Tiny) -> dict[str, np.ndarray]:
    with np.load(tiny.folder / "tiny.npz") as archive:
        return {name: archive[name] for name in archive.files}


def test_a_file_of_statistics_that_was_edited_is_refused(make):
    """Row 27: JSON has no seal of its own."""
    tiny = make("hdf5")
    place = tiny.folder / "data/stats/tiny.json"
    before = json.loads(place.read_text())
    edit_json(place, shifted)
    assert json.loads(place.read_text()) != before
    refused(lambda: prep.normalize(tiny.raw, stats=place, output=tiny.folder / "data/normalized/again.h5"), "", 1, 3)
    assert not Path(tiny.folder / "data/normalized/again.h5").exists()


def test_statistics_of_another_split_put_into_this_dataset_are_refused(make):
    """Row 27: measured on the test split, as somebody does who normalises each split by itself."""
    tiny = make("hdf5")
    start, stop = tiny.contents.spec.splits["test"]
    values = np.where(tiny.values["visible"], tiny.values["inputs"], np.nan)[start:stop]

    def change(body: Any) -> None:
        body["normalized"]["inputs"]["moments"]["mean"] = [np.nanmean(values, axis=0, dtype=float).tolist()]

    before = np.shape(document(tiny, "statistics")["normalized"]["inputs"]["moments"]["mean"])
    edit_document(tiny, "statistics", change)
    assert np.shape(document(tiny, "statistics")["normalized"]["inputs"]["moments"]["mean"]) == before
    rewrite_manifest(tiny)
    error = refused(lambda: prep.certify(tiny.path), "not certified", 1)
    assert "inputs" in str(error)


def test_statistics_of_another_dataset_put_into_this_one_are_refused(make):
    """Row 27: the document of a dataset that was normalised otherwise."""
    tiny = make("hdf5")
    foreign = build(tiny.folder / "foreign", seed=9)
    body = document(foreign, "statistics")
    edit_document(tiny, "statistics", lambda own: (own.clear(), own.update(body)))
    assert document(tiny, "statistics") == body

    refused_when_used(tiny)
    rewrite_manifest(tiny)
    refused(lambda: prep.certify(tiny.path), "not certified", 1)


def test_data_normalised_twice_are_refused(make):
    """Row 27: numbers that look standardised and are not what the transforms undo."""
    tiny = make("hdf5")
    refused(lambda: prep.stats(tiny.path, output=tiny.folder / "twice.json"), "normalised", 1, 2)
