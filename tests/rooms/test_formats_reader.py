"""Chunks are read as they lie on disk, by any number of threads, and damage is refused before it costs memory."""

from __future__ import annotations

import gzip
import os
import pickle
import subprocess
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numcodecs
import numpy as np
import pytest

from prep.blocks import ChunkKey, DatasetSpec, FieldSpec
from prep.errors import IntegrityError, UsageError
from prep.formats import Container
from prep.formats.codecs import decode
from prep.formats.reader import ChunkReader
from prep.kernels.scratch import Scratch
from tests.rooms.formats_demo import write_demo

ENDINGS = (".h5", ".zarr")
WIDE = FieldSpec("wide", np.dtype("f4"), ("sample", "x"), (1 << 18,), "input")
FLAGS = FieldSpec("flags", np.dtype("?"), ("sample", "x"), (1 << 18,), "mask")
SPEC = DatasetSpec("wide", (WIDE, FLAGS), {"train": (0, 9)})
ROWS = np.arange(9 << 18, dtype="f4").reshape(9, 1 << 18)


def wide(path: Path, compression: str = "none") -> Container:
    """Nine rows of 1 MiB, in chunks of four."""
    return write_demo(path, SPEC, compression, {"wide": ROWS, "flags": ROWS % 3 == 0})


def place_of(container: Container, key: ChunkKey) -> tuple[Path, int, int]:
    layout = container.layouts[key.field]
    file = container.path / layout.file_of(key.index)
    return file, int(layout.offsets[key.index]), int(layout.sizes[key.index])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_rows_come_from_one_chunk_or_several(tmp_path: Path, ending: str, compression: str) -> None:
    container = wide(tmp_path / f"wide{ending}", compression)
    with ChunkReader(container.path, container.layouts) as reader:
        for start, stop in ((0, 9), (0, 0), (9, 9), (1, 3), (3, 9), (4, 8), (8, 9)):
            rows = reader.rows("wide", start, stop)
            np.testing.assert_array_equal(rows, ROWS[start:stop])
            assert not rows.flags.writeable
        for wrong in ((-1, 2), (3, 2), (0, 10)):
            with pytest.raises(UsageError):
                reader.rows("wide", *wrong)
        with pytest.raises(UsageError):
            reader.stored(ChunkKey("wide", 3))
        with pytest.raises(UsageError):
            reader.rows("narrow", 0, 1)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_plain_chunk_is_decoded_without_a_copy_and_into_a_buffer_that_is_reused(tmp_path: Path, ending: str) -> None:
    container = wide(tmp_path / f"wide{ending}")
    with ChunkReader(container.path, container.layouts) as reader:
        buffer = np.empty(container.layouts["wide"].chunk_bytes + 10, np.uint8)
        for index in range(3):
            stored = reader.stored(ChunkKey("wide", index), buffer)
            rows = reader.decode(ChunkKey("wide", index), stored)
            assert np.shares_memory(rows, buffer)
            np.testing.assert_array_equal(rows, ROWS[4 * index : 4 * index + 4])
        with pytest.raises(UsageError, match="buffer is smaller"):
            reader.stored(ChunkKey("wide", 0), bytearray(10))


@pytest.mark.parametrize("ending", ENDINGS)
def test_stored_bytes_are_exactly_those_on_disk(tmp_path: Path, ending: str) -> None:
    container = wide(tmp_path / f"wide{ending}", "gzip")
    with ChunkReader(container.path, container.layouts) as reader:
        for index in range(3):
            file, offset, size = place_of(container, ChunkKey("wide", index))
            assert reader.stored(ChunkKey("wide", index)) == file.read_bytes()[offset : offset + size]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "blosc"])
