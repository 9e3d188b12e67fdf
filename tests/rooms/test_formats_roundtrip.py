"""What is written comes back, in both formats and for other readers: values, attributes, every byte accounted for."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.blocks import ChunkKey, DatasetSpec, FieldSpec
from prep.errors import SchemaError, UsageError
from prep.formats import FORMATS, Container, create, format_of, open_container
from prep.formats.codecs import COMPRESSIONS, codecs_of, encoder
from prep.formats.reader import ChunkReader
from tests.rooms.formats_demo import (
    CONSTANTS,
    FIELDS,
    SCENE,
    demo_arrays,
    demo_spec,
    random_array,
    write_demo,
)

ENDINGS = (".h5", ".zarr")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True).filter(lambda name: name.lower() != "prep")
DTYPES = ("?", "u1", "i2", "i8", "u4", "f2", "f4", "f8", "c8", "c16")
# Rows so wide that a chunk holds 1, 2 or 4 of them, and narrow ones.
SHAPES = ((), (3,), (2, 2), (1 << 18,), (3, 1 << 17))


def covered_once(container: Container) -> bool:
    """Whether chunks and metadata together are every byte of every file, once."""
    ranges = [(part.path, part.offset, part.size) for part in container.metadata]
    for layout in container.layouts.values():
        ranges += [
            (layout.file_of(index), int(layout.offsets[index]), int(layout.sizes[index]))
            for index in range(layout.chunks)
        ]
    end: dict[str, int] = {}
    for path, offset, size in sorted(ranges):
        if offset != end.get(path, 0):
            return False
        end[path] = offset + size
    files = [file for file in container.path.rglob("*") if file.is_file()] or [container.path]
    sizes = {str(file.relative_to(container.path)).replace(".", "", file == container.path): file for file in files}
    return end == {name: file.stat().st_size for name, file in sizes.items()} and sum(end.values()) == container.size


@st.composite
def datasets(draw: st.DrawFn) -> DatasetSpec:
    """Specs with fields of any dtype and shape, texts of any kind, and few enough rows."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower))
    fields = []
    for name in names:
        shape = draw(st.sampled_from(SHAPES))
        dtype = np.dtype(draw(st.sampled_from(DTYPES)) if np.prod(shape) < 1 << 18 else "f4")
        dims = ("sample", *(f"d{place}_{size}" for place, size in enumerate(shape)))
        fields.append(
            FieldSpec(
                name,
                dtype,
                dims,
                shape,
                draw(st.sampled_from(["input", "target", "mask", "id", "aux", "split"])),
                units=draw(TEXT),
                long_name=draw(TEXT),
                mask=draw(st.sampled_from(["", *names])),
                features=dims[1 : draw(st.integers(1, len(dims)))],
                transform=draw(TEXT),
                transform_state=draw(st.sampled_from(["raw", "normalized"])),
            )
        )
    rows = draw(st.integers(0, 9))
    cut = draw(st.integers(0, rows))
    own = {"name", "version", "Conventions", "prep_format", "splits", "prep_fields", "prep_constants"}
    texts = st.dictionaries(TEXT.filter(lambda key: key and key not in own), TEXT, max_size=3)
    return DatasetSpec(
        draw(TEXT),
        tuple(fields),
        {"train": (0, cut), "test": (cut, rows)},
        version=draw(TEXT),
        attributes=draw(texts),
        documents=draw(texts),
    )


