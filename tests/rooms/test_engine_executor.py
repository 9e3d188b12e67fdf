"""The executor on threads: results in order, few at a time, the first error by order, nothing left running."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from prep.engine import DatasetSource, ordered, run
from prep.errors import DataError, PrepError, Refusal, UsageError, Where
from prep.folds import Fold, Scope
from prep.folds.duplicates import RowHashes
from prep.folds.moments import Moments
from prep.folds.sketch import Quantiles
from tests.conftest import ROOT
from tests.rooms.formats_demo import demo_spec, write_demo


def test_results_come_in_the_order_of_the_items_whoever_is_done_first():
    def slowest_first(item: int) -> int:
        time.sleep((20 - item) / 1000)
        return item * item

    assert list(ordered(slowest_first, range(20), 4)) == [item * item for item in range(20)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_at_most_two_jobs_a_worker_wait_to_be_taken(workers: int):
    begun: list[int] = []

    def begin(item: int) -> int:
        begun.append(item)
        return item

    for taken, item in enumerate(ordered(begin, range(50), workers)):
        assert item == taken
        assert len(begun) <= taken + 2 * workers
        time.sleep(0.001)
    assert sorted(begun) == list(range(50))


def test_items_are_not_drawn_ahead_of_the_window():
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    results = ordered(abs, items(), 2)
    assert next(results) == 0
    assert len(drawn) == 4
    results.close()


def test_one_slow_job_does_not_keep_the_others_from_beginning():
    release, begun = threading.Event(), set()

    def work(item: int) -> int:
        begun.add(item)
        if item == 0:
            assert release.wait(5)
        elif item == 3:
            release.set()  # the last of the window: it began although the first is still under way
        return item

    assert list(ordered(work, range(8), 2)) == list(range(8))


def test_one_worker_does_the_work_on_the_thread_that_asks():
    threads = set(ordered(lambda _: threading.current_thread(), range(3), 1))

    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_by_order_is_raised_as_it_was(workers: int):
    errors = {3: DataError("third", where=Where(field="states", samples=(7,)), remedy="mend it"), 4: KeyError("fourth")}

    def work(item: int) -> int:
        if item == 3:
            time.sleep(0.05)  # the fourth fails earlier
        if item in errors:
            raise errors[item]
        return item

    results = ordered(work, range(20), workers)

    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError) as caught:
        next(results)
    assert caught.value is errors[3]


def test_after_an_error_what_has_not_begun_never_does_and_nothing_runs_on():
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise DataError("no", remedy="none")
        time.sleep(0.02)

    with pytest.raises(DataError):
        list(ordered(work, range(1000), 2))

    assert not [each for each in threading.enumerate() if each.name.startswith("prep_")]
    assert len(begun) < 4


def test_a_consumer_that_fails_ends_the_work():
    begun: list[int] = []

    def consume() -> None:
        for _ in ordered(begun.append, range(1000), 2):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        consume()

    assert not [each for each in threading.enumerate() if each.name.startswith("prep_")]
    assert len(begun) <= 4


def test_an_interrupt_ends_the_work_within_the_jobs_under_way():
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 3:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt):
        list(ordered(work, range(1000), 2))

    assert not [each for each in threading.enumerate() if each.name.startswith("prep_")]
    assert len(begun) < 8


def blas_threads() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


@pytest.mark.parametrize("workers", [1, 2])
def test_linear_algebra_stays_on_one_thread_while_jobs_run_and_is_given_back(workers: int):
    before = blas_threads()

    inside = list(ordered(lambda _: blas_threads(), range(4), workers))

    assert inside == [[1] * len(before)] * 4
    assert blas_threads() == before


def test_two_runs_at_once_give_linear_algebra_back_only_when_both_are_done():
    before = blas_threads()
    first, second = (ordered(lambda _: blas_threads(), range(3), 1) for _ in range(2))

    next(first), next(second)
    first.close()
    assert next(second) == [1] * len(before)
    second.close()
    assert blas_threads() == before


class Shuffling(Executor):
    """Does nothing until a result is asked for, and then everything that was handed in, in random order."""

    def __init__(self, random_order: random.Random) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.random_order = random_order
        self.order: list[Any] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        shuffling = self

        class Lazy(Future[Any]):
            def result(self, timeout: float | None = None) -> Any:
                shuffling.flush()
                return super().result(timeout)

        future = Lazy()
        self.waiting.append((future, lambda: self.order.append(args) or fn(*args)))
        return future

    def flush(self) -> None:
        self.random_order.shuffle(self.waiting)
        while self.waiting:
            future, work = self.waiting.pop()
            future.set_result(work())


@pytest.fixture
def segmented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset that is read 256 rows at a time."""
    monkeypatch.setattr("prep.blocks.SEGMENT_BYTES", 1 << 15)
    monkeypatch.setattr("prep.blocks.CHUNK_BYTES", 1 << 12)
    write_demo(tmp_path / "demo.h5", demo_spec(4_000))
    return tmp_path / "demo.h5"


