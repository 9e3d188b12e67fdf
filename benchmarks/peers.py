"""The other side: what others compute of the same files, each as its documentation has it, on two threads where it can.

Libraries are imported where they are used; what a job loads into memory beforehand is not timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import local
from typing import Any

import numpy as np

from benchmarks.data import WINDOWS_SCHEMA, Made
from benchmarks.measure import WORKERS, Job
from prep.blocks import Array
from prep.folds.sketch import QUANTILES
from prep.formats import open_container
from prep.schema import load_schema, to_pandera

COPY_BYTES = 4 << 20


def dask_array(made: Made) -> Job:
    """dask.array over the HDF5 dataset, its stored chunks as blocks, all reductions in one `dask.compute`."""
    import dask.array as da
    import h5py
    from dask.base import compute

    def measure() -> dict[str, Any]:
        with h5py.File(made.path) as file:
            values = da.from_array(file["values"], chunks=file["values"].chunks)  # type: ignore[no-untyped-call]
            lazy = {
                "mean": values.mean(axis=0),
                "std": values.std(axis=0),
                "min": values.min(axis=0),
                "max": values.max(axis=0),
                "finite": da.isfinite(values).all(axis=0),
            }
            (found,) = compute(lazy, scheduler="threads", num_workers=WORKERS)  # type: ignore[no-untyped-call]
        return dict(found)

    return Job(measure)


def xarray(made: Made) -> Job:
    """`xarray.open_dataset` through h5netcdf with dask blocks."""
    import dask
    import xarray as xr

    def measure() -> dict[str, Any]:
        with (
            dask.config.set(scheduler="threads", num_workers=WORKERS),
            xr.open_dataset(made.path, engine="h5netcdf", chunks={}) as dataset,
        ):
            values = dataset["values"]
            names = ("mean", "std", "min", "max")
            found = xr.Dataset({name: getattr(values, name)("sample") for name in names}).compute()
            return {name: found[name].values for name in names}

    return Job(measure)


def scikit_learn(made: Made) -> Job:
    """`StandardScaler.partial_fit` chunk by chunk out of one reused buffer, minima and maxima by NumPy; one thread."""
    from sklearn.preprocessing import StandardScaler

    def measure() -> dict[str, Any]:
        scaler, low, high = StandardScaler(), np.inf, -np.inf
        for rows in _chunks(made):
            scaler.partial_fit(rows)
            low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        return {"mean": scaler.mean_, "std": np.sqrt(scaler.var_), "min": low, "max": high}

    return Job(measure)


def lerobot(made: Made) -> Job:
    """LeRobot's statistics, written again from their description, each stored chunk taken for an episode.

    Minimum, maximum, mean, standard deviation and count of each episode with NumPy; then means weighted by counts, and
    variances weighted by counts plus the squared distance of the episode's mean from the whole one (Chan, Golub and
    LeVeque 1983).
    """

    def measure() -> dict[str, Any]:
        episodes = [
            (rows.min(axis=0), rows.max(axis=0), rows.mean(axis=0), rows.std(axis=0), len(rows))
            for rows in _chunks(made)
        ]
        low, high, mean, std, count = (
            np.stack([np.asarray(each) for each in column]) for column in zip(*episodes, strict=True)
        )
        weight = count[:, np.newaxis] / count.sum()
        whole = (mean * weight).sum(axis=0)
        variance = ((std**2 + (mean - whole) ** 2) * weight).sum(axis=0)
        return {"mean": whole, "std": np.sqrt(variance), "min": low.min(axis=0), "max": high.max(axis=0)}

    return Job(measure)


def polars(*, quantiles: bool) -> Callable[[Made], Job]:
    """A frame in memory, its columns contiguous; quantiles of columns sorted once, five times faster than unsorted."""
    os.environ.setdefault("POLARS_MAX_THREADS", str(WORKERS))  # read once, when polars is imported

    def prepare(made: Made) -> Job:
        import polars as pl

        frame = pl.DataFrame(dict(_columns(made)))
        every = pl.all()
        moments = {"mean": every.mean(), "std": every.std(ddof=0), "min": every.min(), "max": every.max()}
        ranks = {name: every.quantile(q) for name, q in QUANTILES.items()}

        def select(source: pl.DataFrame, found: dict[str, pl.Expr]) -> dict[str, list[float]]:
            chosen = source.lazy().select(each.name.suffix(f" {name}") for name, each in found.items())
            row = chosen.collect().row(0, named=True)
            return {name: [row[f"{column} {name}"] for column in source.columns] for name in found}

        def measure() -> dict[str, Any]:
            values: dict[str, Any] = {name: np.asarray(each) for name, each in select(frame, moments).items()}
            if quantiles:
                ordered = frame.lazy().select(every.sort()).collect()
                values["quantiles"] = np.asarray([*select(ordered, ranks).values()])
            return values

        return Job(measure)

    return prepare


def duckdb(*, quantiles: bool) -> Callable[[Made], Job]:
    """A table in memory; quantiles by `quantile_disc`, exact and faster than `approx_quantile`."""

    def prepare(made: Made) -> Job:
        import duckdb as db

        columns = dict(_columns(made))
        connection = db.connect(config={"threads": WORKERS})
        connection.register("loaded", columns)
        connection.execute("CREATE TABLE stored AS SELECT * FROM loaded")
        connection.unregister("loaded")
        kinds = ["avg({})", "stddev_pop({})", "min({})", "max({})"]
        kinds += [f"quantile_disc({{}}, {[*QUANTILES.values()]})"] if quantiles else []
        query = f"SELECT {', '.join(kind.format(name) for name in columns for kind in kinds)} FROM stored"

        def measure() -> dict[str, Any]:
            row = connection.execute(query).fetchone()
            assert row is not None
            names = ("mean", "std", "min", "max", "quantiles")[: len(kinds)]
            return {name: np.asarray(row[place :: len(kinds)]).T for place, name in enumerate(names)}

        return Job(measure)

    return prepare


def read_and_hash(made: Made) -> Job:
    """The bare loop: each stored chunk by `os.preadv` into one reused buffer a thread, and BLAKE3 over it."""
    from blake3 import blake3

    def measure() -> dict[str, Any]:
        layouts = open_container(made.path).layouts
        own = local()

        def digest(place: tuple[int, int]) -> bytes:
            offset, size = place
            if len(getattr(own, "buffer", b"")) < size:
                own.buffer = bytearray(size)
            view = memoryview(own.buffer)[:size]
            if os.preadv(descriptor, [view], offset) != size:
                raise OSError("a short read")
            return blake3(view).digest()

        descriptor = os.open(made.path, os.O_RDONLY)
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                places = {
                    name: zip(layout.offsets.tolist(), layout.sizes.tolist(), strict=True)
                    for name, layout in layouts.items()
                }
                return {"digests": {name: tuple(pool.map(digest, each)) for name, each in places.items()}}
        finally:
            os.close(descriptor)

    return Job(measure)


def gather(made: Made) -> Job:
    """Random batches of 512 out of an array in memory."""
    values = made.load("inputs")

    def epoch() -> dict[str, Any]:
        order = np.random.default_rng(0).permutation(len(values))
        found = (np.take(values, order[low : low + 512], axis=0) for low in range(0, len(order), 512))
        return {"samples": sum(int(batch[:, 0, 0].sum()) for batch in found)}

    return Job(epoch)


def data_loader(workers: int) -> Callable[[Made], Job]:
    """torch's DataLoader over a map of samples to h5py, shuffled, batches of 512, as tutorials have it."""

    def prepare(made: Made) -> Job:
        import torch

        loader = torch.utils.data.DataLoader(_Samples(made), batch_size=512, shuffle=True, num_workers=workers)

        def epoch() -> dict[str, Any]:
            return {"samples": sum(int(batch[:, 0, 0].sum()) for batch in loader)}

        return Job(epoch)

    return prepare


