"""Snapshots hold the power that their covariance and signal-to-noise ratio cause: the two belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec
from prep.checks import Finding, memory
from prep.checks.demands import demand_kind, refuse
from prep.checks.statistics import FIELD, POSITIVE, Statistics
from prep.checks.verdict import row_verdict
from prep.folds import Scope
from prep.folds.rowwise import Rowwise

_PIECE = 256
_NOISE_FLOOR = 1e-12
_HEARD = 1e-9


class WhitenedPower:
    """low ≤ T ≤ high, T = mean_l y_lᴴ Σ_l⁻¹ y_l / M; and no column of the factor has a share that surprises.

    ``var`` (sample, M, L) are snapshots of unit RMS; ``factor`` F (sample, N, K) with R ∝ F Fᴴ, ``snr`` in dB,
    ``channel`` H (M, N) and ``codes`` c (L, N), both constants or of each sample. A snapshot has covariance
    Σ_l = α B_l B_lᴴ + σ² I with B_l = H diag(c_l) F, ρ = 10^(snr/10), σ² = 1/(1 + ρ) (at least 1e-12, what single
    precision can hold: 120 dB) and α such that the signal has the mean power ρ/(1 + ρ). T is the normalised innovation
    squared of filter consistency tests (Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and
    Navigation, 2001, section 5.4): 1 with a deviation of about 1/√(M·L). Where ρ is the ratio of realised powers, σ² is
    right for each sample; α then is off by what the few symbols drawn make of the power, which lets T reach further.

    T says little of how power is divided among sources, which α evens out. But E|b_lᴴ Σ_l⁻¹ y_l|² is g_l = b_lᴴ Σ_l⁻¹
    b_l for every column b of √α·B, a source or not: let q be the ratio Σ_l |b_lᴴ Σ_l⁻¹ y_l|² / Σ_l g_l of a column over
    that of all columns together. It is about a gamma variable of mean 1 and ν = (Σ g_l)² / Σ g_l² degrees of freedom,
    and exp(-ν (q - 1 - ln q)) bounds the chance of one as far out (Chernoff): ν (q - 1 - ln q) ≤ ``surprise_max``.
    Columns of which the noise leaves nothing (Σ g_l ≤ 1e-9) say nothing.
    """

    name = "whitened_power"
    statistics: Mapping[str, Mapping[str, Any]] = {
        "var": FIELD,
        "factor": FIELD,
        "snr": FIELD,
        "channel": FIELD,
        "codes": FIELD,
        "low": POSITIVE,
        "high": POSITIVE,
        "surprise_max": POSITIVE,
    }

    def fields(self, statistics: Statistics) -> tuple[str, ...]:
        return tuple(statistics[key] for key in ("var", "factor", "snr", "channel", "codes"))

    def folds(self, spec: DatasetSpec, statistics: Statistics) -> tuple[Rowwise]:
        snapshots = demand_kind(spec, statistics["var"], self.name, "c", "complex")
        factor = demand_kind(spec, statistics["factor"], self.name, "fc", "float or complex")
        snr = demand_kind(spec, statistics["snr"], self.name, "f", "float")
        if snr.shape:
            raise refuse(spec, snr.name, self.name, measured=f"dims {snr.dims}", allowed="dims (sample,)")
        shapes = f"factor {factor.shape}, snapshots {snapshots.shape}"
        if len(factor.shape) != 2 or len(snapshots.shape) != 2:
            raise refuse(spec, factor.name, self.name, measured=shapes, allowed="factor (N, K), snapshots (M, L)")
        for key, rows in (("channel", "M"), ("codes", "L")):
            shape = spec.stored(statistics[key]).shape
            if shape[-1:] != factor.shape[:1]:
                allowed = f"({rows}, {factor.shape[0]})"
                raise refuse(
                    spec, statistics[key], self.name, measured=f"sizes (…, {shape}), {shapes}", allowed=allowed
                )
        low, high = float(statistics["low"]), float(statistics["high"])
        if low > high:
            raise refuse(spec, snapshots.name, self.name, measured=f"low {low:g} > high {high:g}", allowed="low ≤ high")
        arguments = {"low": low, "high": high, "surprise_max": float(statistics["surprise_max"])}
        return (Rowwise(self.name, self.fields(statistics), times_outside, 1.0, Scope.of(spec), arguments),)

    def judge(self, spec: DatasetSpec, statistics: Statistics, measured: Mapping[str, Any]) -> Finding:
        (fold,) = self.folds(spec, statistics)
        low, high, most = (statistics[key] for key in ("low", "high", "surprise_max"))
        return row_verdict(
            spec,
            fold,
            measured,
            limit=f"≤ 1 of what bounds it: {low:g} ≤ whitened power ≤ {high:g}, surprise of a column ≤ {most:g}",
            good=f"hold the power that {statistics['factor']} and {statistics['snr']} cause",
            bad=f"hold another power than {statistics['factor']} and {statistics['snr']} cause",
            remedy="see that snapshots, factor and SNR are of one sample, that the factor has the sources' powers "
            "(R = A diag(p) Aᴴ) and that the SNR is in dB, with noise that follows it",
        )

    @staticmethod
    def pandera_function(
        ds: Any,
        *,
        var: str,
        factor: str,
        snr: str,
        channel: str,
        codes: str,
        low: float,
        high: float,
        surprise_max: float,
    ) -> Any:
        ok = []
        for row in range(ds.sizes["sample"]):
            one = ds.isel(sample=row)
            y, f, h, c = (one[name].values.astype(np.complex128) for name in (var, factor, channel, codes))
            with np.errstate(all="ignore"):
                ratio = np.power(10.0, one[snr].values.astype(np.float64) / 10)
                b = np.stack([h @ (code[:, np.newaxis] * f) for code in c])
                power = np.mean(np.sum(np.abs(b) ** 2, axis=2))
            if not (np.isfinite(y).all() and np.isfinite(ratio) and np.isfinite(power) and power > 0):
                ok.append(False)
                continue
            b *= np.sqrt(ratio / (1 + ratio) / power)
            total, seen, expected = 0.0, [], []
            for snapshot, response in zip(y.T, b, strict=True):
                noise = max(1 / (1 + ratio), 1e-12)
                inverse = np.linalg.inv(response @ response.conj().T + noise * np.eye(len(h)))
                total += np.vdot(snapshot, inverse @ snapshot).real / y.size
                seen.append(np.abs(response.conj().T @ inverse @ snapshot) ** 2)
                expected.append(np.diag(response.conj().T @ inverse @ response).real)
            gains = np.array(expected)
            heard = gains.sum(axis=0) > 1e-9
            gains, parts = gains[:, heard], np.sum(seen, axis=0)[heard]
            with np.errstate(all="ignore"):
                share = parts / gains.sum(axis=0) / (parts.sum() / gains.sum())
                surprise = gains.sum(axis=0) ** 2 / np.sum(gains**2, axis=0) * (share - 1 - np.log(share))
            ok.append(bool(low <= total <= high and np.all(surprise <= surprise_max)))
        return memory.by_sample(ok)


def times_outside(arrays: Mapping[str, Array], low: float, high: float, surprise_max: float) -> Array:
    """max(T / high, low / T, largest surprise / surprise_max) of each sample, (rows,); infinite unless all is finite
    and the covariance has a power.
    """
    snapshots, factors, snr, channel, codes = arrays.values()
    result = np.empty(len(snapshots))
    seen = None if channel.ndim == 3 or codes.ndim == 3 else _sensing(channel, codes)
    for start in range(0, len(snapshots), _PIECE):
        rows = slice(start, start + _PIECE)
        if seen is None:
            own = _sensing(*(each[rows] if each.ndim == 3 else each for each in (channel, codes)))
        with np.errstate(all="ignore"):
            power, surprise = whitened(snapshots[rows], factors[rows], snr[rows], own if seen is None else seen)
            worst = np.maximum(np.maximum(power / high, low / power), surprise / surprise_max)
        result[rows] = np.where(np.isfinite(worst) & (power > 0), worst, np.inf)
    return result


def whitened(snapshots: Array, factors: Array, snr: Array, sensing: Array) -> tuple[Array, Array]:
    """T and the largest surprise of a column, each (rows,), infinite where they cannot be judged.

    Snapshots are (rows, M, L), factors (rows, N, K), SNR (rows,) in dB and ``sensing`` H diag(c_l) ([rows,] L·M, N).
    Of Woodbury's identity: Bᴴ Σ⁻¹ = (Bᴴ B + σ² I)⁻¹ Bᴴ, so that only K × K systems are solved.
    """
    antennas, length = snapshots.shape[1:]
    columns = (sensing @ factors).reshape(len(factors), length, antennas, -1).astype(np.complex128)
    ratio = 10.0 ** (snr.astype(np.float64) / 10.0)
    power = np.sum(columns.real**2 + columns.imag**2, axis=(1, 2, 3)) / (length * antennas)
    usable = np.isfinite(ratio) & np.isfinite(power) & (power > 0) & np.isfinite(snapshots).all(axis=(1, 2))
    # LAPACK refuses a whole batch for one singular matrix: what cannot be judged is left out.
    amplitude = np.sqrt(ratio / (1.0 + ratio) / power)
    columns = np.where(usable[:, *[np.newaxis] * 3], columns * amplitude[:, *[np.newaxis] * 3], 0.0)
    noise = np.where(usable, np.maximum(1.0 / (1.0 + ratio), _NOISE_FLOOR), 1.0)[:, np.newaxis, np.newaxis]
    received = np.swapaxes(snapshots, 1, 2).astype(np.complex128)
    adjoint = np.conj(np.swapaxes(columns, 2, 3))
    matched, gram = adjoint @ received[..., np.newaxis], adjoint @ columns
    loaded = gram + noise[..., np.newaxis] * np.eye(gram.shape[-1])
    solved = np.linalg.solve(loaded, np.concatenate([matched, gram], axis=3))
    explained = np.sum(np.conj(matched[..., 0]) * solved[..., 0], axis=2).real
    energy = np.sum(received.real**2 + received.imag**2, axis=2)
    whole = np.mean((energy - explained) / noise[..., 0], axis=1) / antennas
    gains = np.diagonal(solved[..., 1:], axis1=2, axis2=3).real
    surprise = _surprise(np.sum(np.abs(solved[..., 0]) ** 2, axis=1), gains)
    return np.where(usable, whole, np.inf), np.where(usable, surprise, np.inf)


def _surprise(seen: Array, gains: Array) -> Array:
    """Largest ν (q - 1 - ln q) over the columns, (rows,), of powers seen (rows, K) and expected (rows, L, K)."""
    expected = gains.sum(axis=1)
    heard = expected > _HEARD
    common = np.sum(seen, axis=1, where=heard) / np.sum(expected, axis=1, where=heard)
    share = np.where(heard, seen / (expected * common[:, np.newaxis]), 1.0)
    freedom = np.where(heard, expected**2 / np.sum(gains**2, axis=1), 1.0)
    surprise: Array = np.max(freedom * (share - 1.0 - np.log(share)), axis=1, initial=0.0)
    return surprise


def _sensing(channel: Array, codes: Array) -> Array:
    """H diag(c_l), ([rows,] L·M, N), of channels ([rows,] M, N) and codes ([rows,] L, N)."""
    both = codes[..., :, np.newaxis, :] * channel[..., np.newaxis, :, :]
    return both.reshape(*both.shape[:-3], -1, both.shape[-1])
