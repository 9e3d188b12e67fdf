"""What crashes, exhausts or takes over the parser of HDF5 is refused, and the next file opens as if nothing was."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from prep.errors import DataError, IntegrityError, PrepError, UnfinishedError
from prep.formats import open_container
from prep.formats.replace import demand_replaceable
from prep.importers import IngestOptions
from prep.importers.mapped import MappedHdf5
from prep.isolation import process, sessions
from prep.isolation.answers import Answer
from prep.isolation.limits import MIB, Allowance
from tests import hostile_child
from tests.conftest import ROOT
from tests.rooms.formats_demo import write_demo


@pytest.fixture
def fresh() -> Iterator[None]:
    """No child of other tests, and none for them."""
    end_resident()
    yield
    end_resident()


@pytest.fixture
def taken_over(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children do what stands in the name of the file."""
    monkeypatch.setattr(process, "command", hostile_child.command)


def end_resident() -> None:
    if sessions._RESIDENT.child is not None:
        sessions._RESIDENT.child.end()


def resident() -> process.Child:
    child = sessions._RESIDENT.child
    assert child is not None
    return child


def allow(monkeypatch: pytest.MonkeyPatch, allowance: Allowance) -> None:
    monkeypatch.setattr("prep.formats.hdf5_container.OWN", allowance)
    monkeypatch.setattr("prep.importers.foreign.FOREIGN", allowance)


def refusal(path: Path) -> PrepError:
    with pytest.raises(PrepError) as caught:
        open_container(path)
    assert caught.value.remedy
    assert caught.value.where.path == str(path)
    return caught.value


def foreign_file(path: Path, rows: int = 1000) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.arange(rows * 3.0).reshape(rows, 3), chunks=(100, 3))
        file["y"] = np.arange(rows)
    return path


@pytest.mark.parametrize(
    ("deed", "measured"), [("segfault", "signal SIGSEGV"), ("abort", "signal SIGABRT"), ("exit", "exit status 7")]
)
@pytest.mark.usefixtures("taken_over")
def test_a_file_that_crashes_the_parser_is_refused_and_the_next_one_opens(
    tmp_path: Path, deed: str, measured: str
) -> None:
    good, bad = write_demo(tmp_path / "good.h5"), write_demo(tmp_path / f"{deed}.h5")
    for _ in range(2):
        error = refusal(bad.path)
        assert isinstance(error, IntegrityError)
        assert error.exit_code == 3
        assert error.what == "this file crashes or exhausts the HDF5 library"
        assert error.measured == measured
        assert open_container(good.path).spec == good.spec


@pytest.mark.parametrize(
    ("deed", "measured"),
    [
        ("allocate", "more than 300 MiB of memory asked for"),
        ("exhaust", "more than 300 MiB of memory asked for"),
        ("toil", "more than 1 s of processor time"),
        ("sleep", "no answer within 3 s"),
    ],
)
@pytest.mark.usefixtures("taken_over")
def test_a_file_that_exceeds_a_limit_is_refused_and_the_next_one_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, measured: str
) -> None:
    good, bad = write_demo(tmp_path / "good.h5"), write_demo(tmp_path / f"{deed}.h5")
    allow(monkeypatch, Allowance(300 * MIB, 1, 0, patience=30 if deed == "toil" else 3))
    error = refusal(bad.path)
    assert isinstance(error, IntegrityError)
    assert error.measured == measured
    assert "300 MiB of memory, 1 s of processor time" in str(error.allowed)
    allow(monkeypatch, Allowance(300 * MIB, 60, 0))
    assert open_container(good.path).spec == good.spec


@pytest.mark.parametrize("lie", hostile_child.LIES)
@pytest.mark.usefixtures("taken_over")
def test_what_a_parser_that_was_taken_over_says_is_checked(tmp_path: Path, lie: str) -> None:
    good, bad = write_demo(tmp_path / "good.h5"), write_demo(tmp_path / f"{lie}.h5")
    assert isinstance(refusal(bad.path), IntegrityError)
    assert open_container(good.path).spec == good.spec


