"""Own data: a Minari dataset that gymnasium and minari wrote, from ingest to a certificate and a short training run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import prep
from tests.make_minari import make_pendulum
from tests.walks.test_line import run


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pendulum(tmp_path_factory.mktemp("minari"), episodes=200)


@pytest.mark.long
def test_a_minari_dataset_goes_through_to_training(pendulum: Path, project: Path):
    run("ingest", f"minari:{pendulum}", "-o", "data/raw/pendulum.h5")
    drafted = Path("schemas/pendulum.yaml").read_text()
    run("stats", "data/raw/pendulum.h5", "-o", "data/stats/pendulum.json")
    run(
        "normalize",
        "data/raw/pendulum.h5",
        "--stats",
        "data/stats/pendulum.json",
        "-o",
        "data/normalized/pendulum.h5",
    )
    run("validate", "data/normalized/pendulum.h5")
    run("certify", "data/normalized/pendulum.h5")

    assert "checks:" in drafted
    batches = prep.open("data/normalized/pendulum.h5").torch("train", batch_size=256, shuffle=True)
    assert sum(len(batch["actions"]) for batch in batches) == batches.rows

    run("train", "data/normalized/pendulum.h5", "--epochs", "2", "--device", "cpu")
    result = json.loads(Path("runs/pendulum/result.json").read_text())
    assert result["system"] == "tabular"
    assert result["certificate"] == prep.open("data/normalized/pendulum.h5").certificate_digest
    assert result["baseline"] / 3 < result["step0"] < result["baseline"] * 3


def test_no_episode_is_in_two_splits(pendulum: Path, project: Path):
    prep.ingest(f"minari:{pendulum}", output="data/raw/pendulum.zarr")
    from prep.engine import DatasetSource

    with DatasetSource.open("data/raw/pendulum.zarr") as source:
        episodes = [
            set(source.reader.rows("episode", start, stop).tolist()) for start, stop in source.spec.splits.values()
        ]

    assert sum(map(len, episodes)) == len(set().union(*episodes)) == 200
    assert all(episodes)
