"""Interrupted and run again: a stage goes on from what is done, and its results are those of one run."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.engine.journal import cache_folder
from prep.transforms.pipeline import Pipeline
from prep.verbs.normalize import normalize
from prep.verbs.rawdata import Rows, write_dataset
from tests.conftest import ROOT

FEATURES = 16
UNITS = 32
ROWS = UNITS * 256 + 100
SCHEMA = """
schema_type: dataset
version: 0.35.0
title: rows
description: rows
strict: true
sizes: {f: 16}
data_vars:
  x: {dtype: float32, dims: [sample, f]}
  split: {dtype: uint8, dims: [sample]}
checks:
- {var: x, options: {check_name: finite}}
- {var: x, mask: '', group: '', features: [f], constant: refuse, split: train, mean_limit: 0.05, std_limit: 0.05,
   options: {check_name: standardised}}
- {var: split, options: {check_name: split_flags}}
prep:
  dataset: rows
  fields:
    x: {role: input, units: "1", features: [f], transform: {name: standardize}}
    split: {role: split}
"""

BOUNDS = """
schema_type: dataset
version: 0.35.0
title: rows
description: rows
strict: true
sizes: {}
data_vars:
  x: {dtype: int64, dims: [sample]}
  split: {dtype: uint8, dims: [sample]}
checks:
- {var: x, low: -1, high: 100000, options: {check_name: in_bounds}}
- {var: split, options: {check_name: split_flags}}
prep:
  dataset: rows
  fields:
    x: {role: id, units: "1", transform: {name: identity}}
    split: {role: split}
"""

# One verb over small units, journaled from the first; it kills itself after some of them. Tells what it worked on.
CHILD = """
import json, os, sys
from pathlib import Path

verb, output, number, units = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
import prep.blocks, prep.engine.source, prep.formats.ledger
prep.blocks.SEGMENT_BYTES, prep.blocks.CHUNK_BYTES, prep.engine.source.UNIT_BYTES = 1 << 15, 1 << 12, 1 << 13
prep.formats.ledger.LEAST_BYTES = 1
from prep.engine.journal import Journal
Journal.__init__.__defaults__ = ("", 0.0, None)
from prep.folds.moments import Moments
from prep.folds.rowwise import Rowwise
from prep.transforms.pipeline import Pipeline

counts = {"absorbed": 0, "transformed": 0}

def counting(owner, name, what):
    real = getattr(owner, name)
    def call(*arguments, **options):
        counts[what] += 1
        return real(*arguments, **options)
    setattr(owner, name, call)

counting(Moments, "absorb", "absorbed")
counting(Rowwise, "absorb", "absorbed")
counting(Pipeline, "apply", "transformed")

def watch(done, total):
    if number and done >= units * 256:
        os.kill(os.getpid(), number)

options = dict(schema="schema.yaml", workers=2, progress=watch)
try:
    if verb == "stats":
        from prep.verbs.stats import stats
        stats("raw.h5", output=output, **options)
    elif verb == "normalize":
        from prep.verbs.normalize import normalize
        normalize("raw.h5", stats="stats.json", output=output, **options)
    else:
        from prep.verbs.validate import examine
        Path(output).write_text(json.dumps(examine(Path("normalized.h5"), **options).to_dict(), default=str))
except KeyboardInterrupt:
    sys.exit(130)
print(json.dumps(counts))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with raw rows and their schema, whose cache is its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("prep.blocks.SEGMENT_BYTES", 1 << 15)
    monkeypatch.setattr("prep.blocks.CHUNK_BYTES", 1 << 12)
    Path("schema.yaml").write_text(SCHEMA)
    write_raw(ROWS)
    return tmp_path


def write_raw(rows: int, train: int = 20) -> None:
    """The first ``rows`` rows as raw.h5: ``train`` units of train, 4 of val, the rest test."""
    x = (np.random.default_rng(0).normal(size=(rows + 4096, FEATURES)) * 3 + 10).astype("f4")[:rows]
    field = FieldSpec("x", np.dtype("f4"), ("sample", "f"), (FEATURES,), "input", features=("f",))
    spec = DatasetSpec("rows", (field,), {}, documents={})
    bounds = {"train": (0, train * 256), "val": (train * 256, (train + 4) * 256), "test": ((train + 4) * 256, rows)}
    parts: Iterable[Rows] = (Rows(split, {"x": x[start:stop]}, {}) for split, (start, stop) in bounds.items())
    write_dataset(Path("raw.h5"), spec, (), parts, {"identity": "x"}, compression="none")


