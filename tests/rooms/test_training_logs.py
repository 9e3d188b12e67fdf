"""What a run tells: lines, numbers, events, the picture and the page; the same numbers whoever stopped it."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import prep
from prep.errors import IntegrityError, UnfinishedError
from prep.training import SYSTEMS
from prep.training.logs.history import MACHINE, improvement, line, told
from prep.training.logs.record import read_record
from prep.training.logs.samples import samples
from prep.training.module import TrainingModule
from tests.conftest import dataset_of


@pytest.fixture(scope="module")
def regression(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "regression"), lock_path=certified_project / "prep.lock")


@pytest.fixture(scope="module")
def peptide(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "peptide"), lock_path=certified_project / "prep.lock")


@pytest.fixture(scope="module")
def finished(regression: prep.CertifiedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "regression"
    prep.train(regression, epochs=12, run_dir=folder, device="cpu")
    return folder


def rows(run: Path) -> list[dict[str, float]]:
    table = csv.DictReader((run / "metrics.csv").read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in table]


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_lines_are_for_every_epoch_to_10_every_tenth_to_100_and_every_hundredth_after():
    spoken = [epoch for epoch in range(1, 351) if told(epoch, 350)]
    assert spoken == [*range(1, 11), *range(20, 101, 10), 200, 300, 350]


def test_the_log_leaves_out_what_the_table_keeps(finished: Path):
    log = (finished / "log.txt").read_text()

    assert "epoch 10/12" in log
    assert "epoch 11/12" not in log
    assert "epoch 12/12" in log
    assert [row["epoch"] for row in rows(finished)] == list(range(1, 13))


def test_a_line_says_loss_improvement_validation_gradient_rate_speed_memory_and_waiting(finished: Path):
    text = next(each for each in (finished / "log.txt").read_text().splitlines() if each.startswith("epoch 12/12"))
    for wanted in ("train loss", "% from start", "val mse", "x clip", "rate", "samples/s", "waiting", "MiB"):
        assert wanted in text


def test_improvement_is_relative_only_where_a_loss_has_a_zero():
    assert improvement(1.0, 0.25, relative=True) == "-75.0 % from start"
    assert improvement(0.0, -4.5, relative=False) == "-4.5 from start"
    assert improvement(1.0, -1.0, relative=True) == "-2 from start"


def test_a_loss_of_two_terms_shows_both(peptide: prep.CertifiedDataset, tmp_path: Path):
    seen: list[str] = []
    prep.train(
        peptide, epochs=2, run_dir=tmp_path, device="cpu", progress=lambda done, total, text="": seen.append(text)
    )

    first, second = rows(tmp_path)
    # The smoke scale has one batch an epoch, so that the terms are of that very batch.
    assert second["loss/forward"] + second["loss/inverse"] == pytest.approx(second["train_loss"], rel=1e-6)
    assert first["loss/forward"] != first["loss/inverse"]
    assert "(forward" in (tmp_path / "log.txt").read_text()
    assert "train/loss_forward" in scalars(tmp_path)
    assert any("forward" in text and "samples/s" in text and "MiB" in text for text in seen)


@pytest.mark.parametrize("name", ["covariance", "peptide"])
def test_the_terms_add_up_to_the_loss(name: str, certified_project: Path):
    data = prep.open(dataset_of(certified_project, name), lock_path=certified_project / "prep.lock")
    system = SYSTEMS.load(name)(data)
    batch = next(iter(data.torch("train", batch_size=16, fields=system.fields)))
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = system.model()(batch)

    total = sum(float(value) for value in system.components(outputs, batch).values())
    assert total == pytest.approx(float(system.loss(outputs, batch)), rel=1e-5, abs=1e-5)


def test_every_number_of_every_epoch_is_in_tensorboard(finished: Path):
    found = scalars(finished)
    for tag, column in (("train/loss", "train_loss"), ("val/mse", "mse"), ("train/clip_factor", "clip_factor")):
        assert found[tag] == [(int(row["epoch"]), pytest.approx(row[column])) for row in rows(finished)]


def test_without_tensorboard_training_goes_on_and_says_so_once(
    regression: prep.CertifiedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    prep.train(regression, epochs=2, run_dir=tmp_path, device="cpu")

    assert (tmp_path / "log.txt").read_text().count("tensorboard is not installed") == 1
    assert not list(tmp_path.glob("events.*"))
    assert (tmp_path / "result.json").exists()


def test_a_resumed_run_has_the_same_table_and_one_event_file(
    regression: prep.CertifiedDataset, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step = TrainingModule.training_step

    def interrupted(self: TrainingModule, batch: Any, index: int) -> Any:
        if self.current_epoch == 7:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", interrupted)
        with pytest.raises(UnfinishedError, match="stopped after 7"):
            prep.train(regression, epochs=12, run_dir=tmp_path, device="cpu")
    prep.train(regression, run_dir=tmp_path, device="cpu", resume=True)

    machine = dict.fromkeys(MACHINE, 0.0)
    assert [row | machine for row in rows(tmp_path)] == [row | machine for row in rows(finished)]
    assert list(rows(tmp_path)[0]) == list(rows(finished)[0])
    assert len(list(tmp_path.glob("events.*"))) == 1
    assert scalars(tmp_path)["train/loss"] == scalars(finished)["train/loss"]


def test_the_log_says_why_a_run_ended_early(
    regression: prep.CertifiedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step = TrainingModule.training_step

    def broken(self: TrainingModule, batch: Any, index: int) -> Any:
        if self.current_epoch == 1:
            raise UnfinishedError("the lamp went out", remedy="light it")
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", broken)
    with pytest.raises(UnfinishedError, match="the lamp"):
        prep.train(regression, epochs=3, run_dir=tmp_path, device="cpu")

    log = (tmp_path / "log.txt").read_text()
    assert "the lamp went out" in log
    assert "light it" in log
    assert (tmp_path / "loss.png").exists()


def test_the_page_begins_with_the_verdict_and_tells_data_figures_warnings_and_predictions(
    finished: Path, regression: prep.CertifiedDataset
):
    page = (finished / "summary.md").read_text()
    result = json.loads((finished / "result.json").read_text())

    assert page.splitlines()[2].startswith("**Not there yet: test mse")
    assert regression.certificate_digest in page
    assert regression.root in page
    assert f"{result['references']['zero']:.4g}" in page
    assert "every guard was silent" in page
    assert "(loss.png)" in page
    assert "go on: train more epochs" in page


def test_sample_predictions_are_in_original_units(finished: Path, regression: prep.CertifiedDataset):
    system = SYSTEMS.load("regression")(regression)
    torch.manual_seed(0)
    model = system.model()

    found = samples(system, model, torch.device("cpu"))

    assert len(found) == 16
    start, stop = regression.bounds("test")
    for each in found:
        assert start <= each.row < stop
        stored = regression.rows("targets", each.row, each.row + 1)
        original = regression.transforms["targets"].invert(stored)[0]
        assert each.stored == pytest.approx(original[each.place])
    # The first prediction is near the mean of each target, whose scales differ by four orders.
    scale = regression.transforms["targets"].params["std"]
    mean = regression.transforms["targets"].params["mean"]
    for each in found:
        assert abs(each.predicted - mean[0][each.place[0]]) < 0.5 * scale[0][each.place[0]]


def test_sample_predictions_leave_out_what_the_mask_does_not_count(certified_project: Path):
    data = prep.open(dataset_of(certified_project, "control"), lock_path=certified_project / "prep.lock")
    system = SYSTEMS.load("control")(data)

    found = samples(system, system.model(), torch.device("cpu"))

    assert found
    for each in found:
        assert data.rows("control_mask", each.row, each.row + 1)[0][each.place] == 1


def test_sequences_show_the_values_of_their_last_window(certified_project: Path):
    data = prep.open(dataset_of(certified_project, "tones"), lock_path=certified_project / "prep.lock")
    system = SYSTEMS.load("tones")(data)

    found = samples(system, system.model(), torch.device("cpu"))

    steps = data.spec["target"].shape[0]
    for each in found:
        assert steps - 250 <= each.place[0] < steps
        stored = data.rows("target", each.row, each.row + 1)[0][each.place]
        assert each.stored == pytest.approx(float(stored))


def test_the_picture_has_four_panels(
    finished: Path, regression: prep.CertifiedDataset, monkeypatch: pytest.MonkeyPatch
):
    from matplotlib.figure import Figure

    from prep.training.logs.curves import draw_curves

    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k)))
    system = SYSTEMS.load("regression")(regression)
    draw_curves(finished / "again.png", rows(finished), system)

    titles = [axes.get_title() for axes in drawn[0].axes if axes.get_title()]
    assert titles == [
        "loss",
        "validation / training (the loss has one term)",
        "validation, frozen weights",
        "steps",
    ]
    labels = {text for axes in drawn[0].axes for text in axes.get_legend_handles_labels()[1]}
    assert {"target 0.05", "baseline 1", "learning rate"} <= labels


def test_a_damaged_record_is_named(tmp_path: Path):
    (tmp_path / "run.json").write_text('{"version": 99}')
    with pytest.raises(IntegrityError, match="no record of a prep run"):
        read_record(tmp_path)


def test_a_line_of_a_loss_without_a_first_one_is_still_a_line():
    epoch = {"epoch": 1.0, "train_loss": 1.0, "mse": 1.0, "gradient_norm": 1.0, "clip_factor": 1.0}
    text = line(epoch | {"learning_rate": 1e-3, "seconds": 1.0}, 1, "mse", math.nan, relative=True)
    assert "no first loss" in text


BAR = """
import os, pty, subprocess, sys
terminal, other = pty.openpty()
code = '''
import time
from prep.cli import output
output._PATIENCE = 0.0
with output.progress("train") as show:
    show(0, 10, "loss 1")
    output.say("for whoever reads stdout")
    print("and so is this")
    show(5, 10, "loss 0.5")
    time.sleep(0.3)
'''
shared = sys.argv[1] == "terminal"
done = subprocess.run([sys.executable, "-c", code], stdout=other if shared else subprocess.PIPE, stderr=other)
os.close(other)
shown = b""
try:
    while part := os.read(terminal, 65536):
        shown += part
