"""A known near-field scene: what its antennas receive of a source anywhere, and sources found by matching pursuit."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prep.blocks import Array
from prep.errors import SchemaError, Where
from prep.gate import CertifiedDataset
from prep.kernels.steering import steering

# Where sources may be: |sin φ cos θ|, |sin θ| and the curvature 1/r in 1/m, as the recipe draws them.
_ACROSS, _UP, _CURVATURE = 0.87, 0.5, (0.1, 2.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """Element grid with ``wavelength`` and ``spacing`` in m, ``channel`` H (M, N) and phase ``codes`` c_l (L, N)."""

    grid: tuple[int, int]
    wavelength: float
    spacing: float
    channel: Array
    codes: Array

    @classmethod
    def of(cls, data: CertifiedDataset) -> Scene:
        """The scene that all samples of a dataset share; `SchemaError` where the dataset does not hold one."""
        names = ("element_grid", "wavelength_m", "element_spacing_m", "channel", "codes")
        known = {*data.spec.attributes, *(spec.name for spec in data.spec.constants)}
        missing = [name for name in names if name not in known]
        if missing:
            raise SchemaError(
                "covariance is trained on one fixed scene, which this dataset does not hold",
                where=Where(path=str(data.path), dataset=data.id, field=missing[0]),
                measured=f"missing {', '.join(missing)}",
                allowed="attributes element_grid, wavelength_m, element_spacing_m; constants channel and codes",
                remedy="generate the data with `scene: fixed`, or name another system with --system",
            )
        grid, wavelength, spacing = (json.loads(data.spec.attributes[name]) for name in names[:3])
        rows, columns = grid
        channel, codes = data.constants["channel"], data.constants["codes"]
        return cls((rows, columns), float(wavelength), float(spacing), channel, codes)

    def lattice(self, points: tuple[int, int, int]) -> Array:
        """Steering vectors (G, N) complex128 of unit norm on a lattice even in sin φ cos θ, sin θ and 1/r, which is
        where the resolution of a planar array is even.
        """
        lines = [np.linspace(-_ACROSS, _ACROSS, points[0]), np.linspace(-_UP, _UP, points[1])]
        across, up, curvature = (
            axis.ravel() for axis in np.meshgrid(*lines, np.linspace(*_CURVATURE, points[2]), indexing="ij")
        )
        elevation = np.arcsin(up)
        # The corners of the lattice lie a little outside of the sphere of directions.
        azimuth = np.arcsin(np.clip(across / np.cos(elevation), -1.0, 1.0))
        return steering(
            azimuth, elevation, 1.0 / curvature, grid=self.grid, wavelength=self.wavelength, spacing=self.spacing
        )

    @property
    def sensing(self) -> Array:
        """H diag(c_l) of every snapshot, (L, M, N) complex128."""
        return self.codes[:, np.newaxis, :].astype(np.complex128) * self.channel

    def responses(self, vectors: Array) -> Array:
        """What the antennas receive of vectors (G, N) in each snapshot, H diag(c_l) a: (L, G, M) complex128."""
        return np.swapaxes(self.sensing @ vectors.T, 1, 2)


def pursue(snapshots: Tensor, responses: Tensor, vectors: Tensor, count: int) -> Tensor:
    """Factors (batch, N, count) of ``count`` sources found one after the other in snapshots (batch, M, L).

    Simultaneous orthogonal matching pursuit (Tropp, Gilbert & Strauss 2006) with one dictionary a snapshot: the next
    source is the candidate whose response (``responses`` (L, G, M) to ``vectors`` (G, N)) explains most of the residual
    in all snapshots together; amplitudes are then refitted by least squares in each. Its power is their mean square.
    """
    received = snapshots.permute(2, 0, 1)
    matched = (responses / responses.abs().square().sum((0, 2)).sqrt()[:, None]).conj()
    residual = received
    amplitude = received[..., :0]
    picks = torch.empty(len(snapshots), 0, dtype=torch.long, device=snapshots.device)
    for _ in range(count):
        best = torch.einsum("lbm,lgm->lbg", residual, matched).abs().square().sum(0).argmax(1)
        picks = torch.cat([picks, best[:, None]], 1)
        chosen = responses[:, picks].mT
        amplitude = torch.linalg.lstsq(chosen, received[..., None]).solution[..., 0]
        residual = received - (chosen @ amplitude[..., None])[..., 0]
    power = amplitude.abs().square().mean(0)
    return vectors[picks].mT * power.sqrt()[:, None, :]
