"""One pass over a dataset in several segments: what a transform finds wrong is told as it stands in the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prep.blocks import Array
from prep.engine import DatasetSource, run
from prep.errors import DataError, Where
from prep.folds import Scope
from prep.folds.moments import Moments
from prep.transforms.pipeline import Pipeline
from tests.rooms.formats_demo import demo_arrays, demo_spec, write_demo

ROWS, BAD = 4_000, 3_333


@pytest.fixture
def segmented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset that is read 256 rows at a time; one value in its test split is not a number."""
    monkeypatch.setattr("prep.blocks.SEGMENT_BYTES", 1 << 15)
    monkeypatch.setattr("prep.blocks.CHUNK_BYTES", 1 << 12)
    spec = demo_spec(ROWS)
    arrays = demo_arrays(spec)
    arrays["states"][BAD, 2, 1] = np.nan
    arrays["state_mask"][:] = True
    write_demo(tmp_path / "demo.h5", spec, arrays=arrays)
    return tmp_path / "demo.h5"


def standardising(source: DatasetSource) -> Pipeline:
    params = {"group": "", "groups": [], "features": ["state"], "policy": "error", "mask": None}
    numbers = {"mean": [[0.0] * 3], "std": [[1.0] * 3], "constant": [[False] * 3]}
    raw = replace(source.spec["states"], transform_state="raw", mask="")
    spec = source.spec.with_fields(
        tuple(raw if field.name == "states" else replace(field, role="aux") for field in source.spec.fields)
    )
    return Pipeline.bind(spec, {"states": {"name": "standardize", "params": {**params, **numbers}}})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sample_that_cannot_be_transformed_is_named_by_its_place_in_the_dataset(segmented: Path, workers: int):
    with DatasetSource.open(segmented) as source:
        assert len(source.segments(source.spec.names)) > 4
        with pytest.raises(DataError) as caught:
            run(source, transform=standardising(source).apply, workers=workers)

    where = caught.value.where
    assert (where.field, where.samples, where.split) == ("states", (BAD,), "test")
    assert (where.path, where.dataset) == (str(segmented), "demo")


def test_what_a_transform_says_about_the_place_itself_is_kept(segmented: Path):
    def complain(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        raise DataError("no", where=Where(path="p", dataset="d", split="s", field="f"), remedy="r")

    with DatasetSource.open(segmented) as source, pytest.raises(DataError) as caught:
        run(source, transform=complain)

    assert caught.value.where == Where(path="p", dataset="d", split="s", field="f")


def test_a_pass_learns_the_same_whatever_the_number_of_workers(segmented: Path):
    with DatasetSource.open(segmented) as source:
        fold = Moments(source.spec["matrix"], Scope.of(source.spec, "train"))
        one, two = (run(source, [fold], digests=True, workers=workers) for workers in (1, 2))

    assert one.rows == two.rows == ROWS
    assert one.digests == two.digests
    assert one.results[fold.key].to_dict() == two.results[fold.key].to_dict()
