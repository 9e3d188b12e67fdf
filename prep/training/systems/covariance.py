"""Covariance of sources near a reconfigurable surface: powers in learned beams give a factor of the matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from prep.blocks import Array
from prep.gate import CertifiedDataset
from prep.training.metrics import mean, right
from prep.training.systems.near_field import Scene, pursue
from prep.training.systems.system import Batch, Hyperparameters, Outputs, System, Target, numpy, require

_RANK, _WIDTH, _BEAMS = 10, 1024, (13, 7, 6)
# Snapshots have unit RMS and beams unit gain, so that powers are near one: this is where noise ends what a beam tells.
_POWER_FLOOR = 1e-4
_COUNT_WEIGHT, _OUTPUT_GAIN = 0.05, 0.7
_STORED = 0.5  # share of a batch that is trained on as it is stored
# A third of the beam width: matching pursuit is no better than the points it has to choose from.
_CANDIDATES = (41, 23, 12)


class Covariance(System):
    """NMSE ‖R̂ - R‖² / ‖R‖² between matrices of trace N, and the number of sources K beside it.

    The target is read as its factor F of unit norm (R = N F Fᴴ), the prediction is R̂ = A Aᴴ + ε I; both are Hermitian
    as they stand, and both are divided by their own trace. With that one operator on both sides the NMSE follows from
    Gram matrices of a few columns, and no N × N matrix is formed.
    """

    hyperparameters = Hyperparameters(epochs=60, batch_size=128, learning_rate=2e-3, weight_decay=1e-3, warmup=0.1)
    metric = "nmse"
    target = Target("nmse", 0.3)

    def __init__(self, data: CertifiedDataset) -> None:
        super().__init__(data)
        require(data, "snapshots", "covariance", "num_sources", "factor", "snr_db")
        self._scene = Scene.of(data)
        rms, trace = (data.transforms[name].params for name in ("snapshots", "covariance"))
        self._log_rms, self._log_trace = str(rms["companion"]), str(trace["companion"])
        self._rms = (float(rms["mean"]), float(rms["std"]))
        self._trace = (float(trace["mean"]), float(trace["std"]))
        self._sensing = torch.from_numpy(self._scene.sensing.astype(np.complex64))
        self._most = data.spec["factor"].shape[1]

    @property
    def fields(self) -> tuple[str, ...]:
        """Snapshots and covariance factor with the scales that were removed from them, K, and for `augment` the SNR."""
        return ("snapshots", self._log_rms, "factor", self._log_trace, "num_sources", "snr_db")

    @property
    def reads(self) -> tuple[str, ...]:
        """Snapshots and the scale that was removed from them."""
        return ("snapshots", self._log_rms)

    @property
    def predicted(self) -> tuple[str, ...]:
        """The matrix, of trace N (its power nobody predicts), and K."""
        return ("covariance", "num_sources")

    @property
    def baseline(self) -> float:
        """1: the error of predicting zero is ‖R‖² in every sample (the certified baseline is its mean square)."""
        return 1.0

    def model(self) -> nn.Module:
        """A `BeamNetwork` of about six million weights."""
        return BeamNetwork(self._scene, self._log_rms, self._most)

    def augment(self, batch: Batch) -> Batch:
        """Half the rows as they are stored; for the others a new scene made of the batch's own sources.

        A source is one column of a factor in original units. A row keeps its K and its signal-to-noise ratio; which of
        the batch's sources it has, their symbols and the noise are drawn anew, and the antennas receive
        y_l = H diag(c_l) A s_l + noise with the certified channel and codes, as in the recipe.
        """
        factor, count = batch["factor"], batch["num_sources"]
        rows, most, device = len(count), factor.shape[2], count.device
        amplitude = _original(batch[self._log_trace], self._trace).sqrt()
        # Relative to the first row: raw powers could underflow in single precision.
        columns = (factor * _beside(amplitude / amplitude[0])).mT.flatten(0, 1)
        sources = torch.nonzero(columns.abs().amax(1))[:, 0]
        picked = sources[torch.randint(len(sources), (rows, most), device=device)]
        there = torch.arange(most, device=device) < count[:, None]
        drawn = (columns[picked] * there[:, :, None]).mT
        clean = _received(self._sensing.to(device), drawn)
        noise = clean.abs().square().mean((1, 2)) * 10.0 ** (batch["snr_db"] / -10.0)
        snapshots = clean + noise.sqrt()[:, None, None] * torch.randn_like(clean)
        rms = snapshots.abs().square().mean((1, 2)).sqrt()
        norm = torch.linalg.vector_norm(drawn, dim=(1, 2))
        log_amplitude = amplitude[0].log()
        changed = {
            "snapshots": snapshots / rms[:, None, None],
            "factor": drawn / norm[:, None, None],
            self._log_rms: (rms.double().log() + log_amplitude - self._rms[0]) / self._rms[1],
            self._log_trace: (2.0 * (norm.double().log() + log_amplitude) - self._trace[0]) / self._trace[1],
        }
        stored = torch.rand(rows, device=device) < _STORED
        return {
            **batch,
            **{
                name: torch.where(stored.reshape(-1, *[1] * (value.ndim - 1)), batch[name], value)
                for name, value in changed.items()
            },
        }

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Mean NMSE plus a little cross-entropy of K. Of a batch that holds the matrices themselves, these are the
        target, as they are stored.
        """
        terms = self.components(outputs, batch)
        return terms["nmse"] + terms["count"]

    def components(self, outputs: Mapping[str, Tensor], batch: Batch) -> Mapping[str, Tensor]:
        """``nmse`` of the matrices, and ``count``, the weighted cross-entropy of K."""
        if "covariance" in batch:
            error, energy = _stored_errors(outputs["factor"], outputs["loading"], batch["covariance"])
        else:
            error, energy = _errors(outputs["factor"], outputs["loading"], batch["factor"])
        entropy = functional.cross_entropy(outputs["count"], batch["num_sources"].long() - 1)
        return {"nmse": (error / energy).mean(), "count": _COUNT_WEIGHT * entropy}

    def known(self, batch: Batch) -> Iterator[tuple[str, Outputs, float]]:
        """The factor itself, at whatever scale, with K for certain: 0. Zero has no trace to divide by."""
        factor = batch["factor"]
        certain = 1e3 * functional.one_hot(batch["num_sources"].long() - 1, self._most).to(torch.float32)
        none = torch.zeros(len(factor), dtype=torch.float32, device=factor.device)
        yield "a perfect prediction", {"factor": 72.0 * factor, "loading": none, "count": certain}, 0.0

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, Array]:
        """``covariance`` (batch, N, N) R̂ of trace N, and ``num_sources`` (batch,) the likeliest K."""
        estimate = of_trace_n(outputs["factor"].to(torch.complex128), outputs["loading"].double())
        return {"covariance": numpy(estimate), "num_sources": numpy(outputs["count"].argmax(1) + 1)}

    def exported(self, network: nn.Module) -> nn.Module:
        """The network with what `predictions` makes of its outputs."""
        return Estimates(network)

    def truth(self, batch: Batch) -> dict[str, tuple[Array, Array]]:
        """R = N F Fᴴ of the factor, all of which counts, and K."""
        factor, count = batch["factor"].to(torch.complex128), numpy(batch["num_sources"])
        stored = numpy(of_trace_n(factor, torch.zeros(len(factor), dtype=torch.float64, device=factor.device)))
        return {"covariance": (stored, np.ones(stored.shape)), "num_sources": (count, np.ones(len(count)))}

    def groups(self, batch: Batch) -> tuple[str, Array]:
        """Rows of as many sources."""
        return "num_sources", batch["num_sources"].cpu().numpy()

    def sums(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Array]:
        """Rows, NMSE and right K for each K (most,); squared error and energy in original units, over all rows."""
        wide = torch.complex128
        errors = _errors(outputs["factor"].to(wide), outputs["loading"].double(), batch["factor"].to(wide))
        error, energy = (numpy(each) for each in errors)
        count = batch["num_sources"].cpu().numpy().astype(np.int64) - 1
        found = right(outputs["count"].argmax(1).cpu().numpy(), count)
        squared_trace = numpy(_original(batch[self._log_trace], self._trace)) ** 2
        per_count = [np.bincount(count, each, self._most) for each in (np.ones(len(count)), error / energy, found)]
        return {
            **dict(zip(("rows", "nmse", "right"), per_count, strict=True)),
            "error": np.sum(error * squared_trace),
            "energy": np.sum(energy * squared_trace),
        }

    def metrics(self, sums: Mapping[str, Array]) -> dict[str, float]:
        """nmse, nmse_k1 …, k_accuracy, and nmse_original = Σ‖R̂-R‖² / Σ‖R‖² in W²: samples weigh what they radiate,
        the scale of R̂ being the true one.
        """
        rows = sums["rows"]
        present = np.flatnonzero(rows)
        return {
            "nmse": float(mean(sums["nmse"].sum(), rows.sum())),
            **{f"nmse_k{index + 1}": float(mean(sums["nmse"][index], rows[index])) for index in present},
            "k_accuracy": float(mean(sums["right"].sum(), rows.sum())),
            "nmse_original": float(sums["error"] / sums["energy"]),
        }

    def references(self, batches: Iterable[Batch]) -> dict[str, float]:
        """NMSE of zero, of the identity, and of matching pursuit (`pursue`) with channel and codes known, K not."""
        vectors = torch.from_numpy(self._scene.lattice(_CANDIDATES))
        responses = torch.from_numpy(self._scene.responses(vectors.numpy())).to(torch.complex64)
        vectors = vectors.to(torch.complex64)
        rows, totals = 0, {"identity": 0.0, "matching_pursuit": 0.0}
        for batch in batches:
            device = batch["factor"].device
            known = (responses.to(device), vectors.to(device))
            # Few rows at a time: every candidate is matched with every snapshot.
            for snapshots, true in zip(
                *(torch.split(batch[name], 64) for name in ("snapshots", "factor")), strict=True
            ):
                none = torch.zeros(len(true), device=device)
                guesses = {
                    "identity": (torch.zeros_like(true), none + 1.0),
                    "matching_pursuit": (pursue(snapshots, *known, count=self._most), none),
                }
                for name, (factor, loading) in guesses.items():
                    error, energy = _errors(factor, loading, true)
                    totals[name] += float((error / energy).double().sum())
                rows += len(true)
        return {"zero": 1.0, **{name: total / rows for name, total in totals.items()}}