def learned(path: Path, workers: int) -> bytes:
    with DatasetSource.open(path) as source:
        spec = source.spec
        folds: list[Fold] = [
            Moments(spec["matrix"], Scope.of(spec, "train")),
            Quantiles(spec["states"], Scope.of(spec)),
            RowHashes(("states",), dict(spec.splits)),
        ]
        found = run(source, folds, digests=True, workers=workers)
    return pickle.dumps([[found.results[fold.key] for fold in folds], dict(found.digests), found.rows])


def test_what_a_pass_learns_does_not_depend_on_the_order_in_which_the_work_is_done(
    segmented: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = learned(segmented, 1)
    assert learned(segmented, 2) == expected
    for seed in range(3):
        shuffling = Shuffling(random.Random(seed))
        monkeypatch.setattr("prep.engine.executor.thread_pool", lambda *_, made=shuffling, **__: made)

        assert learned(segmented, 4) == expected
        assert shuffling.order != sorted(shuffling.order)


@pytest.mark.parametrize("kind", [DataError, UsageError])
def test_errors_survive_the_way_between_processes(kind: type[PrepError]):
    where = Where(path="p", field="f", samples=(1, 2), chunk=3)
    error = kind("what", where=where, measured=1.5, allowed="less", remedy="r")

    for each in (error, Refusal([error, error])):
        received = pickle.loads(pickle.dumps(each))
        assert type(received) is type(each)
        assert (str(received), received.exit_code, received.where) == (str(each), each.exit_code, each.where)


@pytest.mark.parametrize(
    "text",
    [
        *("", "nowhere.json", "host", "tcp:/host", "host:port", "host:99999", "://host:1"),
        *("http://127.0.0.1:8799", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:0", "tcp://::1:8786"),
    ],
)
def test_what_is_no_scheduler_is_named_with_what_would_be_one(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as caught:
        list(ordered(abs, [1], text))
    assert "tcp://HOST:PORT" in str(caught.value.allowed)


def test_a_file_that_is_no_scheduler_file_is_refused(tmp_path: Path):
    place = tmp_path / "scheduler.json"
    for content in ("", "[]", "{}", '"tcp://127.0.0.1:1"'):
        place.write_text(content)
        with pytest.raises(UsageError, match="a file without an address"):
            list(ordered(abs, [1], str(place)))
    place.write_text('{"address": "http://127.0.0.1:8787"}')
    with pytest.raises(UsageError, match="neither the address nor the file") as caught:
        list(ordered(abs, [1], str(place)))
    assert "begins with http://" in str(caught.value.measured)


# A pass over blocks that all count as large enough for compiled loops, with remarks shown as commands show them.
PASS = """
import sys
from pathlib import Path

import prep.kernels.compiled
from prep.cli.output import hear_remarks
from tests.rooms.test_engine_executor import learned

prep.kernels.compiled.LEAST_BYTES = 0
hear_remarks()
Path(sys.argv[1]).write_bytes(learned(Path("demo.h5"), 2))
"""


@pytest.mark.parametrize(
    ("broken", "environment", "said"),
    [
        ("", {"NUMBA_DISABLE_JIT": "1"}, "(NUMBA_DISABLE_JIT is set)"),
        ("raise ImportError('Numba needs NumPy 2.2 or less')", {}, "(ImportError: Numba needs NumPy 2.2 or less)"),
        ("raise OSError('Could not find libllvmlite.so')", {}, "(OSError: Could not find libllvmlite.so)"),
    ],
)
def test_numpy_measures_with_one_remark_where_numba_is_installed_and_cannot_be_used(
    broken: str, environment: dict[str, str], said: str, tmp_path: Path
):
    write_demo(tmp_path / "demo.h5", demo_spec(500))
    known = {**os.environ, "PYTHONPATH": str(ROOT)}
    absent = f"import sys\nsys.modules['numba'] = None\n{PASS}"
    if broken:
        (tmp_path / "shadow").mkdir()
        (tmp_path / "shadow/numba.py").write_text(broken)
        environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "shadow"), str(ROOT)])}

    def done(script: str, output: str, **environment: str) -> str:
        command = [sys.executable, "-c", script, output]
        found = subprocess.run(
            command, cwd=tmp_path, env={**known, **environment}, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stderr
        return found.stderr

    assert done(absent, "without") == ""
    remark = done(PASS, "unusable", **environment)

    assert remark == f"numba is installed but cannot be used {said}: NumPy measures, slower\n"
    assert (tmp_path / "unusable").read_bytes() == (tmp_path / "without").read_bytes()
