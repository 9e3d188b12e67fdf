"""Comparing shows what a failure of the data does to a loss, and keeps nothing that was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import prep
from prep.errors import CertificateError, UsageError
from prep.mutations import MUTATIONS
from prep.verbs.compare import HISTORIC
from tests.conftest import SYSTEMS, dataset_of


def test_every_system_has_the_data_its_project_had():
    assert set(HISTORIC) == set(SYSTEMS)
    assert {f"{system}/{failure}" for system, failure in HISTORIC.items()} <= set(MUTATIONS)


def test_the_same_weights_learn_on_certified_data_and_not_on_raw_ones(certified_copy: Path):
    data = dataset_of(certified_copy, "regression")

    found = prep.compare("regression", steps=60, data=data, output=certified_copy / "compared")

    wrong, right = found.traces
    assert wrong["step0"] > 1e13
    assert wrong["final"] > 0.5 * wrong["zero"]
    assert right["step0"] == pytest.approx(right["zero"], rel=0.2)
    assert right["final"] < 0.7 * right["zero"]
    assert wrong["clip_factor"] > 1e6
    assert right["clip_factor"] < 5
    assert json.loads((certified_copy / "compared/compare.json").read_text()) == found.to_dict()
    assert (certified_copy / "compared/compare.png").stat().st_size > 10_000
    assert {each.name for each in (certified_copy / "compared").iterdir()} == {"compare.json", "compare.png"}
    assert (
        prep.compare("regression", steps=60, data=data, output=certified_copy / "again").traces[1]["losses"]
        == right["losses"]
    )


@pytest.mark.long
def test_a_target_72_times_too_large_is_never_met(certified_copy: Path):
    found = prep.compare("covariance", steps=30, data=dataset_of(certified_copy, "covariance"))

    wrong, right = found.traces
    assert wrong["final"] > 0.95
    assert right["final"] < 0.5


def test_only_certified_data_of_a_known_system_are_compared(certified_copy: Path):
    with pytest.raises(CertificateError, match="is not certified"):
        prep.compare("regression", data="data/raw/regression.h5")
    with pytest.raises(UsageError, match="nobody knows"):
        prep.compare("mine", data="data/raw/regression.h5")
    with pytest.raises(UsageError, match="not the dataset of that system"):
        prep.compare("tones", data=dataset_of(certified_copy, "regression"))
    (certified_copy / "taken").write_text("")
    with pytest.raises(UsageError, match="written to a folder"):
        prep.compare("regression", data=dataset_of(certified_copy, "regression"), output=certified_copy / "taken")


def test_a_failure_is_seen_with_the_transforms_that_came_with_it(certified_copy: Path):
    data = dataset_of(certified_copy, "peptide")

    found = prep.compare("peptide", failure="unaligned", steps=3, data=data)

    # The flow works on bonds, angles and torsions: where a molecule lies is all the same to it.
    wrong, right = found.traces
    assert wrong["step0"] == pytest.approx(right["step0"], abs=1e-3)
    assert wrong["final"] == pytest.approx(right["final"], rel=1e-2, abs=1e-2)
