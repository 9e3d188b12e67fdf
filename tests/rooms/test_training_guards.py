"""What each guard is there for: a planted fault, and what the guard says of it; most in somebody's own module."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

import prep
from prep.errors import CertificateError, UnfinishedError, UsageError
from prep.training.guards import GUARDS, default_guards
from prep.training.guards.rows import rows_of
from prep.training.guards.watch import Watch
from prep.training.schedule import schedules
from prep.training.systems import transport
from prep.training.systems.control import Control
from prep.training.systems.peptide import Peptide
from tests.conftest import dataset_of

BATCH = 64


def data_of(name: str, project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(project, name), lock_path=project / "prep.lock")


@pytest.fixture(scope="module")
def regression(certified_project: Path) -> prep.CertifiedDataset:
    return data_of("regression", certified_project)


class Own(LightningModule):
    """Somebody's own module: nothing of it knows of prep but the names of the fields."""

    def __init__(self, *, clip: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(16, 4)
        nn.init.zeros_(self.net.weight)
        nn.init.zeros_(self.net.bias)
        self.clip = clip

    def loss(self, batch: Any, index: int) -> torch.Tensor:
        return (self.net(batch["inputs"]) - batch["targets"]).square().mean()

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self.loss(batch, index)

    def score(self, batch: Any, index: int) -> torch.Tensor:
        return self.loss(batch, index)

    def validation_step(self, batch: Any, index: int) -> Any:
        self.log("val_loss", self.score(batch, index), batch_size=len(batch["inputs"]))
        return {"targets": self.net(batch["inputs"])}

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Scripted(Own):
    """Its losses are what a script says, epoch by epoch; its parameters move all the same."""

    train_losses: tuple[float, ...] = ()
    val_losses: tuple[float, ...] = ()

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        real = self.loss(batch, index)
        return real - real.detach() + self.train_losses[self.current_epoch]

    def score(self, batch: Any, index: int) -> torch.Tensor:
        script = self.val_losses or self.train_losses
        return torch.tensor(script[self.current_epoch])


def scripted(train: tuple[float, ...], val: tuple[float, ...] = ()) -> Scripted:
    module = Scripted()
    module.train_losses, module.val_losses = train, val
    return module


def fit(
    data: prep.CertifiedDataset,
    module: Own,
    *names: str,
    epochs: int = 1,
    batch_size: int = BATCH,
    every: int = 1,
    loader: Any = lambda batches: batches,
    **options: Any,
) -> tuple[list[str], list[str], Trainer]:
    """Train with these guards only (all, if none is named); lines that were said, warnings, the trainer."""
    said: list[str] = []
    kept: list[str] = []
    without = [each for each in GUARDS if names and each not in names]
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        check_val_every_n_epoch=every,
        gradient_clip_val=module.clip,
        callbacks=default_guards(data, without=without, say=said.append, warnings=kept, **options),
    )
    train, val = (data.torch(split, batch_size=batch_size, shuffle=split == "train") for split in ("train", "val"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, loader(train), val)
    return said, kept, trainer


def refused(data: prep.CertifiedDataset, module: Own, *names: str, **options: Any) -> UnfinishedError:
    with pytest.raises(UnfinishedError) as caught:
        fit(data, module, *names, **options)
    assert caught.value.where.dataset == data.id
    assert caught.value.where.key in names or not names
    assert caught.value.measured
    assert caught.value.allowed
    assert caught.value.remedy
    return caught.value


def test_all_guards_leave_a_healthy_module_of_anybody_alone(regression: prep.CertifiedDataset):
    said, kept, trainer = fit(regression, Own(), epochs=8)
    assert trainer.current_epoch == 8
    assert kept == []
    assert [line for line in said if not line.startswith("advice: the loss falls")] == []
    assert float(trainer.callback_metrics["clip_factor"]) < 5


def test_guards_watch_certified_data_only():
    with pytest.raises(CertificateError, match="takes a CertifiedDataset"):
        default_guards({"inputs": np.zeros(3)})  # type: ignore[arg-type]


def test_a_baseline_that_is_none_is_refused(regression: prep.CertifiedDataset):
    with pytest.raises(UsageError, match="a baseline is a number"):
        default_guards(regression, baseline=math.nan)


def test_a_first_loss_far_from_the_baseline_stops_the_run_after_one_step(regression: prep.CertifiedDataset):
    class Summed(Own):
        def loss(self, batch: Any, index: int) -> torch.Tensor:
            return super().loss(batch, index) * batch["targets"].numel()

    found = refused(regression, Summed())
    assert found.where.key == "first_loss"
    assert found.what.startswith("the first loss is far from what predicting nothing scores")
    assert "0.333 to 3" in found.allowed


def test_a_first_loss_of_a_field_off_its_certified_scale_names_the_field(regression: prep.CertifiedDataset):
    class Scaled(Own):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return {**batch, "targets": 72.0 * batch["targets"]}

    found = refused(regression, Scaled(), "first_loss")
    assert found.where.field == "targets"
    assert "targets is not on the scale that was certified" in found.what
    assert "certified 1" in found.measured


class Broken(Own):
    """Not finite at the fourth batch: the loss, the gradient or a parameter."""

    kind = "loss"

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = self.loss(batch, index)
        if index != 3 or self.kind == "parameter":
            return loss
        self.seen = batch["inputs"].clone()
        if self.kind == "loss":
            return loss * math.nan
        return loss + (0.0 * self.net.bias).square().sum().sqrt()

    def on_train_batch_end(self, *_: Any) -> None:
        if self.kind == "parameter" and self.trainer.is_last_batch:
            with torch.no_grad():
                self.net.bias[1] = math.inf


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_what_is_not_finite_names_the_samples_of_the_first_such_batch(kind: str, regression: prep.CertifiedDataset):
    module = Broken()
    module.kind = kind
    found = refused(regression, module, "finite")

    assert found.what == ("the training loss is not finite" if kind == "loss" else "the gradient is not finite")
    assert "epoch 1, step 4" in found.measured
    stored = np.stack([regression.rows("inputs", row, row + 1)[0] for row in found.where.samples])
    np.testing.assert_array_equal(stored, module.seen.numpy())


def test_a_parameter_that_is_not_finite_is_named(regression: prep.CertifiedDataset):
    module = Broken()
    module.kind = "parameter"
    assert refused(regression, module, "finite").what == "parameter net.bias is not finite"


def test_a_loss_that_is_not_finite_says_the_ids_of_the_samples(certified_project: Path, tmp_path: Path):
    data = data_of("control", certified_project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Control, "loss", lambda self, outputs, batch: outputs["controls"].sum() * math.nan)
        with pytest.raises(UnfinishedError, match="not finite") as caught:
            prep.train(data, epochs=1, run_dir=tmp_path / "run", device="cpu", without=["loss_scores", "loss_scale"])
    first = caught.value.where.samples[0]
    trajectory = data.rows("trajectory", first, first + 1)[0]
    assert f"trajectory {trajectory}" in str(caught.value.measured)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_rows_of_a_batch_are_known_without_keeping_it(certified_project: Path, in_memory: bool, shuffle: bool):
    data = data_of("control", certified_project)
    options = {"batch_size": 100, "shuffle": shuffle, "in_memory": in_memory, "window_bytes": 1 << 16, "seed": 3}
    batches = data.torch("train", fields=("states",), **options)
    for _ in range(2):
        for index, batch in enumerate(batches):
            rows = rows_of(batches, index)
            assert rows is not None
            for place in (0, len(rows) - 1):
                stored = data.rows("states", int(rows[place]), int(rows[place]) + 1)[0]
                np.testing.assert_array_equal(batch["states"][place].numpy(), stored)
    assert rows_of([1, 2], 0) is None


def test_a_loss_without_a_gradient_stops_the_run(regression: prep.CertifiedDataset):
    class Detached(Own):
        def loss(self, batch: Any, index: int) -> torch.Tensor:
            loss = super().loss(batch, index)
            return 0.0 * loss + loss.detach()

    assert refused(regression, Detached(), "updates").what.endswith("for the sake of the loss")


def test_a_step_that_changes_nothing_stops_the_run(regression: prep.CertifiedDataset):
    class Elsewhere(Own):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)

    assert refused(regression, Elsewhere(), "updates").what == "the first step changed no parameter"