@pytest.mark.parametrize("ending", ENDINGS)
@given(spec=datasets(), compression=st.sampled_from(COMPRESSIONS), seed=st.integers(0, 99), step=st.integers(1, 4))
@settings(max_examples=25)
def test_any_dataset_comes_back_exactly(ending: str, spec: DatasetSpec, compression: str, seed: int, step: int) -> None:
    arrays = demo_arrays(spec, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"any{ending}"
        with create(path, spec, compression) as writer:
            for start in range(0, spec.rows, step):
                for name, array in arrays.items():
                    writer.write(name, array[start : start + step])
            written = writer.commit(spec)
        container = open_container(path)
        assert container.spec == written.spec == spec
        assert list(container.layouts) == [field.name for field in spec.fields]
        assert covered_once(container)
        with ChunkReader(path, container.layouts) as reader:
            for name, array in arrays.items():
                np.testing.assert_array_equal(reader.rows(name, 0, spec.rows), array)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("rows", [0, 1, 10, 3000])
def test_xarray_reads_fields_constants_and_dimension_names(
    tmp_path: Path, ending: str, compression: str, rows: int
) -> None:
    spec = demo_spec(rows)
    path = tmp_path / f"demo{ending}"
    arrays = demo_arrays(spec)
    write_demo(path, spec, compression, arrays)
    opened = (
        xarray.open_dataset(path, engine="h5netcdf") if ending == ".h5" else xarray.open_zarr(path, consolidated=False)
    )
    with opened as dataset:
        for field in FIELDS:
            assert dataset[field.name].dims == field.dims
            assert dataset[field.name].dtype == field.dtype
            np.testing.assert_array_equal(dataset[field.name].values, arrays[field.name])
        np.testing.assert_array_equal(dataset["scene"].values, CONSTANTS["scene"])
        assert dataset["scene"].dims == SCENE.dims
        assert "time" in dataset.coords
        assert set(dataset.variables) == {field.name for field in (*spec.fields, *spec.constants)}
        assert (dataset["states"].attrs["units"], dataset["episode"].attrs["units"]) == ("m", "1")
        assert dataset["split"].attrs["flag_meanings"] == "train val test"
        assert list(dataset["split"].attrs["flag_values"]) == [0, 1, 2]
        assert dataset.attrs["Conventions"] == "CF-1.11"
        assert dataset.attrs["prep_format"] == "1"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_h5py_and_zarr_decode_what_we_encode(tmp_path: Path, compression: str) -> None:
    spec = demo_spec(1000)
    arrays = demo_arrays(spec)
    for ending in ENDINGS:
        write_demo(tmp_path / f"demo{ending}", spec, compression, arrays)
    group = zarr.open_group(tmp_path / "demo.zarr", mode="r")
    with h5py.File(tmp_path / "demo.h5") as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name][...], array)
            np.testing.assert_array_equal(group[name][...], array)
        assert file["prep"].attrs["recipe"].decode() == group["prep"].attrs["recipe"] == spec.documents["recipe"]


