"""A dataset larger than the memory that a process may take goes down the whole line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prep.blocks import DatasetSpec, FieldSpec
from prep.verbs.rawdata import Rows, write_dataset

ROW_VALUES, PART, ROWS = 800, 10_000, 200_000
ALLOWED = 384 << 20
SCHEMA = """
schema_type: dataset
version: 0.35.0
title: large
strict: true
sizes: {step: 50, channel: 16}
data_vars:
  x: {dtype: float32, dims: [sample, step, channel]}
  split: {dtype: uint8, dims: [sample]}
checks:
- {var: x, options: {check_name: finite}}
- {var: x, mask: "", group: "", features: [channel], split: train, mean_limit: 0.05, std_limit: 0.05,
   constant: refuse, options: {check_name: standardised}}
- {var: x, with_fields: [], options: {check_name: unique_rows}}
- {var: split, options: {check_name: split_flags}}
prep:
  dataset: large
  fields:
    x: {role: input, units: "1", features: [channel], transform: {name: standardize}}
    split: {role: split}
"""
LINE = """
import resource, sys
import numpy as np
import h5py, numba, pandera.xarray, scipy.linalg
import prep
from prep.verbs.validate import examine
used = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmData"))) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + {allowed},) * 2)
try:
    np.ones({bytes}, np.uint8)
except MemoryError:
    print("too large to load")
raw, schema = "{raw}", "{schema}"
prep.stats(raw, output="stats.json", schema=schema, workers=2)
prep.normalize(raw, stats="stats.json", output="normal.h5", schema=schema, workers=2)
(found,) = prep.validate("normal.h5", schema=schema, workers=2)
print(found.report.verdict)
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """610 MiB of windows, written part by part."""
    field = FieldSpec("x", np.dtype("f4"), ("sample", "step", "channel"), (50, 16), "input")
    part = np.random.default_rng(0).standard_normal((PART, 50, 16)).astype("f4")
    rows = (
        Rows(
            "train" if start < ROWS * 0.9 else "val" if start < ROWS * 0.95 else "test", {"x": part + start * 1e-6}, {}
        )
        for start in range(0, ROWS, PART)
    )
    write_dataset(tmp_path / "large.h5", DatasetSpec("large", (field,), {}), (), rows, {}, compression="none")
    (tmp_path / "large.yaml").write_text(SCHEMA)
    return tmp_path / "large.h5"


def test_the_line_needs_less_memory_than_the_data_have(large: Path) -> None:
    size = ROWS * ROW_VALUES * 4
    assert size > 1.5 * ALLOWED
    code = LINE.format(allowed=ALLOWED, bytes=size, raw=large, schema=large.with_suffix(".yaml").as_posix())
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=large.parent, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["too large to load", "passed"]
