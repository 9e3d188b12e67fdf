"""What went wrong with covariance matrices behind a surface."""

from __future__ import annotations

import json

import numpy as np

from prep.blocks import Array
from prep.kernels.steering import steering
from prep.mutations import Specimen


def raw_target(data: Specimen) -> None:
    """The target was never divided by its trace: it was 72 times larger than the prediction it was compared with."""
    data.store("covariance", 72.0 * data.arrays["covariance"])


def one_sided_loading(data: Specimen) -> None:
    """The target got a loading of one unit matrix and the prediction none: trace 288 against 144."""
    data.store("covariance", data.arrays["covariance"] + np.eye(_elements(data)))


def swallowed_exception(data: Specimen) -> None:
    """An exception while a matrix was built was caught, and an all-zero matrix returned."""
    data.arrays["covariance"][data.spec.rows // 2] = 0.0


def reseeded_splits(data: Specimen) -> None:
    """Samples were seeded 42 + i in one split and 165 + i in the next, so every validation row had been trained on."""
    train = data.rows("train")
    for split in ("val", "test"):
        rows = data.rows(split)
        count = rows.stop - rows.start
        for array in (each for name, each in data.arrays.items() if name != "split"):
            array[rows] = array[train][17 : 17 + count]


def reseeded_splits_rounded(data: Specimen) -> None:
    """Validation samples were training samples computed again elsewhere, equal but for the last bits of each value."""
    reseeded_splits(data)
    for bits, split in enumerate(("val", "test"), start=1):
        for array in data.arrays.values():
            if array.dtype.kind in "fc":
                array[data.rows(split)] *= 1 + bits * np.finfo(array.dtype).eps


def mean_centred(data: Specimen) -> None:
    """Matrices were centred by their mean like features, and scaled back to the trace."""
    values = data.arrays["covariance"]
    centred = values - values[data.rows("train")].mean(axis=0)
    trace = np.abs(np.trace(centred, axis1=1, axis2=2)).astype(np.float64)
    data.store("covariance", centred * (_elements(data) / np.maximum(trace, 1e-6))[:, np.newaxis, np.newaxis])


def not_hermitian(data: Specimen) -> None:
    """The upper triangle was stored and the lower one was not its conjugate."""
    lower = np.tril(np.ones((_elements(data),) * 2, bool), -1)
    values = data.arrays["covariance"]
    values[:, lower] = values[:, lower].conj()


def indefinite(data: Specimen) -> None:
    """A correction that kept the trace made eigenvalues negative."""
    size = _elements(data)
    values = data.arrays["covariance"]
    data.store("covariance", 1.5 * values - 0.5 * np.eye(size))


def constant_symbols(data: Specimen) -> None:
    """All snapshots of a sample were made of one draw of the sources: they show one vector and no covariance."""
    channel, codes = data.constants["channel"], data.constants["codes"]
    rng = np.random.default_rng(0)
    for start in range(0, data.spec.rows, 512):
        rows = slice(start, min(start + 512, data.spec.rows))
        arrays = {name: data.arrays[name][rows] for name in ("sources", "source_mask", "snapshots", "snr_db")}
        columns = _columns(data, arrays["sources"]) * arrays["source_mask"][:, np.newaxis, :]
        symbols = rng.standard_normal((*columns.shape[::2], 2)).view(np.complex128)[..., 0]
        field = np.einsum("bnk,bk->bn", columns, symbols)
        received = np.einsum("mn,ln,bn->bml", channel, codes, field, optimize=True)
        power = np.mean(np.abs(received) ** 2, axis=(1, 2)) / 10.0 ** (arrays["snr_db"].astype(np.float64) / 10.0)
        noise = rng.standard_normal((*received.shape, 2)).view(np.complex128)[..., 0]
        received += noise * np.sqrt(power / 2.0)[:, np.newaxis, np.newaxis]
        rms = np.sqrt(np.mean(np.abs(received) ** 2, axis=(1, 2)))
        data.arrays["snapshots"][rows] = received / rms[:, np.newaxis, np.newaxis]


def foreign_sources(data: Specimen) -> None:
    """Labels were shuffled against the matrices: the sources are those of another sample."""
    for name in ("sources", "source_mask", "num_sources"):
        data.arrays[name] = np.roll(data.arrays[name], 1, axis=0)


def foreign_snapshots(data: Specimen) -> None:
    """Inputs and targets were shuffled apart: the snapshots are those of another sample."""
    for name in ("snapshots", "log_rms"):
        data.arrays[name] = np.roll(data.arrays[name], 1, axis=0)


def forgotten_powers(data: Specimen) -> None:
    """The covariance was built as A Aᴴ, without the sources' powers that the snapshots were made with."""
    size = _elements(data)
    for start in range(0, data.spec.rows, 512):
        rows = slice(start, min(start + 512, data.spec.rows))
        factor = _columns(data, data.arrays["sources"][rows]) * data.arrays["source_mask"][rows, np.newaxis, :]
        factor /= np.linalg.norm(factor, axis=(1, 2), keepdims=True)
        matrices = size * (factor @ factor.conj().swapaxes(1, 2))
        data.arrays["factor"][rows] = factor
        data.arrays["covariance"][rows] = (matrices + matrices.conj().swapaxes(1, 2)) / 2


def mislabelled_snr(data: Specimen) -> None:
    """The decibels of the signal-to-noise ratio were those of amplitudes read as powers: half of what they are."""
    data.store("snr_db", data.arrays["snr_db"] / 2)


def _columns(data: Specimen, sources: Array) -> Array:
    """Steering vectors (rows, N, K) of sources (rows, K, 3), with their path loss."""
    rows, columns = json.loads(data.spec.attributes["element_grid"])
    wavelength = float(data.spec.attributes["wavelength_m"])
    azimuth, elevation, reach = np.moveaxis(sources.astype(np.float64), -1, 0)
    reach = np.maximum(reach, 1e-3)
    vectors = steering(azimuth, elevation, reach, grid=(rows, columns), wavelength=wavelength)
    columns_of: Array = np.swapaxes(vectors, 1, 2) * (wavelength / (4 * np.pi * reach))[:, np.newaxis, :]
    return columns_of


def _elements(data: Specimen) -> int:
    return data.spec["covariance"].shape[0]
