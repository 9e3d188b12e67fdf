"""A real dask scheduler with two workers gives the same bytes as threads do, and where it fails, one clear error."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, Future
from distributed.comm import CommClosedError
from threadpoolctl import threadpool_info

import prep
from prep.canonical import canonical_json
from prep.certificate import manifest
from prep.cli import run
from prep.engine import DatasetSource, demand_scheduler, ordered
from prep.engine.cluster import Shipped
from prep.errors import DataError, UnfinishedError, UsageError, Where
from tests.conftest import ROOT, make_project, working_in


@contextmanager
def process(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`dask ARGUMENTS` in a folder of its own; stopped at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    # The workers find this file's jobs below ROOT; what they say is kept beside them.
    known = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **environment}
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments], cwd=folder, env=known, stdout=log, stderr=log
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def scheduler(folder: Path, **environment: str) -> Iterator[Path]:
    """A scheduler on a free port of this machine; its scheduler file."""
    place = folder / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(place))
    with process(folder / "scheduler", "scheduler", *options, **environment) as started:
        end = time.monotonic() + 30
        while not place.exists() or not place.read_text().endswith("}"):
            assert time.monotonic() < end, "the scheduler did not start"
            assert started.poll() is None, (folder / "scheduler/log").read_text()
            time.sleep(0.05)
        yield place


@contextmanager
def worker(place: Path, name: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of one thread, in the same process that is started, so that a signal reaches it."""
    options = ("--host", "127.0.0.1", "--nthreads", "1", "--memory-limit", "2GiB", "--no-nanny", "--no-dashboard")
    folder = place.parent / name
    paths = ("--scheduler-file", str(place), "--local-directory", str(folder))
    with process(folder, "worker", *paths, *options, "--name", name, **environment) as started:
        yield started


def host_of(_: int) -> str:
    time.sleep(0.05)
    return os.path.basename(os.getcwd())