def test_a_rate_that_stays_0_stops_the_run_after_fifty_steps(regression: prep.CertifiedDataset):
    class Still(Own):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    found = refused(regression, Still(), "updates", epochs=2, batch_size=8)
    assert (found.what, found.measured) == ("the learning rate is 0", "0 in each of the first 50 steps")


def test_a_schedule_by_epochs_may_begin_at_0(regression: prep.CertifiedDataset):
    class Slow(Own):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1e-3)
            return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: epoch / 3)]

    assert fit(regression, Slow(), "updates", epochs=2, batch_size=8)[1] == []


class Skipping(Own):
    def training_step(self, batch: Any, index: int) -> Any:
        return None if index == 0 else super().training_step(batch, index)


class Quasi(Own):
    """Its loss is that of the last inner step, unless one asks for the first."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=4, history_size=2)


class ByItself(Own):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization, self.clip = False, None

    def training_step(self, batch: Any, index: int) -> None:
        optimizer, loss = self.optimizers(), self.loss(batch, index)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


class Endless:
    """Batches of which nobody knows how many there are."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)


@pytest.mark.parametrize("kind", [Skipping, Quasi, ByItself])
def test_guards_leave_healthy_modules_of_other_habits_alone(kind: type[Own], regression: prep.CertifiedDataset):
    _, kept, trainer = fit(regression, kind(), epochs=2)
    assert (kept, trainer.current_epoch) == ([], 2)
    (watch,) = (each for each in trainer.callbacks if isinstance(each, Watch))
    assert watch.first == pytest.approx(1.0, abs=0.2)


