"""`snakemake all`: builds everything once, then only what changed; a killed stage is simply run again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from prep import generate
from prep.verbs.verify import verify
from tests.conftest import SYSTEMS, dataset_of

RULES = ("origin", "generate", "stats", "normalize", "validate", "certify", "report")


def snakemake(*arguments: str, code: int = 0) -> str:
    place = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [str(place / "snakemake"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=600,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned() -> set[str]:
    """Names of the rules that a run would execute."""
    text = snakemake("all", "--dry-run", "--quiet", "reason")
    table = text.split("Job stats:")[1].split("\n\n")[0] if "Job stats:" in text else ""
    return {line.split()[0] for line in table.splitlines() if line and line.split()[-1].isdigit()} - {"all", "total"}


@pytest.fixture
def built(project: Path) -> Path:
    snakemake("all")
    return project


def test_all_builds_and_certifies_everything_once_and_then_only_what_changed(built: Path):
    table = (built / "data/reports/certified.txt").read_text()
    assert all(name in table for name in SYSTEMS)
    assert all("Passed" in (built / f"data/reports/{name}.html").read_text() for name in SYSTEMS)
    assert planned() == set()

    config = built / "config/config.yaml"
    text = config.read_text()
    config.write_text(text.replace("recipe: regression\n", "recipe: regression\n    parameters: {noise: 0.06}\n"))
    assert planned() == {f"{rule}_regression" for rule in RULES} | {"certified"}
    config.write_text(text)
    assert planned() == set()

    schema = built / "schemas/control.yaml"
    schema.write_text(schema.read_text() + "# reviewed\n")
    assert planned() == {"validate_control", "certify_control", "report_control", "certified"}
    snakemake("all")
    assert planned() == set()


def only_regression(project: Path, **changes: str) -> None:
    """Leave one dataset in the configuration, and replace texts."""
    place = project / "config/config.yaml"
    text = place.read_text()
    entries = re.split(r"(?m)^(?=  \w+:$)", text)
    text = entries[0] + "".join(entry for entry in entries if entry.startswith("  regression:"))
    for old, new in changes.items():
        assert f"{old}: " in text
        text = re.sub(rf"(?m)^(\s*){old}: .*$", rf"\g<1>{old}: {new}", text)
    place.write_text(text)


@pytest.mark.long
def test_paths_with_spaces_and_quotes_are_built_a_lost_lock_is_written_again_and_bad_parameters_lose_nothing(
    project: Path,
):
    only_regression(project, data="my father's data", format="zarr")
    snakemake("all")
    data = project / "my father's data"
    made = data / "normalized/regression.zarr"
    assert "regression" in (data / "reports/certified.txt").read_text()
    assert planned() == set()

    for _ in range(2):
        (project / "prep.lock").unlink()
        assert planned() == {"relock"}
        snakemake("all")
        assert verify(made, lock_path=project / "prep.lock").dataset.spec.name == "regression"
        assert planned() == set()

    config = project / "config/config.yaml"
    text = config.read_text()
    config.write_text(text.replace("recipe: regression\n", "recipe: regression\n    parameters: {noise: -1}\n"))
    assert "noise" in snakemake("all", code=1)
    assert (data / "raw/regression.zarr/zarr.json").exists()
    config.write_text(text)
    assert planned() == set()

    config.write_text(text.replace("version: 1.0.0", "version: 1.1.0"))
    snakemake("all")
    assert verify(made, lock_path=project / "prep.lock").dataset.spec.version == "1.1.0"


@pytest.mark.long
def test_a_failing_report_is_kept_apart_until_the_data_pass_again(project: Path):
    only_regression(project)
    snakemake("all")
    report = project / "data/reports/regression.json"
    schema = project / "schemas/regression.yaml"
    text = schema.read_text()
    schema.write_text(text.replace("std_limit: 0.05", "std_limit: 1.0e-12"))
    assert text != schema.read_text()

    assert "standardised" in snakemake("all", code=1)

    failed = project / "data/reports/regression.failed.json"
    assert json.loads(failed.read_text())["exit_code"] == 1
    assert not report.exists()
    schema.write_text(text)
    snakemake("all")
    assert json.loads(report.read_text())["exit_code"] == 0
    assert not failed.exists()

    report.unlink()
    assert "validate_regression" in planned()


@pytest.mark.long
def test_training_everything_ends_in_one_table(project: Path):
    only_regression(project)
    by_hand = project / "runs/regression"
    by_hand.mkdir(parents=True)
    (by_hand / "log.txt").write_text("regression on regression 1.0.0, root blake3:0\n")
    (by_hand / "result.json").write_text("a run of one epoch, made by hand")

    snakemake("train")

    table = (project / "runs/trained/table.txt").read_text()
    assert re.search(r"regression +mse +\d.* < 0.05 +(yes|no) +100 ", table)
    assert (project / "runs/regression.1/result.json").read_text() == "a run of one epoch, made by hand"
    assert "zero 0." in table or "zero 1." in table


def test_own_data_are_built_by_the_workflow_too(project: Path):
    only_regression(project)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 3)).astype(np.float32)
    np.savez(project / "mine.npz", inputs=inputs, targets=3 * inputs[:, :2] + 5, session=np.arange(400) // 10)
    config = project / "config/config.yaml"
    own = "{source: mine.npz, roles: {inputs: input, targets: target}, group: session, fractions: [0.6, 0.2, 0.2]}"
    config.write_text(f"{config.read_text()}  mine:\n    ingest: {own}\n    format: zarr\n")

    assert "prep generate mine" in snakemake("all", code=1)
    generate("mine")
    snakemake("all")

    verified = verify(project / "data/normalized/mine.zarr", lock_path=project / "prep.lock")
    assert {name: verified.dataset.row_count(name) for name in ("train", "val", "test")} == {
        "train": 240,
        "val": 80,
        "test": 80,
    }
    assert planned() == set()
    config.write_text(config.read_text().replace("[0.6, 0.2, 0.2]", "[0.8, 0.1, 0.1]"))
    assert planned() == {f"{rule}_mine" for rule in RULES} | {"certified"}


def test_nothing_of_the_users_is_removed_before_a_stage_refuses_it(project: Path):
    only_regression(project)
    theirs = {project / "data" / each: each for each in ("raw/regression.h5", "normalized/regression.h5")}
    for place, text in theirs.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        assert "prep replaces nothing that it did not write" in snakemake("all", code=1)
        assert place.read_text() == text
        place.unlink()

    inputs = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(project / "mine.npz", inputs=inputs, targets=inputs[:, 0] + 1)
    config = project / "config/config.yaml"
    own = "    ingest: {source: mine.npz, roles: {inputs: input, targets: target}}\n"
    config.write_text(config.read_text() + "  mine:\n" + own)
    generate("mine")
    raw = (project / "data/raw/mine.h5").read_bytes()
    for old, new in (
        ("targets: target", "targets: banana"),
        ("mine.npz", "gone.npz"),
        ("{source", "{as: banana, source"),
    ):
        config.write_text(config.read_text().replace(own, own.replace(old, new)))
        snakemake("all", code=1)
        assert (project / "data/raw/mine.h5").read_bytes() == raw
        config.write_text(config.read_text().replace(own.replace(old, new), own))


@pytest.mark.long
def test_data_made_by_hand_otherwise_than_configured_are_made_again(project: Path):
    only_regression(project)
    snakemake("all")
    root = verify(project / "data/normalized/regression.h5").dataset.root
    generate("regression", seed=5)

    snakemake("all")

    assert verify(project / "data/normalized/regression.h5").dataset.root == root
    assert planned() == set()


@pytest.mark.long
def test_a_stage_killed_in_the_middle_is_simply_run_again(project: Path):
    place = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
    for delay in (3.0, 5.0):
        with subprocess.Popen(
            [str(place / "snakemake"), "all"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        ) as running:
            time.sleep(delay)
            os.killpg(running.pid, signal.SIGKILL)

    snakemake("all")

    for name in SYSTEMS:
        assert dataset_of(project, name).exists()
    left = [path for path in (project / "data").rglob(".*") if path.name.endswith(".tmp")]
    assert left == []
