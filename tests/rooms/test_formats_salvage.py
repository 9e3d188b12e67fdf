"""A writer that was interrupted leaves what it has finished to the next one, which takes it only if it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from prep.blocks import DatasetSpec, segment_rows
from prep.errors import StorageError
from prep.formats import create, open_container
from prep.formats.survive import Announced, SurvivingFile
from tests.rooms.formats_demo import CONSTANTS, FIELDS, demo_arrays, demo_spec, write_demo
from tests.rooms.test_formats_commit import whole

ENDINGS = (".h5", ".zarr")
ROWS = 2_000
SPEC = demo_spec(ROWS)
ARRAYS = demo_arrays(SPEC)
DIGESTS: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of some kilobytes, eight units of 256 rows, and a ledger from the first of them on."""
    monkeypatch.setattr("prep.blocks.SEGMENT_BYTES", 1 << 15)
    monkeypatch.setattr("prep.blocks.CHUNK_BYTES", 1 << 12)
    monkeypatch.setattr("prep.formats.ledger.LEAST_BYTES", 1)


def write(
    path: Path, compression: str = "none", identity: str = "rows", *, units: int = 99, spec: DatasetSpec = SPEC
) -> int:
    """Write the demo dataset, taking what was finished; a Ctrl-C after ``units``. Returns how many units were taken."""
    taken, step = 0, segment_rows(spec)
    assert step == 256
    with create(path, spec, compression, identity) as writer:
        for constant in spec.constants:
            writer.write_constant(constant, CONSTANTS[constant.name])
        for number, start in enumerate(range(0, ROWS, step)):
            if number == units:
                raise KeyboardInterrupt
            stop = min(start + step, ROWS)
            found = None
            if writer.salvage is not None:
                found = writer.salvage.portions(start, stop, lambda size: memoryview(bytearray(size)))
            taken += found is not None
            for field in spec.fields:
                mine = found[field.name] if found else writer.cutter(field.name, start, ARRAYS[field.name][start:stop])
                writer.put(field.name, mine)
        writer.commit(spec)
        DIGESTS[path.name, compression].append(writer.digests)
    return taken


def interrupt(path: Path, compression: str = "none", identity: str = "rows", units: int = 5) -> tuple[Path, Path]:
    """The temporary and the ledger that an interrupt after some units leaves."""
    with pytest.raises(KeyboardInterrupt):
        write(path, compression, identity, units=units)
    (temporary,) = path.parent.glob(f".{path.name}.*.tmp")
    return temporary, temporary.with_suffix(".done")


