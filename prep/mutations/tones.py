"""What went wrong with tones extracted by a recurrent network."""

from __future__ import annotations

import json

import numpy as np

from prep.blocks import Array
from prep.mutations import Specimen


def random_phase(data: Specimen) -> None:
    """Phases were drawn anew at every step over the whole circle: there was no signal left to learn."""
    rng = np.random.default_rng(0)
    time = data.arrays["time"].astype(np.float64)
    signal = np.zeros_like(time)
    for frequency in json.loads(data.spec.attributes["tones_hz"]):
        phase = rng.uniform(0.0, 2 * np.pi, time.shape)
        signal += rng.uniform(0.8, 1.2, time.shape) * np.sin(2 * np.pi * frequency * time + phase)
    train = signal[data.rows("train")]
    data.store("signal", (signal - train.mean()) / train.std())


def shuffled_time(data: Specimen) -> None:
    """Steps were shuffled like samples: nothing that remembers can follow them."""
    order = np.random.default_rng(0).permutation(data.arrays["time"].shape[1])
    for name in ("signal", "target", "time", "reset"):
        data.arrays[name] = np.ascontiguousarray(data.arrays[name][:, order])


def interleaved(data: Specimen) -> None:
    """Two halves of a sequence were interleaved, as two workers left them, so that time jumps back at every step."""
    steps = data.arrays["time"].shape[1]
    order = np.arange(steps).reshape(2, -1).T.ravel() if steps % 2 == 0 else np.arange(steps)
    for name in ("signal", "target", "time"):
        data.arrays[name] = np.ascontiguousarray(data.arrays[name][:, order])


def carried_state(data: Specimen) -> None:
    """Nothing marked where a sequence begins, so the state of one was carried into the next."""
    data.arrays["reset"][:] = 0


def same_targets(data: Specimen) -> None:
    """Train and test had the same targets and differed in their noise only: a clock scored well on both."""
    train, test = data.rows("train"), data.rows("test")
    for row in range(test.start, test.stop):
        same = np.flatnonzero(data.arrays["tone"][train] == data.arrays["tone"][row])
        data.arrays["target"][row] = data.arrays["target"][train][same[0]]


def one_phase_each(data: Specimen) -> None:
    """All sequences of a tone began at one phase, to a thousandth: whoever knew the time knew the target."""
    rng = np.random.default_rng(0)
    tones = np.array(json.loads(data.spec.attributes["tones_hz"]))
    span = float(json.loads(data.spec.attributes["phase_span_rad"]))
    phases = rng.uniform(0.0, 2 * np.pi, len(tones))
    signal = data.original("signal")
    for row, tone in enumerate(data.arrays["tone"].tolist()):
        time, target = data.arrays["time"][row].astype(np.float64), data.arrays["target"][row]
        angle = 2 * np.pi * tones[tone] * time
        sine, cosine = np.linalg.lstsq(np.stack([np.sin(angle), np.cos(angle)], axis=1), target)[0]
        before, after = np.arctan2(cosine, sine), phases[tone] + rng.normal(0.0, 1e-3)
        signal[row] += _tones(tones, time, after + span / 2) - _tones(tones, time, before + span / 2)
        data.arrays["target"][row] = np.sin(angle + after)
    train = signal[data.rows("train")]
    data.store("signal", (signal - train.mean()) / train.std())


def _tones(tones: Array, time: Array, phase: float) -> Array:
    """The sum without noise that all tones of a sequence make from one phase, (steps,)."""
    return np.asarray(np.sin(2 * np.pi * tones[:, np.newaxis] * time + phase).mean(axis=0))


def wrong_selector(data: Specimen) -> None:
    """The selector named another tone than the target was."""
    data.arrays["selector"] = np.roll(data.arrays["selector"], 1, axis=1)
