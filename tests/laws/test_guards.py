"""Laws of every guard: named as in its table, silent on a healthy run of every system that it applies to."""

from __future__ import annotations

from pathlib import Path

import pytest

import prep
from prep.errors import UsageError
from prep.training.guards import GUARDS, default_guards
from prep.training.guards.guard import Guard
from prep.training.systems import SYSTEMS as KNOWN
from tests.conftest import SYSTEMS, dataset_of

EPOCHS = {"control": 2, "covariance": 2, "peptide": 12, "regression": 12, "tones": 3}
# Guards that need what not every system has.
NOT_FOR = {
    "control": {"flow_balance"},
    "covariance": {"flow_balance", "loss_scale", "prediction_range"},
    "peptide": {"loss_scale", "prediction_range"},
    "regression": {"flow_balance"},
    "tones": {"flow_balance"},
}


def data_of(name: str, project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(project, name), lock_path=project / "prep.lock")


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_guard_is_silent_on_a_healthy_run(system: str, certified_project: Path, tmp_path: Path):
    data = data_of(system, certified_project)
    said: list[str] = []

    watching = default_guards(data, system=KNOWN.load(system)(data))
    result = prep.train(data, epochs=EPOCHS[system], run_dir=tmp_path / "run", device="cpu", say=said.append)

    assert {each.name for each in watching if isinstance(each, Guard)} == set(GUARDS) - NOT_FOR[system]
    assert result.epochs == EPOCHS[system]
    assert result.warnings == ()
    assert not [line for line in said if line.startswith("warning")]


@pytest.mark.parametrize("name", GUARDS.names())
def test_a_guard_is_named_as_in_the_table_and_can_be_left_out(name: str, certified_project: Path):
    data = data_of("regression", certified_project)

    assert GUARDS.load(name).name == name
    assert GUARDS.load(name).__doc__
    left = default_guards(data, system="regression", without=[name])
    assert name not in {each.name for each in left if isinstance(each, Guard)}


@pytest.mark.parametrize("name", GUARDS.names())
def test_the_page_of_the_guards_names_each_of_them(name: str):
    page = (Path(__file__).parents[2] / "docs/guards.md").read_text()
    assert f"`{name}`" in page


def test_a_guard_that_does_not_exist_cannot_be_left_out(certified_project: Path, tmp_path: Path):
    data = data_of("regression", certified_project)
    with pytest.raises(UsageError, match="no 'first_los' among the guards") as caught:
        prep.train(data, run_dir=tmp_path / "run", without=["first_los"])
    assert "first_loss" in caught.value.remedy
    assert not (tmp_path / "run").exists()
