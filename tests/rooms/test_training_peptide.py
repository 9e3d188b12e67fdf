"""Peptide training: internal coordinates and their volume, an exact inverse, forces as gradients, a bounded loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import prep
from prep.blocks import Array
from prep.errors import DataError, SchemaError
from prep.gate import CertifiedDataset
from prep.recipes.dipeptide import ATOMS, REFERENCE
from prep.training.systems.internal import (
    HEAVY_BONDS,
    ROTORS,
    STIFF_TORSIONS,
    log_volume,
    to_internal,
    to_positions,
    wrapped,
)
from prep.training.systems.peptide import ALIKE, Peptide
from prep.training.systems.potential import MOST_FORCE, Potential
from prep.training.systems.system import Batch
from prep.training.systems.transport import TransportNetwork, in_frame
from tests.conftest import dataset_of, working_in

ROWS = 32


@pytest.fixture
def data(certified_project: Path) -> Iterator[CertifiedDataset]:
    with working_in(certified_project):
        yield prep.open(dataset_of(certified_project, "peptide"))


@pytest.fixture
def system(data: CertifiedDataset) -> Peptide:
    torch.manual_seed(0)
    return Peptide(data)


def batch_of(system: Peptide, rows: int = ROWS) -> Batch:
    batches = system.data.torch("train", batch_size=rows, shuffle=True, seed=1, fields=system.fields)
    return next(iter(batches))


def shaken(rows: int = ROWS, size: float = 0.004) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(rows, *REFERENCE.shape, generator=generator, dtype=torch.float64)
    return torch.from_numpy(REFERENCE.copy()) + size * noise


def learned(network: torch.nn.Module) -> torch.nn.Module:
    """The network as after some training: no weight is zero."""
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return network


def distances(positions: torch.Tensor) -> torch.Tensor:
    return torch.cdist(positions, positions)


def test_internal_coordinates_are_as_many_as_the_molecule_has_and_give_the_shape_back():
    positions = shaken()
    bonds, angles, torsions = to_internal(positions)

    assert bonds.shape[1] + angles.shape[1] + torsions.shape[1] == 3 * 23 - 6
    assert len(STIFF_TORSIONS) + len(ROTORS) == torsions.shape[1]
    assert len(HEAVY_BONDS) == 10
    back = to_positions(bonds, angles, torsions)
    torch.testing.assert_close(distances(back), distances(positions), rtol=0, atol=1e-7)
    for one, other in zip(to_internal(back), (bonds, angles, torsions), strict=True):
        assert wrapped(one - other).abs().max() < 1e-9


def test_the_volume_of_internal_coordinates_is_that_of_space():
    """With the six of rigid motion, measured at the frame: dx = r² sin θ … dr dθ dφ times the volume of motions."""
    generator = torch.Generator().manual_seed(1)
    logs = []
    for start in (shaken(1), shaken(1, size=0.02)):
        parts = [part[0] for part in to_internal(start)]
        sizes = [len(part) for part in parts]
        motion = torch.randn(6, generator=generator, dtype=torch.float64) * 1e-12

        def place(flat: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            shape, moved = flat[:-6], flat[-6:]
            positions = to_positions(*(part[None] for part in torch.split(shape, sizes)))[0]
            zero = torch.zeros((), dtype=torch.float64)
            x, y, z = moved[:3]
            turn = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
            return (positions @ torch.linalg.matrix_exp(turn).T + moved[3:]).flatten()

        jacobian = torch.autograd.functional.jacobian(place, torch.cat([*parts, motion]))
        logs.append((torch.linalg.slogdet(jacobian)[1], log_volume(parts[0][None], parts[1][None])[0]))

    (one, expected_one), (other, expected_other) = logs
    torch.testing.assert_close(one - other, expected_one - expected_other, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_the_potential_is_the_slope_of_its_values():
    potential = Potential()
    positions = shaken(4).requires_grad_()
    direction = torch.randn(4, 23, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = 1e-4

    (gradient,) = torch.autograd.grad(potential(positions).sum(), positions)
    slope = (potential(positions + step * direction) - potential(positions - step * direction)) / (2 * step)

    torch.testing.assert_close((gradient * direction).sum((1, 2)), slope.detach(), rtol=5e-3, atol=2.0)


def test_atoms_on_top_of_each_other_have_a_bounded_gradient_and_their_true_energy():
    positions = shaken(1)
    positions[0, 1] = positions[0, 22] + 0.01
    positions.requires_grad_()

    energy = Potential()(positions)
    (gradient,) = torch.autograd.grad(energy.sum(), positions)

    assert energy.item() > 1e4
    assert torch.linalg.vector_norm(gradient, dim=2).max() <= MOST_FORCE * 1.001


def test_the_first_loss_is_that_of_the_identity(system: Peptide):
    network, batch = system.model(), batch_of(system)
    outputs = network(batch)

    assert abs(system.loss(outputs, batch).item()) < 1e-3
    assert torch.all(outputs["log_det"].abs() < 1e-9)
    torch.testing.assert_close(outputs["positions"], in_frame(original(system, batch)), rtol=0, atol=1e-9)
    metrics = system.metrics(system.sums(network.eval()(batch), batch))
    cold, hot = (batch["energy"][batch["temperature"] == each].mean() for each in (300.0, 450.0))
    assert metrics["identity_loss"] == pytest.approx(float(hot / 2.494339 + cold / 3.741508), rel=1e-5)


def original(system: Peptide, batch: Batch) -> torch.Tensor:
    values = system.data.transforms["positions"].invert(batch["positions"].numpy())
    return torch.from_numpy(values)


def test_the_way_back_is_exact_after_training_too(system: Peptide):
    network, batch = learned(system.model()).eval(), batch_of(system)
    outputs = network(batch)

    assert outputs["log_det"].abs().max() > 0.1
    assert outputs["reconstruction"].max() < 1e-9
    assert outputs["log_det_residual"].max() < 1e-9


def test_the_determinant_is_that_of_the_map(system: Peptide):
    network = learned(system.model()).eval()
    assert isinstance(network, TransportNetwork)
    flow = network.flow
    stiff, rotors = flow.parts(to_internal(shaken(1)))

    def moved(flat: torch.Tensor) -> torch.Tensor:
        return torch.cat(flow.through((flat[None, :-7], flat[None, -7:]), inverse=False)[0], 1)[0]

    jacobian = torch.autograd.functional.jacobian(moved, torch.cat([stiff, rotors], 1)[0])
    _, change = flow.through((stiff, rotors), inverse=False)

    assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(change.item(), abs=1e-6)


def test_bonds_to_hydrogen_keep_their_length(system: Peptide):
    batch = batch_of(system)
    moved = learned(system.model())(batch)["positions"]

    rigid = [place for place in range(22) if place not in HEAVY_BONDS]
    before, after = (to_internal(each)[0] for each in (original(system, batch), moved))
    torch.testing.assert_close(after[:, rigid], before[:, rigid], rtol=0, atol=1e-9)
    assert (after[:, HEAVY_BONDS] - before[:, HEAVY_BONDS]).abs().max() > 1e-5


def test_atoms_that_change_places_are_alike_to_the_force_field(system: Peptide):
    batch = batch_of(system)
    turned = system.augment(batch)

    assert not torch.equal(turned["positions"], batch["positions"])
    energies = system.potential(original(system, turned))
    torch.testing.assert_close(energies, batch["energy"], rtol=0, atol=5e-3)
    for group in ALIKE:
        assert len({ATOMS[atom].rstrip("123") for atom in group}) == 1


def test_every_weight_has_a_finite_gradient(system: Peptide):
    network, batch = learned(system.model()), system.augment(batch_of(system))

    system.loss(network(batch), batch).backward()

    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())


def test_a_batch_of_one_temperature_can_be_trained_on(system: Peptide):
    network, batch = system.model(), batch_of(system)
    cold = {name: values[batch["temperature"] == 300.0] for name, values in batch.items()}

    system.loss(network(cold), cold).backward()

    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


@pytest.mark.long
def test_some_steps_get_below_the_identity_and_move_energies_the_right_way(system: Peptide):
    network, batch = system.model(), batch_of(system, rows=72)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(10):  # after twice as many it knows these frames by heart
        optimiser.zero_grad()
        system.loss(network(batch), batch).backward()
        optimiser.step()

    metrics = system.metrics(system.sums(network.eval()(batch), batch))
    assert metrics["loss_above_identity"] < -0.5
    assert metrics["energy_300K_transported"] < metrics["energy_450K"] - 5.0
    assert metrics["overlap_300K"] > metrics["overlap_identity"]


def test_references_are_the_identity_and_what_perfect_transport_gains(system: Peptide):
    batches = system.data.torch("test", batch_size=16, fields=system.fields)
    energy, temperature = (system.data.rows(name, *system.data.bounds("test")) for name in ("energy", "temperature"))
    gap = energy[temperature == 450].mean() - energy[temperature == 300].mean()

    assert system.references(batches) == {"identity": 0.0, "perfect": pytest.approx(-0.133636 * gap, rel=1e-4)}


def test_energies_of_other_positions_are_refused(system: Peptide, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "_mean", system._mean * 10)
    monkeypatch.setattr(system, "_std", system._std * 10)

    with pytest.raises(DataError, match="stored energies are not those") as caught:
        system.examine()
    assert caught.value.where.field == "energy"
    assert "in nm" in caught.value.remedy


@pytest.mark.parametrize("split", ["val", "test"])
def test_energies_of_other_positions_are_refused_in_any_split(
    split: str, system: Peptide, monkeypatch: pytest.MonkeyPatch
):
    (begin, end), rows = system.data.bounds(split), system.data.rows

    def shifted(field: str, start: int, stop: int) -> Array:
        values = rows(field, start, stop)
        place = np.arange(start, stop)
        return values + 15.0 * ((begin <= place) & (place < end)) if field == "energy" else values

    monkeypatch.setattr(system.data, "rows", shifted)

    with pytest.raises(DataError, match="stored energies are not those") as caught:
        system.examine()
    assert caught.value.where.split == split
    assert begin <= caught.value.where.samples[0] < end
    assert "off by 15" in caught.value.measured


@pytest.mark.parametrize("name", ["topology_digest", "energy_constraints"])
def test_data_of_another_molecule_or_with_other_energies_are_refused(name: str, data: CertifiedDataset):
    data.spec.attributes[name] = "hydrogen"  # type: ignore[index]

    with pytest.raises(SchemaError, match="another molecule, or other energies") as caught:
        Peptide(data)
    assert caught.value.where.key == name


def test_angles_are_wrapped_around_the_circle():
    angles = torch.tensor([3.0, -3.0, 4.0, 2 * np.pi])
    torch.testing.assert_close(wrapped(angles), torch.tensor([3.0, -3.0, 4.0 - 2 * np.pi, 0.0]), rtol=0, atol=1e-6)