def test_chunks_are_read_into_an_array_that_is_offered(tmp_path: Path, ending: str, compression: str) -> None:
    container = wide(tmp_path / f"wide{ending}", compression)
    scratch = Scratch()
    with ChunkReader(container.path, container.layouts) as reader:
        for key in (*(ChunkKey("wide", index) for index in range(3)), ChunkKey("flags", 0)):
            layout = container.layouts[key.field]
            start, stop = layout.row_range(key.index)
            whole = np.full((11, 1 << 18), 7, layout.spec.dtype)
            out = whole[1 : 1 + stop - start]
            stored = reader.fill(key, out, scratch).data
            assert stored == reader.stored(key) == reader.fill(key, out.copy()).data
            np.testing.assert_array_equal(out, (ROWS if key.field == "wide" else ROWS % 3 == 0)[start:stop])
            assert (whole[0] == whole.dtype.type(7)).all()
            assert (whole[1 + stop - start :] == whole.dtype.type(7)).all()
            assert np.shares_memory(stored, out) == (compression == "none" and stop - start == layout.chunk_rows)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", ["none", "zstd", "blosc"])
def test_reading_into_an_array_takes_no_memory_for_each_chunk(tmp_path: Path, ending: str, compression: str) -> None:
    container = wide(tmp_path / f"wide{ending}", compression)
    out, scratch = np.empty((4, 1 << 18), "f4"), Scratch()
    with ChunkReader(container.path, container.layouts) as reader:
        reader.fill(ChunkKey("wide", 0), out, scratch)
        scratch.take(4 << 20)  # the largest stored size of these chunks
        tracemalloc.start()
        for index in (1, 0, 1):
            reader.fill(ChunkKey("wide", index), out, scratch)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    np.testing.assert_array_equal(out, ROWS[4:8])
    assert peak < 100_000


@pytest.mark.parametrize(
    "out",
    [
        np.empty((3, 1 << 18), "f4"),
        np.empty((4, 1 << 18), "f8"),
        np.empty((4, 1 << 18), ">f4"),
        np.empty((1 << 18, 4), "f4").T,
        np.broadcast_to(np.float32(0), (4, 1 << 18)),
    ],
)
def test_an_array_that_does_not_take_a_chunk_is_a_mistake_of_the_caller(tmp_path: Path, out: np.ndarray) -> None:
    container = wide(tmp_path / "wide.h5")
    with (
        ChunkReader(container.path, container.layouts) as reader,
        pytest.raises(UsageError, match="takes the valid rows"),
    ):
        reader.fill(ChunkKey("wide", 0), out)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("index", [1, 2])
def test_damage_is_refused_also_where_an_array_is_offered(
    tmp_path: Path, ending: str, compression: str, index: int
) -> None:
    container = wide(tmp_path / f"wide{ending}", compression)
    with ChunkReader(container.path, container.layouts) as reader:
        file, offset, _ = place_of(container, ChunkKey("flags", 0))
        with file.open("r+b") as opened:
            opened.seek(offset + 4)
            opened.write(bytes([255]))
        with pytest.raises(IntegrityError, match=r"truth values|decode"):
            reader.fill(ChunkKey("flags", 0), np.empty((9, 1 << 18), bool), Scratch())
        file, offset, size = place_of(container, ChunkKey("wide", index))
        os.truncate(file, offset + size - 1)
        with pytest.raises(IntegrityError, match="truncated"):
            reader.fill(ChunkKey("wide", index), np.empty((4 if index == 1 else 1, 1 << 18), "f4"), Scratch())


