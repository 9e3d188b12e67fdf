"""The molecule of `peptide`: zwitterionic Ala-Ala, its bonds, a minimised structure, and its force field in OpenMM.

OpenMM is imported where it is used, so that the recipe can be listed and planned without it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import UsageError

FORCE_FIELD = ("amber99sbildn.xml", "implicit/obc1.xml")

_ELEMENTS = {"N": "nitrogen", "H": "hydrogen", "C": "carbon", "O": "oxygen"}
# Atom, residue, place in nm: a minimum of the force field (-601.97 kJ/mol), centred, on its principal axes.
_ATOMS: tuple[tuple[str, int, tuple[float, float, float]], ...] = (
    ("N", 0, (-0.28185, 0.10570, -0.00453)),
    ("H", 0, (-0.36775, 0.08547, 0.04409)),
    ("H2", 0, (-0.25098, 0.19808, 0.02146)),
    ("H3", 0, (-0.29962, 0.10456, -0.10377)),
    ("CA", 0, (-0.17851, 0.00511, 0.03001)),
    ("HA", 0, (-0.16105, 0.01044, 0.13754)),
    ("CB", 0, (-0.22677, -0.13728, -0.00270)),
    ("HB1", 0, (-0.24384, -0.14767, -0.10997)),
    ("HB2", 0, (-0.15169, -0.21000, 0.02850)),
    ("HB3", 0, (-0.31959, -0.15826, 0.05063)),
    ("C", 0, (-0.04490, 0.03573, -0.03934)),
    ("O", 0, (-0.04149, 0.10490, -0.14178)),
    ("N", 1, (0.06573, -0.01602, 0.01592)),
    ("H", 1, (0.05498, -0.07352, 0.09848)),
    ("CA", 1, (0.20304, -0.00069, -0.03484)),
    ("HA", 1, (0.19979, 0.02034, -0.14183)),
    ("CB", 1, (0.26857, 0.11910, 0.03545)),
    ("HB1", 1, (0.27347, 0.10146, 0.14299)),
    ("HB2", 1, (0.36978, 0.13297, -0.00273)),
    ("HB3", 1, (0.21111, 0.20981, 0.01637)),
    ("C", 1, (0.28574, -0.12973, -0.01755)),
    ("O", 1, (0.35605, -0.16864, -0.11362)),
    ("OXT", 1, (0.27976, -0.19185, 0.09121)),
)
ATOMS = tuple(f"{residue + 1}:{name}" for name, residue, _ in _ATOMS)
REFERENCE: Array = np.array([place for _, _, place in _ATOMS])
REFERENCE.flags.writeable = False
BONDS: tuple[tuple[int, int], ...] = (
    *((0, 1), (0, 2), (0, 3), (0, 4), (4, 5), (4, 6), (6, 7), (6, 8), (6, 9), (4, 10), (10, 11), (10, 12)),
    *((12, 13), (12, 14), (14, 15), (14, 16), (16, 17), (16, 18), (16, 19), (14, 20), (20, 21), (20, 22)),
)


def topology_digest() -> str:
    """sha256 of atoms, residues and bonds: what an array of positions has to be read with."""
    text = json.dumps([[name, residue] for name, residue, _ in _ATOMS] + [list(bond) for bond in BONDS])
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def openmm() -> Any:
    """The library; `UsageError` with the remedy where it is not installed."""
    try:
        import openmm as library
        import openmm.app
    except ImportError as error:
        raise UsageError(
            "molecular dynamics needs OpenMM, which is not installed",
            measured=f"no {error.name}",
            allowed="the extra `md`: OpenMM",
            remedy="pip install 'prep-certified[md]'",
        ) from error
    return library


def make_system(*, rigid: bool) -> Any:
    """The OpenMM system: no cutoff, implicit solvent; bonds to hydrogen of fixed length where ``rigid``.

    Energies are always taken with ``rigid=False``: a force field without the terms of constrained bonds lets them
    stretch for nothing, and an objective built on it has no lower bound.
    """
    library = openmm()
    app = library.app
    topology = app.Topology()
    chain = topology.addChain()
    residues = [topology.addResidue("ALA", chain) for _ in range(2)]
    atoms = [
        topology.addAtom(name, getattr(app.element, _ELEMENTS[name[0]]), residues[residue])
        for name, residue, _ in _ATOMS
    ]
    for first, second in BONDS:
        topology.addBond(atoms[first], atoms[second])
    return app.ForceField(*FORCE_FIELD).createSystem(
        topology,
        nonbondedMethod=app.NoCutoff,
        constraints=app.HBonds if rigid else None,
        removeCMMotion=False,
    )


def make_context(system: Any, integrator: Any) -> Any:
    """A context whose results are the same bits in every run: one thread of the CPU platform.

    For 23 atoms the CPU platform is eight times as fast as the Reference platform with these forces.
    """
    library = openmm()
    platform = library.Platform.getPlatformByName("CPU")
    return library.Context(system, integrator, platform, {"Threads": "1", "DeterministicForces": "true"})


class Energies:
    """Potential energies of structures, without constraints; for one thread at a time."""

    def __init__(self) -> None:
        self._context = make_context(make_system(rigid=False), openmm().VerletIntegrator(0.001))

    def __call__(self, positions: Array) -> Array:
        """kJ/mol, float64 (rows,), of positions (rows, 23, 3) in nm. OpenMM has no batches: one call for each row."""
        energies = np.empty(len(positions))
        for row, each in enumerate(positions.astype(np.float64)):
            self._context.setPositions(each)
            energies[row] = self._context.getState(getEnergy=True).getPotentialEnergy()._value
        return energies

    def with_forces(self, positions: Array) -> tuple[Array, Array]:
        """Energies (rows,) and forces (rows, 23, 3) in kJ/mol/nm, float64."""
        energies, forces = np.empty(len(positions)), np.empty(positions.shape)
        for row, each in enumerate(positions.astype(np.float64)):
            self._context.setPositions(each)
            state = self._context.getState(getEnergy=True, getForces=True)
            energies[row] = state.getPotentialEnergy()._value
            forces[row] = state.getForces(asNumpy=True)._value
        return energies, forces
