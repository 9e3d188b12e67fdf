"""An invertible map of the shape of a molecule: couplings that scale and shift stiff coordinates and turn rotors.

At first it is the identity. What it does to one half of the coordinates depends on the other half only, so that its
inverse and the logarithm of its Jacobian's determinant are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prep.training.systems.internal import (
    HEAVY_BONDS,
    ROTOR_FOLDS,
    ROTOR_PLACES,
    STIFF_TORSIONS,
    Internal,
    log_volume,
    to_internal,
    to_positions,
    wrapped,
)
from prep.training.systems.system import Batch

# How far bonds (nm), angles and stiff torsions (rad) stray at a few hundred kelvin: the unit that networks see.
_SCALES = (0.003, 0.06, 0.09)
_ROUNDS, _WIDTH, _DROPOUT = 4, 64, 0.1
# What is the same for all frames is learned before what depends on the frame, of which there are few.
_GAIN = 0.1
_MOST_LOG_SCALE = 1.0

Parts = tuple[Tensor, Tensor]


class Conditioner(nn.Module):
    """A perceptron from the coordinates that stay to ``count`` parameters of each that moves; zeros at first."""

    def __init__(self, inputs: int, moved: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.body = nn.Sequential(
            nn.Dropout(_DROPOUT), nn.Linear(inputs, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU()
        )
        self.head = nn.Linear(_WIDTH, moved * count, bias=False)
        self.same = nn.Parameter(torch.zeros(moved * count))
        nn.init.zeros_(self.head.weight)

    def forward(self, *kept: Tensor) -> tuple[Tensor, ...]:
        features = torch.cat(kept, 1)
        own = self.head(self.body(features.to(self.head.weight.dtype)))
        parameters: Tensor = (self.same + _GAIN * own).to(features.dtype)
        return torch.unbind(parameters.reshape(features.shape[0], len(self.same) // self.count, self.count), 2)


class StiffCoupling(nn.Module):
    """z → z eˢ + t for half of the stiff coordinates; s and t from the other half and the rotors."""

    moved: Tensor
    kept: Tensor

    def __init__(self, stiff: int, rotors: int, parity: int) -> None:
        super().__init__()
        order = torch.arange(stiff)
        self.register_buffer("moved", order[order % 2 == parity], persistent=False)
        self.register_buffer("kept", order[order % 2 != parity], persistent=False)
        self.conditioner = Conditioner(len(self.kept) + 2 * rotors, len(self.moved), 2)

    def forward(self, parts: Parts, inverse: bool) -> tuple[Parts, Tensor]:
        """The moved parts and ln|det| (batch,)."""
        stiff, rotors = parts
        scale, shift = self.conditioner(stiff[:, self.kept], seen(rotors))
        scale = _MOST_LOG_SCALE * torch.tanh(scale / _MOST_LOG_SCALE)
        own = stiff[:, self.moved]
        own = (own - shift) * torch.exp(-scale) if inverse else own * torch.exp(scale) + shift
        change = scale.sum(1)
        return (stiff.index_copy(1, self.moved, own), rotors), -change if inverse else change


class RotorCoupling(nn.Module):
    """Rotors are pulled towards, or pushed away from, n places around the circle, and turned.

    With ϑ = n (φ - c) the map is tan(ϑ'/2) = eˢ tan(ϑ/2), the Möbius map of the circle that leaves ϑ = 0 and π where
    they are; its inverse has -s. Half of the rotors move; s, c and the turn come from the others and the stiff ones.
    """

    moved: Tensor
    kept: Tensor
    folds: Tensor

    def __init__(self, stiff: int, rotors: int, parity: int) -> None:
        super().__init__()
        order = torch.arange(rotors)
        self.register_buffer("moved", order[order % 2 == parity], persistent=False)
        self.register_buffer("kept", order[order % 2 != parity], persistent=False)
        self.register_buffer("folds", torch.tensor(ROTOR_FOLDS)[self.moved], persistent=False)
        self.conditioner = Conditioner(stiff + 2 * len(self.kept), len(self.moved), 3)

    def forward(self, parts: Parts, inverse: bool) -> tuple[Parts, Tensor]:
        """The moved parts and ln|det| (batch,)."""
        stiff, rotors = parts
        scale, centre, turn = self.conditioner(stiff, seen(rotors, self.kept))
        scale = _MOST_LOG_SCALE * torch.tanh(scale / _MOST_LOG_SCALE)
        own = rotors[:, self.moved]
        own = own - turn if inverse else own
        scale = -scale if inverse else scale
        angle = wrapped(self.folds * (own - centre))
        sine, cosine = torch.sin(angle / 2), torch.cos(angle / 2)
        moved = 2.0 * torch.atan2(torch.exp(scale) * sine, cosine)
        own = own + (moved - angle) / self.folds
        own = own if inverse else own + turn
        change = scale - torch.log(cosine.square() + torch.exp(2.0 * scale) * sine.square())
        return (stiff, rotors.index_copy(1, self.moved, own)), change.sum(1)


class ShapeFlow(nn.Module):
    """Positions (batch, 23, 3) in nm to positions of another shape, as far as the couplings have learned.

    Coordinates are measured from those of ``reference`` (23, 3). Bonds to hydrogen keep their length: the data were
    simulated with rigid ones, and a flow that may stretch what never varies has a loss without lower bound.
    """

    reference_angles: Tensor
    reference_bonds: Tensor
    reference_torsions: Tensor

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        for name, value in zip(("bonds", "angles", "torsions"), to_internal(reference[None]), strict=True):
            self.register_buffer(f"reference_{name}", value, persistent=False)
        stiff, rotors = len(HEAVY_BONDS) + self.reference_angles.shape[1] + len(STIFF_TORSIONS), len(ROTOR_PLACES)
        self.couplings = nn.ModuleList(
            kind(stiff, rotors, parity)
            for _ in range(_ROUNDS)
            for kind in (StiffCoupling, RotorCoupling)
            for parity in (0, 1)
        )

    def forward(self, positions: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in the frame of `to_positions`, and ln|det| of the map of shapes in space, (batch,) float64.

        Rows for which ``inverse`` (batch,) holds go through the inverse map.
        """
        internal = to_internal(positions.double())
        parts = self.parts(internal)
        forth, back = (~inverse).nonzero()[:, 0], inverse.nonzero()[:, 0]
        (one, change), (other, change_back) = (
            self.through((parts[0][rows], parts[1][rows]), inverse=way) for rows, way in ((forth, False), (back, True))
        )
        order = torch.argsort(torch.cat([forth, back]))
        stiff, rotors = (torch.cat(pair)[order] for pair in zip(one, other, strict=True))
        change = torch.cat([change, change_back])[order]
        shaped = self.whole((stiff, rotors), internal)
        return to_positions(*shaped), change + log_volume(*shaped[:2]) - log_volume(*internal[:2])

    def parts(self, internal: Internal) -> Parts:
        """Stiff coordinates in units of their usual deviation, and rotors, both from the reference."""
        bonds, angles, torsions = internal
        table = (
            (bonds - self.reference_bonds)[:, HEAVY_BONDS] / _SCALES[0],
            (angles - self.reference_angles) / _SCALES[1],
            wrapped(torsions - self.reference_torsions)[:, STIFF_TORSIONS] / _SCALES[2],
        )
        return torch.cat(table, 1), wrapped(torsions - self.reference_torsions)[:, ROTOR_PLACES]

    def whole(self, parts: Parts, internal: Internal) -> Internal:
        """Internal coordinates of which the flow moved ``parts``; what it leaves alone is as in ``internal``."""
        bonds, angles, torsions = internal
        heavy, bent, twisted = torch.split(parts[0], [len(HEAVY_BONDS), angles.shape[1], len(STIFF_TORSIONS)], 1)
        places = torch.tensor(HEAVY_BONDS, device=bonds.device)
        order = torch.tensor([*STIFF_TORSIONS, *ROTOR_PLACES], device=bonds.device)
        away = torch.cat([twisted * _SCALES[2], parts[1]], 1)
        return (
            bonds.index_copy(1, places, heavy * _SCALES[0] + self.reference_bonds[:, HEAVY_BONDS]),
            bent * _SCALES[1] + self.reference_angles,
            torsions.index_copy(1, order, away + self.reference_torsions[:, order]),
        )

    def through(self, parts: Parts, *, inverse: bool) -> tuple[Parts, Tensor]:
        """All couplings, or their inverses in inverse order: the moved parts and ln|det| (batch,)."""
        total = torch.zeros_like(parts[0][:, 0])
        for coupling in reversed(self.couplings) if inverse else self.couplings:
            parts, change = coupling(parts, inverse)
            total = total + change
        return parts, total


class TransportNetwork(nn.Module):
    """`ShapeFlow` on normalised positions: hot frames forth, cold frames back."""

    mean: Tensor
    std: Tensor

    def __init__(self, reference: Tensor, mean: Tensor, std: Tensor, temperatures: tuple[float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.cold = temperatures[0]
        self.flow = ShapeFlow(reference)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``positions`` (batch, 23, 3) nm and ``log_det`` (batch,); when evaluated also how far the way back leads from
        where it began: ``reconstruction`` in nm and ``log_det_residual``.
        """
        positions = batch["positions"].double() * self.std + self.mean
        cold = batch["temperature"] == self.cold
        moved, log_det = self.flow(positions, cold)
        result = {"positions": moved, "log_det": log_det}
        if not self.training:
            back, log_det_back = self.flow(moved, ~cold)
            start = in_frame(positions)
            result["reconstruction"] = (in_frame(back) - start).abs().amax((1, 2))
            result["log_det_residual"] = (log_det + log_det_back).abs()
        return result


class BothWays(nn.Module):
    """`TransportNetwork` without a decision: every frame goes forth and back, and the way that it needs is kept."""

    def __init__(self, network: TransportNetwork, hot: float) -> None:
        super().__init__()
        self.network, self.hot = network, hot

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Normalised ``positions`` (batch, 23, 3) and ``temperature`` (batch,) on arrival, of those on departure."""
        network, flow = self.network, self.network.flow
        internal = to_internal(batch["positions"].double() * network.std + network.mean)
        parts = flow.parts(internal)
        back, forth = (
            to_positions(*flow.whole(flow.through(parts, inverse=way)[0], internal)) for way in (True, False)
        )
        cold = batch["temperature"] == network.cold
        moved = torch.where(cold[:, None, None], back, forth)
        return {
            "positions": (moved - network.mean) / network.std,
            "temperature": torch.where(cold, self.hot, network.cold).to(batch["temperature"].dtype),
        }


def in_frame(positions: Tensor) -> Tensor:
    """The same shapes, where `prep.training.systems.internal.to_positions` puts them."""
    return to_positions(*to_internal(positions))


def seen(rotors: Tensor, kept: Tensor | None = None) -> Tensor:
    """Sines and cosines of rotors (batch, 2 × rotors), of alike minima alike; of those in ``kept`` only."""
    angles = rotors * torch.tensor(ROTOR_FOLDS, device=rotors.device)
    angles = angles if kept is None else angles[:, kept]
    return torch.cat([torch.sin(angles), torch.cos(angles)], 1)
