"""The certificate says what trivial predictors score, in the metric that training is judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import prep
from prep.checks import Finding
from prep.folds import Scope
from prep.folds.relative import RelativeScores
from prep.report import CheckResult
from prep.schema import load_schema
from prep.verbs.baselines import baselines
from tests.conftest import dataset_of
from tests.measuring import field, measure


@pytest.fixture
def certified(certified_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(certified_project)
    return certified_project


def test_a_loss_that_is_an_nmse_has_all_its_baselines_in_nmse(certified: Path):
    data = prep.open(dataset_of(certified, "covariance"))
    true = data.rows("covariance", *data.spec.splits["train"]).astype(np.complex128)
    energy = np.sum(np.abs(true) ** 2, axis=(1, 2))

    def score(predicted: np.ndarray) -> float:
        return float(np.mean(np.sum(np.abs(predicted - true) ** 2, axis=(1, 2)) / energy))

    assert data.baselines["zero"] == 1.0
    assert data.baselines["mean"] == pytest.approx(score(true.mean(axis=0)), rel=1e-9)
    assert data.baselines["identity"] == pytest.approx(score(np.eye(144)), rel=1e-9)
    assert 0.9 < data.baselines["identity"] < 1.0


def test_the_mean_square_of_a_complex_target_is_that_of_its_magnitudes(certified: Path):
    data = prep.open(dataset_of(certified, "covariance"))
    true = data.rows("covariance", *data.spec.splits["train"]).astype(np.complex128)

    found = data.baselines["targets"]

    assert found["covariance"]["zero"] == pytest.approx(np.mean(np.abs(true) ** 2), rel=1e-9)
    assert found["covariance"]["mean"] == pytest.approx(np.mean(np.abs(true - true.mean()) ** 2), rel=1e-9)
    count = data.rows("num_sources", *data.spec.splits["train"]).astype(np.float64)
    assert found["num_sources"]["zero"] == pytest.approx(np.mean(count**2), rel=1e-9)


def test_a_loss_that_is_a_mean_square_has_the_mean_square_of_its_target(certified: Path):
    data = prep.open(dataset_of(certified, "regression"))

    assert data.baselines["zero"] == data.baselines["targets"]["targets"]["zero"] == pytest.approx(1.0, abs=1e-4)
    assert "identity" not in data.baselines


@pytest.mark.parametrize("name", ["covariance", "regression"])
def test_a_stated_floor_stands_in_the_certificate_with_its_reason(name: str, certified: Path):
    stated = load_schema(Path(f"schemas/{name}.yaml"), verify=False).learnability

    assert prep.open(dataset_of(certified, name)).baselines.get("floors", {}) == stated
    assert bool(stated) == (name == "covariance")


def test_what_a_probe_measured_as_the_identity_is_the_baseline(certified: Path):
    schema = load_schema(Path("schemas/peptide.yaml"), verify=False)
    findings = [Finding(True, 1, 1, None, "", "", "", measured=measured) for measured in ({}, {"identity": -345.5})]

    found = baselines(schema, (), (), {}, [CheckResult("probe", "energy", each) for each in findings])

    assert found["identity"] == -345.5
    assert found["probes"] == [{"check": "probe", "field": "energy", "identity": -345.5}]


def test_samples_that_have_no_score_are_left_out_of_the_baselines():
    random = np.random.default_rng(0)
    good = random.standard_normal((6, 3, 3))
    odd = np.stack([np.zeros((3, 3)), np.full((3, 3), np.nan), np.full((3, 3), np.inf), np.full((3, 3), 1e200)])
    fold = RelativeScores(field("r", "f8", ("a", 3), ("b", 3)), Scope("train", 0, 10))

    found = measure(fold, {"r": np.concatenate([odd, good])}, [3, 8])

    errors = np.sum((good.mean(axis=0) - good) ** 2, axis=(1, 2)) / np.sum(good**2, axis=(1, 2))
    assert (found.rows, found.zero) == (6, 1.0)
    assert found.mean == pytest.approx(errors.mean(), rel=1e-12)


def test_only_square_matrices_are_compared_with_the_unit_matrix():
    fold = RelativeScores(field("r", "f8", ("a", 2), ("b", 3)), Scope("train", 0, 4))

    found = measure(fold, {"r": np.ones((4, 2, 3))})

    assert np.isnan(found.identity)
    assert found.mean == pytest.approx(0.0, abs=1e-12)
