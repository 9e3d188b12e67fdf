"""What is right: NumPy in float64 on whole arrays in memory. Nobody is timed against it; the tests compare with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.data import WINDOWS_SCHEMA, Made
from benchmarks.measure import Job
from prep.blocks import Array
from prep.folds.sketch import QUANTILES
from prep.schema import load_schema
from prep.verbs.rawdata import read_manifest


def moments(*, masked: bool = False, grouped: bool = False) -> Callable[[Made], Job]:
    """Moments and quantiles (the order statistics) of each column, and group, of what a mask counts."""

    def prepare(made: Made) -> Job:
        values = made.load("values").astype(np.float64)
        counted = made.load("mask") != 0 if masked else np.ones(values.shape, bool)
        group = made.load("group") if grouped else np.zeros(len(values), int)
        return Job(lambda: _by_numpy(values, counted, group))

    return prepare


def _by_numpy(values: Array, counted: Array, group: Array) -> dict[str, Any]:
    cells = []
    for each in np.unique(group):
        own = group == each
        for column, keep in zip(values[own].T, counted[own].T, strict=True):
            x = column[keep]
            gap, std = x - x.mean(), x.std()
            cells.append(
                {
                    "mean": x.mean(),
                    "std": std,
                    "min": x.min(),
                    "max": x.max(),
                    "finite": np.isfinite(x).all(),
                    "skewness": (gap**3).mean() / std**3,
                    "kurtosis": (gap**4).mean() / std**4 - 3,
                    "count": len(x),
                    "quantiles": np.quantile(x, [*QUANTILES.values()], method="inverted_cdf"),
                }
            )
    shape = (-1, values.shape[1])
    found = {name: np.squeeze(np.reshape([cell[name] for cell in cells], shape)) for name in cells[0] if name[0] != "q"}
    return {**found, "quantiles": np.stack([cell["quantiles"] for cell in cells], axis=1)}


def matrices(made: Made) -> Job:
    """Each matrix in double precision."""
    every = made.load("covariance").astype(np.complex128)

    def measure() -> dict[str, Any]:
        size = every.shape[1]
        norms = partial(np.linalg.norm, axis=(1, 2))
        gaps = norms(every - np.conj(np.swapaxes(every, 1, 2))) / norms(every)
        traces = np.abs(np.trace(every, axis1=1, axis2=2).real - size) / size
        indefinite = np.flatnonzero(np.linalg.eigvalsh(every)[:, 0] < -1e-5 * size)
        return {
            "indefinite": indefinite.tolist()[:10],
            "hermitian_worst": gaps.max(),
            "trace_worst": traces.max(),
            "failing": [int((gaps > 1e-6).sum()), int((traces > 1e-5).sum()), len(indefinite)],
        }

    return Job(measure)


def standardised(made: Made) -> Job:
    """The values that `normalize` has to write, from the raw ones in memory; the train split's mean and deviation."""
    raw = replace(made, path=made.raw)

    def measure() -> dict[str, Any]:
        found, train = {}, int((raw.load("split") == 0).sum())
        for name in ("inputs", "targets"):
            values = raw.load(name).astype(np.float64)
            own = values[:train].reshape(-1, values.shape[-1])
            found[name] = (values - own.mean(axis=0)) / own.std(axis=0)
        return found

    return Job(measure)


def manifest(made: Made) -> Job:
    """What the manifest says, without the gate."""

    def read() -> dict[str, Any]:
        contents = read_manifest(made.path)
        return {"chunks": contents.chunks, "root": contents.root}

    return Job(read)


def passed(made: Made) -> Job:
    """The verdicts on data without a defect."""
    plans = load_schema(WINDOWS_SCHEMA, verify=False).checks
    return Job(lambda: {"checks": [(plan.name, True) for plan in plans]})