def test_a_module_that_optimises_by_itself_is_watched_too(regression: prep.CertifiedDataset):
    class Summed(ByItself):
        def loss(self, batch: Any, index: int) -> torch.Tensor:
            return super().loss(batch, index) * batch["targets"].numel()

    assert refused(regression, Summed()).where.key == "first_loss"


def test_a_loss_that_cannot_be_seen_is_said_once(regression: prep.CertifiedDataset):
    class Twice(ByItself):
        def training_step(self, batch: Any, index: int) -> None:
            super().training_step(batch, index)
            super().training_step(batch, index)

    _, kept, _ = fit(regression, Twice(), epochs=2)
    assert [line for line in kept if line.startswith("warning (loss): guards do not see the loss")] == kept
    assert len(kept) == 1


def test_batches_of_unknown_number_are_watched_too(regression: prep.CertifiedDataset):
    _, kept, trainer = fit(regression, Own(), epochs=3, loader=Endless)
    assert (kept, trainer.current_epoch) == ([], 3)


def test_a_metric_that_nobody_logs_is_said_once(regression: prep.CertifiedDataset):
    said, kept, _ = fit(regression, Own(), epochs=2, monitor="val/typo")
    assert len(kept) == 1
    assert kept[0] in said
    assert "no validation logs val/typo, so baseline and overfitting cannot judge: logged: " in kept[0]
    assert "val_loss" in kept[0]


def test_patience_with_a_metric_that_nobody_logs_is_a_mistake_of_usage(regression: prep.CertifiedDataset):
    with pytest.raises(UsageError, match="no such metric to wait for") as caught:
        fit(regression, Own(), "rising", epochs=2, monitor="val/typo", patience=2)
    assert "val_loss" in str(caught.value.measured)


def test_validation_every_few_epochs_is_not_compared_with_later_training(regression: prep.CertifiedDataset):
    halved = tuple(0.5**epoch for epoch in range(6))
    _, kept, _ = fit(regression, scripted(halved), "overfitting", epochs=6, every=3)
    assert kept == []


def test_a_validation_score_that_is_not_finite_stops_the_run(regression: prep.CertifiedDataset):
    found = refused(regression, scripted((1.0, 0.9, 0.8), (1.0, math.nan, 0.8)), "finite", epochs=3)
    assert found.where.split == "val"
    assert found.what == "the validation score val_loss is not finite"
    assert "nan in epoch 2" in found.measured


def test_predictions_that_are_not_finite_in_any_batch_are_said(regression: prep.CertifiedDataset):
    class Gap(Own):
        def validation_step(self, batch: Any, index: int) -> Any:
            found = super().validation_step(batch, index)
            return {"targets": found["targets"] * (math.nan if index == 1 else 1.0)}

    assert refused(regression, Gap(), "prediction_range").what == "predictions of targets are not finite"