class _Samples:
    """Opened where it is read, since a worker must not share a file of its parent."""

    def __init__(self, made: Made) -> None:
        self._made, self._values = made, None

    def __len__(self) -> int:
        return self._made.rows

    def __getitem__(self, index: int) -> Any:
        import h5py

        if self._values is None:
            self._values = h5py.File(self._made.path)["inputs"]
        return self._values[index]


def copy(made: Made) -> Job:
    """The raw file through one reused buffer of 4 MiB into a new file, fsync included; the path of the copy."""
    output = made.folder / "copy.h5"

    def write() -> Path:
        buffer = memoryview(bytearray(COPY_BYTES))
        source = os.open(made.raw, os.O_RDONLY)
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            place = 0
            while size := os.preadv(source, [buffer], place):
                if os.pwrite(target, buffer[:size], place) != size:
                    raise OSError("a short write")
                place += size
            os.fsync(target)
        finally:
            os.close(source)
            os.close(target)
        return output

    return Job(write, lambda: output.unlink(missing_ok=True))


def pandera(made: Made) -> Job:
    """Vanilla pandera with the same checks on the dataset in memory: the verdict of each."""
    import pandera.xarray as pa
    import xarray as xr

    schema = to_pandera(load_schema(WINDOWS_SCHEMA))
    with xr.open_dataset(made.path, engine="h5netcdf") as opened:
        dataset = opened.load()

    def measure() -> dict[str, Any]:
        failed: list[Any] = []
        try:
            schema.validate(dataset, lazy=True)
        except pa.errors.SchemaErrors as error:
            failed = [each.check for each in error.schema_errors]
        return {"checks": [(check.name, not any(check is each for each in failed)) for check in schema.checks]}

    return Job(measure)


