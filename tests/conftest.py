"""Projects for tests: a folder with our schemas and a smoke-scale configuration, and one that is built and certified
once.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
SYSTEMS = ("control", "covariance", "peptide", "regression", "tones")
FORMATS = {"control": ".h5", "covariance": ".zarr", "peptide": ".h5", "regression": ".h5", "tones": ".h5"}

settings.register_profile(
    "prep",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.load_profile("prep")


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Started in the background of a shell; what is tested for Ctrl-C would inherit that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole walks first: a worker that is left with the longest of them at the end lets all others wait."""
    walks = ROOT / "tests/walks"
    items.sort(key=lambda item: walks not in item.path.parents)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was measured stays out of the cache folder of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=["compiled", "numpy"])
def both_kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Once with the compiled loops whatever the size of a block, once without them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prep.kernels.compiled.LEAST_BYTES", 0 if request.param == "compiled" else 1 << 62)
        yield request.param


@contextmanager
def working_in(folder: Path) -> Iterator[Path]:
    """Work in ``folder`` for a while, as a user would."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


def make_project(folder: Path) -> Path:
    """A project folder: schemas, Snakefile, profile, and a configuration at smoke scale."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "schemas", folder / "schemas")
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    shutil.copy(ROOT / "Snakefile", folder / "Snakefile")
    (folder / "config").mkdir()
    text = (ROOT / "config/config.yaml").read_text()
    (folder / "config/config.yaml").write_text(text.replace("scale: default ", "scale: smoke "))
    return folder


def build(name: str, ending: str = "") -> Path:
    """The whole line for one system in the working folder; the path of the certified dataset."""
    import prep

    ending = ending or FORMATS[name]
    raw = prep.generate(name, output=f"data/raw/{name}{ending}")
    statistics = prep.stats(raw, output=f"data/stats/{name}.json")
    path = prep.normalize(raw, stats=statistics, output=f"data/normalized/{name}{ending}")
    prep.certify(path)
    return Path(path).resolve()


@pytest.fixture(scope="session")
def certified_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose datasets are certified. Read it; copy it (`certified_copy`) to change it."""
    folder = make_project(tmp_path_factory.mktemp("certified") / "project")
    with working_in(folder):
        for name in SYSTEMS:
            build(name)
    return folder


@pytest.fixture(scope="session")
def trained(certified_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of one epoch on a system's certified data, made when it is first asked for; read only."""
    import prep

    folder = tmp_path_factory.mktemp("trained")

    def run_of(name: str) -> Path:
        if not (folder / name).exists():
            data = prep.open(dataset_of(certified_project, name), lock_path=certified_project / "prep.lock")
            prep.train(data, epochs=1, run_dir=folder / name, device="cpu")
        return folder / name

    return run_of


@pytest.fixture
def certified_copy(certified_project: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the certified project to change at will; it is the working folder."""
    folder = tmp_path / "project"
    shutil.copytree(certified_project, folder)
    with working_in(folder):
        yield folder


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A fresh project, nothing built; it is the working folder."""
    with working_in(make_project(tmp_path / "project")) as folder:
        yield folder


def dataset_of(folder: Path, name: str) -> Path:
    """Where a system's certified dataset lies in a project."""
    return folder / "data/normalized" / f"{name}{FORMATS[name]}"


def arrays_in(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz by name; the file is closed again."""
    with np.load(path) as found:
        return dict(found)


def largest_file(dataset: Path, field: str = "") -> Path:
    """The dataset's file, or the largest chunk file (of a field) in its folder."""
    if dataset.is_file():
        return dataset
    files = [each for each in (dataset / field).rglob("*") if each.is_file() and each.name != "zarr.json"]
    return max(files, key=lambda each: each.stat().st_size)