def run(verb: str, output: str, number: int = 0, units: int = 0) -> dict[str, int]:
    """Run a verb in a process of its own; with a signal it ends by it after that many units, and tells nothing."""
    command = [sys.executable, "-c", CHILD, verb, output, str(number), str(units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = {0: 0, signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[number]
    assert done.returncode == expected, done.stderr
    return {} if number else dict(json.loads(done.stdout))


def fresh_cache() -> None:
    """Nothing was measured before."""
    for journal in cache_folder().glob("*.sqlite"):
        journal.unlink()


def content(*names: str) -> dict[str, bytes]:
    """Every file at and below these paths."""
    files = [file for name in names for file in (Path(name), *Path(name).rglob("*")) if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


def assert_normalised_as_from_scratch() -> None:
    """What lies there is what one run makes, byte for byte."""
    found = content("normalized.h5", "normalized.h5.manifest")
    for name in found:
        Path(name).unlink()
    fresh_cache()
    run("normalize", "normalized.h5")
    assert content("normalized.h5", "normalized.h5.manifest") == found


def beside() -> list[str]:
    """What lies in the folder and is hidden."""
    return [each.name for each in Path().iterdir() if each.name.startswith(".")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("ending", [".h5", ".zarr"])
def test_an_interrupted_normalize_goes_on_and_writes_the_same_bytes(place: Path, ending: str, number: int):
    output = f"normalized{ending}"
    run("stats", "stats.json")
    whole = run("normalize", output)
    expected = content(output, f"{output}.manifest")
    os.rename(output, f"before{ending}")
    Path(f"{output}.manifest").unlink()
    fresh_cache()

    run("normalize", output, number, 24)
    assert not Path(output).exists()
    assert len(beside()) == 2
    again = run("normalize", output)

    assert whole["transformed"] == UNITS + 1
    assert 0 < again["transformed"] <= UNITS + 1 - 24 + 1
    assert again["absorbed"] < whole["absorbed"] / 2
    assert content(output, f"{output}.manifest") == expected
    assert beside() == []


def test_a_normalize_killed_again_and_again_ends(place: Path):
    run("stats", "stats.json")
    for units in (8, 16, 4, 24):
        run("normalize", "normalized.h5", signal.SIGKILL, units)

    assert run("normalize", "normalized.h5")["transformed"] <= UNITS + 1 - 24 + 1
    assert_normalised_as_from_scratch()


def test_what_a_killed_normalize_left_is_not_used_where_it_is_damaged(place: Path):
    run("stats", "stats.json")
    run("normalize", "normalized.h5", signal.SIGKILL, 24)
    (left,) = Path().glob(".normalized.h5.*.tmp")
    data = np.fromfile(left, np.uint8)
    data[1 << 15 :] ^= 1
    data.tofile(left)

    assert run("normalize", "normalized.h5")["transformed"] > UNITS - 4
    assert_normalised_as_from_scratch()


def test_what_was_written_but_not_measured_is_made_again(place: Path):
    run("stats", "stats.json")
    run("normalize", "normalized.h5", signal.SIGKILL, 24)
    fresh_cache()

    # the units of train; no statistics are taken of the others, so that these are as they were left
    assert 20 <= run("normalize", "normalized.h5")["transformed"] < UNITS
    assert_normalised_as_from_scratch()


def test_other_statistics_begin_anew(place: Path):
    run("stats", "stats.json")
    run("normalize", "normalized.h5", signal.SIGKILL, 24)
    Path("schema.yaml").write_text(SCHEMA.replace("{name: standardize}", "{name: standardize, constant: unit}"))
    run("stats", "stats.json")

    assert run("normalize", "normalized.h5")["transformed"] == UNITS + 1
    assert beside() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("verb", ["stats", "validate"])
def test_an_interrupted_measurement_goes_on_and_finds_the_same(place: Path, verb: str, number: int):
    if verb == "validate":
        run("stats", "stats.json")
        run("normalize", "normalized.h5")
    fresh_cache()
    whole = run(verb, "whole.json")
    fresh_cache()

    run(verb, "again.json", number, 16)
    assert not Path("again.json").exists()
    again = run(verb, "again.json")

    assert again["absorbed"] < 0.7 * whole["absorbed"]
    assert Path("again.json").read_bytes() == Path("whole.json").read_bytes()
    assert beside() == []


def test_of_a_dataset_with_more_rows_only_these_are_measured(place: Path):
    def line(name: str) -> dict[str, dict[str, int]]:
        found = {"stats": run("stats", "stats.json"), "normalize": run("normalize", "normalized.h5")}
        return {**found, "validate": run("validate", name)}

    fewer = 4 * 256
    write_raw(ROWS - 100 - fewer)
    first = line("first.json")
    write_raw(ROWS - 100)
    more = line("more.json")
    found = content("stats.json", "normalized.h5", "normalized.h5.manifest", "more.json")
    for name in found:
        Path(name).unlink()
    fresh_cache()
    scratch = line("more.json")

    for verb in ("stats", "validate"):
        assert more[verb]["absorbed"] == scratch[verb]["absorbed"] - first[verb]["absorbed"]
    assert more["stats"]["absorbed"] == 0 < first["stats"]["absorbed"]  # the statistics are those of train
    assert 0 < more["validate"]["absorbed"] < 0.2 * scratch["validate"]["absorbed"]
    assert content(*found) == found


def test_records_that_changed_places_are_not_believed(place: Path):
    whole = run("stats", "whole.json")
    (journal,) = cache_folder().glob("*.sqlite")
    with closing(sqlite3.connect(journal)) as records, records:
        found = records.execute("SELECT key, record FROM records").fetchall()
        for (key, _), (_, other) in zip(found, found[1:] + found[:1], strict=True):
            records.execute("UPDATE records SET record = ? WHERE key = ?", (other, key))

    assert run("stats", "again.json") == whole
    assert Path("again.json").read_bytes() == Path("whole.json").read_bytes()


@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_journal_cut_short_is_written_anew(place: Path, keep: float):
    whole = run("stats", "whole.json")
    (journal,) = cache_folder().glob("*.sqlite")
    os.truncate(journal, int(journal.stat().st_size * keep))

    assert run("stats", "again.json") == whole
    assert run("stats", "third.json")["absorbed"] == 0
    assert Path("third.json").read_bytes() == Path("whole.json").read_bytes()


def test_rows_that_are_appended_to_train_are_the_only_ones_measured(place: Path):
    write_raw(ROWS, train=20)
    run("stats", "stats.json")
    write_raw(ROWS + 256, train=21)
    more = run("stats", "more.json")
    fresh_cache()
    scratch = run("stats", "scratch.json")

    assert 0 < more["absorbed"] <= 0.1 * scratch["absorbed"]
    assert Path("more.json").read_bytes() == Path("scratch.json").read_bytes()


def test_the_same_bytes_under_another_dtype_are_measured_again(place: Path):
    values = np.arange(ROWS)
    values[ROWS // 2] = -1
    verdicts = []
    for dtype in (np.int64, np.uint64):
        field = FieldSpec("x", np.dtype(dtype), ("sample",), (), "id")
        bounds = {"train": slice(0, 512), "val": slice(512, 1024), "test": slice(1024, None)}
        parts = (Rows(name, {"x": values.view(dtype)[rows]}, {}) for name, rows in bounds.items())
        Path("normalized.h5").unlink(missing_ok=True)
        write_dataset(
            Path("normalized.h5"), DatasetSpec("rows", (field,), {}), (), parts, {"identity": "x"}, compression="none"
        )
        schema = BOUNDS.replace("int64", np.dtype(dtype).name)
        Path("schema.yaml").write_text(schema)
        run("validate", "found.json")
        results = json.loads(Path("found.json").read_text())["checks"]
        verdicts += [each["passed"] for each in results if each["check"] == "in_bounds"]

    assert verdicts == [True, False]


@pytest.mark.parametrize("verb", ["stats", "validate"])
def test_a_journal_that_was_damaged_is_not_believed(place: Path, verb: str):
    if verb == "validate":
        run("stats", "stats.json")
        run("normalize", "normalized.h5")
    fresh_cache()
    whole = run(verb, "whole.json")
    (journal,) = cache_folder().glob("*.sqlite")
    with closing(sqlite3.connect(journal)) as records, records:
        for key, record in records.execute("SELECT key, record FROM records").fetchall():
            damaged = bytearray(record)
            damaged[len(damaged) // 2] ^= 1
            records.execute("UPDATE records SET record = ? WHERE key = ?", (bytes(damaged), key))

    again = run(verb, "again.json")

    assert again == whole
    assert Path("again.json").read_bytes() == Path("whole.json").read_bytes()


def test_force_begins_anew(place: Path, monkeypatch: pytest.MonkeyPatch):
    run("stats", "stats.json")
    run("normalize", "normalized.h5", signal.SIGKILL, 24)
    units, real = [], Pipeline.apply

    def counted(self: Pipeline, arrays: Mapping[str, Array]) -> dict[str, Array]:
        units.append(len(arrays["x"]))
        return real(self, arrays)

    monkeypatch.setattr(Pipeline, "apply", counted)
    normalize("raw.h5", stats="stats.json", output="normalized.h5", schema="schema.yaml", force=True)

    assert len(units) == UNITS + 1
    assert beside() == []


def test_a_row_that_changed_since_is_not_taken_from_what_was_finished(place: Path):
    run("stats", "stats.json")
    run("normalize", "normalized.h5", signal.SIGKILL, 24)
    with open("raw.h5", "r+b") as file:
        data = bytearray(file.read())
        data[len(data) // 4] ^= 1
        file.seek(0)
        file.write(data)

    command = [sys.executable, "-c", CHILD, "normalize", "normalized.h5", "0", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "stored bytes changed" in done.stderr
    assert not Path("normalized.h5").exists()
    assert beside() == []
