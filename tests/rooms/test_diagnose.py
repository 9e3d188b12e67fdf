"""`prep diagnose`: whoever wrote the log, the cause is named before the cure, and the data before the learning rate."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

import prep
from prep import cli
from prep.errors import IntegrityError, UnfinishedError, UsageError
from prep.training.logs.columns import guess, series
from tests.conftest import build, dataset_of, make_project, working_in

FALLING = (1.0, 0.6, 0.4, 0.3, 0.24, 0.2, 0.17, 0.15, 0.14, 0.13)
RISING = (0.2847, 0.31, 0.36, 0.41, 0.4580)
SWINGING = (1.0, 0.4, 0.7, 0.4, 0.7, 0.4, 0.7, 0.4)
FLAT = (1.0, 0.5, *(0.3 - 1e-4 * place for place in range(14)))


def table(path: Path, columns: Mapping[str, Sequence[float | str]]) -> Path:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def rule(path: Path, **options: float) -> tuple[str, float | None]:
    first = prep.diagnose(path, **options).advice[0]
    return first.rule, first.learning_rate


@pytest.fixture(scope="module")
def finished(certified_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = prep.open(dataset_of(certified_project, "regression"), lock_path=certified_project / "prep.lock")
    folder = tmp_path_factory.mktemp("runs") / "regression"
    prep.train(data, epochs=8, run_dir=folder, device="cpu")
    return folder


@pytest.mark.parametrize(
    ("train", "val", "options", "expected"),
    [
        (FALLING, FALLING, {"target": 0.01}, ("improving", None)),
        (RISING, RISING, {}, ("rising", 3.3e-3)),
        (SWINGING, SWINGING, {}, ("oscillating", 5e-3)),
        (FLAT, FLAT, {"target": 0.1}, ("plateau", 3e-2)),
        (FALLING, [2 * each for each in FALLING], {"target": 0.01}, ("overfitted", None)),
        (FALLING, FALLING, {"target": 0.2}, ("done", None)),
        ([40 * each for each in FALLING], [40 * each for each in FALLING], {"baseline": 1.0}, ("first_step", None)),
    ],
    ids=["go on", "too high", "swings", "plateau", "overfitted", "done", "the data"],
)
def test_each_line_of_the_decision_table_is_found_in_a_plain_log(train, val, options, expected, tmp_path: Path):
    log = table(
        tmp_path / "log.csv",
        {"epoch": range(len(train)), "train_loss": train, "val_loss": val, "lr": [0.01] * len(train)},
    )
    assert rule(log, **options) == expected


def test_gradients_far_beyond_the_clip_are_said(tmp_path: Path):
    log = table(tmp_path / "log.csv", {"epoch": range(10), "loss": FALLING, "grad_norm": [90.0] * 10})
    assert rule(log, clip=1.0)[0] == "clipped"
    assert rule(log)[0] == "improving"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["epoch", "step", "train_loss_step", "train_loss_epoch", "val_loss"], ("train_loss_epoch", "val_loss")),
        (["epoch", "accuracy", "loss", "lr", "val_accuracy", "val_loss"], ("loss", "val_loss")),
        (["loss", "grad_norm", "learning_rate", "epoch", "step", "eval_loss"], ("loss", "eval_loss")),
        (["Loss/train", "Loss/val", "Loss/test"], ("Loss/train", "Loss/val")),
        (["trainLoss", "validationLoss"], ("trainLoss", "validationLoss")),
        (["Epoch", "Training Loss", "Validation Loss"], ("Training Loss", "Validation Loss")),
        (["train/mse", "valid/mse", "valid/loss"], ("train/mse", "valid/mse")),
        (["iter", "loss", "loss_reconstruction"], ("loss", "")),
        (["train/epoch_loss", "validation/epoch_loss"], ("train/epoch_loss", "validation/epoch_loss")),
        (["ep", "trainloss", "valloss"], ("trainloss", "valloss")),
        (["train_cross_entropy", "val_cross_entropy"], ("train_cross_entropy", "val_cross_entropy")),
        (["train/bce", "val/bce"], ("train/bce", "val/bce")),
        (["train_err", "val_err"], ("train_err", "val_err")),
        # Of two measures, none is compared with the other.
        (["epoch", "loss", "val_mae"], ("loss", "")),
        (["epoch", "loss", "mae", "val_mae"], ("mae", "val_mae")),
    ],
)
def test_columns_are_guessed_from_their_usual_spellings(names: list[str], expected: tuple[str, str]):
    found = guess(names)
    assert (found.train, found.val) == expected


@pytest.mark.parametrize(
    ("name", "rate", "norm"),
    [
        ("lr", "lr", ""),
        ("lr-AdamW", "lr-AdamW", ""),
        ("learning_rate", "learning_rate", ""),
        ("train/lr", "train/lr", ""),
        ("grad_2.0_norm_total", "", "grad_2.0_norm_total"),
        ("grad_norm", "", "grad_norm"),
    ],
)
def test_rates_and_norms_are_found_too(name: str, rate: str, norm: str):
    found = guess(["loss", name])
    assert (found.learning_rate, found.gradient_norm) == (rate, norm)


def test_the_sparse_rows_of_lightning_are_put_together_by_epoch(tmp_path: Path):
    folder = tmp_path / "lightning_logs/version_0"
    folder.mkdir(parents=True)
    lines = ["epoch,lr-Adam,step,train_loss_epoch,train_loss_step,val_loss"]
    for epoch, loss in enumerate(RISING):
        lines += [f"{epoch},0.003,{10 * epoch},,{loss - 0.1},", f"{epoch},,{10 * epoch + 9},,,{loss}"]
        lines += [f"{epoch},,{10 * epoch + 9},{loss},,"]
    (folder / "metrics.csv").write_text("\n".join(lines))

    found = prep.diagnose(tmp_path / "lightning_logs")

    assert (found.rows, found.unit) == (5, "epoch")
    assert found.columns["train"] == "train_loss_epoch"
    assert (found.advice[0].rule, found.advice[0].learning_rate) == ("rising", 1e-3)


def test_an_epoch_is_the_mean_of_its_training_and_the_last_of_everything_else():
    rows = [
        {"epoch": 0.0, "loss": 4.0, "lr": 3.0},
        {"epoch": 0.0, "loss": 2.0, "lr": 2.0},
        {"epoch": 0.0, "val_loss": 5.0},
        {"epoch": 0.0, "val_loss": 4.0},
        {"epoch": 1.0, "loss": 1.0, "lr": 1.0},
        {"epoch": 2.0, "val_loss": 0.5},
    ]
    found = series(rows, guess(["epoch", "loss", "lr", "val_loss"]))

    assert found.of("train") == (3.0, 1.0)
    assert found.of("learning_rate") == (2.0, 1.0)
    # An epoch in which nothing was trained only judges the one before.
    assert found.of("val") == (4.0, 0.5)


def test_the_state_of_a_hugging_face_trainer_is_read_between_its_evaluations(tmp_path: Path):
    history: list[dict[str, float]] = []
    for epoch, loss in enumerate(FALLING, start=1):
        for part in range(4):
            history.append({"loss": loss, "grad_norm": 0.5, "learning_rate": 5e-5, "epoch": epoch - 1 + part / 4 + 0.1})
        history.append({"eval_loss": 3 * loss, "eval_runtime": 1.0, "epoch": float(epoch)})
    history.append({"train_runtime": 9.0, "train_loss": 0.3, "epoch": 10.0})
    for checkpoint, part in (("checkpoint-5", history[:10]), ("checkpoint-10", history)):
        (tmp_path / checkpoint).mkdir()
        (tmp_path / checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": part, "epoch": 10.0}))

    found = prep.diagnose(tmp_path / "checkpoint-10")

    assert (found.kind, found.rows, found.unit) == ("trainer_state.json", 10, "validation")
    assert found.advice[0].rule == "overfitted"


def test_event_files_of_tensorboard_are_read_below_a_folder_too(tmp_path: Path):
    from torch.utils.tensorboard import SummaryWriter

    for split, factor in (("train", 1.0), ("validation", 2.0)):
        with SummaryWriter(str(tmp_path / split)) as writer:
            for epoch, loss in enumerate(FALLING):
                writer.add_scalar("epoch_loss", factor * loss, epoch)

    found = prep.diagnose(tmp_path)

    assert (found.kind, found.rows) == ("TensorBoard", 10)
    assert found.columns["val"] == "validation/epoch_loss"
    assert found.advice[0].rule == "overfitted"


def test_a_long_log_of_steps_is_judged_by_its_course_and_not_by_its_noise(tmp_path: Path):
    losses = [2.0 / (1 + step / 100) * (1.4 if step % 2 else 0.6) for step in range(4000)]
    found = prep.diagnose(table(tmp_path / "log.csv", {"step": range(4000), "loss": losses}))
    assert (found.rows, found.unit) == (40, "block of 100 rows")
    assert found.advice[0].rule == "improving"


def test_a_loss_that_became_nan_is_said(tmp_path: Path):
    log = table(
        tmp_path / "log.csv", {"epoch": range(4), "loss": [1.0, 0.5, "nan", "nan"], "val_loss": [1, 0.5, "", ""]}
    )
    assert rule(log)[0] == "not_finite"


def test_a_column_of_test_scores_is_judged_like_one_of_validation(tmp_path: Path):
    columns = {"epoch": range(10), "train_loss": FALLING}
    heart = table(tmp_path / "heart.csv", {**columns, "test_loss": [1.0] * 10})
    assert rule(heart, target=0.05)[0] == "overfitted"
    good = table(tmp_path / "good.csv", {**columns, "test_loss": FALLING})
    assert rule(good, target=0.2)[0] == "done"
    beside = table(tmp_path / "beside.csv", {**columns, "val_loss": FALLING, "test_loss": [3 * x for x in FALLING]})
    assert rule(beside, target=0.2)[0] == "overfitted"
    alone = table(tmp_path / "alone.csv", {"epoch": range(10), "test_loss": FALLING})
    assert (rule(alone)[0], prep.diagnose(alone).columns["test"]) == ("improving", "test_loss")


@pytest.mark.parametrize("columns", [{"loss": FALLING}, {}])
def test_validation_that_became_nan_is_said(columns: dict[str, Sequence[float]], tmp_path: Path):
    log = table(tmp_path / "log.csv", {"epoch": range(10), **columns, "val_loss": [*FALLING[:5], *["nan"] * 5]})
    found = prep.diagnose(log)
    assert [each.rule for each in found.advice] == ["not_finite"]
    assert "epoch 6" in found.advice[0].evidence


def test_a_loss_that_became_nan_in_a_long_log_is_placed_in_its_block(tmp_path: Path):
    losses = [2.0 if row < 1000 else "nan" for row in range(2000)]
    found = prep.diagnose(table(tmp_path / "log.csv", {"step": range(2000), "loss": losses}))
    assert found.advice[0].evidence == "nan in block 21, a block of 50 rows"


def test_losses_that_neither_fall_nor_stand_still_are_not_called_too_few(tmp_path: Path):
    waving = [1.0, 0.9, 0.8, 0.7, 0.6, 0.55, 0.6, 0.54, 0.58, 0.6, 0.57, 0.6]
    assert rule(table(tmp_path / "log.csv", {"epoch": range(12), "loss": waving}))[0] == "unclear"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("epoch;loss\n{0};0,9\n{1};0,8\n", "utf-8"),
        ("# my run, of May\nepoch,loss\n{0},0.9\n{1},0.8\n", "utf-8"),
        ("# epoch,loss\n{0},0.9\n{1},8e-1\n", "utf-8"),
        ("epoch,loss\r\n{0},0.9\r\n{1},0.8\r\n", "utf-16"),
    ],
    ids=["decimal commas", "comments", "a head in a comment", "UTF-16"],
)
def test_tables_are_read_as_spreadsheets_and_numpy_write_them(text: str, encoding: str, tmp_path: Path):
    (tmp_path / "log.csv").write_bytes(text.format(0, 1).encode(encoding))
    found = prep.diagnose(tmp_path / "log.csv")
    assert found.rows == 2
    assert "0.9 to 0.8" in found.advice[0].evidence


@pytest.mark.parametrize("options", [{"baseline": float("nan")}, {"baseline": -3.0}, {"target": float("inf")}])
def test_baselines_and_targets_that_are_none_are_refused(options: dict[str, float], tmp_path: Path):
    log = table(tmp_path / "log.csv", {"epoch": range(10), "loss": FALLING})
    with pytest.raises(UsageError) as caught:
        prep.diagnose(log, **options)
    assert caught.value.remedy


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_of_a_table_is_found(separator: str, tmp_path: Path):
    lines = [separator.join(("epoch", "loss")), *(separator.join((str(i), str(x))) for i, x in enumerate(FALLING))]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    assert prep.diagnose(tmp_path / "log.csv").rows == 10


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.csv", None),
        ("empty.csv", b""),
        ("head.csv", b"epoch,loss\n"),
        ("words.csv", b"epoch,loss\none,two\n"),
        ("binary.csv", bytes(range(256))),
        ("scores.csv", b"epoch,accuracy\n1,0.5\n2,0.6\n"),
        ("state.json", b"{}"),
        ("deep.json", b"[" * 100_000),
        ("events.out.tfevents.1", b"no events"),
        ("folder", None),
    ],
)
def test_what_is_no_log_is_said_to_be_none(name: str, content: bytes | None, tmp_path: Path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if name == "folder":
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError) as caught:
        prep.diagnose(tmp_path / name)
    assert caught.value.exit_code == 2
    assert caught.value.remedy


def test_a_run_of_ours_is_judged_by_its_own_baseline_and_target(finished: Path):
    found = prep.diagnose(finished)

    assert (found.kind, found.rows, found.baseline, found.target) == (
        "a run of prep",
        8,
        pytest.approx(1.0, abs=0.05),
        0.05,
    )
    assert found.good
    assert prep.diagnose(finished, target=0.99).advice[0].rule == "done"


def test_a_run_that_never_ended_is_diagnosed_too(finished: Path, tmp_path: Path):
    for name in ("run.json", "metrics.csv"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    assert prep.diagnose(tmp_path).advice[0].rule == "improving"

    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(UsageError, match="not finished an epoch"):
        prep.diagnose(tmp_path)
    (tmp_path / "metrics.csv").write_text("epoch,train_loss\n1,half")
    with pytest.raises(IntegrityError, match="cannot be read"):
        prep.diagnose(tmp_path)


def test_what_stopped_a_run_before_its_first_epoch_is_said_again(certified_project: Path, tmp_path: Path):
    data = prep.open(dataset_of(certified_project, "regression"), lock_path=certified_project / "prep.lock")
    with pytest.raises(UnfinishedError) as caught:
        prep.train(data, system="regression+one_sided_scale", epochs=2, run_dir=tmp_path / "run", device="cpu")

    (found,) = prep.diagnose(tmp_path / "run").advice

    assert (found.rule, found.level, found.field) == ("loss_scale", "stop", "targets")
    assert found.cause == caught.value.what
    assert str(caught.value.measured) in found.evidence
    assert found.next_step == caught.value.remedy


def test_a_run_is_judged_by_what_predicting_nothing_scores_on_its_val_split(certified_project: Path, tmp_path: Path):
    data = prep.open(dataset_of(certified_project, "regression"), lock_path=certified_project / "prep.lock")
    prep.train(data, system="regression+turned_sign", epochs=3, run_dir=tmp_path / "run", device="cpu")

    found = prep.diagnose(tmp_path / "run").advice

    assert [each.rule for each in found] == ["worse_than_baseline"]


def test_without_the_data_a_rising_loss_is_the_learning_rate_and_with_them_it_is_the_data(
    certified_copy: Path, capsys: pytest.CaptureFixture[str]
):
    log = table(Path("course.csv"), {"epoch": range(1, 6), "loss": RISING})
    assert rule(log)[0] == "rising"
    prep.mutate("tones", "random_phase", "unlearnable.h5")

    found = prep.diagnose(log, data="unlearnable.h5")

    assert found.advice[0].cause == "the data cannot be learned"
    assert "no learning rate helps" in found.advice[0].next_step
    assert not any("learning rate is too high" in each.cause for each in found.advice)
    assert found.baseline == pytest.approx(0.5, abs=0.01)
    assert cli.run(["diagnose", str(log)]) == 0
    assert "--data DATASET" in capsys.readouterr().out


def test_good_data_leave_the_learning_rate_to_blame(certified_copy: Path):
    log = table(Path("course.csv"), {"epoch": range(1, 6), "loss": RISING})
    found = prep.diagnose(log, data=dataset_of(certified_copy, "tones"))
    assert [each.rule for each in found.advice] == ["rising"]


def test_a_first_loss_far_above_the_baseline_names_the_field_that_is_off(certified_copy: Path):
    prep.mutate("regression", "raw_targets", "raw.h5")
    log = table(Path("course.csv"), {"epoch": range(1, 11), "loss": [1e15 * each for each in FALLING]})

    found = prep.diagnose(log, data="raw.h5", baseline=1.0)

    assert found.advice[0].field == "targets"
    assert "targets" in found.advice[0].cause
    assert any(each.rule == "first_step" for each in found.advice)


def test_a_run_on_certified_data_that_nothing_can_be_learned_of_blames_the_data(tmp_path: Path):
    folder = make_project(tmp_path / "project")
    schema = folder / "schemas/tones.yaml"
    text = schema.read_text().replace("nmse_max: 0.004", "nmse_max: 2.0")
    floor = '  learnability: {target: {floor: 0.5, why: "phases over the whole circle leave no signal"}}\n'
    schema.write_text(
        text.replace("  loss: {name: mse, target: target}\n", "  loss: {name: mse, target: target}\n" + floor)
    )
    config = folder / "config/config.yaml"
    config.write_text(
        config.read_text().replace(
            "    recipe: tones\n", "    recipe: tones\n    parameters: {phase_span: 6.283185307179586}\n"
        )
    )
    with working_in(folder):
        data = prep.open(build("tones"))
        with suppress(UnfinishedError):  # it is chance whether so few epochs score better than zero on val
            prep.train(data, epochs=4, run_dir="runs/tones", device="cpu")

        found = prep.diagnose("runs/tones")

    assert found.advice[0].cause == "the data cannot be learned"
    assert not any("learning rate is too high" in each.cause for each in found.advice)


@pytest.mark.parametrize(("losses", "strict", "plain"), [(FALLING, 0, 0), (RISING, 1, 0)])
def test_exit_codes(losses: Sequence[float], strict: int, plain: int, tmp_path: Path):
    log = table(tmp_path / "log.csv", {"epoch": range(len(losses)), "loss": losses})
    assert cli.run(["diagnose", str(log)]) == plain
    assert cli.run(["diagnose", str(log), "--strict"]) == strict


def test_no_log_is_exit_2_and_json_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.run(["diagnose", str(tmp_path / "nothing"), "--json", "-"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_json_tells_cause_evidence_and_next_step(finished: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.run(["diagnose", str(finished), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["good"] is True
    assert set(found["advice"][0]) >= {"rule", "level", "cause", "evidence", "next_step", "learning_rate", "field"}


def test_reading_a_log_needs_neither_torch_nor_lightning(finished: Path):
    code = (
        "import sys, prep; prep.diagnose(sys.argv[1]); prep.diagnose(sys.argv[2]);"
        "assert not {'torch', 'lightning', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    events = next(finished.glob("events.*"))
    subprocess.run([sys.executable, "-c", code, str(finished), str(events)], check=True)
