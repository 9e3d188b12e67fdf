"""The oracle: what the engine says of a stored dataset, vanilla pandera says of the same data in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.blocks import DatasetSpec
from prep.checks import CHECKS, Finding
from prep.engine import DatasetSource, run
from prep.formats import create
from prep.schema import load_schema, to_pandera
from prep.transforms.original import Originals
from prep.verbs.rawdata import commit
from tests.conftest import SYSTEMS, dataset_of
from tests.laws.test_checks import CASES, Arrays, Case, corrupt, describe, in_memory, made

KINDS = ("scale", "noise", "hole", "copy", "shuffle")


def stored(path: Path, spec: DatasetSpec, arrays: Arrays) -> Path:
    fields = tuple(replace(field, role="split" if field.name == "split" else field.role) for field in spec.fields)
    spec = spec.with_fields(fields)
    with create(path, spec, "none") as writer:
        for field in spec.fields:
            writer.write(field.name, arrays[field.name])
        writer.commit(spec)
    return path


def from_disk(name: str, case: Case, path: Path) -> Finding:
    """The check's finding after a pass of the engine over the stored dataset."""
    check = CHECKS.load(name)()
    with DatasetSource.open(path) as source:
        assert len(source.segments(source.spec.names)) == 5
        folds = check.folds(source.spec, case.statistics)
        return check.judge(source.spec, case.statistics, run(source, folds, workers=2).results)


def random_data(name: str, seed: int) -> Arrays:
    case, rng = CASES[name], np.random.default_rng(seed)
    arrays = made(case, seed)
    if seed == 1:
        case.defect(arrays)
    for kind in rng.choice(KINDS, int(rng.integers(1, 4))) if seed > 1 else ():
        corrupt(arrays, str(kind), rng)
    return arrays


@pytest.mark.parametrize("name", CHECKS.names())
def test_the_engine_and_pandera_agree_on_verdict_and_samples_of_random_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    case, verdicts = CASES[name], set()
    # Forty rows are read eight at a time, from chunks of at most eight.
    monkeypatch.setattr("prep.blocks.SEGMENT_BYTES", 8 * describe(case, made(case)).row_bytes)
    for seed in range(7):
        arrays = random_data(name, seed)
        path = tmp_path / f"{seed}.{'h5' if seed % 2 else 'zarr'}"

        finding = from_disk(name, case, stored(path, describe(case, arrays), arrays))
        passed, samples = in_memory(name, case, arrays)

        assert finding.passed == passed, (seed, finding)
        if samples is not None:
            assert (finding.failing, list(finding.samples)) == (len(samples), samples[:10]), seed
        verdicts.add(passed)
    assert verdicts == {True, False}


def read(path: Path) -> tuple[DatasetSpec, Arrays, dict[str, Any]]:
    with DatasetSource.open(path) as source:
        rows = {field.name: source.reader.rows(field.name, 0, source.spec.rows).copy() for field in source.spec.fields}
        return source.spec, rows, source.constants()[0]


def with_originals(dataset: Any, path: Path, name: str) -> Any:
    """The dataset with what checks call ``<field>.original`` beside it: pandera sees what the engine is offered."""
    spec, arrays, _ = read(path)
    plans = load_schema(Path(f"schemas/{name}.yaml"), verify=False).checks
    originals = Originals.bind(spec, [str(plan.statistics["var"]) for plan in plans])
    values = originals(arrays)
    return dataset.assign(
        {each.name: (each.dims, values[each.name]) for each in originals.spec.fields if each.name not in spec}
    )


def by_pandera(path: Path, name: str) -> dict[int, tuple[bool, int | None]]:
    """Place in the schema → (passed, failing samples where it names them), of the dataset as xarray opens it."""
    import pandera.xarray as pa
    import xarray as xr

    schema = to_pandera(load_schema(Path(f"schemas/{name}.yaml")))
    opened = xr.open_zarr(path, consolidated=False) if path.is_dir() else xr.open_dataset(path, engine="h5netcdf")
    with opened as dataset:
        loaded = with_originals(dataset.load(), path, name)
        found: dict[int, tuple[bool, int | None]] = dict.fromkeys(range(len(schema.checks)), (True, 0))
        for place, check in enumerate(schema.checks):
            lone = pa.DatasetSchema(checks=[check])
            check.raise_warning = False
            try:
                lone.validate(loaded, lazy=True)
            except pa.errors.SchemaErrors as failure:
                (error,) = failure.schema_errors
                output = error.check_output
                found[place] = (False, int((~output.values).sum()) if hasattr(output, "dims") else None)
    return found


def spoil(arrays: Arrays, rng: np.random.Generator) -> None:
    """Three samples of a field scaled, three of a float field made NaN, three copied from far away, in any order."""
    names = [name for name in arrays if name != "split"]
    floats = [name for name in names if arrays[name].dtype.kind in "fc"]
    for kind in rng.permutation(3):
        array = arrays[str(rng.choice(floats if kind == 1 else names))]
        rows = rng.choice(len(array), 3, replace=False)
        if kind == 0:
            array[rows] = array[rows] * 30 if array.dtype.kind in "fc" else 1 - array[rows]
        elif kind == 1:
            array[rows] = np.nan
        else:
            for name in names:
                arrays[name][rows] = arrays[name][(rows + len(array) // 2) % len(array)]


def shortened(spec: DatasetSpec, arrays: Arrays) -> tuple[DatasetSpec, Arrays]:
    """At most 30 samples of each split where samples are large: pandera takes its time over matrices."""
    if spec.row_bytes < 1 << 14:
        return spec, arrays
    ranges = [(start, min(stop, start + 30)) for start, stop in spec.splits.values()]
    stops = np.cumsum([stop - start for start, stop in ranges]).tolist()
    splits = dict(zip(spec.splits, zip([0, *stops[:-1]], stops, strict=True), strict=True))
    keep = np.concatenate([np.arange(*bounds) for bounds in ranges])
    return replace(spec, splits=splits), {name: array[keep] for name, array in arrays.items()}


def rewritten(path: Path, spec: DatasetSpec, arrays: Arrays, constants: Arrays) -> Path:
    path.parent.mkdir()
    with create(path, spec, "none") as writer:
        for field in spec.constants:
            writer.write_constant(field, constants[field.name])
        for field in spec.fields:
            writer.write(field.name, arrays[field.name])
        commit(writer, path, spec)
    return path


@pytest.fixture
def certified(certified_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(certified_project)
    return certified_project


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_whole_schema_means_the_same_to_validate_and_to_pandera(
    name: str, seed: int | None, certified: Path, tmp_path: Path
):
    spec, arrays, constants = read(dataset_of(certified, name))
    spec, arrays = shortened(spec, arrays)
    if seed is not None:
        spoil(arrays, np.random.default_rng(seed))
    path = rewritten(tmp_path / "changed" / dataset_of(certified, name).name, spec, arrays, constants)

    (outcome,) = prep.validate(path)
    assert outcome.report is not None
    plans = load_schema(Path(f"schemas/{name}.yaml"), verify=False).checks
    results = [each for each in outcome.report.results if each.check in CHECKS]
    expected = by_pandera(path, name)

    assert [each.check for each in results] == [plan.name for plan in plans]
    for place, result in enumerate(results):
        passed, failing = expected[place]
        assert result.passed == passed, result
        assert failing is None or result.finding.failing == failing, result
    assert any(each.finding.failing for each in results) == (seed is not None)
