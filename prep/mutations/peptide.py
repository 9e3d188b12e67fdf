"""What went wrong with molecules carried between temperatures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prep.kernels.alignment import align
from prep.mutations import Specimen


def unaligned(data: Specimen) -> None:
    """Positions were standardised as they tumbled: mixed, they had energies of 1.8e15 kJ/mol."""
    rng = np.random.default_rng(0)
    values = data.original("positions")
    axes = rng.standard_normal((len(values), 3, 3))
    rotations, _ = np.linalg.qr(axes)
    rotations *= np.sign(np.linalg.det(rotations))[:, np.newaxis, np.newaxis]
    turned = np.einsum("nai,nij->naj", values, rotations)
    data.standardise("positions", turned)


def constrained_energies(data: Specimen) -> None:
    """Energies were taken with bonds constrained: directions were free, and nothing bounded the loss."""
    data.spec = replace(data.spec, attributes={**data.spec.attributes, "energy_constraints": "HBonds"})


def angstrom(data: Specimen) -> None:
    """Positions were in angstrom and labelled nm."""
    data.standardise("positions", 10.0 * data.original("positions"))


def wrong_thermostat(data: Specimen) -> None:
    """The label of a replica said another temperature than its thermostat had."""
    temperature, replica = data.arrays["temperature"], data.arrays["replica"]
    low, high = float(temperature.min()), float(temperature.max())
    chosen = np.unique(replica[temperature == low])
    swapped = np.isin(replica, chosen[: max(len(chosen) // 2, 1)])
    temperature[swapped] = high
    others = np.unique(replica[(temperature == high) & ~swapped])
    temperature[np.isin(replica, others[: max(len(others) // 2, 1)])] = low


def one_wrong_thermostat(data: Specimen) -> None:
    """One replica's thermostat was set two thirds of the way to the other temperature; all the others were right.

    Its energies become what they would be of a harmonic molecule: their distance from the energy at rest, to which the
    mean energies extrapolate at 0 K, is proportional to temperature. Positions stay, so its energies are no more theirs
    either, which `prep validate` does not know of. Choosing frames as another thermostat would have is no way: of 60
    frames of one temperature a dozen pass for another. Two thirds, because 60 frames do not tell a third.
    """
    energy, temperature = data.arrays["energy"], data.arrays["temperature"]
    cold, hot = float(temperature.min()), float(temperature.max())
    own = temperature == cold
    mean = float(energy[own].mean())
    rest = mean - cold * (float(energy[temperature == hot].mean()) - mean) / (hot - cold)
    replica = own & (data.arrays["replica"] == data.arrays["replica"][own].min())
    energy[replica] = rest + (energy[replica] - rest) * (cold + 2 / 3 * (hot - cold)) / cold


def mirrored(data: Specimen) -> None:
    """The z axis pointed the other way: every molecule was its mirror image, with the same bonds and energies."""
    flipped = data.original("positions") * [1.0, 1.0, -1.0]
    data.standardise("positions", align(flipped, np.asarray(data.constants["reference"])))


def frames_split_at_random(data: Specimen) -> None:
    """Frames were split at random, not by time: every test frame had a neighbour in train, 1 ps away."""
    rng = np.random.default_rng(0)
    replica, source = data.arrays["replica"], np.arange(data.spec.rows)
    for each in np.unique(replica):
        rows = np.flatnonzero(replica == each)
        source[rows] = rng.permutation(rows)
        for start, stop in data.spec.splits.values():
            inside = rows[(start <= rows) & (rows < stop)]
            source[inside] = np.sort(source[inside])
    positions = data.original("positions")[source]
    for name in ("energy", "temperature", "replica", "time"):
        data.arrays[name] = data.arrays[name][source]
    data.standardise("positions", positions)
    # Blocks are numbered anew, so that none is in two splits.
    for number, split in enumerate(data.spec.splits):
        data.arrays["time_block"][data.rows(split)] = number


def shuffled_energies(data: Specimen) -> None:
    """Energies were those of other frames of the same temperature."""
    rng = np.random.default_rng(0)
    energy, temperature = data.arrays["energy"], data.arrays["temperature"]
    for split in data.spec.splits:
        start, stop = data.spec.splits[split]
        for label in np.unique(temperature):
            rows = np.flatnonzero(temperature[start + 1 : stop] == label) + start + 1
            energy[rows] = energy[rng.permutation(rows)]


def broken_molecule(data: Specimen) -> None:
    """One frame crossed a periodic border: half of the molecule is elsewhere."""
    values = data.original("positions")
    values[data.spec.rows // 2, 12:] += 0.5
    data.store("positions", data.transforms["positions"].apply({**data.arrays, "positions": values})["positions"])