class BeamNetwork(nn.Module):
    """Powers in beams that start as matched filters for steering vectors, their logarithms through a perceptron.

    A beam has its own weights w_l (M,) for each snapshot; its power mean_l |w_lᴴ y_l|² does not depend on the phases of
    the symbols, which nobody knows.
    """

    def __init__(self, scene: Scene, log_rms: str, most: int) -> None:
        super().__init__()
        vectors = scene.lattice(_BEAMS)
        responses = scene.responses(vectors)
        responses /= np.sqrt(np.mean(np.sum(np.abs(responses) ** 2, axis=2), axis=0))[:, np.newaxis]
        self.log_rms = log_rms
        # (2, L, M, G), real and imaginary part of the conjugate: optimisers and clipping expect real weights.
        parts = np.stack([responses.real, -responses.imag]).swapaxes(2, 3)
        self.beams = nn.Parameter(torch.from_numpy(np.ascontiguousarray(parts, dtype=np.float32)))
        beams, elements = vectors.shape
        self.body = nn.Sequential(
            nn.LayerNorm(beams + 1),
            nn.Linear(beams + 1, _WIDTH),
            nn.GELU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.GELU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.GELU(),
        )
        self.factor = nn.Linear(_WIDTH, elements * _RANK * 2)
        self._point_outputs(vectors)
        self.loading = nn.Linear(_WIDTH, 1)
        self.count = nn.Linear(_WIDTH, most)

    def _point_outputs(self, vectors: Array) -> None:
        """At first a hidden unit stands for a source: it adds one steering vector of (G, N) to one column of A."""
        units = torch.arange(_WIDTH)
        lattice = torch.view_as_real(torch.from_numpy(vectors).to(torch.complex64))
        weight = torch.zeros(_WIDTH, vectors.shape[1], _RANK, 2)
        weight[units, :, units % _RANK] = _OUTPUT_GAIN * lattice[torch.randint(len(vectors), (_WIDTH,))]
        with torch.no_grad():
            self.factor.weight.copy_(weight.flatten(1).T)
            self.factor.bias.zero_()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``factor`` A (batch, N, 10) complex64, ``loading`` ε (batch,), ``count`` logits of K (batch, most) from
        ``snapshots`` (batch, M, L) and their log-RMS (batch,).
        """
        received = batch["snapshots"].permute(2, 0, 1)
        real, imaginary = self.beams
        # One real product for all parts: a third of the time of the complex one.
        weights = torch.cat([torch.cat([real, imaginary], 2), torch.cat([-imaginary, real], 2)], 1)
        seen = torch.bmm(torch.cat([received.real, received.imag], 2), weights)
        power = seen.square().view(*seen.shape[:2], 2, seen.shape[2] // 2).sum(2)
        features = torch.cat([(power.mean(0) + _POWER_FLOOR).log(), batch[self.log_rms][:, None].to(power.dtype)], 1)
        hidden = self.body(features)
        parts = self.factor(hidden).view(hidden.shape[0], self.factor.out_features // (_RANK * 2), _RANK, 2)
        # The identity has almost no norm for its trace, so that ε says how far to shrink R̂: not at all to begin with.
        # The exponent is bounded because its square enters the loss.
        loading = (self.loading(hidden)[:, 0] - 6.0).clamp_max(6.0).exp()
        return {"factor": torch.view_as_complex(parts), "loading": loading, "count": self.count(hidden)}


class Estimates(nn.Module):
    """``covariance`` and ``num_sources`` of a batch, as `Covariance.predictions` has them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        outputs = self.network(batch)
        estimate = of_trace_n(outputs["factor"].to(torch.complex128), outputs["loading"].double())
        return {"covariance": estimate, "num_sources": outputs["count"].argmax(1) + 1}


