"""The potential energy of Ala-Ala as a differentiable function: values and forces from OpenMM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prep.recipes.dipeptide import Energies

#: Forces on an atom are cut to this length in gradients (kJ/mol/nm); at 450 K they are some thousands.
MOST_FORCE = 5e4


class _Potential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, energies: Energies) -> Tensor:
        values, forces = energies.with_forces(positions.detach().cpu().double().numpy())
        kept = torch.from_numpy(forces)
        length = torch.linalg.vector_norm(kept, dim=2, keepdim=True)
        kept = kept * (MOST_FORCE / length.clamp_min(MOST_FORCE))
        ctx.save_for_backward(kept.to(positions))
        return torch.from_numpy(values).to(positions)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (forces,) = ctx.saved_tensors
        return -gradients[0][:, None, None] * forces, None


class Potential:
    """U (batch,) in kJ/mol of positions (batch, 23, 3) in nm, without constraints; its gradient is minus the force.

    Values are what they are; in gradients the force on an atom is cut to `MOST_FORCE`, so that two atoms that the flow
    puts on top of each other do not decide a whole step. OpenMM computes on the CPU, one structure after the other.
    """

    def __init__(self) -> None:
        self._energies = Energies()

    def __call__(self, positions: Tensor) -> Tensor:
        result: Tensor = _Potential.apply(positions, self._energies)  # type: ignore[no-untyped-call]
        return result