@pytest.mark.usefixtures("taken_over")
def test_a_defect_of_ours_in_the_child_is_no_verdict_on_the_file(tmp_path: Path) -> None:
    error = refusal(write_demo(tmp_path / "defect.h5").path)
    assert error.exit_code == 4
    assert "KeyError: '\\x1bmissing' in hostile_child.py" in str(error.measured)


GARBAGE = {
    "nothing": "pass",
    "junk": "channel.sendall(b'x' * 100000)",
    "a huge text": "channel.sendall(b'prep' + (1 << 60).to_bytes(8, 'big') + bytes(4))",
    "huge parts": "channel.sendall(b'prep' + (2).to_bytes(8, 'big') + bytes(3) + b'\\x01' + b'\\xff' * 8 + b'{}')",
    "half a message": "channel.sendall(b'prep' + (20).to_bytes(8, 'big') + bytes(4) + b'{')",
    "no JSON": "channel.sendall(b'prep' + (4).to_bytes(8, 'big') + bytes(4) + b'\\xff\\xfe{}')",
    "deep JSON": "channel.sendall(b'prep' + (100000).to_bytes(8, 'big') + bytes(4) + b'[' * 100000)",
    "NaN": "channel.sendall(b'prep' + (14).to_bytes(8, 'big') + bytes(4) + b'{\"answer\":NaN}')",
    "neither answer nor error": "send(channel, {'greeting': 1})",
    "an error of no kind": "send(channel, {'error': {'kind': 'SystemExit', 'where': {}}})",
    "an error without texts": "send(channel, {'error': {'kind': 'DataError', 'where': {}, 'what': 1, 'remedy': ''}})",
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.usefixtures("fresh")
def test_a_child_that_answers_garbage_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garbage: str
) -> None:
    demo = write_demo(tmp_path / "demo.h5")
    end_resident()
    boot = (
        f"import os, socket, sys; sys.path[:] = {[str(ROOT), *sys.path]!r}; "
        "from prep.isolation.frames import receive_with_file, send; "
        "channel = socket.socket(fileno=int(sys.argv[1])); send(channel, {'ready': os.getpid()}); "
        f"receive_with_file(channel); {GARBAGE[garbage]}"
    )
    with monkeypatch.context() as patch:
        patch.setattr(process, "command", lambda channel: [sys.executable, "-I", "-c", boot, str(channel)])
        error = refusal(demo.path)
    assert isinstance(error, IntegrityError)
    wanted = "crashes or exhausts" if garbage in ("nothing", "half a message") else "answers nonsense"
    assert wanted in error.what
    assert open_container(demo.path).spec == demo.spec


@pytest.mark.parametrize(
    ("command", "measured"),
    [
        (["/nowhere/python"], "No such file"),
        ([sys.executable, "-c", "raise SystemExit('no module')"], "no module"),
        ([sys.executable, "-c", "pass"], "ended at once"),
    ],
)
@pytest.mark.usefixtures("fresh")
def test_without_a_child_nothing_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], measured: str
) -> None:
    demo = write_demo(tmp_path / "demo.h5")
    end_resident()
    with monkeypatch.context() as patch:
        patch.setattr(process, "command", lambda channel: command)
        with pytest.raises(UnfinishedError, match="could not be started") as caught:
            open_container(demo.path)
    assert caught.value.exit_code == 4
    assert measured in str(caught.value.measured)
    assert open_container(demo.path).spec == demo.spec


