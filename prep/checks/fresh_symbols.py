"""Snapshots of one sample come from sources drawn anew each time: else they show one vector and no covariance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, demand_mask, refuse
from prep.checks.statistics import FIELD, FRACTION, GRID, NUMBER, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise
from prep.kernels.steering import steering

_RIDGE = 1e-9
_PIECE = 256
_LOUDEST = 300.0  # dB; beyond, powers of ten overflow, and there is no noise


class FreshSymbols:
    """One draw of the sources explains ≤ ``share_max`` of what it would if it were all, where ``snr`` ≥ ``snr_min`` dB.

    ``var`` (sample, M, L) are snapshots y_l = H diag(c_l) A s_l: least squares of all of them on one s = s_1 = … = s_L,
    with the ``channel`` H (M, N), the ``codes`` c (L, N), both constants or of each sample, and the steering vectors A
    of ``sources`` as in `steering_span`. At the ratio ρ = 10^(snr/10) the signal is ρ/(1 + ρ) of a sample's power and
    noise the rest, of which K of M·L dimensions hold K/(M·L). Constant symbols are explained whole, so that their share
    is (ρ + K/(M·L)) / (1 + ρ); what is measured is the share over this one. For constant symbols it is 1 with a
    deviation of about 1/(ρ·√(M·L)); for symbols drawn anew about K/L, or less where the codes turn the sources.
    """

    name = "fresh_symbols"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "sources": FIELD,
        "source_mask": FIELD,
        "snr": FIELD,
        "channel": FIELD,
        "codes": FIELD,
        "grid": GRID,
        "wavelength": POSITIVE,
        "spacing": POSITIVE,
        "snr_min": NUMBER,
        "share_max": FRACTION,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return tuple(statistics[key] for key in ("var", "sources", "source_mask", "snr", "channel", "codes"))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        snapshots = demand_kind(spec, statistics["var"], self.name, "c", "complex")
        sources = demand_kind(spec, statistics["sources"], self.name, "f", "float")
        demand_mask(spec, statistics["source_mask"], self.name, sources)
        grid = [int(size) for size in statistics["grid"]]
        for key, rows in (("channel", 0), ("codes", 1)):
            shape = spec.stored(statistics[key]).shape[-1:]
            if len(snapshots.shape) != 2 or shape != (grid[0] * grid[1],):
                raise refuse(
                    spec,
                    statistics[key],
                    self.name,
                    measured=f"sizes {shape}, snapshots {snapshots.shape}",
                    allowed=f"({'ML'[rows]}, {grid[0] * grid[1]}), snapshots (M, L)",
                )
        arguments = {
            "grid": grid,
            **{key: float(statistics[key]) for key in ("wavelength", "spacing", "snr_min")},
        }
        limit = float(statistics["share_max"])
        return (Rowwise(self.name, self.fields(statistics), constant_share, limit, Scope.of(spec), arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"power that one draw explains ≤ {fold.limit:g} of what it would of constant symbols",
            good="are made of sources drawn anew for each snapshot",
            bad="are explained by one draw of the sources",
            remedy="draw the sources' symbols anew for each snapshot and build again",
        )

    @staticmethod
    def pandera_function(
        ds: Any,
        *,
        var: str,
        sources: str,
        source_mask: str,
        snr: str,
        channel: str,
        codes: str,
        grid: list[int],
        wavelength: float,
        spacing: float,
        snr_min: float,
        share_max: float,
    ) -> Any:
        y, x = np.meshgrid(*((np.arange(size) - (size - 1) / 2) * spacing for size in grid), indexing="ij")
        ok = []
        for row in range(ds.sizes["sample"]):
            one = ds.isel(sample=row)
            kept = one[sources].values[one[source_mask].values != 0].astype(np.float64)
            received, h, c = (one[name].values.astype(np.complex128) for name in (var, channel, codes))
            if one[snr].values < snr_min:
                ok.append(True)
                continue
            finite = all(np.isfinite(array).all() for array in (received, h, c, kept))
            if not (finite and received.any() and (kept[:, 2] > 0).all() and len(kept)):
                ok.append(False)
                continue
            columns = []
            for p, t, r in kept:
                phase = x * np.sin(p) * np.cos(t) + y * np.sin(t) - (x**2 + y**2) / 2 / r
                vector = np.exp(2j * np.pi / wavelength * phase).ravel() / np.sqrt(x.size)
                columns.append((h @ (c * vector).T).ravel())
            basis = np.stack(columns, axis=1)
            if not basis.any():
                ok.append(False)
                continue
            best = basis @ np.linalg.lstsq(basis, received.ravel(), rcond=None)[0]
            ratio = 10 ** (min(float(one[snr].values), 300.0) / 10)
            whole = (ratio + len(kept) / received.size) / (1 + ratio)
            ok.append(bool(np.linalg.norm(best) ** 2 <= share_max * whole * np.linalg.norm(received) ** 2))
        return memory.by_sample(ok)


def constant_share(
    arrays: Mapping[str, Array], grid: list[int], wavelength: float, spacing: float, snr_min: float
) -> Array:
    """Share of each sample's power that one draw of its sources explains over what it would explain of constant
    symbols, (rows,); 0 where the SNR is below.
    """
    snapshots, sources, mask, snr, channel, codes = arrays.values()
    result = np.zeros(len(snapshots))
    chosen = np.flatnonzero(~(snr < snr_min))  # what has no SNR is refused, not left out
    for start in range(0, len(chosen), _PIECE):
        rows = chosen[start : start + _PIECE]
        own = (each[rows] if each.ndim == 3 else each for each in (channel, codes))
        exists = mask[rows] != 0
        placed = np.where(exists[..., np.newaxis], sources[rows].astype(np.float64), 1.0)
        usable = np.isfinite(placed).all(axis=(1, 2)) & (placed[..., 2] > 0).all(axis=1) & exists.any(axis=1)
        placed[~usable] = 1.0
        vectors = steering(*np.moveaxis(placed, -1, 0), grid=(grid[0], grid[1]), wavelength=wavelength, spacing=spacing)
        with np.errstate(over="ignore", invalid="ignore"):
            share = _explained(snapshots[rows].astype(np.complex128), vectors * exists[..., np.newaxis], *own)
        ratio = 10.0 ** (np.minimum(snr[rows].astype(np.float64), _LOUDEST) / 10.0)
        constant = (ratio + exists.sum(axis=1) / np.prod(snapshots.shape[1:])) / (1.0 + ratio)
        result[rows] = np.where(usable, share / constant, np.inf)
    return result


def _explained(snapshots: Array, vectors: Array, channel: Array, codes: Array) -> Array:
    """‖P y‖² / ‖y‖² of the snapshots (rows, M, L), P the projector onto H diag(c_l) a_k of vectors (rows, K, N)."""
    turned = codes[..., np.newaxis, :, :] * vectors[:, :, np.newaxis, :]
    basis = turned @ np.swapaxes(channel, -1, -2)[..., np.newaxis, :, :] if channel.ndim == 3 else turned @ channel.T
    basis = basis.reshape(*basis.shape[:2], -1)
    wanted = np.swapaxes(snapshots, 1, 2).reshape(len(snapshots), -1, 1)
    gram = np.conj(basis) @ np.swapaxes(basis, 1, 2)
    response = np.trace(gram, axis1=1, axis2=2).real
    gram = gram + (_RIDGE * np.where(response > 0, response, 1.0))[:, np.newaxis, np.newaxis] * np.eye(gram.shape[1])
    projected = np.conj(basis) @ wanted
    power = np.sum(np.abs(wanted) ** 2, axis=(1, 2))
    inside = np.sum(np.conj(projected) * np.linalg.solve(gram, projected), axis=(1, 2)).real
    share: Array = np.divide(inside, power, out=np.full(len(power), np.inf), where=(power > 0) & (response > 0))
    return share
