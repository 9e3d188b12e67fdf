"""Faults: one clear error, the right exit code, nothing half-written under a final name, nothing lost."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prep
from prep.errors import IntegrityError, PrepError
from prep.verbs import certify, judged, validate
from tests.conftest import SYSTEMS, dataset_of, largest_file
from tests.walks.test_line import run


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_truncated_dataset_is_an_integrity_failure_and_no_verdict(name: str, certified_copy: Path):
    path = dataset_of(certified_copy, name)
    victim = largest_file(path)
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])

    run("validate", str(path), code=3)
    run("verify", str(path), "--deep", code=3)
    run("certify", str(path), code=3)


def limited(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("output", "size"),
    [(f"data/raw/regression.{ending}", size) for ending in ("h5", "zarr") for size in (0, 20_000)]
    + [("data/raw/regression.h5", 90_000)],
)
def test_a_full_disk_ends_with_code_4_and_leaves_the_old_data(output: str, size: int, project: Path):
    run("generate", "regression", "--seed", "1", "-o", output)
    before = everything(project / "data")

    done = subprocess.run(
        [sys.executable, "-m", "prep", "generate", "regression", "--seed", "2", "-o", output],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: limited(size),
    )

    assert done.returncode == 4, done.stderr
    assert "remedy" in done.stderr
    assert everything(project / "data") == before


def test_an_interrupt_ends_with_code_130_and_leaves_nothing_behind(project: Path):
    text = Path("config/config.yaml").read_text()
    Path("config/config.yaml").write_text(text.replace("scale: smoke", "scale: default"))
    with subprocess.Popen(
        [sys.executable, "-m", "prep", "generate", "covariance"], stderr=subprocess.PIPE, text=True
    ) as running:
        deadline = time.monotonic() + 60
        while not list(Path("data").rglob("*.tmp")) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)

    assert running.returncode == 130
    assert "interrupted" in errors
    assert [path for path in Path("data").rglob("*") if path.is_file()] == []


def test_nan_in_raw_data_is_counted_and_refused(project: Path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype("f4")
    x[17, 1] = np.nan
    np.savez("mine.npz", inputs=x, targets=x[:, :1] * 2)
    prep.ingest("mine.npz", output="data/raw/mine.h5")

    def line() -> None:
        stats = prep.stats("data/raw/mine.h5", output="data/stats/mine.json")
        prep.certify(prep.normalize("data/raw/mine.h5", stats=stats, output="data/normalized/mine.h5"))

    with pytest.raises(PrepError, match="inputs") as caught:
        line()
    assert caught.value.exit_code == 1
    assert not Path("data/normalized/mine.h5.cert.json").exists()


def test_data_of_the_wrong_dtype_fail_validation_by_name(certified_copy: Path):
    schema = Path("schemas/regression.yaml")
    schema.write_text(schema.read_text().replace("dtype: float32", "dtype: float64", 1))

    done = run("validate", "data/normalized/regression.h5", code=1)
    assert "float32" in done.stdout
    assert "float64" in done.stdout


def test_an_output_folder_that_cannot_be_written_is_a_storage_error(project: Path):
    Path("data").mkdir(exist_ok=True)
    Path("data/raw").write_text("in the way")

    done = run("generate", "regression", code=4)
    assert "remedy" in done.stderr
    assert Path("data/raw").read_text() == "in the way"


def test_a_leftover_of_a_killed_process_is_removed_by_the_next_run(project: Path):
    with subprocess.Popen([sys.executable, "-m", "prep", "generate", "covariance"]) as running:
        deadline = time.monotonic() + 60
        while not list(Path("data").rglob("*.tmp")) and time.monotonic() < deadline and running.poll() is None:
            time.sleep(0.002)
        os.kill(running.pid, signal.SIGKILL)

    prep.generate("covariance")

    assert [path for path in Path("data").rglob("*") if path.name.endswith(".tmp")] == []


def test_what_was_replaced_while_it_was_measured_is_not_certified(
    certified_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certified_copy / "data/normalized/regression.h5"
    path.with_name(path.name + ".cert.json").unlink()
    real = certify.examine

    def slow(*arguments: Any, **options: Any) -> Any:
        report = real(*arguments, **options)
        statistics = prep.stats(prep.generate("regression", seed=7), output="data/stats/other.json", force=True)
        prep.normalize("data/raw/regression.h5", stats=statistics, output=path)
        return report

    monkeypatch.setattr(certify, "examine", slow)
    with pytest.raises(IntegrityError, match="replaced while it was certified"):
        prep.certify(path)
    assert not path.with_name(path.name + ".cert.json").exists()


def test_a_dataset_that_is_replaced_while_it_is_examined_gets_no_verdict(
    certified_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certified_copy / "data/normalized/regression.h5"
    statistics = prep.stats(prep.generate("regression", seed=7), output="data/stats/other.json", force=True)
    prep.normalize("data/raw/regression.h5", stats=statistics, output="other.h5")
    real = judged.run

    def slow(*arguments: Any, **options: Any) -> Any:
        for end in ("", ".manifest"):
            os.replace(f"other.h5{end}", f"{path}{end}")
        return real(*arguments, **options)

    monkeypatch.setattr(judged, "run", slow)
    (found,) = validate.validate(path)

    assert found.report is None
    assert found.exit_code() == 4
    assert "replaced" in str(found.error)


@pytest.mark.parametrize("size", [60 << 20, 150 << 20, 200 << 20])
def test_with_too_little_memory_to_begin_a_command_ends_with_code_4_and_one_message(size: int, project: Path):
    done = subprocess.run(
        [sys.executable, "-m", "prep", "generate", "regression"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (size, size)),
        timeout=60,
    )

    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith("memory: there was not enough memory")
    assert not Path("data").exists()


def test_a_reader_that_goes_away_ends_it_without_a_word(project: Path):
    with subprocess.Popen(
        [sys.executable, "-m", "prep", "generate", "regression"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        errors = running.stderr.read()
        running.wait(60)

    assert running.returncode == 141
    assert errors == ""
    assert Path("data/raw/regression.h5.manifest").exists()
