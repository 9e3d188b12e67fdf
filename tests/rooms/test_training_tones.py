"""Tones training: windows in the order of time, the state carried over them and never over the border of a sequence."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import prep
from prep.errors import CertificateError, UnfinishedError, UsageError
from prep.training import TrainingModule
from prep.training.data import CertifiedDataModule, Pieces
from prep.training.logs.history import MACHINE
from prep.training.systems.system import Batch
from prep.training.systems.tones import Tones
from tests.conftest import dataset_of

WINDOWS = 40


@pytest.fixture(scope="module")
def data(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "tones"), lock_path=certified_project / "prep.lock")


@pytest.fixture
def system(data: prep.CertifiedDataset) -> Iterator[Tones]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Tones(data)
    torch.set_num_threads(threads)


def batch_of(system: Tones, split: str = "train", rows: int = 4) -> Batch:
    return next(iter(system.data.torch(split, batch_size=rows, fields=system.fields)))


def predicted(system: Tones, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([network(window)["target"] for window in system.cut(batch)], 1)


def test_windows_are_of_250_steps_in_the_order_of_time_and_leave_nothing_out(system: Tones):
    batch = batch_of(system)
    windows = list(system.cut(batch))

    assert len(windows) == system.pieces == WINDOWS
    assert {window["signal"].shape for window in windows} == {(4, 250)}
    for name in ("signal", "target", "reset", "time"):
        assert torch.equal(torch.cat([window[name] for window in windows], 1), batch[name])
    assert all(torch.equal(window["selector"], batch["selector"]) for window in windows)


def test_every_window_is_a_step_of_training_and_the_cosine_knows_how_many(data: prep.CertifiedDataset, finished: Path):
    batches = CertifiedDataModule(data, Tones(data), batch_size=5, seed=0)

    assert len(batches.train_dataloader()) == len(list(batches.train_dataloader())) == 3 * WINDOWS
    assert len(batches.val_dataloader()) == len(batches.test_dataloader()) == WINDOWS
    rates = [float(row["learning_rate"]) for row in metrics(finished)]
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[0] > 0


def test_only_verified_batches_are_cut(system: Tones):
    with pytest.raises(CertificateError, match="verified batches, not list"):
        Pieces([batch_of(system)], system)  # type: ignore[arg-type]


def test_window_by_window_says_what_the_whole_sequence_at_once_says(system: Tones):
    batch, network = batch_of(system), system.model()
    with torch.no_grad():
        whole = network(batch)["target"]

    torch.testing.assert_close(predicted(system, network, batch), whole, rtol=1e-4, atol=1e-6)


def test_nothing_is_carried_over_the_border_of_a_sequence(system: Tones):
    first, second, network = batch_of(system), batch_of(system, "val"), system.model()
    alone = predicted(system, network, second)

    predicted(system, network, first)

    assert torch.equal(predicted(system, network, second), alone)


def test_one_stream_begins_anew_while_the_others_go_on(system: Tones):
    batch, network = batch_of(system), system.model()
    windows = list(system.cut(batch))
    with torch.no_grad():
        network(windows[0])
        on = network(windows[1])["target"]
        network(windows[0])
        reset = windows[1]["reset"].clone()
        reset[2, 0] = 1
        mixed = network({**windows[1], "reset": reset})["target"]

    assert [torch.equal(mixed[row], on[row]) for row in range(4)] == [True, True, False, True]


def test_a_window_from_the_middle_of_unknown_sequences_is_refused(system: Tones):
    network, windows = system.model(), list(system.cut(batch_of(system)))
    with pytest.raises(UsageError, match="no state to go on from"):
        network(windows[1])
    network(windows[0])

    with pytest.raises(UsageError, match="no state to go on from"):
        network(list(system.cut(batch_of(system, rows=3)))[1])


def test_gradients_stay_in_their_window(system: Tones):
    network, windows = system.model(), list(system.cut(batch_of(system)))
    first = network(windows[0])["target"]

    network(windows[1])["target"].sum().backward()

    assert first.grad_fn is not None
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())
    first.sum().backward()  # its graph was not used up by the second window


def test_zero_scores_a_half_and_the_first_loss_is_near_it(system: Tones):
    network, totals = system.model(), {}
    for window in system.cut(batch_of(system, "test")):
        for name, value in system.sums({"target": torch.zeros_like(window["target"])}, window).items():
            totals[name] = totals.get(name, 0.0) + value
    batch = batch_of(system)
    first = next(iter(system.cut(batch)))

    scored = system.metrics(totals)
    assert scored["mse"] == pytest.approx(system.baseline, rel=1e-3)
    assert scored["mse_settled"] == pytest.approx(system.baseline, rel=1e-3)
    assert scored["r2"] == pytest.approx(0, abs=1e-6)
    assert [scored[f"mse/tone[{tone}]"] for tone in range(4)] == pytest.approx([0.5] * 4, rel=1e-3)
    assert 0.5 / 3 < float(system.loss(network(first), first).detach()) < 1.5


def test_the_measured_error_is_that_of_every_step(system: Tones):
    batch, network, totals = batch_of(system, "test"), system.model(), {}
    with torch.no_grad():
        for window in system.cut(batch):
            for name, value in system.sums(network(window), window).items():
                totals[name] = totals.get(name, 0.0) + value
    error = (predicted(system, network, batch) - batch["target"]).double().square()

    scored = system.metrics(totals)
    assert scored["mse"] == pytest.approx(float(error.mean()), rel=1e-6)
    assert scored["mse_settled"] == pytest.approx(float(error[:, 1000:].mean()), rel=1e-6)
    place = int(batch["selector"][2].argmax())
    assert scored[f"mse/tone[{place}]"] == pytest.approx(float(error[2].mean()), rel=1e-6)


def test_the_estimators_beside_the_model_score_what_they_should(system: Tones):
    found = system.references(system.data.torch("test", fields=system.fields))

    assert found["zero"] == pytest.approx(0.5, rel=1e-3)
    assert found["identity"] > 0.5
    assert found["clock"] > 0.45
    assert found["filter_settled"] < 0.0005


def metrics(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def finished(data: prep.CertifiedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tones"
    prep.train(data, epochs=3, run_dir=folder, device="cpu")
    return folder


def test_a_stopped_run_resumes_to_the_same_numbers(
    data: prep.CertifiedDataset, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step = TrainingModule.training_step

    def interrupted(self: TrainingModule, batch: Any, index: int) -> Any:
        if self.current_epoch == 1 and index == 7:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", interrupted)
        with pytest.raises(UnfinishedError, match="stopped after 1 of 3 epochs"):
            prep.train(data, epochs=3, run_dir=tmp_path, device="cpu")
    prep.train(data, run_dir=tmp_path, device="cpu", resume=True)

    timed = dict.fromkeys(MACHINE, "")
    assert [row | timed for row in metrics(tmp_path)] == [row | timed for row in metrics(finished)]


def test_training_follows_the_tone_better_from_epoch_to_epoch(finished: Path):
    losses = [float(row["train_loss"]) for row in metrics(finished)]

    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.4
    assert np.isfinite(losses).all()


@pytest.mark.long
def test_the_default_scale_reaches_its_target_as_well_on_what_it_has_not_seen(project: Path):
    raw = prep.generate("tones", scale="default")
    path = prep.normalize(raw, stats=prep.stats(raw, output="stats.json"), output="data/normalized/tones.h5")
    prep.certify(path)

    result = prep.train("tones", device="cpu")

    train_loss = float(metrics(Path("runs/tones"))[-1]["train_loss"])
    assert result.test["mse"] < 0.002
    assert train_loss < 0.001
    assert result.test["mse"] < 1.2 * train_loss
