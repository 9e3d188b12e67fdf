"""A small Parquet file of every kind of column that is read, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_parquet(path: Path, rows: int = 500) -> dict[str, np.ndarray]:
    """Write it in row groups of 64, and return what is expected to be read."""
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(3)
    x, vector = random.standard_normal((rows, 3)), random.standard_normal((rows, 4)).astype(np.float32)
    gaps = [None if row % 7 == 0 else row for row in range(rows)]
    columns = {
        **{f"x{place}": pa.array(x[:, place]) for place in range(3)},
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vector.reshape(-1)), 4),
        "list": pa.array(x[:, :2].tolist()),
        "gaps": pa.array(gaps, pa.int64()),
        "when": pa.array(np.arange(rows) * 500, pa.timestamp("ms")),
        "ok": pa.array(np.arange(rows) % 2 == 0),
        "name": pa.array(["a"] * rows),
    }
    parquet.write_table(pa.table(columns), path, row_group_size=64)
    return {
        "x": x,
        "vector": vector,
        "list": x[:, :2],
        "gaps": np.array([np.nan if each is None else each for each in gaps]),
        "when": np.arange(rows) * 0.5,
        "ok": np.arange(rows) % 2 == 0,
    }