def cholesky(made: Made) -> Job:
    """Batched `np.linalg.cholesky` of the matrices as complex128 in memory, one BLAS thread for each of two threads."""

    def definite(matrices: Array, start: int) -> list[int]:
        try:
            np.linalg.cholesky(matrices)
        except np.linalg.LinAlgError:
            if len(matrices) == 1:
                return [start]
            return [
                place
                for index in range(len(matrices))
                for place in definite(matrices[index : index + 1], start + index)
            ]
        return []

    return _batched(made, lambda start, matrices: definite(matrices, start))


def eigenvalues(made: Made) -> Job:
    """Batched `np.linalg.eigvalsh`, otherwise as `cholesky`."""

    def indefinite(start: int, matrices: Array) -> list[int]:
        return (start + np.flatnonzero(np.linalg.eigvalsh(matrices)[:, 0] < -1e-5 * matrices.shape[1])).tolist()

    return _batched(made, indefinite)


def _batched(made: Made, failing: Callable[[int, Array], list[int]]) -> Job:
    from threadpoolctl import threadpool_limits

    matrices = made.load("covariance").astype(np.complex128)
    starts = range(0, len(matrices), 32)

    def measure() -> dict[str, Any]:
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(WORKERS) as pool:
            found = pool.map(lambda start: failing(start, matrices[start : start + 32]), starts)
            return {"indefinite": list(islice((place for each in found for place in each), 10))}

    return Job(measure)


def _chunks(made: Made) -> Iterator[Array]:
    """The rows of each stored chunk in one reused buffer."""
    import h5py

    with h5py.File(made.path) as file:
        values = file["values"]
        step = values.chunks[0]
        buffer = np.empty((step, values.shape[1]), values.dtype)
        for start in range(0, len(values), step):
            rows = buffer[: min(step, len(values) - start)]
            values.read_direct(rows, np.s_[start : start + len(rows)])
            yield rows


def _columns(made: Made) -> Iterator[tuple[str, Array]]:
    for index, column in enumerate(made.load("values").T):
        yield f"c{index}", np.ascontiguousarray(column)
