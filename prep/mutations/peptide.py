"""What went wrong with molecules carried between temperatures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

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