@pytest.mark.usefixtures("taken_over")
def test_a_child_killed_over_a_file_says_nothing_about_the_file(tmp_path: Path) -> None:
    good, slow = write_demo(tmp_path / "good.h5"), write_demo(tmp_path / "sleep.h5")
    end_resident()

    def kill() -> None:
        while not (child := sessions._RESIDENT.child) or not child.alive or not child._ready:
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(resident().pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    error = refusal(slow.path)
    killer.join()
    assert error.exit_code == 4
    assert "killed from outside" in error.what
    assert open_container(good.path).spec == good.spec


@pytest.mark.usefixtures("taken_over")
def test_a_file_is_not_blamed_for_what_the_one_before_has_left_behind(tmp_path: Path) -> None:
    first, victim = write_demo(tmp_path / "first.h5"), write_demo(tmp_path / "second.h5")
    victim.path.rename(tmp_path / "victim.h5")
    assert open_container(first.path).spec == first.spec
    assert open_container(tmp_path / "victim.h5").spec == victim.spec


@pytest.mark.usefixtures("fresh")
def test_a_child_that_died_meanwhile_is_replaced_unnoticed(tmp_path: Path) -> None:
    demo = write_demo(tmp_path / "demo.h5")
    before = resident().pid
    os.kill(before, signal.SIGKILL)
    assert open_container(demo.path).spec == demo.spec
    assert resident().pid != before


@pytest.mark.usefixtures("fresh")
def test_threads_share_one_child(tmp_path: Path) -> None:
    demos = [write_demo(tmp_path / f"{number}.h5") for number in range(4)]
    before = resident().pid
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: open_container(demos[number % 4].path), range(40)))
    assert all(each.path == demos[number % 4].path and each.spec == demos[0].spec for number, each in enumerate(found))
    assert resident().pid == before


@pytest.mark.usefixtures("taken_over")
def test_the_child_has_limits_and_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path))
    error = refusal_without_path(write_demo(tmp_path / "tell.h5").path)
    assert error.what == "told?[31m", "texts from the child do not reach the terminal as they are"
    told = json.loads(str(error.measured))
    assert told["environment"]["HDF5_PLUGIN_PRELOAD"] == "::"
    assert not {"HDF5_PLUGIN_PATH", "PYTHONSTARTUP", "PYTHONPATH", "HOME"} & set(told["environment"])
    for name, limit in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_NOFILE", 64)):
        assert told["limits"][name] == [limit, limit]
    assert 0 < told["limits"]["RLIMIT_DATA"][0] <= 4 << 30
    assert 0 < told["limits"]["RLIMIT_CPU"][0] < 600
    assert told["ignored"]
    assert not told["group"]
    if sys.platform == "linux":
        assert told["control"] == [0, 1], "not dumpable, no new privileges"


def refusal_without_path(path: Path) -> IntegrityError:
    with pytest.raises(IntegrityError) as caught:
        open_container(path)
    return caught.value


def run_python(script: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,  # type: ignore[call-overload]
    )


SLOW = """
import sys
from prep.isolation import process, sessions
from tests import hostile_child
process.command = hostile_child.command
from prep.isolation.process import Child
greet = Child._greet
def tell(self):
    greet(self)
    print(self.pid, flush=True)
Child._greet = tell
from prep.cli import run
sys.exit(run(["inspect", sys.argv[1]]))
"""


def gone(pid: int, seconds: float = 20) -> bool:
    """Whether a process ends before long; a dead one that nobody has waited for counts."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_the_command_ends_the_child_without_a_word(tmp_path: Path, sent: signal.Signals) -> None:
    slow = write_demo(tmp_path / "sleep.h5").path
    command = run_python(SLOW, slow, process_group=0)
    assert command.stdout is not None
    child = int(command.stdout.readline())
    time.sleep(0.3)
    if sent == signal.SIGINT:
        os.killpg(command.pid, sent)
    else:
        command.kill()
    _, said = command.communicate(timeout=60)
    assert command.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in said
    assert gone(child)


FORKING = """
import os, sys
from prep.formats import open_container
from prep.isolation import sessions
spec = open_container(sys.argv[1]).spec
ours = sessions._RESIDENT.child.pid
held = sessions._RESIDENT.lock
held.acquire()  # as by a thread that asks just now, and that no fork takes along
process = os.fork()
if process:
    held.release()
if process == 0:
    same = open_container(sys.argv[1]).spec == spec
    os._exit(0 if same and sessions._RESIDENT.child.pid != ours else 1)
