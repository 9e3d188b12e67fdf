"""Covariance training: errors through factors, mixed samples that obey the model, estimators in a sensible order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import prep
from prep.kernels.matrices import hermitian, square_norms, trace_normalise, traces
from prep.training.systems import covariance as covariance_system
from prep.training.systems.covariance import Covariance
from prep.training.systems.system import Batch
from tests.conftest import dataset_of, working_in

ROWS = 64


@pytest.fixture
def system(certified_project: Path) -> Iterator[Covariance]:
    with working_in(certified_project):
        torch.manual_seed(0)
        yield Covariance(prep.open(dataset_of(certified_project, "covariance")))


def batch_of(system: Covariance, split: str = "train", rows: int = ROWS) -> Batch:
    return next(iter(system.data.torch(split, batch_size=rows, fields=system.fields)))


def matrices(factor: torch.Tensor, loading: torch.Tensor | None = None) -> np.ndarray:
    wide = factor.detach().numpy().astype(np.complex128)
    result = wide @ wide.conj().swapaxes(1, 2)
    if loading is not None:
        result += loading.detach().numpy()[:, None, None] * np.eye(factor.shape[1])
    return trace_normalise(result)


def test_the_error_through_factors_is_the_error_of_the_certified_matrices(system: Covariance):
    batch = batch_of(system)
    outputs = system.model()(batch)
    certified = system.data.rows("covariance", 0, ROWS)

    sums = system.sums(outputs, batch)

    predicted = matrices(outputs["factor"], outputs["loading"])
    error, energy = square_norms(predicted - certified), square_norms(certified)
    weight = np.exp(2 * from_log_trace(batch, system))
    assert sums["nmse"].sum() == pytest.approx(np.sum(error / energy), rel=1e-5)
    assert system.metrics(sums)["nmse_original"] == pytest.approx(
        np.sum(error * weight) / np.sum(energy * weight), rel=1e-5
    )


def from_log_trace(batch: Batch, system: Covariance) -> np.ndarray:
    params = system.data.transforms["covariance"].params
    return batch["covariance_log_trace"].numpy() * params["std"] + params["mean"]


def test_the_loss_and_all_its_gradients_are_finite(system: Covariance):
    network = system.model()
    batch = system.augment(batch_of(system))

    loss = system.loss(network(batch), batch)
    loss.backward()

    assert torch.isfinite(loss)
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())


def test_a_batch_of_one_row_can_be_trained_on(system: Covariance):
    network = system.model().train()
    batch = system.augment(batch_of(system, rows=1))

    system.loss(network(batch), batch).backward()

    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


def test_about_half_of_the_rows_are_trained_on_as_stored(system: Covariance):
    torch.manual_seed(0)
    batch = batch_of(system)
    changed = system.augment(batch)

    same = {name: (changed[name] == batch[name]).flatten(1).all(1) for name in ("snapshots", "factor")}
    assert torch.equal(same["snapshots"], same["factor"])
    assert 0.25 * ROWS < int(same["factor"].sum()) < 0.75 * ROWS


def test_a_redrawn_scene_has_sources_of_the_batch_at_their_own_power(
    system: Covariance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(covariance_system, "_STORED", 0.0)
    batch = batch_of(system)
    redrawn = system.augment(batch)

    before, after = (
        (each["factor"] * torch.exp(torch.from_numpy(from_log_trace(each, system)) / 2)[:, None, None]).mT.numpy()
        for each in (batch, redrawn)
    )
    known = before[np.abs(before).max(axis=2) > 0]

    for row, count in zip(after, batch["num_sources"], strict=True):
        assert np.all(row[int(count) :] == 0)
        for source in row[: int(count)]:
            distance = np.linalg.norm(known - source, axis=1).min()
            assert distance < 1e-5 * np.linalg.norm(source)


def test_redrawn_snapshots_are_what_their_covariance_causes(system: Covariance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(covariance_system, "_STORED", 0.0)
    batch = {**batch_of(system), "snr_db": torch.full((ROWS,), 60.0)}
    redrawn = system.augment(batch)
    channel, codes = (system.data.constants[name] for name in ("channel", "codes"))

    trace = np.exp(from_log_trace(redrawn, system))
    rms = system.data.transforms["snapshots"].invert(redrawn["snapshots"].numpy(), log_rms=redrawn["log_rms"].numpy())
    response = np.einsum("mn,ln,bnk->blmk", channel, codes, redrawn["factor"].numpy())
    response *= np.sqrt(trace)[:, None, None, None]

    powers = []
    for row, count in enumerate(batch["num_sources"]):
        for snapshot in range(len(codes)):
            caused = response[row, snapshot, :, : int(count)]
            received = rms[row, :, snapshot]
            symbols, *_ = np.linalg.lstsq(caused, received, rcond=None)
            assert np.linalg.norm(received - caused @ symbols) < 0.02 * np.sqrt(np.mean(np.abs(rms[row]) ** 2) * 16)
            powers.append(np.abs(symbols[0]) ** 2)
    assert np.mean(powers) == pytest.approx(1.0, abs=0.15)


def test_a_redrawn_sample_is_normalised_like_every_other(system: Covariance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(covariance_system, "_STORED", 0.0)
    redrawn = system.augment(batch := batch_of(system))

    covariance = matrices(redrawn["factor"])
    energies = np.linalg.eigvalsh(covariance)

    assert torch.allclose(redrawn["snapshots"].abs().square().mean((1, 2)), torch.ones(ROWS), atol=1e-5)
    assert torch.allclose(torch.linalg.vector_norm(redrawn["factor"], dim=(1, 2)), torch.ones(ROWS), atol=1e-5)
    assert np.allclose(traces(covariance), covariance.shape[1])
    assert np.allclose(covariance, hermitian(covariance))
    for row, count in enumerate(redrawn["num_sources"]):
        assert energies[row, : -int(count)].max() < 1e-4
    assert {name: (value.shape, value.dtype) for name, value in redrawn.items()} == {
        name: (value.shape, value.dtype) for name, value in batch.items()
    }


def test_estimators_come_in_a_sensible_order(system: Covariance):
    references = system.references(system.data.torch("test", batch_size=16, fields=system.fields))

    assert references["zero"] == system.baseline == 1.0
    assert references["identity"] == pytest.approx(0.988, abs=2e-3)
    assert references["matching_pursuit"] < 0.5


def test_metrics_name_every_number_of_sources(system: Covariance):
    batch = batch_of(system)

    metrics = system.metrics(system.sums(system.model()(batch), batch))

    expected = {"nmse", "k_accuracy", "nmse_original", *(f"nmse_k{count}" for count in range(1, 6))}
    assert set(metrics) == expected
    assert 0.9 < metrics["nmse"] < 2.0


@pytest.mark.long
def test_two_hundred_samples_can_be_learned_by_heart(system: Covariance):
    network, batch = system.model(), batch_of(system, rows=200)
    steps = 800
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    for _ in range(steps):
        optimiser.zero_grad()
        system.loss(network(batch), batch).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()

    assert system.metrics(system.sums(network(batch), batch))["nmse"] < 0.01
