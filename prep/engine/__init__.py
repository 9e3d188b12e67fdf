"""The only loop over data: `run` offers every block to every fold in one pass, transforms and writes as it goes.

`run(DatasetSource.open(path), folds)` measures; with ``transform`` and ``sink`` it also writes; `ordered` is the
executor beneath both: threads, or the workers of a dask scheduler. Results never depend on the number of workers, nor
on which of them is done first: segments are examined on their own and merged in row order.
"""

from prep.engine.digests import all_digests, swept
from prep.engine.executor import Progress, Workers, available_workers, demand_scheduler, one_of, ordered, silent
from prep.engine.journal import Journal
from prep.engine.run import Measurements, run
from prep.engine.source import DatasetSource

__all__ = [
    "DatasetSource",
    "Journal",
    "Measurements",
    "Progress",
    "Workers",
    "all_digests",
    "available_workers",
    "demand_scheduler",
    "one_of",
    "ordered",
    "run",
    "silent",
    "swept",
]
