"""The digests of everything a dataset stores: one pass over fields, and its constants."""

from __future__ import annotations

from prep.engine.executor import Progress, Workers, silent
from prep.engine.run import run
from prep.engine.source import DatasetSource
from prep.formats.digests import ChunkDigests


def all_digests(source: DatasetSource, workers: Workers = None, progress: Progress = silent) -> dict[str, ChunkDigests]:
    """Digests of every chunk of a dataset by field, constants included."""
    return {**run(source, digests=True, workers=workers, progress=progress).digests, **source.constants()[1]}
