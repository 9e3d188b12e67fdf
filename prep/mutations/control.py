"""What went wrong with windows of many linear systems, padded to one shape."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from prep.blocks import Array, expand_mask
from prep.mutations import Specimen

_SCALED = ("states", "controls")


def unapplied_statistics(data: Specimen) -> None:
    """Statistics were stored and never applied: the loss began at 15 781, gradients at 60 times the clip."""
    for name in _SCALED:
        data.store(name, data.original(name))


def dummy_statistics(data: Specimen) -> None:
    """The statistics file could not be read, so mean 0 and standard deviation 1 were used without a word."""
    unapplied_statistics(data)  # (x - 0) / 1
    document = json.loads(data.spec.documents["transforms"])
    for name in _SCALED:
        params = document[name]["params"]
        for key, value in (("mean", 0.0), ("std", 1.0)):
            params[key] = np.full(np.shape(params[key]), value).tolist()
    data.spec = replace(data.spec, documents={**data.spec.documents, "transforms": json.dumps(document)})


def padding_counted(data: Specimen) -> None:
    """Zeros of the padding were counted in mean and standard deviation, over all systems together."""
    for name in _SCALED:
        values, counts = data.original(name), _counts(data, name)
        train = values[data.rows("train")].reshape(-1, values.shape[-1])
        scaled = (values - train.mean(axis=0)) / np.maximum(train.std(axis=0), 1e-12)
        data.store(name, np.where(counts, scaled, 0.0))


def global_scale(data: Specimen) -> None:
    """One mean and one standard deviation for systems whose units differ by orders: one makes half the loss."""
    for name in _SCALED:
        values, counts = data.original(name), _counts(data, name)
        train = values[data.rows("train")][counts[data.rows("train")]]
        data.store(name, np.where(counts, (values - train.mean()) / train.std(), 0.0))


def normalised_twice(data: Specimen) -> None:
    """The statistics of the raw data were applied to data that had been normalised before."""
    for name in _SCALED:
        once = data.transforms[name].apply({**data.arrays, name: data.arrays[name]})
        data.store(name, once[name])


def scaled_encoding(data: Specimen) -> None:
    """The bits that say which system it is were standardised like measurements."""
    bits = data.arrays["encoding"].astype(np.float64)
    train = bits[data.rows("train")]
    data.arrays["encoding"] = ((bits - train.mean(axis=0)) / np.maximum(train.std(axis=0), 1e-3)).astype(np.float32)


def filled_padding(data: Specimen) -> None:
    """Padding was normalised too, and became minus mean over standard deviation instead of 0."""
    for name in _SCALED:
        data.store(name, np.where(_counts(data, name), data.arrays[name], -1.5))


def shared_trajectories(data: Specimen) -> None:
    """Windows were divided at random, though they overlap: trajectories of the training set are in the test set."""
    train, test = data.rows("train"), data.rows("test")
    systems = data.arrays["system"]
    for system in np.unique(systems):
        own = np.flatnonzero(systems[train] == system)[1::2] + train.start
        other = np.flatnonzero(systems[test] == system)[::2] + test.start
        count = min(len(own), len(other))
        for array in (each for name, each in data.arrays.items() if name != "split"):
            array[own[:count]], array[other[:count]] = array[other[:count]], array[own[:count]]


def scattered_windows(data: Specimen) -> None:
    """Windows were divided at random and then numbered as if each were a trajectory: no id tells that they overlap."""
    rng, systems = np.random.default_rng(0), data.arrays["system"]
    for system in np.unique(systems):
        own = np.flatnonzero(systems == system)
        order = rng.permutation(own)
        for array in (each for name, each in data.arrays.items() if name != "split"):
            array[own] = array[order]
    data.arrays["trajectory"] = np.arange(data.spec.rows, dtype=data.spec["trajectory"].dtype)


def stiff_family(data: Specimen) -> None:
    """One closed loop was too stiff for the integrator's step: its states alternate and grow until they are cut off."""
    system = int(data.arrays["system"][0])
    rows = data.arrays["system"] == system
    values = data.original("states")[rows]
    steps = np.arange(values.shape[1])
    values *= ((-1.0) ** steps * 1.12**steps)[:, np.newaxis]
    train = values[: int(np.count_nonzero(rows[data.rows("train")]))]
    mean, std = train.mean(axis=(0, 1)), train.std(axis=(0, 1))
    counts = _counts(data, "states")[rows]
    data.arrays["states"][rows] = np.where(counts, (values - mean) / np.where(std > 0, std, 1.0), 0.0)
    # The control is still linear in the last state, and still standardised.
    last = steps[-1]
    if last % 2:
        data.arrays["controls"][rows] *= -1


def lost_family(data: Specimen) -> None:
    """Every trajectory of one system diverged and was dropped; its rows are another system's."""
    systems = data.arrays["system"]
    first, second = np.unique(systems)[:2]
    for split in data.spec.splits:
        rows = data.rows(split)
        lost = np.flatnonzero(systems[rows] == first) + rows.start
        kept = np.flatnonzero(systems[rows] == second) + rows.start
        source = np.resize(kept, len(lost))
        for array in (each for name, each in data.arrays.items() if name != "split"):
            array[lost] = array[source]


def _counts(data: Specimen, name: str) -> Array:
    field = data.spec[name]
    return expand_mask(data.arrays[field.mask], data.spec[field.mask], field)