def test_the_hdf5_structure_is_one_that_older_libraries_read_too(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo.h5", compression="gzip")
    with h5py.File(tmp_path / "demo.h5") as file:
        # HDF5 1.10 to 1.14 know datatypes up to version 3 or 4 (upper half of the third byte); HDF5 2.0 can write 5
        versions = {name: file[name].id.get_type().encode()[2] >> 4 for name in ("states", "matrix", "state_mask")}
    assert max(versions.values()) <= 3


def test_h5netcdf_reads_texts_of_any_length_as_texts(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo.h5", demo_spec(attributes={"empty": "", "short": "é"}))
    with h5netcdf.File(tmp_path / "demo.h5") as file:
        assert file.variables["episode"].attrs["units"] == "1"
        assert (file.attrs["short"], file.attrs["empty"], file.attrs["prep_format"]) == ("é", "", "1")


@pytest.mark.parametrize("ending", ENDINGS)
def test_documents_of_several_megabytes_are_kept(tmp_path: Path, ending: str) -> None:
    documents = {"statistics": "é" * 3_000_000, "schema": "x" * 1_000_000, "empty": ""}
    container = write_demo(tmp_path / f"demo{ending}", demo_spec(documents=documents))
    assert container.spec.documents == documents
    assert open_container(container.path).spec.documents == documents


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_same_data_give_the_same_bytes(tmp_path: Path, ending: str, compression: str) -> None:
    spec = demo_spec(20_000)
    first = write_demo(tmp_path / "a" / f"demo{ending}", spec, compression).path
    time.sleep(1.05 if compression == "gzip" else 0)  # gzip can carry the second of writing
    second = write_demo(tmp_path / "b" / f"demo{ending}", spec, compression).path
    files = [file for file in first.rglob("*") if file.is_file()] or [first]
    for file in files:
        assert file.read_bytes() == (second / file.relative_to(first)).read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_chunks_are_cut_every_power_of_two_rows_and_the_last_is_padded(tmp_path: Path, ending: str) -> None:
    wide = FieldSpec("wide", np.dtype("f4"), ("sample", "x"), (1 << 18,), "input")
    narrow = FieldSpec("narrow", np.dtype("f8"), ("sample",), (), "input")
    spec = DatasetSpec("chunks", (wide, narrow), {"train": (0, 9)})
    container = write_demo(tmp_path / f"demo{ending}", spec)
    layout = container.layouts["wide"]
    assert (layout.chunk_rows, layout.chunks, layout.row_range(2)) == (4, 3, (8, 9))
    assert set(layout.sizes.tolist()) == {layout.chunk_bytes}
    # what is shorter than one chunk is one chunk of just its rows
    assert (container.layouts["narrow"].chunk_rows, container.layouts["narrow"].chunks) == (9, 1)
    assert container.size < 4 * layout.chunk_bytes


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_padding_of_the_last_chunk_is_zeros_however_the_rows_came(tmp_path: Path, ending: str) -> None:
    spec = DatasetSpec(
        "pad", (FieldSpec("x", np.dtype("f4"), ("sample", "i"), (1 << 18,), "input"),), {"train": (0, 9)}
    )
    with create(tmp_path / f"pad{ending}", spec) as writer:
        for row in range(9):
            writer.write("x", np.full((1, 1 << 18), row + 1, "f4"))
        container = writer.commit(spec)
    with ChunkReader(container.path, container.layouts) as reader:
        last = np.frombuffer(reader.stored(ChunkKey("x", 2)), "f4").reshape(4, -1)
    assert np.unique(last[0]).tolist() == [9.0]
    assert not last[1:].any()


def test_blosc_gives_the_same_bytes_however_its_threads_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numcodecs.blosc.use_threads", True)  # importing zarr turns them off
    noise = np.random.default_rng(0).normal(size=1 << 22)
    array = np.where(np.arange(1 << 22) // 40_960 % 2, noise, 1).astype("f4")  # blocks of unequal effort
    encode = encoder(codecs_of("blosc"))
    assert len({bytes(encode(array)) for _ in range(10)}) == 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_chunk_of_nothing_but_zeros_is_stored_all_the_same(tmp_path: Path, ending: str) -> None:
    spec = demo_spec(10)
    zeros = {field.name: np.zeros((10, *field.shape), field.dtype) for field in spec.fields}
    container = write_demo(tmp_path / f"demo{ending}", spec, arrays=zeros)
    assert all(layout.chunks == 1 for layout in container.layouts.values())


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_spec_may_change_its_attributes_until_commit(tmp_path: Path, ending: str) -> None:
    raw = demo_spec(constants=())
    final = replace(
        raw,
        version="2.0.0",
        fields=tuple(replace(field, transform_state="normalized", units="2") for field in raw.fields),
        documents={"transforms": "[]"},
    )
    with create(tmp_path / f"demo{ending}", replace(raw, splits={})) as writer:
        for name, array in demo_arrays(raw).items():
            writer.write(name, array)
        assert writer.commit(final).spec == final


@pytest.mark.parametrize("ending", ENDINGS)
def test_committing_something_else_than_was_written_is_refused_and_leaves_nothing(tmp_path: Path, ending: str) -> None:
    spec = demo_spec(constants=())
    wrong = {
        "rows": replace(spec, splits={"train": (0, 11)}),
        "gap": replace(spec, splits={"train": (0, 4), "test": (5, 10)}),
        "constant": replace(spec, constants=(SCENE,)),
        "field": replace(spec, fields=spec.fields[1:]),
        "dtype": replace(spec, fields=(replace(spec.fields[0], dtype=np.dtype("f8")), *spec.fields[1:])),
    }
    for case, other in wrong.items():
        with create(tmp_path / f"demo{ending}", spec) as writer:
            for name, array in demo_arrays(spec).items():
                writer.write(name, array)
            with pytest.raises(UsageError):
                writer.commit(other)
        assert list(tmp_path.iterdir()) == [], case


@pytest.mark.parametrize("array", [np.zeros((2, 5, 3)), np.zeros((2, 5, 2), "f4"), np.float32(0)])
def test_rows_of_another_dtype_or_shape_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with create(tmp_path / "demo.h5", demo_spec()) as writer, pytest.raises(UsageError, match="shape and dtype"):
        writer.write("states", array)


def test_big_endian_rows_are_stored_little_endian(tmp_path: Path) -> None:
    spec = DatasetSpec("big", (FieldSpec("x", np.dtype(">f8"), ("sample",), (), "input"),), {"train": (0, 3)})
    container = write_demo(tmp_path / "big.h5", spec, arrays={"x": np.arange(3, dtype=">f8")})
    with ChunkReader(container.path, container.layouts) as reader:
        np.testing.assert_array_equal(reader.rows("x", 0, 3), [0.0, 1.0, 2.0])


def _with(**changes: object) -> DatasetSpec:
    return replace(demo_spec(), fields=(replace(FIELDS[0], **changes), *FIELDS[1:]))


@pytest.mark.parametrize(
    "spec",
    [
        _with(name="../x"),
        _with(name="prep"),
        _with(name="a b"),
        _with(name="SPLIT"),
        _with(name="time"),
        _with(dims=("sample", "time", "time"), shape=(5, 5)),
        _with(dims=("sample", "time", "row"), shape=(5, 3)),
        _with(shape=(5, 0)),
        _with(units="\0"),
        _with(long_name="\ud800"),
        _with(dtype=np.dtype("g")),
        _with(mask="no such name"),
        _with(transform_state="half"),
        replace(demo_spec(), attributes={"splits": "mine"}),
        replace(demo_spec(), documents={"": "nameless"}),
    ],
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_spec_that_not_every_reader_would_read_the_same_is_refused(
    tmp_path: Path, ending: str, spec: DatasetSpec
) -> None:
    with pytest.raises(SchemaError) as caught:
        create(tmp_path / f"demo{ending}", spec)
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_names_of_formats_and_compressions_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    for name, compression in (("demo.csv", "none"), ("demo.h5", "lzma"), ("demo.zarr", "lzma")):
        with pytest.raises(UsageError):
            create(tmp_path / name, demo_spec(), compression)
    assert list(tmp_path.iterdir()) == []


def test_without_hdf5plugin_the_error_names_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(UsageError) as caught:
        create(tmp_path / "demo.h5", demo_spec(), "zstd")
    assert "pip install 'prep-certified[codecs]'" in caught.value.remedy


def test_a_format_is_known_by_ending_before_and_by_content_after(tmp_path: Path) -> None:
    assert (format_of(tmp_path / "a.h5"), format_of(tmp_path / "a.zarr")) == ("hdf5", "zarr")
    write_demo(tmp_path / "a.h5").path.rename(tmp_path / "odd.zarr")
    assert format_of(tmp_path / "odd.zarr") == "hdf5"
    assert set(FORMATS) >= {"hdf5", "zarr"}


def test_importing_the_room_loads_no_container_library() -> None:
    code = (
        "import sys, prep.formats, prep.formats.commit, prep.formats.layout\n"
        "print({'h5py', 'zarr', 'numcodecs', 'xarray'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


def test_random_arrays_of_the_tests_reach_every_bit() -> None:
    field = FieldSpec("x", np.dtype("i8"), ("sample",), (), "aux")
    assert np.abs(random_array(np.random.default_rng(0), 100, field)).max() > 1 << 60
