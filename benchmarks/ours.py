"""Our side of the comparisons, by what prep offers publicly."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import WINDOWS_SCHEMA, Made
from benchmarks.measure import WORKERS, Job
from benchmarks.memory import extra_mebibytes
from prep.blocks import Array, ChunkKey, DatasetSpec
from prep.checks import CHECKS
from prep.engine import DatasetSource, run
from prep.folds import Fold, Scope
from prep.folds.moments import Moments
from prep.folds.sketch import QUANTILES, Quantiles
from prep.formats.reader import ChunkReader
from prep.gate import admit
from prep.kernels.scratch import Scratch
from prep.schema import load_schema
from prep.verbs.normalize import normalize as normalize_dataset
from prep.verbs.rawdata import read_manifest
from prep.verbs.statistics import statistics_folds
from prep.verbs.validate import examine

# A matrix with an eigenvalue below -1e-5 N is indefinite; those that are Hermitian in complex64 pass the other two.
MATRIX_CHECKS = {"hermitian": 1e-6, "trace_n": 1e-5, "psd": 1e-5}


def moments(
    *, quantiles: bool = False, masked: bool = False, grouped: bool = False, workers: int = WORKERS
) -> Callable[[Made], Job]:
    """Mean, std, min, max, finite, skewness and kurtosis of each column (and group) of a `data.Table`, and seven
    quantiles of all its values.
    """

    def prepare(made: Made) -> Job:
        def measure() -> dict[str, Any]:
            with DatasetSource.open(made.path) as source:
                spec = source.spec
                mask, group = spec["mask"] if masked else None, "group" if grouped else ""
                fold = Moments(spec["values"], Scope.of(spec), mask, group)
                sketch = Quantiles(spec["values"], Scope.of(spec), mask, group)
                found = run(source, [fold, sketch] if quantiles else [fold], workers=workers).results
            result = found[fold.key]
            names = ("mean", "std", "min", "max", "skewness", "kurtosis", "count")
            values = {name: np.squeeze(getattr(result, name)) for name in names}
            values["finite"] = np.squeeze(result.finite == result.count)
            if quantiles:
                values["quantile_error"] = found[sketch.key].relative_error
                values["quantiles"] = np.stack([found[sketch.key].quantile(q)[0] for q in QUANTILES.values()])
            return values

        return Job(measure)

    return prepare


def validate(*, workers: int = WORKERS) -> Callable[[Made], Job]:
    """The whole of `prep validate`: stored digests by field and chunk, and the verdict of each check of the schema."""
    return lambda made: Job(lambda: _validated(made.path, workers))


def _validated(path: Path, workers: int) -> dict[str, Any]:
    report = examine(path, schema=WINDOWS_SCHEMA, workers=workers)
    stored = next(each.finding.passed for each in report.results if each.check == "stored_bytes")
    return {
        "checks": [(each.check, each.finding.passed) for each in report.results if each.check in CHECKS],
        "digests": {name: tuple(each.stored) for name, each in read_manifest(path).digests.items()} if stored else {},
    }


def validate_every_value(made: Made) -> Job:
    """What `prep validate` measures in its pass, but with quantiles of all values."""

    def measure() -> dict[str, Any]:
        with DatasetSource.open(made.path) as source:
            spec = source.spec
            folds = [
                fold
                for plan in load_schema(WINDOWS_SCHEMA, verify=False).checks
                for fold in CHECKS.load(plan.name)().folds(spec, plan.statistics)
            ]
            for each in statistics_folds(source, spec, {}):
                folds += [each.moments, replace(each.quantiles, stride=1)]
            digests = run(source, folds, digests=True, workers=WORKERS).digests
        return {"digests": {name: tuple(each.stored) for name, each in digests.items()}}

    return Job(measure)


def matrices(made: Made) -> Job:
    """The folds of the checks hermitian, trace_n and psd: how many matrices fail each, which first, and the worst."""

    def measure() -> dict[str, Any]:
        with DatasetSource.open(made.path) as source:
            folds = {name: _matrix_fold(source.spec, name) for name in MATRIX_CHECKS}
            found = run(source, folds.values(), workers=WORKERS).results
        return {
            "indefinite": list(found[folds["psd"].key].samples),
            "hermitian_worst": found[folds["hermitian"].key].worst,
            "trace_worst": found[folds["trace_n"].key].worst,
            "failing": [found[fold.key].failing for fold in folds.values()],
        }

    return Job(measure)


def _matrix_fold(spec: DatasetSpec, name: str) -> Fold:
    fold: Fold = CHECKS.load(name)().folds(spec, {"var": "covariance", "tolerance": MATRIX_CHECKS[name]})[0]
    return fold


def normalize(made: Made) -> Job:
    """`prep normalize` to a new file, fsync included; the path that it wrote."""
    output = made.folder / "again.h5"

    def write() -> Path:
        return normalize_dataset(
            made.raw, stats=made.statistics, output=output, schema=WINDOWS_SCHEMA, force=True, workers=WORKERS
        )

    return Job(write, lambda: output.unlink(missing_ok=True))


def admission(made: Made) -> Job:
    """The gate's decision on a certified dataset: samples by split."""

    def decide() -> dict[str, Any]:
        data = admit(made.path, lock_path=made.folder / "prep.lock")
        return {"chunks": data.manifest.chunks, "root": data.root}

    return Job(decide)


def reads(*, verified: bool, cold: bool = False) -> Callable[[Made], Job]:
    """Every chunk into a reused array on two threads, as loaders and the trainer read; ``cold`` out of the disk."""

    def prepare(made: Made) -> Job:
        contents = read_manifest(made.path)
        layout = contents.layouts["values"]
        digests = contents.digests if verified else None

        def share(reader: ChunkReader, first: int) -> tuple[int, Array]:
            scratch = Scratch()
            out = np.empty((layout.chunk_rows, *layout.spec.shape), layout.spec.dtype)
            done = 0
            for index in range(first, layout.chunks, WORKERS):
                start, stop = layout.row_range(index)
                reader.fill(ChunkKey("values", index), out[: stop - start], scratch)
                done += stop - start
            return done, out[0].copy()

        def read() -> dict[str, Any]:
            with ChunkReader(made.path, contents.layouts, digests) as reader, ThreadPoolExecutor(WORKERS) as pool:
                found = list(pool.map(lambda first: share(reader, first), range(WORKERS)))
            return {"rows": sum(rows for rows, _ in found), "last": np.stack([row for _, row in found])}

        return Job(read, (lambda: _forget(made.path)) if cold else (lambda: None))

    return prepare


def batches(*, held: bool, shuffle: bool = True) -> Callable[[Made], Job]:
    """One epoch of verified batches of 512; where the split is held in memory, it has been read before."""

    def prepare(made: Made) -> Job:
        data = admit(made.path, lock_path=made.folder / "prep.lock")
        options = {"batch_size": 512, "shuffle": shuffle, "in_memory": held, "fields": ("inputs",)}
        loader = data.torch("train", **options)
        if held:
            next(iter(loader))

        def epoch() -> dict[str, Any]:
            # The first value of a sample is its number.
            return {"samples": sum(int(batch["inputs"][:, 0, 0].sum()) for batch in loader)}

        return Job(epoch)

    return prepare


def _forget(path: Path) -> None:
    """Ask the system to drop a file from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def memory(verb: str) -> Callable[[Made], Job]:
    """MiB of memory that a verb needs beyond what it needs for hardly any samples."""
    return lambda made: Job(lambda: extra_mebibytes(verb, made))
