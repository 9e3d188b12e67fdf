"""Training as a user runs it: certified data train, a tampered copy is refused, Ctrl-C loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import SYSTEMS, dataset_of, largest_file
from tests.walks.test_line import run

SLOW = ("covariance", "tones")


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.long if each in SLOW else ()) for each in SYSTEMS]
)
def test_each_system_trains_and_a_tampered_copy_is_refused(name: str, certified_copy: Path):
    trained = run("train", name, "--epochs", "1", "--device", "cpu")
    result = json.loads((certified_copy / f"runs/{name}/result.json").read_text())

    assert "epoch 1/1" in trained.stdout
    baseline = result["baseline"]
    if name == "peptide":  # a loss above the identity, which the first map is
        assert baseline == 0
        assert abs(result["step0"]) < 1e-3
    else:
        assert baseline / 3 < result["step0"] < baseline * 3
    assert result["seconds"] > 0

    victim = largest_file(dataset_of(certified_copy, name))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    refused = run("train", name, "--epochs", "1", code=3)

    # Of a small file the byte in the middle may belong to the metadata.
    assert "stored bytes changed" in refused.stderr or "metadata is not what was certified" in refused.stderr
    assert "remedy" in refused.stderr
    assert "epoch" not in refused.stdout


def test_json_is_all_that_stdout_holds(certified_copy: Path):
    result = json.loads(run("train", "regression", "--epochs", "1", "--json", "-").stdout)

    assert set(result) >= {"system", "baseline", "step0", "test", "target", "reached", "seconds", "certificate"}


def test_control_c_keeps_the_epochs_that_are_done(certified_copy: Path):
    command = [sys.executable, "-m", "prep", "train", "regression", "--epochs", "2000", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 120
        while not Path("runs/regression/metrics.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)

    assert running.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    done = len(Path("runs/regression/metrics.csv").read_text().splitlines()) - 1
    more = done + 2  # the checkpoint may be one epoch ahead of the table
    resumed = run("train", "regression", "--epochs", str(more), "--resume")
    assert f"epoch {more}/{more}" in resumed.stdout
