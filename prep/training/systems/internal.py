"""Internal coordinates of Ala-Ala: bond lengths, angles and torsions that say where each atom is, and back.

They know nothing of where the molecule is and how it is turned, so that no motion of the whole has to be projected out
of a density: with r, θ and φ of an atom seen from three earlier ones, dx = r² sin θ dr dθ dφ.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Atom, bonded to, angle with, torsion against (prep.recipes.dipeptide.ATOMS). The first three are the frame.
_FRAME = (0, 4, 10)
_PLACED = (
    *((1, 0, 4, 10), (5, 4, 0, 10), (6, 4, 0, 10), (12, 10, 4, 0)),
    *((2, 0, 4, 1), (3, 0, 4, 1), (7, 6, 4, 0), (11, 10, 4, 12), (14, 12, 10, 4)),
    *((8, 6, 4, 7), (9, 6, 4, 7), (13, 12, 10, 14), (20, 14, 12, 10)),
    *((15, 14, 12, 20), (16, 14, 12, 20), (21, 20, 14, 12)),
    *((17, 16, 14, 12), (22, 20, 14, 21)),
    *((18, 16, 14, 17), (19, 16, 14, 17)),
)
# Atoms of one step depend on those of earlier steps only.
_STEPS = (4, 5, 4, 3, 2, 2)
_ATOM, _BOND, _ANGLE, _TORSION = (list(column) for column in zip(*_PLACED, strict=True))
_BOND_ENDS = ([4, 10, *_ATOM], [0, 4, *_BOND])
_ANGLE_ENDS = ([10, *_ATOM], [4, *_BOND], [0, *_ANGLE])

#: Places of the torsions that turn freely, and how many of their minima are alike.
ROTORS = {1: 3, 7: 3, 12: 1, 14: 1, 20: 1, 21: 2, 17: 3}
ROTOR_PLACES = [_ATOM.index(atom) for atom in ROTORS]
ROTOR_FOLDS = list(ROTORS.values())
STIFF_TORSIONS = [place for place in range(len(_ATOM)) if place not in ROTOR_PLACES]
#: Places of the bonds between heavy atoms; those to hydrogen are rigid in the data.
_HEAVY = {0, 4, 6, 10, 11, 12, 14, 16, 20, 21, 22}
HEAVY_BONDS = [place for place, ends in enumerate(zip(*_BOND_ENDS, strict=True)) if set(ends) <= _HEAVY]

Internal = tuple[Tensor, Tensor, Tensor]


def to_internal(positions: Tensor) -> Internal:
    """Bonds (batch, 22), angles (batch, 21) in (0, π) and torsions (batch, 20) in (-π, π] of (batch, 23, 3)."""
    first, second = (positions[:, ends] for ends in _BOND_ENDS)
    bonds = torch.linalg.vector_norm(first - second, dim=2)
    end, middle, start = (positions[:, ends] for ends in _ANGLE_ENDS)
    one, other = end - middle, start - middle
    angles = torch.atan2(torch.linalg.vector_norm(torch.linalg.cross(one, other), dim=2), (one * other).sum(2))
    d, c, b, a = (positions[:, ends] for ends in (_ATOM, _BOND, _ANGLE, _TORSION))
    axis = c - b
    left, right = torch.linalg.cross(b - a, axis), torch.linalg.cross(axis, d - c)
    sine = (torch.linalg.cross(left, right) * axis).sum(2) / torch.linalg.vector_norm(axis, dim=2)
    return bonds, angles, torch.atan2(sine, (left * right).sum(2))


def to_positions(bonds: Tensor, angles: Tensor, torsions: Tensor) -> Tensor:
    """Positions (batch, 23, 3): the nitrogen at the origin, the next carbon along x, the third atom in the xy plane."""
    zero = torch.zeros_like(bonds[:, 0])
    along = bonds[:, 0] - bonds[:, 1] * torch.cos(angles[:, 0])
    places: dict[int, Tensor] = {
        _FRAME[0]: torch.stack([zero, zero, zero], 1),
        _FRAME[1]: torch.stack([bonds[:, 0], zero, zero], 1),
        _FRAME[2]: torch.stack([along, bonds[:, 1] * torch.sin(angles[:, 0]), zero], 1),
    }
    start = 0
    for count in _STEPS:
        own = slice(start, start + count)
        c, b, a = (torch.stack([places[atom] for atom in atoms[own]], 1) for atoms in (_BOND, _ANGLE, _TORSION))
        r = bonds[:, 2:][:, own, None]
        angle, torsion = angles[:, 1:][:, own, None], torsions[:, own, None]
        axis = torch.nn.functional.normalize(c - b, dim=2)
        normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, axis), dim=2)
        across = torch.linalg.cross(normal, axis)
        turned = torch.cos(torsion) * across + torch.sin(torsion) * normal
        placed = c + r * (torch.sin(angle) * turned - torch.cos(angle) * axis)
        places |= dict(zip(_ATOM[own], placed.unbind(1), strict=True))
        start += count
    return torch.stack([places[atom] for atom in range(len(places))], 1)


def log_volume(bonds: Tensor, angles: Tensor) -> Tensor:
    """ln Π r² sin θ (batch,): the volume in space that a unit volume of internal coordinates has."""
    return 2.0 * bonds.log().sum(1) + torch.sin(angles).abs().clamp_min(1e-12).log().sum(1)


def wrapped(angles: Tensor) -> Tensor:
    """The same angles in [-π, π)."""
    return torch.remainder(angles + torch.pi, 2.0 * torch.pi) - torch.pi
