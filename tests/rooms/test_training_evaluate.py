"""A run is judged on frozen weights, in both units, and only on the data that it was trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import prep
from prep import cli
from prep.errors import CertificateError, UsageError
from prep.training.evaluation.verdict import judge
from prep.training.remembered import Trained
from prep.training.systems.control import Control
from prep.training.systems.system import System
from tests.conftest import SYSTEMS, arrays_in, dataset_of

Runs = Callable[[str], Path]
PICTURES = {
    "control": {"controls_over_time.png", "controls_scatter.png", "controls_errors.png"},
    "covariance": {"covariance_pairs.png", "num_sources_classes.png"},
    "peptide": {"energy_at_300_K.png", "energy_at_450_K.png"},
    "regression": {"targets_over_time.png", "targets_scatter.png", "targets_errors.png"},
    "tones": {"target_over_time.png", "target_scatter.png"},
}


def opened(project: Path, name: str) -> prep.CertifiedDataset:
    return prep.open(dataset_of(project, name), lock_path=project / "prep.lock")


def copied(run: Path, place: Path) -> Path:
    return Path(shutil.copytree(run, place / run.name))


_SLOW = ("control", "covariance")


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[pytest.mark.long] if each in _SLOW else []) for each in SYSTEMS]
)
def test_an_evaluation_repeats_the_result_of_its_run_and_shows_it(
    name: str, certified_project: Path, trained: Runs, tmp_path: Path
):
    run = copied(trained(name), tmp_path)
    result = json.loads((run / "result.json").read_text())
    found = prep.evaluate(run, data=opened(certified_project, name))

    body = json.loads((run / "evaluation/evaluation.json").read_text())
    page = (run / "evaluation/evaluation.md").read_text()
    for split in ("train", "test"):
        metrics = body["metrics" if split == "test" else "train"]
        assert metrics[body["metric"]] == pytest.approx(result[split][body["metric"]], rel=1e-5, abs=1e-6)
    assert set(body["pictures"]) == PICTURES[name]
    for picture in PICTURES[name]:
        assert (run / "evaluation" / picture).read_bytes().startswith(b"\x89PNG")
        assert f"({picture})" in page
    assert found.verdict in page.splitlines()[0]
    assert (body["baseline"], body["references"].keys()) == (result["baseline"], result["references"].keys())


def test_errors_in_original_units_are_those_of_inverted_predictions(
    certified_project: Path, trained: Runs, tmp_path: Path
):
    run, data = copied(trained("regression"), tmp_path), opened(certified_project, "regression")
    body = prep.evaluate(run, data=data).body
    field = body["fields"]["targets"]
    predicted = prep.predict(
        run / "best.ckpt", certified_project / "data/raw/regression.h5", split="test", output=tmp_path / "a.npz"
    )
    answers = arrays_in(predicted.path)["targets"]
    true = data.transforms["targets"].invert(data.rows("targets", *data.bounds("test")))
    zero = data.transforms["targets"].invert(np.zeros_like(true))

    for index, feature in enumerate(field["features"]):
        assert feature["rmse_original"] == pytest.approx(np.sqrt(np.mean((answers - true)[:, index] ** 2)), rel=1e-5)
        assert feature["zero_rmse_original"] == pytest.approx(np.sqrt(np.mean((zero - true)[:, index] ** 2)), rel=1e-6)
        r2 = 1 - np.sum((answers - true)[:, index] ** 2) / np.sum((true - true.mean(0))[:, index] ** 2)
        assert feature["r2_original"] == pytest.approx(r2, rel=1e-4, abs=1e-6)
    assert field["normalised"]["mse"] == pytest.approx(body["metrics"]["mse"], rel=1e-9)


@pytest.mark.long
def test_groups_add_up_to_the_whole(certified_project: Path, trained: Runs, tmp_path: Path):
    run, data = copied(trained("control"), tmp_path), opened(certified_project, "control")
    body = prep.evaluate(run, data=data).body
    masks, ids = (data.rows(name, *data.bounds("test")) for name in ("control_mask", "system"))
    counts = {str(group): masks[ids == group].sum() for group in np.unique(ids).tolist()}

    assert body["grouped_by"] == "system"
    assert set(body["groups"]) == set(counts)
    weighed = sum(body["groups"][group]["metrics"]["masked_mse"] * count for group, count in counts.items())
    assert weighed / sum(counts.values()) == pytest.approx(body["metrics"]["masked_mse"], rel=1e-9)


def test_weights_are_the_same_after_they_were_evaluated(certified_project: Path, trained: Runs, tmp_path: Path):
    run = copied(trained("regression"), tmp_path)
    before = (run / "best.ckpt").read_bytes()
    one = prep.evaluate(run, data=opened(certified_project, "regression")).body
    again = prep.evaluate(run, data=opened(certified_project, "regression")).body
    assert one == again
    assert (run / "best.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("train", "test", "verdict"),
    [
        (0.05, 0.06, "done"),
        (0.01, 0.09, "overfitted"),
        (0.01, 0.5, "overfitted"),
        (0.3, 0.31, "not there yet"),
        (0.04, 0.06, "done"),
    ],
)
def test_the_verdict_follows_the_criteria_of_the_system(
    train: float, test: float, verdict: str, certified_project: Path
):
    system: System = Control(opened(certified_project, "control"))
    assert judge(system, {"masked_mse": train}, {"masked_mse": test}).kind == verdict


def test_a_score_that_is_not_finite_is_never_done(certified_project: Path):
    system: System = Control(opened(certified_project, "control"))
    for train in (float("nan"), 0.01):
        assert judge(system, {"masked_mse": train}, {"masked_mse": float("nan")}).kind == "not there yet"


def test_the_data_are_found_by_their_name_in_the_configuration(
    certified_copy: Path, trained: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = copied(trained("regression"), tmp_path)
    assert cli.run(["evaluate", str(run), "--split", "val", "--json", "-", "--page", "docs/page.md"]) == 0
    body = json.loads(capsys.readouterr().out)

    assert (body["split"], body["rows"]) == ("val", 150)
    text = Path("docs/page.md").read_text()
    linked = text.partition("![")[2].partition("](")[2].partition(")")[0]
    assert (Path("docs") / linked).is_file()


def test_other_data_of_the_same_name_are_refused_with_what_differs(certified_copy: Path, trained: Runs, tmp_path: Path):
    run = copied(trained("regression"), tmp_path)
    kept = Trained(run / "best.ckpt").data.root
    raw = prep.generate("regression", seed=5)
    stats = prep.stats(raw, output="data/stats/regression.json")
    prep.certify(prep.normalize(raw, stats=stats, output="data/normalized/regression.h5"))

    with pytest.raises(CertificateError, match="other data") as caught:
        prep.evaluate(run)
    assert "inputs mean" in str(caught.value.measured)
    assert kept in str(caught.value.allowed)
    assert not (run / "evaluation").exists()
    with pytest.raises(CertificateError, match="other data") as caught:
        prep.train("regression", run_dir=run, resume=True)
    assert "in the checkpoint" in str(caught.value.measured)


def test_a_folder_without_a_run_and_a_split_that_is_not_there_are_named(
    certified_project: Path, trained: Runs, tmp_path: Path
):
    with pytest.raises(UsageError, match="no run to evaluate"):
        prep.evaluate(tmp_path)
    with pytest.raises(UsageError, match="no split"):
        prep.evaluate(
            copied(trained("regression"), tmp_path), data=opened(certified_project, "regression"), split="trian"
        )
