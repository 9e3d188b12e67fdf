"""A training run: only certified data, everything written down, stopped and resumed to the same numbers."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

import prep
from prep.errors import CertificateError, IntegrityError, PrepError, StorageError, UnfinishedError, UsageError
from prep.training import CertifiedDataModule, TrainingModule, checkpoint
from prep.training.checkpoint import KEY, read_checkpoint
from prep.training.logs.history import MACHINE
from prep.training.systems.regression import Regression
from tests.conftest import SYSTEMS, dataset_of, largest_file

NOT_CERTIFIED = {
    "array": np.zeros((10, 16), "f4"),
    "tensor": torch.zeros(10, 16),
    "loader": DataLoader(TensorDataset(torch.zeros(10, 16))),
    "mapping": {"inputs": np.zeros((10, 16))},
}


def metrics(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def regression(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "regression"), lock_path=certified_project / "prep.lock")


@pytest.fixture(scope="module")
def finished(regression: prep.CertifiedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "regression"
    prep.train(regression, epochs=3, run_dir=folder, device="cpu")
    return folder


@pytest.mark.parametrize("kind", NOT_CERTIFIED)
def test_what_is_not_certified_is_refused_with_what_to_run(kind: str, tmp_path: Path):
    with pytest.raises(CertificateError, match="takes a CertifiedDataset, not") as caught:
        prep.train(NOT_CERTIFIED[kind], run_dir=tmp_path / "run")
    assert "prep certify" in caught.value.remedy
    assert not (tmp_path / "run").exists()


def test_a_plain_dataloader_is_refused_by_the_module_itself(regression: prep.CertifiedDataset):
    system = Regression(regression)
    module = TrainingModule(system, system.hyperparameters, seed=0)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    loader = DataLoader(TensorDataset(torch.zeros(64, 16), torch.zeros(64, 4)), batch_size=64)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(CertificateError, match="verified batches, not a DataLoader"):
            trainer.fit(module, loader)


def test_a_path_without_a_certificate_is_refused(certified_copy: Path):
    dataset_of(certified_copy, "regression").with_name("regression.h5.cert.json").unlink()

    with pytest.raises(CertificateError, match="not certified"):
        prep.train("regression")


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_a_changed_byte_anywhere_is_refused_before_the_first_step(name: str, place: float, certified_copy: Path):
    victim = largest_file(dataset_of(certified_copy, name))
    data = bytearray(victim.read_bytes())
    data[int(place * len(data))] ^= 1
    victim.write_bytes(data)

    with pytest.raises(IntegrityError) as caught:
        prep.train(name, epochs=1)
    assert caught.value.remedy
    assert not Path("runs").exists()


def test_an_unnormalised_dataset_is_refused(certified_copy: Path):
    with pytest.raises(PrepError, match="not certified") as caught:
        prep.train("data/raw/regression.h5")
    assert caught.value.exit_code == 3


def test_a_run_leaves_log_metrics_curve_result_and_checkpoints(finished: Path, regression: prep.CertifiedDataset):
    rows = metrics(finished)
    result = json.loads((finished / "result.json").read_text())
    log = (finished / "log.txt").read_text()

    assert [float(row["epoch"]) for row in rows] == [1, 2, 3]
    assert all(f"epoch {number}/3" in log for number in (1, 2, 3))
    assert regression.certificate_digest in log
    assert (finished / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert result["certificate"] == regression.certificate_digest
    assert result["baseline"] / 3 < result["step0"] < result["baseline"] * 3
    assert result["test"]["mse"] < result["references"]["zero"]
    assert result["reached"] is (result["test"]["mse"] < result["target"])


def test_a_checkpoint_inverts_predictions_without_the_dataset(finished: Path, regression: prep.CertifiedDataset):
    from prep.transforms.pipeline import bound_transforms

    kept = read_checkpoint(finished / "best.ckpt")[KEY]
    transforms = bound_transforms(json.loads(kept["transforms"]))
    values = regression.rows("targets", 0, 5)

    assert kept["certificate"] == regression.certificate_digest
    np.testing.assert_array_equal(transforms["targets"].invert(values), regression.transforms["targets"].invert(values))


def test_a_stopped_run_resumes_to_the_same_numbers(
    regression: prep.CertifiedDataset, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step = TrainingModule.training_step

    def interrupted(self: TrainingModule, batch: Any, index: int) -> Any:
        if self.current_epoch == 2:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", interrupted)
        with pytest.raises(UnfinishedError, match="stopped after 2 of 3 epochs") as caught:
            prep.train(regression, epochs=3, run_dir=tmp_path, device="cpu")
    assert caught.value.exit_code == 130
    assert "--resume" in caught.value.remedy
    again = prep.train(regression, run_dir=tmp_path, device="cpu", resume=True)

    expected = json.loads((finished / "result.json").read_text())
    assert again.test == expected["test"]
    assert again.step0 == expected["step0"]
    timed = dict.fromkeys(MACHINE, "")
    assert [row | timed for row in metrics(tmp_path)] == [row | timed for row in metrics(finished)]


def test_a_run_does_not_go_on_with_other_data(certified_copy: Path):
    prep.train("regression", epochs=1)
    raw = prep.generate("regression", seed=5)
    stats = prep.stats(raw, output="data/stats/regression.json")
    prep.certify(prep.normalize(raw, stats=stats, output="data/normalized/regression.h5"))

    with pytest.raises(CertificateError, match="other data"):
        prep.train("regression", resume=True)


def test_a_run_in_half_the_digits_keeps_its_weights_in_all_of_them_and_goes_on_as_it_was_begun(
    regression: prep.CertifiedDataset, tmp_path: Path
):
    prep.train(regression, epochs=1, run_dir=tmp_path, device="cpu", precision="bf16-mixed")
    begun = read_checkpoint(tmp_path / "last.ckpt")
    again = prep.train(regression, epochs=2, run_dir=tmp_path, device="cpu", resume=True)

    assert {value.dtype for value in begun["state_dict"].values() if value.is_floating_point()} == {torch.float32}
    assert read_checkpoint(tmp_path / "last.ckpt")[KEY]["run"]["precision"] == "bf16-mixed"
    assert again.test["mse"] < again.baseline
    with pytest.raises(UsageError, match="as it was begun"):
        prep.train(regression, epochs=3, run_dir=tmp_path, device="cpu", resume=True, precision="32-true")


def test_a_compiled_run_ends_where_a_plain_one_does_and_its_weights_need_no_compiler(
    regression: prep.CertifiedDataset, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plainly = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: plainly(self, backend="aot_eager"))
    result = prep.train(regression, epochs=3, run_dir=tmp_path, device="cpu", compiled=True)

    expected = json.loads((finished / "result.json").read_text())
    assert result.test["mse"] == pytest.approx(expected["test"]["mse"], rel=1e-3)
    names = [set(read_checkpoint(folder / "best.ckpt")["state_dict"]) for folder in (tmp_path, finished)]
    assert names[0] == names[1]


def test_a_machine_that_cannot_compile_says_so(
    regression: prep.CertifiedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler was found")

    plainly = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: plainly(self, backend=broken))
    with pytest.raises(UsageError, match="cannot be compiled here") as caught:
        prep.train(regression, epochs=1, run_dir=tmp_path, device="cpu", compiled=True)
    assert "no compiler was found" in str(caught.value.measured)
    assert "--compile" in caught.value.remedy


def test_a_precision_that_does_not_exist_is_named(regression: prep.CertifiedDataset, tmp_path: Path):
    with pytest.raises(UsageError, match="no such precision") as caught:
        prep.train(regression, epochs=1, run_dir=tmp_path, device="cpu", precision="fp8")
    assert "bf16-mixed" in caught.value.allowed


def test_a_run_does_not_go_on_with_another_seed(regression: prep.CertifiedDataset, finished: Path):
    with pytest.raises(UsageError, match="as it was begun"):
        prep.train(regression, run_dir=finished, resume=True, seed=1)


def test_an_older_run_is_moved_aside(regression: prep.CertifiedDataset, tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    older = "regression on regression 1.0.0, root blake3:00\n"
    (folder / "log.txt").write_text(older)

    prep.train(regression, epochs=1, run_dir=folder, device="cpu")

    assert (tmp_path / "run.1/log.txt").read_text() == older
    assert (folder / "result.json").exists()


def test_files_lost_after_the_last_checkpoint_are_written_again(regression: prep.CertifiedDataset, tmp_path: Path):
    prep.train(regression, epochs=2, run_dir=tmp_path / "run", device="cpu")
    metrics = tmp_path / "run/metrics.csv"
    whole = metrics.read_text()
    metrics.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    for name in ("loss.png", "result.json"):
        (tmp_path / "run" / name).unlink()

    prep.train(regression, epochs=2, run_dir=tmp_path / "run", device="cpu", resume=True)

    assert metrics.read_text() == whole
    assert (tmp_path / "run/loss.png").stat().st_size > 1000


def test_the_working_folder_is_never_moved_aside(
    regression: prep.CertifiedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.txt").write_text("regression on regression 1.0.0, root blake3:00\n")
    with pytest.raises(UsageError, match="holds something else"):
        prep.train(regression, epochs=1, run_dir=Path("."), device="cpu")


def test_resume_without_a_run_says_so(regression: prep.CertifiedDataset, tmp_path: Path):
    with pytest.raises(UsageError, match="no checkpoint"):
        prep.train(regression, run_dir=tmp_path / "none", resume=True)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"half"])
def test_a_damaged_checkpoint_is_an_integrity_error(
    regression: prep.CertifiedDataset, finished: Path, tmp_path: Path, content: bytes
):
    whole = (finished / "last.ckpt").read_bytes()
    (tmp_path / "last.ckpt").write_bytes(whole[: len(whole) // 2] if content == b"half" else content)

    with pytest.raises(IntegrityError, match="not a whole checkpoint"):
        prep.train(regression, run_dir=tmp_path, resume=True)


@pytest.mark.parametrize("record", [{}, [], {"dataset": "regression"}])
def test_a_checkpoint_whose_record_lacks_parts_is_an_integrity_error(
    record: Any, regression: prep.CertifiedDataset, finished: Path, tmp_path: Path
):
    torch.save(torch.load(finished / "last.ckpt", weights_only=True) | {KEY: record}, tmp_path / "last.ckpt")
    with pytest.raises(IntegrityError, match="not a whole checkpoint"):
        prep.train(regression, run_dir=tmp_path, resume=True)


def test_a_pickled_object_in_a_checkpoint_is_never_run(regression: prep.CertifiedDataset, tmp_path: Path):
    torch.save({KEY: Trap()}, tmp_path / "last.ckpt")

    with pytest.raises(IntegrityError):
        prep.train(regression, run_dir=tmp_path, resume=True)
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


def test_a_loss_that_is_not_finite_ends_the_run(
    regression: prep.CertifiedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Regression, "perfect", lambda self, batch: None)
    monkeypatch.setattr(Regression, "loss", lambda self, outputs, batch: outputs["targets"].sum() * float("nan"))

    with pytest.raises(UnfinishedError, match="not finite") as caught:
        prep.train(regression, epochs=1, run_dir=tmp_path / "run")
    assert caught.value.exit_code == 4


def test_a_device_that_is_not_there_is_named(regression: prep.CertifiedDataset, tmp_path: Path):
    for device, exit_code in (("cuda:99", 2), ("abacus", 2)):
        with pytest.raises(UsageError, match="no such") as caught:
            prep.train(regression, run_dir=tmp_path / "run", device=device)
        assert caught.value.exit_code == exit_code


def test_a_system_that_does_not_fit_the_data_says_what_is_missing(regression: prep.CertifiedDataset, tmp_path: Path):
    with pytest.raises(UsageError, match="missing states"):
        prep.train(regression, system="control", run_dir=tmp_path / "run")
    with pytest.raises(UsageError, match="no 'contrl' among the systems"):
        prep.train(regression, system="contrl", run_dir=tmp_path / "run")


@pytest.mark.parametrize("stage", ["val", "test"])
def test_metrics_of_unverified_batches_are_refused_too(stage: str, regression: prep.CertifiedDataset):
    system = Regression(regression)
    module = TrainingModule(system, system.hyperparameters, seed=0)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    plain = DataLoader(TensorDataset(torch.zeros(64, 16)), batch_size=64)
    verified = regression.torch("train", batch_size=64)
    run = partial(trainer.fit, module, verified, plain) if stage == "val" else partial(trainer.test, module, plain)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(CertificateError, match="verified batches, not a DataLoader"):
            run()


def test_a_mistyped_device_leaves_the_older_run_where_it_is(regression: prep.CertifiedDataset, finished: Path):
    with pytest.raises(UsageError, match="no such device"):
        prep.train(regression, run_dir=finished, device="gpu")
    assert (finished / "last.ckpt").exists()


def test_a_folder_that_holds_no_run_is_left_alone(regression: prep.CertifiedDataset, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("precious")

    with pytest.raises(UsageError, match="holds something else"):
        prep.train(regression, run_dir=tmp_path, epochs=1)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_best_weights_of_another_run_are_refused(regression: prep.CertifiedDataset, finished: Path, tmp_path: Path):
    prep.train(regression, epochs=1, run_dir=tmp_path / "other", device="cpu")
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.copy(tmp_path / "other/best.ckpt", folder / "best.ckpt")

    with pytest.raises(IntegrityError, match="not of this run"):
        prep.train(regression, run_dir=folder, resume=True, device="cpu")


def test_a_name_means_the_dataset_of_that_name(certified_copy: Path):
    for source in certified_copy.glob("data/normalized/regression.h5*"):
        shutil.copy(source, source.with_name(source.name.replace("regression", "control")))

    with pytest.raises(PrepError, match="another dataset"):
        prep.train("control")


def test_data_certified_by_an_older_schema_do_not_train_under_their_name(certified_copy: Path):
    schema = Path("schemas/regression.yaml")
    schema.write_text(schema.read_text().replace("low: -10.0, high: 10.0", "low: -1.0, high: 1.0"))

    with pytest.raises(CertificateError, match="another schema than the project has now"):
        prep.train("regression")


def test_unit_normal_errors_score_a_mean_square_of_1_and_a_likelihood_of_1_4189(regression: prep.CertifiedDataset):
    system = Regression(regression)
    rng = np.random.default_rng(0)
    targets = torch.from_numpy(rng.standard_normal((200_000, 4)).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal((200_000, 4)).astype(np.float32))

    found = system.metrics(system.sums({"targets": targets + noise}, {"targets": targets}))

    assert found["mse"] == pytest.approx(1.0, abs=5e-3)
    assert found["nll"] == pytest.approx(1.4189, abs=3e-3)


def test_whether_anything_was_learned_is_judged_once_and_not_again_when_a_run_goes_on(
    regression: prep.CertifiedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    judged: list[str] = []
    monkeypatch.setattr(
        "prep.training.guards.baseline.score_of_nothing", lambda *_: judged.append("again") or float("inf")
    )

    prep.train(regression, epochs=25, run_dir=tmp_path / "run", device="cpu")
    assert len(judged) == 1
    prep.train(regression, epochs=27, run_dir=tmp_path / "run", device="cpu", resume=True)
    assert len(judged) == 1


@pytest.mark.parametrize("option", ["epochs", "patience"])
@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_a_number_of_epochs_is_a_whole_number(
    option: str, count: Any, regression: prep.CertifiedDataset, tmp_path: Path
):
    with pytest.raises(UsageError, match=f"{option} is a whole number"):
        prep.train(regression, run_dir=tmp_path / "run", device="cpu", **{option: count})
    assert not (tmp_path / "run").exists()


def test_a_disk_that_is_full_after_an_epoch_says_how_to_go_on(
    regression: prep.CertifiedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    really = checkpoint.write_atomically

    def full(path: Path, data: bytes) -> None:
        if (tmp_path / "last.ckpt").exists():
            raise StorageError("the disk is full", remedy="free some space, then run it again")
        really(path, data)

    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(StorageError, match="full") as caught:
        prep.train(regression, epochs=2, run_dir=tmp_path, device="cpu")
    assert caught.value.remedy.endswith("run it again with --resume")


def test_a_trainer_of_a_precision_without_metrics_is_refused(regression: prep.CertifiedDataset):
    system = Regression(regression)
    trainer = Trainer(accelerator="cpu", precision="bf16-true", logger=False, enable_checkpointing=False)
    with pytest.raises(UsageError, match="no such precision") as caught:
        trainer.test(TrainingModule(system, system.hyperparameters, 0), CertifiedDataModule(regression), verbose=False)
    assert caught.value.measured == "bf16-true"
