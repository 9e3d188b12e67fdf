"""Transport between temperatures: a flow turns structures of one temperature into such of the other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from prep.blocks import Array
from prep.checks.slopes import GAS_CONSTANT
from prep.errors import DataError, SchemaError, Where
from prep.gate import CertifiedDataset
from prep.recipes.dipeptide import topology_digest
from prep.training.advice import RATIO
from prep.training.metrics import EnergyBins, effective_samples, mean, overlap, weight_terms
from prep.training.systems.potential import Potential
from prep.training.systems.system import (
    Batch,
    Criterion,
    Histogram,
    Hyperparameters,
    Outputs,
    System,
    Target,
    numpy,
    require,
)
from prep.training.systems.transport import BothWays, TransportNetwork

BINS = EnergyBins(lowest=-700.0, width=5.0, bins=80)
# Atoms that the force field does not tell apart. (It does the two oxygens, in the order of an improper torsion.)
ALIKE = ((1, 2, 3), (7, 8, 9), (17, 18, 19))
_ROUND_TRIP = ("reconstruction", "log_det_residual")
_COMPARED, _ENERGY_TOLERANCE = 256, 0.5  # frames of each split, kJ/mol
_ROUNDING = 1e-2
_MOST_RECONSTRUCTION = 1e-4  # nm


class Peptide(System):
    """Boltzmann transport both ways: a frame of the hot simulations goes through the flow T, one of the cold through
    its inverse, and each is judged at the temperature where it arrives.

    The loss of a direction is the mean of β U(T x) - ln|det ∂T/∂x|, β that of the target; the loss is the sum of both,
    minus what it is for T = identity, frame by frame (``energy`` is stored). So the first loss is 0, and over the
    distributions no map can get below -(β_cold - β_hot)(⟨U⟩_hot - ⟨U⟩_cold), the two Kullback-Leibler divergences that
    perfect transport removes. (On frames that were learned by heart it can.)
    """

    # Of a hundred small operations none is worth a second thread: with two, a step took seven times as long.
    hyperparameters = Hyperparameters(
        epochs=20, batch_size=128, learning_rate=1e-3, weight_decay=1.0, clip=5.0, threads=1
    )
    metric = "loss_above_identity"
    target = Target("loss_above_identity", 0.0)

    def __init__(self, data: CertifiedDataset) -> None:
        super().__init__(data)
        require(data, "positions", "energy", "temperature", "reference")
        for name, wanted in (("topology_digest", topology_digest()), ("energy_constraints", "none")):
            if data.spec.attributes.get(name) != wanted:
                raise SchemaError(
                    "this system knows the energies of another molecule, or other energies",
                    where=Where(path=str(data.path), dataset=data.id, key=name),
                    measured=str(data.spec.attributes.get(name)),
                    allowed=wanted,
                    remedy="build the data with the recipe peptide: its molecule, energies without constraints",
                )
        params = data.transforms["positions"].params
        shape = data.spec["positions"].shape
        self._mean, self._std = (
            torch.tensor(params[key], dtype=torch.float64).reshape(shape) for key in ("mean", "std")
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """Positions, their energies, and the temperature they come from."""
        return ("positions", "energy", "temperature")

    @property
    def baseline(self) -> float:
        """0: the identity, of which every loss is the difference."""
        return 0.0

    @property
    def reads(self) -> tuple[str, ...]:
        """Positions and the temperature that they come from."""
        return ("positions", "temperature")

    @property
    def predicted(self) -> tuple[str, ...]:
        """Positions, and the temperature at which they arrive."""
        return ("positions", "temperature")

    @cached_property
    def temperatures(self) -> tuple[float, float]:
        """The cold and the hot one, in K, from the certified statistics of the train split."""
        moments = json.loads(self.data.documents["statistics"])["raw"]["temperature"]["moments"]
        return float(moments["min"][0]), float(moments["max"][0])

    @property
    def first_loss(self) -> tuple[float, float]:
        """0, but for what single precision leaves: the flow is the identity at first."""
        return -_ROUNDING, _ROUNDING

    @cached_property
    def potential(self) -> Potential:
        """OpenMM, made when it is first needed."""
        return Potential()

    def examine(self) -> None:
        """`SchemaError` unless there are two temperatures; `DataError` unless OpenMM gives the stored energies of
        frames from all over every split, and so of every replica and temperature.
        """
        found = np.unique(self.data.rows("temperature", *self.data.bounds("train"))).tolist()
        if len(found) != 2:
            raise SchemaError(
                "the flow is between two temperatures",
                where=Where(path=str(self.data.path), dataset=self.data.id, field="temperature", split="train"),
                measured=", ".join(map(str, found)),
                allowed="two temperatures",
                remedy="set the recipe's temperatures to the two that are wanted",
            )
        for split in self.data.spec.splits:
            self._compare(split)

    def _compare(self, split: str) -> None:
        start, stop = self.data.bounds(split)
        rows = np.unique(np.linspace(start, stop - 1, min(stop - start, _COMPARED)).round().astype(np.int64)).tolist()
        if not rows:
            return
        stored, normalised = (
            np.concatenate([self.data.rows(name, row, row + 1) for row in rows]) for name in ("energy", "positions")
        )
        gap = np.abs(numpy(self.potential(self._original(torch.from_numpy(normalised)))) - stored)
        if not (gap <= _ENERGY_TOLERANCE).all():
            worst = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
            raise DataError(
                "the stored energies are not those of the stored positions",
                where=Where(
                    path=str(self.data.path),
                    dataset=self.data.id,
                    field="energy",
                    split=split,
                    samples=(rows[worst],),
                ),
                measured=f"{stored[worst]:.6g} kJ/mol, off by {gap[worst]:.3g}",
                allowed=f"what OpenMM says, within {_ENERGY_TOLERANCE:g} kJ/mol",
                remedy="recompute energies from the positions in nm, without constraints, with the named force field",
            )

    def model(self) -> nn.Module:
        """A `TransportNetwork`, the identity at first."""
        reference = torch.from_numpy(np.array(self.data.constants["reference"], dtype=np.float64))
        return TransportNetwork(reference, self._mean, self._std, self.temperatures)

    def augment(self, batch: Batch) -> Batch:
        """The hydrogens of every methyl and ammonium group change places in a cycle, or stay.

        The force field does not tell them apart, so energies stay what they are; frames are then aligned no more,
        which shapes do not know of.
        """
        positions = self._original(batch["positions"])
        rows, device = len(positions), positions.device
        order = torch.arange(positions.shape[1], device=device).repeat(rows, 1)
        for atoms in ALIKE:
            group = torch.tensor(atoms, device=device)
            turn = torch.randint(len(atoms), (rows, 1), device=device) + torch.arange(len(atoms), device=device)
            order[:, group] = group[turn % len(atoms)]
        turned = torch.gather(positions, 1, order[:, :, None].expand_as(positions))
        normalised = (turned - self._mean.to(device)) / self._std.to(device)
        return {**batch, "positions": normalised.to(batch["positions"].dtype)}

    def components(self, outputs: Mapping[str, Tensor], batch: Batch) -> Mapping[str, Tensor]:
        """The loss of each direction: ``forward`` of frames from the hot to the cold, ``inverse`` of the others."""
        above, cold = self._above(outputs, batch)[0], self._cold(batch)
        kinds = {"forward": ~cold, "inverse": cold}
        return {name: (kind * above).sum() / kind.sum().clamp_min(1) for name, kind in kinds.items()}

    def known(self, batch: Batch) -> Iterator[tuple[str, Outputs, float]]:
        """The identity scores 0; a map of the same energies that gains one unit of volume both ways scores -2."""
        positions = self._original(batch["positions"])
        none = torch.zeros(len(positions), dtype=torch.float64, device=positions.device)
        still = {"positions": positions, "log_det": none, "reconstruction": none, "log_det_residual": none}
        yield "the identity", still, 0.0
        if bool(self._cold(batch).any()) and not bool(self._cold(batch).all()):
            yield "the identity with a volume that it does not have", still | {"log_det": none + 1.0}, -2.0

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Sum over the directions of their mean loss above the identity."""
        above, cold = self._above(outputs, batch)[0], self._cold(batch)
        weights = cold / cold.sum().clamp_min(1) + ~cold / (~cold).sum().clamp_min(1)
        return (weights * above).sum()

    def flow(self, sums: Mapping[str, Array]) -> Mapping[str, float] | None:
        """Forward is from hot to cold; None where frames of one temperature are missing."""
        if not sums["count"].all():
            return None
        inverse, forward = (sums["above"] / sums["count"]).tolist()
        reconstruction, log_det = (sums[name].sum() / sums["count"].sum() for name in _ROUND_TRIP)
        return {
            "forward": forward,
            "inverse": inverse,
            "reconstruction": float(reconstruction),
            "log_det": float(log_det),
        }

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, Array]:
        """The frames where they arrive, and the temperature there."""
        positions = outputs["positions"]
        normalised = (positions - self._mean.to(positions.device)) / self._std.to(positions.device)
        cold, hot = self.temperatures
        return {"positions": numpy(normalised), "temperature": np.where(numpy(self._cold(batch)) > 0, hot, cold)}

    def criteria(self, train: Mapping[str, float], test: Mapping[str, float]) -> tuple[Criterion, ...]:
        """Both splits gain on the identity, train by no more than half again as much as test, and transported energies
        overlap with those of their temperature further than those that stayed; the way back leads back.
        """
        gained, seen = -test[self.metric], -train[self.metric]
        ratio = seen / gained if gained > 0 else math.inf
        apart = [name for name in test if name.startswith("overlap_") and name != "overlap_identity"]
        return (
            Criterion("train", self.metric, -seen, 0.0),
            Criterion("test", self.metric, -gained, 0.0),
            Criterion("ratio", "gain above the identity, train/test", ratio, RATIO),
            Criterion("test", "reconstruction_nm", test["reconstruction_nm"], _MOST_RECONSTRUCTION),
            *(Criterion("test", f"1 - {name}", 1.0 - test[name], 1.0 - test["overlap_identity"]) for name in apart),
        )

    def exported(self, network: nn.Module) -> nn.Module:
        """Both directions for every frame, of which the one that it needs is taken."""
        assert isinstance(network, TransportNetwork)
        return BothWays(network, self.temperatures[1])

    def histograms(self, sums: Mapping[str, Array]) -> dict[str, Histogram]:
        """Energies of each temperature, of frames that were simulated there and of those that were carried there."""
        return {
            f"energy at {temperature:g} K": Histogram(
                BINS.edges,
                "kJ/mol",
                {
                    f"simulated at {temperature:g} K": sums["histogram"][own],
                    f"carried from {other:g} K": sums["moved_histogram"][1 - own],
                    f"as they were at {other:g} K": sums["histogram"][1 - own],
                },
            )
            for own, (temperature, other) in enumerate((self.temperatures, self.temperatures[::-1]))
        }

    def sums(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Array]:
        """For frames that are cold and for those that are hot, (2, …): counts, losses, energies, histograms."""
        above, energy, beta = (numpy(each) for each in self._above(outputs, batch))
        stored, hot = numpy(batch["energy"]), (~self._cold(batch)).cpu().numpy()
        kinds = np.stack([~hot, hot]).astype(np.float64)
        table = {
            "count": np.ones_like(stored),
            "above": above,
            "identity": beta * stored,
            "energy": stored,
            "moved_energy": energy,
            "reconstruction": numpy(outputs["reconstruction"]),
            "log_det_residual": numpy(outputs["log_det_residual"]),
        }
        # Of exp(-β' U(T x)) |det ∂T/∂x| over the density exp(-β U(x)) that x comes from, β' being that of the target.
        leaving = np.where(hot, self._betas[1], self._betas[0])
        weights = weight_terms(leaving * stored - beta * stored - above)
        histograms = {"histogram": BINS.rows(stored), "moved_histogram": BINS.rows(energy)}
        return {name: kinds @ values for name, values in (table | weights | histograms).items()}

    def metrics(self, sums: Mapping[str, Array]) -> dict[str, float]:
        """Losses in nats; mean energies in kJ/mol and shares of energy histograms (bins of 5 kJ/mol) that overlap, at
        the temperature where frames arrive, beside those without transport; of how many independent frames those that
        arrive are worth, reweighted (``ess``); errors of the round trip.

        ``best_possible`` is what perfect transport of these frames scores in loss_above_identity.
        """
        each = {name: mean(sums[name], sums["count"]) for name in ("above", "identity", "energy", "moved_energy")}
        above, identity = float(each["above"].sum()), float(each["identity"].sum())
        cold, hot = self.temperatures
        energy, moved, histogram = each["energy"], each["moved_energy"], sums["histogram"]
        result = {
            "loss_above_identity": above,
            "loss": identity + above,
            "identity_loss": identity,
            "best_possible": -float((self._betas[0] - self._betas[1]) * (energy[1] - energy[0])),
            "reconstruction_nm": float(mean(sums["reconstruction"].sum(), sums["count"].sum())),
            "log_det_residual": float(mean(sums["log_det_residual"].sum(), sums["count"].sum())),
        }
        for temperature, own in ((cold, 0), (hot, 1)):
            name = f"{temperature:g}K"
            result[f"energy_{name}"] = float(energy[own])
            result[f"energy_{name}_transported"] = float(moved[1 - own])
            result[f"overlap_{name}"] = overlap(sums["moved_histogram"][1 - own], histogram[own])
            result[f"ess_{name}"] = effective_samples(sums["weight"][1 - own], sums["squared_weight"][1 - own])
        result["overlap_identity"] = overlap(histogram[0], histogram[1])
        return result

    def references(self, batches: Iterable[Batch]) -> dict[str, float]:
        """The identity, and perfect transport."""
        total, count = np.zeros(2), np.zeros(2)
        for batch in batches:
            hot = (~self._cold(batch)).cpu().numpy().astype(np.int64)
            total += np.bincount(hot, numpy(batch["energy"]), 2)
            count += np.bincount(hot, minlength=2)
        cold_mean, hot_mean = total / np.maximum(count, 1.0)
        return {"identity": 0.0, "perfect": -float((self._betas[0] - self._betas[1]) * (hot_mean - cold_mean))}

    @property
    def _betas(self) -> tuple[float, float]:
        """1/RT in mol/kJ, cold and hot."""
        cold, hot = self.temperatures
        return 1.0 / (GAS_CONSTANT * cold), 1.0 / (GAS_CONSTANT * hot)

    def _cold(self, batch: Batch) -> Tensor:
        return batch["temperature"] == self.temperatures[0]

    def _above(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss above the identity, energy after transport, β of the target, each (batch,)."""
        cold, hot = self._betas
        beta = torch.where(self._cold(batch), hot, cold)
        energy = self.potential(outputs["positions"])
        return beta * (energy - batch["energy"]) - outputs["log_det"], energy, beta

    def _original(self, positions: Tensor) -> Tensor:
        return positions.double() * self._std.to(positions.device) + self._mean.to(positions.device)