@contextmanager
def counting_writes() -> Iterator[list[int]]:
    """Sizes of what is written to the disk."""
    sizes: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "pwrite"):
            real = getattr(os, name)

            def call(*arguments: Any, real: Any = real) -> int:
                sizes.append(real(*arguments))
                return sizes[-1]

            patch.setattr(os, name, call)
        yield sizes


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_resumed_writer_writes_the_same_bytes_and_only_those_that_are_not_there(
    tmp_path: Path, ending: str, compression: str
) -> None:
    path = tmp_path / "one" / f"demo{ending}"
    with counting_writes() as all_of_it:
        write(tmp_path / "other" / f"demo{ending}", compression)
    interrupt(path, compression)
    with counting_writes() as rest:
        assert write(path, compression) == 5
    assert whole(tmp_path / "one") == whole(tmp_path / "other")
    assert sum(rest) < 0.6 * sum(all_of_it)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_finished_outlives_any_number_of_interrupts(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "one" / f"demo{ending}"
    for units in (3, 1, 6, 0):
        interrupt(path, units=units)
    assert write(path) == 6
    write(tmp_path / "other" / f"demo{ending}")
    assert whole(tmp_path / "one") == whole(tmp_path / "other")


CALLS = {
    **{f"os.{name}": os for name in ("pwrite", "write", "ftruncate", "fsync", "replace", "close", "rename")},
    "fcntl.flock": fcntl,
}


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("call", CALLS)
def test_after_an_interrupt_at_any_call_the_next_writer_makes_the_same_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, call: str, resumed: bool
) -> None:
    path = tmp_path / "one" / f"demo{ending}"
    write(tmp_path / "other" / f"demo{ending}")
    expected = whole(tmp_path / "other")
    name, calls = call.partition(".")[2], 0
    real = getattr(CALLS[call], name)
    for number in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
        if resumed:
            interrupt(path, units=3)
        calls = 0

        def interrupted(*arguments: Any, number: int = number, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            done = real(*arguments, **options)
            if calls == number:
                raise KeyboardInterrupt
            return done

        with monkeypatch.context() as patch:
            patch.setattr(CALLS[call], name, interrupted)
            with suppress(KeyboardInterrupt):
                write(path)
        write(path)
        assert whole(tmp_path / "one") == expected
        if calls < number:
            return


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("other", ["identity", "no identity", "compression", "fields"])
def test_what_is_left_of_something_else_is_removed_and_not_used(tmp_path: Path, ending: str, other: str) -> None:
    path = tmp_path / f"demo{ending}"
    temporary, ledger = interrupt(path)
    changes: dict[str, Any] = {
        "identity": {"identity": "others"},
        "no identity": {"identity": ""},
        "compression": {"compression": "gzip"},
        "fields": {"spec": demo_spec(ROWS, fields=FIELDS[:-1])},
    }
    assert write(path, **changes[other]) == 0
    assert not temporary.exists()
    assert not ledger.exists()


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_error_leaves_nothing(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"demo{ending}"
    interrupt(path)
    with suppress(ZeroDivisionError), create(path, SPEC, "none", "rows") as writer:
        assert writer.salvage is not None
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    path = tmp_path / f"demo{ending}"
    interrupt(path)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("write", "pwrite"):
        monkeypatch.setattr(os, name, full)
    with pytest.raises(StorageError):
        write(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_little_that_was_interrupted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr("prep.formats.ledger.LEAST_BYTES", 64 << 20)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / f"demo{ending}", units=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_temporary_of_a_living_writer_is_left_alone(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"demo{ending}"
    with create(path, SPEC, "none", "rows") as living:
        living.write("states", ARRAYS["states"][:256])
        before = whole(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        assert write(path) == 0
        assert {name: whole(tmp_path)[name] for name in before} == before
        for name in ("states", "matrix", "state_mask", "episode", "split"):
            living.write(name, ARRAYS[name][256 if name == "states" else 0 :])
        for constant in SPEC.constants:
            living.write_constant(constant, CONSTANTS[constant.name])
        living.commit(SPEC)
    assert open_container(path).spec == SPEC
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_two_resumed_writers_do_not_share_what_one_left(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"demo{ending}"
    interrupt(path)
    with create(path, SPEC, "none", "rows") as heir:
        assert heir.salvage is not None
        with create(path, SPEC, "none", "rows") as second:
            assert second.salvage is None
        assert heir.salvage.portions(0, 256, lambda size: memoryview(bytearray(size))) is not None


def test_a_process_with_the_same_number_as_a_dead_one_does_not_make_it_alive(tmp_path: Path) -> None:
    path = tmp_path / "demo.h5"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        for left in interrupt(path):
            left.rename(left.with_name(left.name.replace(f".{os.getpid()}.", f".{living.pid}.")))
        assert write(path) == 5
        living.communicate(b"\n")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_chunk_is_not_taken(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "one" / f"demo{ending}"
    temporary, _ = interrupt(path)
    victim = max([temporary, *temporary.rglob("*")], key=lambda each: each.stat().st_size if each.is_file() else 0)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    assert write(path) == 4
    write(tmp_path / "other" / f"demo{ending}")
    assert whole(tmp_path / "one") == whole(tmp_path / "other")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("size", [0, 1 << 20])
def test_a_temporary_that_shrank_or_grew_becomes_the_same_dataset(tmp_path: Path, ending: str, size: int) -> None:
    path = tmp_path / "one" / f"demo{ending}"
    temporary, _ = interrupt(path)
    for file in [temporary, *temporary.rglob("*")]:
        if file.is_file():
            os.truncate(file, size)
    assert write(path) == (5 if size else 0)
    write(tmp_path / "other" / f"demo{ending}")
    assert whole(tmp_path / "one") == whole(tmp_path / "other")


@pytest.mark.parametrize("damage", ["flipped", "cut", "foreign", "writable by others", "a link", "gone"])
def test_a_ledger_is_believed_only_up_to_the_first_damage_and_only_of_this_user(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "one" / "demo.h5"
    temporary, ledger = interrupt(path)
    data = bytearray(ledger.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
        ledger.write_bytes(data)
    elif damage == "cut":
        ledger.write_bytes(data[: len(data) // 2])
    elif damage == "foreign":
        ledger.write_bytes(b"something else")
    elif damage == "writable by others":
        ledger.chmod(0o666)
    else:
        elsewhere = ledger.rename(tmp_path / "elsewhere")
        if damage == "a link":
            ledger.symlink_to(elsewhere)
        # without a ledger a dead process is known by its number
        dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        for left in path.parent.iterdir():
            left.rename(left.with_name(left.name.replace(f".{os.getpid()}.", f".{int(dead.stdout)}.")))
    taken = write(path)
    assert (0 < taken < 5) if damage in ("flipped", "cut") else taken == 0
    if damage == "writable by others":
        assert temporary.exists()  # its process lives, as far as its number tells
        return
    write(tmp_path / "other" / "demo.h5")
    assert whole(tmp_path / "one") == whole(tmp_path / "other")


def test_no_byte_of_a_ledger_can_change_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "demo.h5"
    write(path, "gzip")
    expected = DIGESTS[path.name, "gzip"][-1]
    for number in range(40, 190, 5):
        path.unlink()
        _, ledger = interrupt(path, "gzip", units=1)
        data = bytearray(ledger.read_bytes())
        data[number] ^= 1
        ledger.write_bytes(data)
        assert write(path, "gzip") == 0
        assert DIGESTS[path.name, "gzip"][-1] == expected


def test_a_ledger_that_was_cut_short_is_written_on(tmp_path: Path) -> None:
    path = tmp_path / "demo.h5"
    _, ledger = interrupt(path, units=2)
    os.truncate(ledger, ledger.stat().st_size - 7)
    interrupt(path, units=6)
    assert write(path) == 6


def test_a_ledger_is_locked_before_anybody_else_can_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real, nested = tmp_path / "demo.h5", fcntl.flock, []

    def flock(*arguments: Any) -> None:
        if not nested:
            nested.append(True)
            (mine,) = tmp_path.glob("*.tmp")
            assert write(path) == 0
            assert mine.exists()
        real(*arguments)

    monkeypatch.setattr(fcntl, "flock", flock)
    write(path)
    assert nested


def test_a_ledger_without_its_temporary_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "demo.h5"
    interrupt(path)[0].unlink()
    assert write(path) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("refused", ["flock", "ledger"])
def test_where_no_ledger_can_be_kept_the_dataset_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path = tmp_path / "demo.h5"
    monkeypatch.setattr("prep.formats.ledger." + ("fcntl.flock" if refused == "flock" else "_write"), refuse)
    with pytest.raises(KeyboardInterrupt):
        write(path, units=5)
    assert list(tmp_path.iterdir()) == []
    write(path)
    assert open_container(path).spec == SPEC


def test_what_is_written_over_before_its_turn_does_not_count_as_there(tmp_path: Path) -> None:
    place = tmp_path / "adopted"
    place.write_bytes(bytes(range(100)))
    with SurvivingFile(place, adopt=True) as file:
        assert file.seek(0, os.SEEK_END) == 0
        data = bytearray(range(40, 60))
        for start, over in ((0, 10), (70, 10), (55, 1)):
            file.seek(start)
            file.write(bytes(over))
        file.announced = Announced(memoryview(data), 40)
        file.seek(40)
        file.write(data)
        assert file.announced.written == 40
    assert place.read_bytes()[40:60] == bytes(range(40, 60))


def test_an_adopted_file_reads_as_empty(tmp_path: Path) -> None:
    place = tmp_path / "adopted"
    place.write_bytes(b"x" * 100)
    with SurvivingFile(place, adopt=True) as file:
        file.write(b"y" * 10)
        file.seek(5)
        assert file.read(10) == b"y" * 5 + bytes(5)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_writer_that_can_be_resumed_writes_what_another_writes(tmp_path: Path, ending: str) -> None:
    write_demo(tmp_path / "one" / f"demo{ending}", SPEC, arrays=ARRAYS)
    write(tmp_path / "other" / f"demo{ending}")
    one, other = (open_container(tmp_path / name / f"demo{ending}") for name in ("one", "other"))
    assert (one.spec, one.size) == (other.spec, other.size)
    assert [entry.name for entry in (tmp_path / "other").iterdir()] == [f"demo{ending}"]
