"""The only loop over data: `run` offers every block to every fold in one pass, transforms and writes as it goes.

`run(DatasetSource.open(path), folds)` measures; with ``transform`` and ``sink`` it also writes; `ordered` is the
executor beneath both. Results never depend on the number of workers: segments are examined on their own and merged in
row order.
"""

from prep.engine.digests import all_digests
from prep.engine.executor import Progress, available_workers, ordered, silent
from prep.engine.run import Measurements, run
from prep.engine.source import ChunkDigests, DatasetSource

__all__ = [
    "ChunkDigests",
    "DatasetSource",
    "Measurements",
    "Progress",
    "all_digests",
    "available_workers",
    "ordered",
    "run",
    "silent",
]