def test_a_plateau_is_not_told_to_raise_the_rate_of_a_loss_that_swings(regression: prep.CertifiedDataset):
    swinging = (1.0, *(1.6, 1.0) * 5)
    _, kept, _ = fit(regression, scripted(swinging), "plateau", epochs=len(swinging))
    assert kept == []


def test_what_predicting_nothing_scores_is_measured_on_the_rows_of_val(regression: prep.CertifiedDataset):
    targets = np.concatenate([batch["targets"].numpy() for batch in regression.torch("val", batch_size=64)])
    nothing = float(np.square(targets.astype(np.float64)).mean())
    between = (nothing + 1.0) / 2  # above it, and below the 1 of the train split
    found = refused(regression, scripted((0.99,) * 12, (between,) * 12), "baseline", epochs=12)
    assert f"below {nothing:.6g}, what predicting nothing scores on the same rows" in found.allowed
    assert "raise the learning rate 3-fold, from 0.001 to 0.003" in found.remedy


def test_the_assumed_warm_up_of_a_long_run_ends_but_not_while_the_rate_rises(
    regression: prep.CertifiedDataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("prep.training.guards.watch._LONGEST", 10)

    class Long(Scripted):
        factor = staticmethod(lambda step: 1.0)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            self.trainer.should_stop = self.trainer.global_step >= 250
            return super().training_step(batch, index)

        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            rate = torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)
            return [optimizer], [{"scheduler": rate, "interval": "step"}]

    module, rising = Long(), Long()
    rising.factor = lambda step: step / 1000
    for each in (module, rising):
        each.train_losses = each.val_losses = (1.2,) * 10_000
    assert refused(regression, module, "baseline", epochs=10_000, batch_size=16).where.key == "baseline"
    assert fit(regression, rising, "baseline", epochs=10_000, batch_size=16)[1] == []


def test_a_first_step_of_rate_0_may_change_nothing(regression: prep.CertifiedDataset):
    class Warming(Own):
        def configure_optimizers(self) -> Any:
            optimizer = super().configure_optimizers()
            rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
            return [optimizer], [{"scheduler": rate, "interval": "step"}]

    assert fit(regression, Warming(), "updates")[1] == []


def test_gradients_beyond_five_times_the_clip_are_warned_of_once(regression: prep.CertifiedDataset):
    said, kept, trainer = fit(regression, Own(clip=0.05), "clip_factor", epochs=4, batch_size=16)
    assert len(kept) == 1
    assert kept == said
    assert kept[0].startswith("warning (clip_factor): gradients are far longer than what they are clipped to")
    assert float(trainer.callback_metrics["clip_factor"]) > 5


def test_gradients_beyond_fifty_times_the_clip_stop_the_run(regression: prep.CertifiedDataset):
    found = refused(regression, Own(clip=1e-3), "clip_factor", epochs=4, batch_size=16)
    assert "below 50 x clip" in found.allowed
    assert "lower the learning rate 3-fold, from 0.001 to 0.00033" in found.remedy


def test_a_loss_that_does_not_come_down_again_stops_the_run_with_a_new_rate(regression: prep.CertifiedDataset):
    found = refused(regression, scripted((1.0, 0.5, 0.2, 0.5, 0.55, 0.5, 0.6, 0.55, 0.5, 0.5)), "rising", epochs=10)
    assert "the loss rises" in found.what
    assert "from 0.001 to 0.00033" in found.remedy


@pytest.mark.parametrize(
    ("name", "train", "said"),
    [
        ("rising", (1.0, 0.5, 0.2, 0.5, 0.2, 0.15), "the loss has jumped"),
        ("rising", (1.0, 0.5, 0.4, 0.42, 0.44, 0.46), "the learning rate is too high: the loss rises"),
        ("oscillation", (1.0, 0.5, 0.3, 0.5, 0.3, 0.5, 0.3), "from 0.001 to 0.0005"),
        ("plateau", (1.0, *(0.99,) * 11), "nothing was learned"),
    ],
)
def test_the_course_of_the_loss_is_warned_of_once_with_what_to_do(
    name: str, train: tuple[float, ...], said: str, regression: prep.CertifiedDataset
):
    _, kept, trainer = fit(regression, scripted(train), name, epochs=len(train))
    assert len(kept) == 1
    assert kept[0].startswith(f"warning ({name}): ")
    assert said in kept[0]
    assert trainer.current_epoch == len(train)