def wait_for(place: Path, names: set[str]) -> None:
    """Until every worker of ``names`` has done something."""
    end, seen = time.monotonic() + 30, set()
    while not names <= seen:
        assert time.monotonic() < end, f"no work was done by {names - seen}"
        seen |= set(ordered(host_of, range(8), str(place), patience=30))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers; its scheduler file."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        place = stack.enter_context(scheduler(folder))
        for name in ("one", "two"):
            stack.enter_context(worker(place, name))
        wait_for(place, {"one", "two"})
        yield str(place)


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scheduler without workers that gives up on a job with the first worker it ends."""
    with scheduler(tmp_path_factory.mktemp("lonely"), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as place:
        yield place


def made(name: str, ending: str, workers: int | str) -> dict[str, bytes]:
    """Everything that the stages leave of one dataset, by name."""
    raw = prep.generate(name, output=f"raw/{name}{ending}", workers=workers)
    statistics = prep.stats(raw, output=f"stats/{name}.json", workers=workers)
    path = prep.normalize(raw, stats=statistics, output=f"normalized/{name}{ending}", workers=workers)
    (found,) = prep.validate(path, workers=workers)
    assert found.report is not None, found.error
    with DatasetSource.open(raw) as source:
        assert len(source.segments(source.spec.names)) >= 8
    return {
        "raw manifest": manifest.path_of(raw).read_bytes(),
        "statistics": statistics.read_bytes(),
        "manifest": manifest.path_of(path).read_bytes(),
        "report": canonical_json(found.report.to_dict()),
    }


@pytest.mark.parametrize(("name", "ending", "unit"), [("control", ".zarr", 1 << 18), ("regression", ".h5", 1 << 12)])
def test_threads_and_processes_leave_the_same_bytes(
    name: str, ending: str, unit: int, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Units so small that a smoke dataset has many.
    monkeypatch.setattr("prep.blocks.SEGMENT_BYTES", unit)
    monkeypatch.setattr("prep.blocks.CHUNK_BYTES", unit >> 2)
    found = []
    for workers in (1, 2, cluster):
        # Folders of equal names: a dataset remembers what it was made of.
        with working_in(make_project(tmp_path / f"{len(found)}" / "project")):
            found.append(made(name, ending, workers))

    assert found[0] == found[1]
    assert found[0] == found[2]


def test_every_verb_that_walks_the_data_takes_a_scheduler(
    cluster: str, project: Path, capfd: pytest.CaptureFixture[str]
):
    raw, stats, out = "data/raw/regression.h5", "data/stats/regression.json", "data/normalized/regression.h5"
    np.savez("own.npz", inputs=np.zeros((64, 3), np.float32), targets=np.ones((64, 2), np.float32))

    for arguments in (
        ("generate", "regression"),
        ("stats", raw, "-o", stats),
        ("normalize", raw, "--stats", stats, "-o", out),
        ("validate", out),
        ("certify", out),
        ("verify", out, "--deep"),
        ("ingest", "own.npz", "--role", "inputs=input", "--role", "targets=target", "-o", "data/raw/own.h5"),
    ):
        code = run([*arguments, "--scheduler", cluster])
        said = capfd.readouterr()
        assert (code, said.err) == (0, ""), said.out + said.err


def test_a_scheduler_and_threads_together_are_refused(capfd: pytest.CaptureFixture[str]):
    assert run(["validate", "data", "--scheduler", "tcp://127.0.0.1:9", "--workers", "2"]) == 2
    assert "leave --workers out" in capfd.readouterr().err


def test_a_scheduler_that_does_not_answer_is_named_with_what_was_waited_and_what_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("prep.engine.cluster._CONNECT", 1.0)

    assert run(["generate", "regression", "--scheduler", "tcp://127.0.0.1:9"]) == 4
    said = capfd.readouterr().err
    assert "does not answer" in said
    assert "no connection to tcp://127.0.0.1:9 in 1 s" in said
    assert "check that it runs" in said
    assert "Traceback" not in said
    assert not Path("data/raw").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:8799", "begins with http://"),
        ("tcp://127.0.0.1", "tcp://127.0.0.1, which is not tcp://HOST:PORT"),
        ("", "nothing: the name is empty"),
    ],
)
def test_what_cannot_be_the_address_of_a_scheduler_is_refused_at_once(
    address: str, said: str, project: Path, capfd: pytest.CaptureFixture[str]
):
    begin = time.monotonic()
    assert run(["generate", "regression", "--scheduler", address]) == 2
    assert time.monotonic() - begin < 5
    errors = capfd.readouterr().err
    assert said in errors
    assert "Exception ignored" not in errors


def squared(item: int) -> int:
    time.sleep(0.01)
    return item * item


def test_an_address_serves_as_well_as_a_file(cluster: str):
    address = json.loads(Path(cluster).read_text())["address"]

    for name in (address, address.removeprefix("tcp://")):
        demand_scheduler(name)
        assert list(ordered(squared, range(20), name)) == [item * item for item in range(20)]


def failing(item: int) -> int:
    if item == 3:
        time.sleep(0.2)
        raise DataError("third", where=Where(field="states", samples=(7,)), measured=1.5, remedy="mend it")
    if item == 4:
        raise TimeoutError("fourth")
    return item


def test_the_first_error_by_order_comes_back_as_it_was(cluster: str):
    results = ordered(failing, range(40), cluster)

    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError) as caught:
        next(results)
    assert caught.value.where == Where(field="states", samples=(7,))
    assert (caught.value.measured, caught.value.exit_code) == (1.5, 1)
    with pytest.raises(TimeoutError, match="fourth"):
        list(ordered(failing, [4], cluster))


def leave_mark(item: tuple[str, int]) -> None:
    folder, number = item
    (Path(folder) / str(number)).touch()
    time.sleep(0.05)
    if number == 1:
        raise DataError("no", remedy="none")


def test_after_an_error_what_has_not_begun_never_does(cluster: str, tmp_path: Path):
    with pytest.raises(DataError):
        list(ordered(leave_mark, [(str(tmp_path), number) for number in range(100)], cluster))

    time.sleep(0.3)
    assert 2 <= len(list(tmp_path.iterdir())) <= 6


def test_an_interrupt_ends_the_work_within_the_jobs_under_way_and_without_a_word(
    cluster: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    interrupt = threading.Timer(1.0, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        list(ordered(leave_mark, ((str(tmp_path), number) for number in range(2, 10_000)), cluster))

    before = len(list(tmp_path.iterdir()))
    time.sleep(0.3)
    assert 0 < before < 100
    assert len(list(tmp_path.iterdir())) <= before + 4
    gc.collect()
    assert not caplog.records


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_meets_a_finaliser_is_not_lost(
    number: signal.Signals, cluster: str, monkeypatch: pytest.MonkeyPatch
):
    real, sent = Future.release, []

    def release(self: Future) -> None:
        if not sent and threading.current_thread() is threading.main_thread():
            sent.append(number)
            signal.raise_signal(number)
        real(self)

    monkeypatch.setattr(Future, "release", release)
    terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    try:
        with pytest.raises(KeyboardInterrupt):
            list(ordered(squared, range(200), cluster))
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    finally:
        signal.signal(signal.SIGTERM, terminated)
    assert sent


def test_whoever_takes_results_is_interrupted_as_ever(cluster: str):
    results = ordered(squared, range(20), cluster)
    assert next(results) == 0

    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

    assert list(results) == [item * item for item in range(1, 20)]


def linear_algebra(_: int) -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_linear_algebra_stays_on_one_thread_on_a_worker(tmp_path: Path, lonely: Path):
    with worker(lonely, "wide", OPENBLAS_NUM_THREADS="2"):
        found = list(ordered(linear_algebra, range(3), str(lonely)))

    assert all(each and set(each) == {1} for each in found)


def patient(item: int) -> tuple[str, int]:
    time.sleep(0.1)
    return os.path.basename(os.getcwd()), item


def test_a_worker_that_is_killed_is_survived(cluster: str):
    with worker(Path(cluster), "three") as third:
        wait_for(Path(cluster), {"three"})
        found = []
        for result in ordered(patient, range(24), cluster):
            found.append(result)
            if result[0] == "three":
                third.kill()

    assert [item for _, item in found] == list(range(24))
    assert [name for name, _ in found].count("three") == 1
    assert third.returncode == -signal.SIGKILL


def fatal(item: int) -> int:
    if item == 0:  # what earlier ones gave would go with the worker, and is waited for
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_job_that_ends_its_worker_is_one_clear_error(lonely: Path):
    with worker(lonely, "victim"), pytest.raises(UnfinishedError, match="a job ended every dask worker") as caught:
        list(ordered(fatal, range(5), str(lonely)))

    assert "1 workers died of it" in str(caught.value.measured)
    assert "memory" in caught.value.remedy


def test_without_a_worker_nothing_waits_for_ever(lonely: Path):
    begin = time.monotonic()
    with pytest.raises(UnfinishedError, match="has no running worker") as caught:
        list(ordered(squared, [1], str(lonely), patience=1))

    assert 1 <= time.monotonic() - begin < 5
    assert caught.value.measured == "0 workers after 1 s"
    assert "dask worker tcp://127.0.0.1" in caught.value.remedy
    with pytest.raises(UnfinishedError, match="has no running worker"):
        demand_scheduler(str(lonely), patience=0.5)


def test_when_the_last_worker_goes_nothing_waits_for_ever(tmp_path: Path):
    with scheduler(tmp_path) as place, worker(place, "last") as last:
        results = ordered(patient, range(100), str(place), patience=2)
        assert next(results) == ("last", 0)
        last.kill()
        begin = time.monotonic()
        with pytest.raises(UnfinishedError, match="has no running worker"):
            list(results)

    assert 1 < time.monotonic() - begin < 10


def test_when_the_scheduler_goes_nothing_waits_for_ever(tmp_path: Path):
    with ExitStack() as stack:
        place = stack.enter_context(scheduler(tmp_path))
        only = stack.enter_context(worker(place, "only"))
        results = ordered(patient, range(100), str(place), patience=2)
        assert next(results) == ("only", 0)
        with Client(json.loads(place.read_text())["address"], set_as_default=False) as client:
            number = client.run_on_scheduler(os.getpid)
        os.kill(number, signal.SIGKILL)
        begin = time.monotonic()
        with pytest.raises(UnfinishedError, match="connection to the dask scheduler was lost") as caught:
            list(results)
        only.kill()

    assert time.monotonic() - begin < 10
    assert caught.value.measured == "the other side closed it while jobs were under way"


def test_a_scheduler_that_goes_while_a_result_is_fetched_is_not_taken_for_an_error_of_the_storage(
    cluster: str, monkeypatch: pytest.MonkeyPatch, project: Path, capfd: pytest.CaptureFixture[str]
):
    async def closed(self: Client, futures: object, *_: object, **__: object) -> None:
        raise CommClosedError("in <TCP (closed) ConnectionPool.gather>: Stream is closed")

    monkeypatch.setattr(Client, "_gather", closed)

    assert run(["generate", "regression", "--scheduler", cluster]) == 4
    said = capfd.readouterr().err
    assert "the connection to the dask scheduler was lost" in said
    assert "storage" not in said
    assert "measured: the other side closed it" in said


class Unreadable:
    """Made anew where it arrives, out of a file that is not there."""

    def __reduce__(self) -> tuple[object, ...]:
        return open, ("/nowhere/control.h5", "rb")

    def __call__(self, item: int) -> int:
        return item


def test_a_worker_that_does_not_see_the_files_says_so(cluster: str):
    with pytest.raises(UnfinishedError, match="cannot open what it has to read") as caught:
        list(ordered(Unreadable(), [1], cluster))

    assert "/nowhere/control.h5" in str(caught.value)
    assert "share" in caught.value.remedy


def test_a_scheduler_that_cannot_load_prep_says_so(tmp_path: Path):
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow/prep.py").write_text("raise ImportError('there is no prep here')")
    with ExitStack() as stack:
        place = stack.enter_context(scheduler(tmp_path, PYTHONPATH=str(tmp_path / "shadow")))
        stack.enter_context(worker(place, "only"))
        with pytest.raises(UnfinishedError, match="cannot load prep") as caught:
            demand_scheduler(str(place))

    assert "there is no prep here" in str(caught.value.measured)
    assert "install prep" in caught.value.remedy


def test_workers_of_other_versions_are_refused():
    with pytest.raises(UnfinishedError, match="other versions"):
        Shipped(b"", "python 2.7")(1)


def test_a_worker_whose_numba_is_installed_and_cannot_be_imported_is_refused(tmp_path: Path):
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow/numba.py").write_text("raise ImportError('no LLVM here')")
    with ExitStack() as stack:
        place = stack.enter_context(scheduler(tmp_path))
        shadowed = os.pathsep.join([str(tmp_path / "shadow"), str(ROOT)])
        stack.enter_context(worker(place, "broken", PYTHONPATH=shadowed))
        with pytest.raises(UnfinishedError, match="other versions") as caught:
            list(ordered(squared, range(3), str(place)))

    assert str(caught.value.measured).endswith("measuring: NumPy")
    assert str(caught.value.allowed).endswith("measuring: compiled lanes and matrix_loops")
    assert "numba is installed but cannot be used (ImportError: no LLVM here)" in (tmp_path / "broken/log").read_text()


def test_workers_that_round_differently_do_not_work_together(tmp_path: Path):
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if not found:
        pytest.skip("this processor has no vector instructions to switch off")
    with ExitStack() as stack:
        place = stack.enter_context(scheduler(tmp_path))
        stack.enter_context(worker(place, "new"))
        wait_for(place, {"new"})
        stack.enter_context(worker(place, "old", NPY_DISABLE_CPU_FEATURES=" ".join(found)))
        with pytest.raises(UnfinishedError, match="round differently"):
            list(ordered(patient, range(300), str(place)))


def test_a_scheduler_file_that_is_not_there_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match="neither the address nor the file"):
        demand_scheduler(str(tmp_path / "scheduler.json"))