_, status = os.waitpid(process, 0)
assert status == 0, status
assert open_container(sys.argv[1]).spec == spec
assert sessions._RESIDENT.child.pid == ours
assert "h5py" not in sys.modules, "the parent needs no libhdf5 to read"
print("fine")
"""


def test_a_forked_process_has_a_child_of_its_own_and_neither_parses_hdf5(tmp_path: Path) -> None:
    command = run_python(FORKING, write_demo(tmp_path / "demo.h5").path)
    assert command.communicate(timeout=60) == ("fine\n", "")


def test_a_foreign_source_is_read_without_libhdf5_in_this_process(tmp_path: Path) -> None:
    script = (
        "import sys; from prep.importers.mapped import MappedHdf5; from prep.importers.minari import Minari; "
        "from prep.importers import IngestOptions; assert not Minari().recognises(sys.argv[1]); "
        "print(sum(len(each['x']) for _, each in MappedHdf5().open(sys.argv[1], IngestOptions()).blocks())); "
        "assert 'h5py' not in sys.modules"
    )
    command = run_python(script, foreign_file(tmp_path / "a.h5"))
    assert command.communicate(timeout=60) == ("1000\n", "")


def test_libhdf5_looks_for_no_plugins_in_this_process_either() -> None:
    script = "import prep.errors, os, h5py; print(os.environ['HDF5_PLUGIN_PRELOAD'])"
    assert run_python(script).communicate(timeout=60) == ("::\n", "")


@pytest.mark.parametrize(("name", "code"), [("late", 3), ("short", 3), ("segfault", 3)])
@pytest.mark.usefixtures("taken_over")
def test_a_foreign_file_that_takes_its_reader_down_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    monkeypatch.setattr("prep.importers.aligned.READ_BYTES", 3200)
    path = foreign_file(tmp_path / f"{name}.h5")
    assert MappedHdf5().recognises(str(path)) is True
    with pytest.raises(IntegrityError) as caught:
        list(MappedHdf5().open(str(path), IngestOptions()).blocks())
    assert caught.value.exit_code == code
    assert list(MappedHdf5().open(str(foreign_file(tmp_path / "good.h5")), IngestOptions()).blocks())


def test_rows_that_nobody_wants_any_more_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prep.importers.aligned.READ_BYTES", 3200)
    opened = MappedHdf5().open(str(foreign_file(tmp_path / "a.h5")), IngestOptions())
    first = next(blocks := opened.blocks())
    blocks.close()
    split, again = next(iter(opened.blocks()))
    assert split == first[0]
    assert np.array_equal(again["x"], first[1]["x"])


def test_a_source_that_nobody_holds_any_more_has_no_child(tmp_path: Path) -> None:
    gc.collect()  # what is left of other tests, with the tracebacks that hold it
    others = {each.pid for each in process._CHILDREN if each.holds is not None and each.alive}
    opened = MappedHdf5().open(str(foreign_file(tmp_path / "a.h5")), IngestOptions())
    (pid,) = {each.pid for each in process._CHILDREN if each.holds is not None and each.alive} - others
    list(opened.blocks())
    del opened
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def eight_tebibytes(path: Path, written: bool) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (1 << 38, 4), "f8", chunks=(1024, 4), compression="gzip")
        if written:
            data.id.write_direct_chunk((0, 0), zlib.compress(bytes(32768)))
    return path


@pytest.mark.parametrize("written", [False, True])
def test_a_small_file_that_claims_eight_tebibytes_is_refused(tmp_path: Path, written: bool) -> None:
    path = eight_tebibytes(tmp_path / "a.h5", written)
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="ever written"):
        MappedHdf5().open(str(path), IngestOptions())
    with pytest.raises(IntegrityError):
        open_container(path)


def test_our_own_tree_that_claims_eight_tebibytes_is_refused(tmp_path: Path) -> None:
    path = write_demo(tmp_path / "demo.h5", compression="gzip").path
    with h5py.File(path, "r+") as file:
        file["episode"].id.set_extent((1 << 40,))
    assert "a chunk is missing" in refusal_without_path(path).what


def test_a_chunk_that_decodes_to_more_than_is_allowed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 1 << 26
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        data = file.create_dataset("x", (rows,), "f8", chunks=(rows,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(rows * 8), 1))
    assert (tmp_path / "bomb.h5").stat().st_size < 4 << 20
    allow(monkeypatch, Allowance(400 * MIB, 60, 0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(IntegrityError):
        list(MappedHdf5().open(str(tmp_path / "bomb.h5"), IngestOptions()).blocks())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10, "KiB in this process"


def test_a_chunk_of_our_own_tree_is_of_the_size_that_prep_writes(tmp_path: Path) -> None:
    path = write_demo(tmp_path / "demo.h5", compression="gzip").path
    rows = 1 << 25
    with h5py.File(path, "r+") as file:
        attributes, scale = dict(file["episode"].attrs), file["sample"]
        del file["episode"]
        data = file.create_dataset("episode", (10,), "i8", chunks=(rows,), maxshape=(None,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(rows * 8), 1))
        for key in ("role", "transform", "transform_state", "units"):
            data.attrs[key] = attributes[key]
        data.dims[0].attach_scale(scale)
    assert "more than prep ever stores" in refusal_without_path(path).what


def read_foreign(path: Path) -> object:
    return list(MappedHdf5().open(str(path), IngestOptions()).blocks())


@pytest.mark.parametrize(
    ("make", "attempt", "flips"),
    [(lambda path: write_demo(path).path, open_container, 150), (foreign_file, read_foreign, 30)],
)
def test_flipped_bytes_anywhere_end_in_an_error_of_ours_or_in_data(
    tmp_path: Path, make: Callable[[Path], Path], attempt: Callable[[Path], object], flips: int
) -> None:
    path = make(tmp_path / "a.h5")
    intact = path.read_bytes()
    generator = np.random.default_rng(1)
    codes = set()
    for place in generator.integers(0, min(len(intact), 8192), flips):
        flipped = bytearray(intact)
        flipped[place] = generator.integers(256)
        path.write_bytes(flipped)
        try:
            attempt(path)
        except PrepError as error:
            codes.add(error.exit_code)
    assert 3 in codes
    assert codes <= {1, 2, 3}


@pytest.mark.usefixtures("fresh")
def test_what_may_be_replaced_is_looked_at_in_the_child(tmp_path: Path) -> None:
    demo, other = write_demo(tmp_path / "demo.h5").path, foreign_file(tmp_path / "other.h5")
    answered = resident().answered
    demand_replaceable(demo, folder=False, manifest=tmp_path / "none")
    with pytest.raises(PrepError, match="not a dataset that prep wrote"):
        demand_replaceable(other, folder=False, manifest=tmp_path / "none")
    assert resident().answered == answered + 2


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: Answer({"a": 1})["b"],
        lambda: Answer([])["b"],
        lambda: Answer(1).items(),
        lambda: Answer({}).list(),
        lambda: Answer(1).text(),
        lambda: Answer(1).truth(),
        lambda: Answer(True).count(),
        lambda: Answer(-1).count(),
        lambda: Answer(1 << 63).count(),
        lambda: Answer(1.0).count(),
        lambda: Answer("<f8,<f8").dtype(),
        lambda: Answer("<f3").dtype(),
        lambda: Answer("f8").dtype(),
        lambda: Answer("|O").array(0, np.dtype(object), (1,)),
        lambda: Answer(None, [np.zeros(8, np.uint8)]).array(0, np.dtype(object), (1,)),
        lambda: Answer(None, [np.zeros(8, np.uint8)]).array(1, np.dtype("f8"), (1,)),
        lambda: Answer(None, [np.zeros(8, np.uint8)]).array(0, np.dtype("f8"), (2,)),
        lambda: Answer(None, [np.zeros(0, np.uint8)]).array(0, np.dtype("f8"), (1 << 32, 1 << 32)),
    ],
)
def test_an_answer_is_never_taken_for_what_it_is_not(attempt: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"answer|bytes are no array"):
        attempt()