def test_validation_far_above_training_is_warned_of(regression: prep.CertifiedDataset):
    train = (1.0, 0.5, 0.4, 0.3, 0.2)
    _, kept, _ = fit(regression, scripted(train, (1.0, 0.6, 0.65, 0.65, 0.65)), "overfitting", epochs=5)
    assert len(kept) == 1
    assert "validation/train" in kept[0]
    assert "regularise" in kept[0]


def test_validation_no_better_than_the_baseline_after_the_warm_up_stops_the_run(regression: prep.CertifiedDataset):
    found = refused(regression, scripted((0.5,) * 12, (1.1,) * 12), "baseline", epochs=12)
    assert found.where.split == "val"
    assert found.what.startswith("the model has learned nothing")


def test_weights_that_move_while_metrics_are_taken_stop_the_run(regression: prep.CertifiedDataset):
    class Moving(Own):
        def validation_step(self, batch: Any, index: int) -> Any:
            with torch.no_grad():
                self.net.bias += 1e-3
            return super().validation_step(batch, index)

    found = refused(regression, Moving(), "frozen_metrics")
    assert (found.what, found.where.split) == ("parameters changed while the metrics were taken", "val")


@pytest.mark.parametrize(("scale", "stops"), [(60.0, False), (1e6, True)])
def test_predictions_far_outside_the_certified_range_are_said(
    scale: float, stops: bool, regression: prep.CertifiedDataset
):
    class Scaled(Own):
        def validation_step(self, batch: Any, index: int) -> Any:
            return {"targets": scale * torch.sign(super().validation_step(batch, index)["targets"])}

    scale = scale if stops else 3.0 * float(np.abs(regression.rows("targets", 0, 700)).max())
    what = "predictions of targets are far outside the range of the certified target"
    if stops:
        found = refused(regression, Scaled(), "prediction_range", epochs=2)
        assert (found.what, found.where.field) == (what, "targets")
    else:
        assert what in fit(regression, Scaled(), "prediction_range", epochs=2)[1][0]


@pytest.mark.parametrize(
    ("guard", "fault", "measured"),
    [
        ("loss_scale", "one_sided_scale", "smallest where the prediction is 72 times the target"),
        ("loss_scores", "summed_loss", ""),
    ],
)
def test_a_wrong_loss_is_stopped_before_the_first_step(
    guard: str, fault: str, measured: str, regression: prep.CertifiedDataset, tmp_path: Path
):
    with pytest.raises(UnfinishedError, match="the loss does not score") as caught:
        prep.train(regression, system=f"regression+{fault}", run_dir=tmp_path / "run", device="cpu")
    assert caught.value.where.key == guard
    assert measured in str(caught.value.measured)