except OSError:
    pass
sys.stdout.buffer.write(done.stdout or b"")
sys.stderr.buffer.write(shown)
"""


def on_a_terminal(stdout: str) -> tuple[str, str]:
    """What reached stdout, a pipe or the terminal as well, and what the terminal was sent."""
    done = subprocess.run([sys.executable, "-c", BAR, stdout], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.replace("\r", "")


def test_with_a_bar_on_the_terminal_lines_still_go_where_stdout_goes():
    told, shown = on_a_terminal("pipe")
    assert told == "for whoever reads stdout\nand so is this\n"
    assert "loss 0.5" in shown
    assert "for whoever" not in shown


def test_lines_on_the_terminal_of_the_bar_stand_above_it():
    _, shown = on_a_terminal("terminal")
    for said in ("for whoever reads stdout", "and so is this"):
        before, _, after = shown.partition(said)
        assert before.endswith("\x1b[2K")  # the bar's lines were taken away
        assert after.startswith("\n")


def test_without_a_terminal_nothing_is_coloured_and_progress_is_lines(capfd: pytest.CaptureFixture[str], monkeypatch):
    from prep.cli import output

    monkeypatch.setattr(output, "_PLAIN_INTERVAL", 0.0)
    with output.progress("train") as show:
        show(5, 10, "loss 0.5")
    output.say("done", "verdict-good")

    shown = capfd.readouterr()
    assert shown.err == "train: 50 %, loss 0.5\n"
    assert shown.out == "done\n"