def _errors(factor: Tensor, loading: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """‖R̂ - R‖² and ‖R‖² (batch,) of R̂ = (A Aᴴ + ε I) / tr and R = F Fᴴ / tr, from factors (batch, N, columns).

    With all norms Frobenius: ‖A Aᴴ‖ = ‖Aᴴ A‖ and tr(A Aᴴ F Fᴴ) = ‖Aᴴ F‖².
    """
    size = factor.shape[1]
    trace, weight = _square(factor), _square(true)
    whole = trace + loading * size
    predicted = (_square(factor.mH @ factor) + 2.0 * loading * trace + loading.square() * size) / whole.square()
    shared = (_square(factor.mH @ true) + loading * weight) / (whole * weight)
    energy = _square(true.mH @ true) / weight.square()
    return predicted - 2.0 * shared + energy, energy


def _square(matrices: Tensor) -> Tensor:
    parts = torch.view_as_real(matrices.resolve_conj())
    return parts.square().sum((1, 2, 3))


def _received(sensing: Tensor, factor: Tensor) -> Tensor:
    """Snapshots (batch, M, L) without noise of factors (batch, N, K), with symbols CN(0, 1) drawn anew.

    ``sensing`` (L, M, N) is H diag(c_l).
    """
    snapshots, antennas, _ = sensing.shape
    rows, _, most = factor.shape
    responses = (sensing.flatten(0, 1) @ factor).view(rows, snapshots, antennas, most)
    symbols = torch.randn(rows, snapshots, most, dtype=factor.dtype, device=factor.device)
    return torch.einsum("blmk,blk->bml", responses, symbols)


def _original(companion: Tensor, scale: tuple[float, float]) -> Tensor:
    """What a scale was before its logarithm was standardised."""
    return (companion * scale[1] + scale[0]).exp()


def _beside(values: Tensor) -> Tensor:
    return values.float()[:, None, None]


def _stored_errors(factor: Tensor, loading: Tensor, stored: Tensor) -> tuple[Tensor, Tensor]:
    """‖R̂ - R‖² and ‖R‖² (batch,) of R̂ = N (A Aᴴ + ε I) / tr and of stored matrices R (batch, N, N)."""
    estimate = of_trace_n(factor, loading)
    return (estimate - stored).abs().square().sum((1, 2)), stored.abs().square().sum((1, 2))


def of_trace_n(factor: Tensor, loading: Tensor) -> Tensor:
    """R̂ = N (A Aᴴ + ε I) / tr (batch, N, N) of A (batch, N, columns) and ε (batch,)."""
    size = factor.shape[1]
    estimate = factor @ factor.mH + loading[:, None, None] * torch.eye(size, device=factor.device)
    trace = estimate.diagonal(dim1=1, dim2=2).real.sum(1)
    return estimate * (size / trace)[:, None, None]