def test_a_flow_whose_inverse_is_none_is_stopped(
    certified_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    right = transport.StiffCoupling.forward

    def wrong(self: Any, parts: Any, inverse: bool) -> Any:
        moved, change = right(self, parts, inverse)
        return moved, -change if inverse else change

    monkeypatch.setattr(transport.StiffCoupling, "forward", wrong)
    with pytest.raises(UnfinishedError, match="the inverse of the flow is not its inverse") as caught:
        prep.train(data_of("peptide", certified_project), epochs=3, run_dir=tmp_path / "run", device="cpu")
    assert "log_det error" in str(caught.value.measured)


def test_a_flow_one_of_whose_directions_is_left_behind_is_warned_of(
    certified_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = data_of("peptide", certified_project)

    right = Peptide._above

    def turned(self: Any, outputs: Any, batch: Any) -> Any:
        volume = torch.where(self._cold(batch), -outputs["log_det"], outputs["log_det"])
        return right(self, {**outputs, "log_det": volume}, batch)

    monkeypatch.setattr(Peptide, "_above", turned)
    monkeypatch.setattr(Peptide, "known", lambda self, batch: iter(()))
    result = prep.train(data, epochs=3, run_dir=tmp_path / "run", device="cpu")
    assert any("one direction of the flow is left behind" in line for line in result.warnings)


def test_what_to_do_next_is_said_at_the_end(regression: prep.CertifiedDataset):
    flat = (1.0, *(0.985,) * 11)
    said, kept, _ = fit(regression, scripted(flat), "learning_rate", epochs=12)
    assert len(said) == 1
    assert said[0].startswith("advice: the loss no longer falls")
    assert "raise the learning rate 3-fold, from 0.001 to 0.003" in said[0]
    assert kept == []


def test_a_run_ends_early_when_validation_has_not_improved(regression: prep.CertifiedDataset):
    train = tuple(1.0 / epoch for epoch in range(1, 11))
    val = (1.0, 0.5, 0.4, 0.45, 0.5, *(0.3,) * 5)
    said, _, trainer = fit(regression, scripted(train, val), "rising", epochs=10, patience=2)
    assert trainer.current_epoch == 5
    assert said == ["stopped early: val val_loss has not improved for 2 epochs; lowest 0.4"]


def test_a_run_that_ended_early_stays_ended_when_it_is_resumed(regression: prep.CertifiedDataset, tmp_path: Path):
    folder = tmp_path / "run"
    # A rate so low that nothing changes but the noise of batches.
    options: dict[str, Any] = {"device": "cpu", "patience": 1, "learning_rate": 0.3, "without": list(GUARDS)}
    begun = prep.train(regression, epochs=40, run_dir=folder, **options)
    again = prep.train(regression, run_dir=folder, resume=True, device="cpu", patience=1)
    assert begun.epochs < 40
    assert again.epochs == begun.epochs


def test_watching_goes_on_where_a_checkpoint_was_written(regression: prep.CertifiedDataset):
    watch = Watch(regression)
    watch.load_state_dict(
        {
            "columns": {"train": [1.0], "val": [0.9], "learning_rate": [1e-3], "clip_factor": [2.0]},
            "first": 1.1,
            "warnings": ["warning (x): y"],
        }
    )
    assert watch.state_dict()["columns"]["train"] == [1.0]
    assert watch.warnings == ["warning (x): y"]


def rates(scores: list[float]) -> list[float]:
    """The rate at the end of each epoch of ten batches, given what validation scores."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    steps = 10 * len(scores)
    warm, halved = schedules(optimizer, "plateau", steps=steps, warmup=20 / steps, batches=10, metric="mse")
    found = []
    for score in scores:
        for _ in range(10):
            optimizer.step()
            warm["scheduler"].step()
        found.append(optimizer.param_groups[0]["lr"])
        halved["scheduler"].step(score)
    return found


def test_the_plateau_schedule_warms_up_and_halves_the_rate_of_what_stands_still():
    assert rates([1.0 / (epoch + 1) for epoch in range(10)])[1:] == pytest.approx([1.0] * 9)
    still = rates([1.0] * 12)
    assert still[0] == pytest.approx(0.55)
    assert still[6] == pytest.approx(1.0)
    assert still[-1] == pytest.approx(0.5)


def test_a_run_keeps_its_schedule_and_rate_when_it_is_resumed(regression: prep.CertifiedDataset, tmp_path: Path):
    folder = tmp_path / "run"
    prep.train(regression, epochs=2, run_dir=folder, device="cpu", schedule="plateau", learning_rate=3e-4)
    prep.train(regression, epochs=3, run_dir=folder, device="cpu", resume=True)
    last = (folder / "metrics.csv").read_text().splitlines()
    column = last[0].split(",").index("learning_rate")
    assert float(last[-1].split(",")[column]) == pytest.approx(3e-4)
    with pytest.raises(UsageError, match="as it was begun"):
        prep.train(regression, epochs=3, run_dir=folder, device="cpu", resume=True, schedule="cosine")


def test_rates_and_schedules_that_are_none_are_refused(regression: prep.CertifiedDataset, tmp_path: Path):
    with pytest.raises(UsageError, match="a positive number"):
        prep.train(regression, run_dir=tmp_path / "run", learning_rate=-1.0)
    with pytest.raises(UsageError, match="no such schedule"):
        prep.train(regression, run_dir=tmp_path / "run", schedule="linear")