@pytest.mark.parametrize("ending", ENDINGS)
def test_threads_share_a_reader_that_fills_their_arrays(tmp_path: Path, ending: str) -> None:
    container = wide(tmp_path / f"wide{ending}", "blosc")

    def read(number: int) -> np.ndarray:
        out, scratch = np.empty((4, 1 << 18), "f4"), Scratch()
        for index in (number % 2, 1 - number % 2, number % 2):
            reader.fill(ChunkKey("wide", index), out, scratch)
        return out

    with ChunkReader(container.path, container.layouts) as reader, ThreadPoolExecutor(8) as pool:
        for number, rows in enumerate(pool.map(read, range(16))):
            np.testing.assert_array_equal(rows, ROWS[4 * (number % 2) : 4 * (number % 2) + 4])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_reader_goes_to_another_process(tmp_path: Path, ending: str) -> None:
    container = wide(tmp_path / f"wide{ending}", "zstd")
    code = (
        "import pickle, sys\n"
        "container, reader = pickle.load(sys.stdin.buffer)\n"
        "with reader: print(reader.rows('wide', 3, 9).sum(dtype='f8'), container.spec.rows, len(container.metadata))"
    )
    with ChunkReader(container.path, container.layouts) as reader:
        sent = pickle.dumps((container, reader))
        np.testing.assert_array_equal(reader.rows("wide", 0, 1), ROWS[:1])
    ended = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert ended.stdout.decode().split() == [str(ROWS[3:].sum(dtype="f8")), "9", str(len(container.metadata))]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_reader_that_was_sent_away_does_not_open_what_replaced_its_dataset(tmp_path: Path, ending: str) -> None:
    container = wide(tmp_path / f"wide{ending}")
    with ChunkReader(container.path, container.layouts) as reader:
        sent = pickle.dumps(reader)
        container.path.rename(tmp_path / "away")
        wide(container.path)
        with pytest.raises(IntegrityError, match="replaced"):
            pickle.loads(sent)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_the_system_is_told_which_bytes_come_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, compression: str
) -> None:
    container = wide(tmp_path / f"wide{ending}", compression)
    keys = [ChunkKey("wide", index) for index in range(3)]
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, size, advice: told.append((start, size)))
    with ChunkReader(container.path, container.layouts) as reader:
        reader.expect(keys)
        in_memory, told[:] = list(told), []
        monkeypatch.setattr("prep.formats.files.in_memory", lambda *_: False)
        reader.expect(keys)
        places = [place_of(container, key) for key in keys]
        ends = [place + size for _, place, size in places]
        gaps = sum(end != place for end, (_, place, _) in zip(ends, places[1:], strict=False))
        assert in_memory in ([], told)  # just written, but not every system says so
        assert len(told) == 1 + gaps
        assert sum(size for _, size in told) == sum(size for _, _, size in places)
        assert told[0][0] == places[0][1]
        reader.expect([])
        container.path.rename(tmp_path / "away")
        monkeypatch.delattr(os, "posix_fadvise")
        reader.expect(keys)


def test_advice_about_a_missing_chunk_is_no_error(tmp_path: Path) -> None:
    container = wide(tmp_path / "wide.zarr")
    file, _, _ = place_of(container, ChunkKey("wide", 1))
    file.unlink()
    with ChunkReader(container.path, container.layouts) as reader:
        reader.expect([ChunkKey("wide", 1)])
        with pytest.raises(IntegrityError, match="missing"):
            reader.stored(ChunkKey("wide", 1))


@pytest.mark.parametrize("ending", ENDINGS)
def test_threads_share_a_reader(tmp_path: Path, ending: str) -> None:
    container = wide(tmp_path / f"wide{ending}", "blosc")
    with ChunkReader(container.path, container.layouts) as reader, ThreadPoolExecutor(8) as pool:
        several = pool.map(lambda row: reader.rows("wide", row % 9, row % 9 + 1), range(40))
        for row, read in enumerate(several):
            np.testing.assert_array_equal(read, ROWS[row % 9 : row % 9 + 1])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_reader_stays_with_the_dataset_it_opened(tmp_path: Path, ending: str) -> None:
    container = wide(tmp_path / f"wide{ending}")
    with ChunkReader(container.path, container.layouts) as reader:
        container.path.rename(tmp_path / "away")
        write_demo(container.path, SPEC, arrays={"wide": ROWS + 1, "flags": ROWS > 0})
        np.testing.assert_array_equal(reader.rows("wide", 0, 1), ROWS[:1])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_chunk_cut_short_after_opening_is_refused(tmp_path: Path, ending: str, cut: int) -> None:
    container = wide(tmp_path / f"wide{ending}")
    key = ChunkKey("wide", 1)
    file, offset, size = place_of(container, key)
    with ChunkReader(container.path, container.layouts) as reader:
        os.truncate(file, offset + size * cut // 101)
        with pytest.raises(IntegrityError, match="truncated") as caught:
            reader.stored(key)
    assert (caught.value.where.field, caught.value.where.chunk) == ("wide", 1)


@pytest.mark.parametrize("kind", ["missing", "link", "fifo", "folder"])
def test_a_chunk_file_that_became_something_else_is_refused(tmp_path: Path, kind: str) -> None:
    container = wide(tmp_path / "wide.zarr")
    file, _, _ = place_of(container, ChunkKey("wide", 1))
    file.rename(tmp_path / "kept")
    if kind == "link":
        file.symlink_to(tmp_path / "kept")
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    with ChunkReader(container.path, container.layouts) as reader, pytest.raises(IntegrityError):
        reader.stored(ChunkKey("wide", 1))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "blosc"])
def test_bytes_that_do_not_decode_to_one_chunk_are_refused(tmp_path: Path, ending: str, compression: str) -> None:
    container = wide(tmp_path / f"wide{ending}", compression)
    key = ChunkKey("wide", 1)
    with ChunkReader(container.path, container.layouts) as reader:
        stored = bytes(reader.stored(key))
        for damaged in (b"", stored[:-1], stored + b"\0", stored[: len(stored) // 2], bytes(100), stored + stored):
            with pytest.raises(IntegrityError) as caught:
                reader.decode(key, damaged)
            assert caught.value.exit_code == 3


def test_truth_values_other_than_0_and_1_are_refused(tmp_path: Path) -> None:
    container = wide(tmp_path / "wide.h5")
    key = ChunkKey("flags", 0)
    with ChunkReader(container.path, container.layouts) as reader:
        stored = bytearray(reader.stored(key))
        stored[17] = 2
        with pytest.raises(IntegrityError, match="truth values"):
            reader.decode(key, stored)


@pytest.mark.parametrize("codec", ["zlib", "gzip", "zstd", "blosc"])
def test_a_bomb_is_refused_without_unpacking_it(codec: str) -> None:
    bomb, claimed = np.zeros(100 << 20, np.uint8), 1000
    packed = {
        "zlib": lambda: zlib.compress(bomb),
        "gzip": lambda: gzip.compress(bomb),
        "zstd": lambda: numcodecs.Zstd().encode(bomb),
        "blosc": lambda: numcodecs.Blosc().encode(bomb),
    }[codec]()
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bytes instead of|does not end"):
        decode(({"id": codec, "level": 1},), packed, claimed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * claimed + (1 << 20)


def test_an_encoding_shorter_than_a_chunk_does_not_show_old_memory() -> None:
    for codec, packed in (("zstd", numcodecs.Zstd().encode(b"x" * 10)), ("blosc", numcodecs.Blosc().encode(b"x" * 10))):
        with pytest.raises(ValueError, match="10 bytes instead of 1000"):
            decode(({"id": codec},), packed, 1000)


def test_a_zstd_frame_that_hides_its_size_is_refused() -> None:
    for head in (b"\x28\xb5\x2f\xfd\x00\x58", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18\x00\x00\x00\x00"):
        with pytest.raises(ValueError, match="zstd"):
            decode(({"id": "zstd"},), head + bytes(20) if len(head) > 4 else head, 1000)


def test_layouts_of_another_dataset_do_not_open_doors(tmp_path: Path) -> None:
    container = wide(tmp_path / "wide.zarr")
    layouts = {"wide": replace(container.layouts["wide"], template="nowhere/{index}")}
    with ChunkReader(container.path, layouts) as reader, pytest.raises(IntegrityError, match="missing"):
        reader.stored(ChunkKey("wide", 0))
