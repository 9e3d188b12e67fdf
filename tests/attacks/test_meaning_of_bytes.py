"""Bytes left as they are and given another meaning or place: missing chunks, fill values, types, order, attributes."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import google_crc32c
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from prep.blocks import ChunkKey
from prep.certificate.tree import logical_root
from prep.errors import IntegrityError
from tests.attacks.outcomes import refused_when_certified, refused_when_used
from tests.attacks.tiny import Tiny, admitted, edit_json, overwrite, replace_dataset, stored_chunks


def plain(path: Path, name: str) -> np.ndarray:
    """What the plain library reads, h5py or zarr-python."""
    if path.is_file():
        with h5py.File(path) as file:
            return file[name][...]
    return zarr.open_group(path, mode="r")[name][...]


def shard_index(tiny: Tiny, field: str) -> tuple[Path, int, np.ndarray]:
    """The shard of a field, where its index lies, and the index as (chunks, 2) of offset and size."""
    file, _, _ = tiny.file_of(field)
    each = tiny.contents.layouts[field].chunks_per_file
    data = file.read_bytes()
    place = len(data) - 16 * each - 4
    return file, place, np.frombuffer(data, "<u8", 2 * each, place).reshape(each, 2).copy()


def write_index(file: Path, place: int, table: np.ndarray) -> None:
    """The index again, with a right checksum."""
    data = table.tobytes()
    overwrite(file, place, data + struct.pack("<I", google_crc32c.value(data)))


def test_a_missing_chunk_of_an_hdf5_file_does_not_read_as_zeros(hdf5: Tiny):
    """Row 5."""
    chunks, shape = stored_chunks(hdf5.path, "inputs"), hdf5.values["inputs"].shape
    gzip = {"compression": "gzip", "compression_opts": 4, "shuffle": True} if "gzip" in str(hdf5.folder) else {}
    replace_dataset(hdf5.path, "inputs", chunks=(16, 8), maxshape=(None, *shape[1:]), stored=chunks[:3], **gzip)
    np.testing.assert_array_equal(plain(hdf5.path, "inputs")[:48], hdf5.values["inputs"][:48])
    assert not plain(hdf5.path, "inputs")[48:].any()

    refused_when_used(hdf5)
    refused_when_certified(hdf5, "chunk is missing")


def test_a_missing_chunk_file_of_a_zarr_does_not_read_as_zeros(make):
    """Row 5."""
    tiny = make("zarr-files")
    file, _, _ = tiny.file_of("inputs", 2)
    file.unlink()
    assert not plain(tiny.path, "inputs")[32:48].any()

    error = refused_when_used(tiny, "gone", "missing")
    assert (error.where.field, error.where.chunk) == ("inputs", 2)
    refused_when_certified(tiny, "chunk is missing", certify="gone")


def test_a_chunk_struck_from_the_index_of_a_shard_does_not_read_as_zeros(make):
    """Row 5: the checksum of the index is right."""
    tiny = make("zarr")
    file, place, table = shard_index(tiny, "inputs")
    table[2] = 2**64 - 1
    write_index(file, place, table)
    assert not plain(tiny.path, "inputs")[32:48].any()

    refused_when_used(tiny)
    refused_when_certified(tiny, "chunk is missing")


def test_another_fill_value_does_not_choose_what_missing_rows_read_as(make):
    """Row 6."""
    tiny = make("zarr-files")
    edit_json(tiny.path / "inputs/zarr.json", lambda node: node.update(fill_value=7.0))
    file, _, _ = tiny.file_of("inputs", 2)
    data = file.read_bytes()
    file.unlink()
    assert (plain(tiny.path, "inputs")[32:48] == 7).all()
    file.write_bytes(data)

    refused_when_used(tiny, "metadata")
    refused_when_certified(tiny, "metadata of a variable")


def test_another_fill_value_of_an_hdf5_field_is_refused(hdf5: Tiny):
    """Row 6."""
    shape = hdf5.values["inputs"].shape
    replace_dataset(hdf5.path, "inputs", chunks=(16, 8), maxshape=(None, *shape[1:]), fillvalue=7.0)
    assert (plain(hdf5.path, "inputs") == 7).all()

    refused_when_used(hdf5)
    with h5py.File(hdf5.path, "r+") as file:
        file["inputs"][...] = hdf5.values["inputs"]
    refused_when_certified(hdf5, "fill value")


ZARR_MEANINGS = {
    "integers": lambda node: node.update(data_type="int32", fill_value=0),
    "big-endian": lambda node: codec_of(node)["configuration"].update(endian="big"),
    "fewer rows": lambda node: node["shape"].__setitem__(0, 80),
}


def codec_of(node: dict) -> dict:
    """The codec that says in which order bytes lie."""
    first = node["codecs"][0]
    return first["configuration"]["codecs"][0] if first["name"] == "sharding_indexed" else first


@pytest.mark.parametrize("meaning", ZARR_MEANINGS)
def test_the_same_bytes_as_another_type_order_or_shape_are_refused_in_zarr(zarr: Tiny, meaning: str):
    """Row 7."""
    edit_json(zarr.path / "inputs/zarr.json", ZARR_MEANINGS[meaning])
    found = plain(zarr.path, "inputs")
    assert found.shape != zarr.values["inputs"].shape or (found != zarr.values["inputs"]).any()

    refused_when_used(zarr, "metadata")
    if meaning == "integers":  # what the schema says of types is a check of the data
        refused_when_certified(zarr, "int32", 1, 3)
    else:
        refused_when_certified(zarr, {"fewer rows": "", "big-endian": "metadata of a variable"}[meaning])


@pytest.mark.parametrize("dtype", ["<i4", ">f4"])
def test_the_same_bytes_as_another_type_are_refused_in_hdf5(make, dtype: str):
    """Row 7."""
    tiny = make("hdf5")
    chunks = stored_chunks(tiny.path, "inputs")
    replace_dataset(tiny.path, "inputs", dtype=dtype, chunks=(16, 8), maxshape=(None, 8), stored=chunks)
    np.testing.assert_array_equal(plain(tiny.path, "inputs"), tiny.values["inputs"].view(dtype))

    refused_when_used(tiny)
    if dtype == "<i4":  # what the schema says of types is a check of the data
        refused_when_certified(tiny, "int32", 1, 3)
    else:
        refused_when_certified(tiny, "little-endian")


def test_a_filter_left_out_so_that_bytes_stay_shuffled_is_refused(make):
    """Row 7: gzip without its shuffle decodes the same stored bytes to other numbers."""
    tiny = make("hdf5-gzip")
    chunks = stored_chunks(tiny.path, "inputs")
    replace_dataset(
        tiny.path, "inputs", chunks=(16, 8), maxshape=(None, 8), compression="gzip", compression_opts=4, stored=chunks
    )
    assert (plain(tiny.path, "inputs") != tiny.values["inputs"]).any()

    refused_when_used(tiny)
    refused_when_certified(tiny, "", 1, 3)  # where a manifest was made to fit, the checks find what the data became


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": np.dtype("<i4")},
        {"shape": (2, 4), "dims": ("sample", "a", "b")},
        {"units": "m"},
        {"role": "aux"},
        {"mask": ""},
        {"transform_state": "raw"},
        {"name": "outputs"},
    ],
    ids=str,
)
def test_what_bytes_mean_is_bound_in_the_root(make, change: dict):
    """Row 7: another meaning of the same digests is another root."""
    tiny = make("hdf5")
    contents = tiny.contents
    layout = contents.layouts["inputs"]
    spec = replace(layout.spec, **change)
    fields = tuple(spec if each.name == "inputs" else each for each in contents.spec.fields)
    layouts, digests = dict(contents.layouts), dict(contents.digests)
    layouts[spec.name], digests[spec.name] = replace(layout, spec=spec), digests["inputs"]

    assert logical_root(contents.spec, contents.layouts, contents.digests) == contents.root
    assert logical_root(contents.spec.with_fields(fields), layouts, digests) != contents.root


def test_two_chunks_swapped_under_their_own_checksums_are_refused_in_hdf5(make, tmp_path: Path):
    """Row 8: Fletcher32 belongs to the bytes of a chunk and says nothing of its place."""
    tiny = make("hdf5")
    values = tiny.values["inputs"]
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(16, 8), fletcher32=True)
    with h5py.File(tmp_path / "plain.h5", "r+") as file:
        first, second = (file["x"].id.read_direct_chunk((row, 0))[1] for row in (0, 16))
        file["x"].id.write_direct_chunk((0, 0), second)
        file["x"].id.write_direct_chunk((16, 0), first)
    with h5py.File(tmp_path / "plain.h5") as file:
        np.testing.assert_array_equal(file["x"][:32], np.roll(values[:32], 16, axis=0))

    swap(tiny, "inputs", 0, 1)
    np.testing.assert_array_equal(plain(tiny.path, "inputs")[:32], np.roll(values[:32], 16, axis=0))
    error = refused_when_used(tiny, "stored bytes changed")
    assert (error.where.field, error.where.chunk) == ("inputs", 0)
    refused_when_certified(tiny, "chunk 0 of field inputs")


def swap(tiny: Tiny, field: str, one: int, other: int) -> None:
    """Exchange two chunks of the same stored size."""
    (file, place, size), (second, offset, same) = tiny.file_of(field, one), tiny.file_of(field, other)
    assert size == same
    data, more = file.read_bytes()[place : place + size], second.read_bytes()[offset : offset + size]
    overwrite(file, place, more)
    overwrite(second, offset, data)


def test_two_chunks_swapped_under_crc32c_are_refused_in_zarr(make, tmp_path: Path):
    """Row 8."""
    tiny = make("zarr-files")
    values = tiny.values["inputs"]
    zarr.create_array(
        tmp_path / "plain.zarr", data=values, chunks=(16, 8), compressors=[zarr.codecs.Crc32cCodec()], zarr_format=3
    )
    first, second = (tmp_path / "plain.zarr/c" / f"{index}/0" for index in (0, 1))
    first.rename(tmp_path / "x")
    second.rename(first)
    (tmp_path / "x").rename(second)
    swapped = zarr.open_array(tmp_path / "plain.zarr", mode="r")[:32]
    np.testing.assert_array_equal(swapped, np.roll(values[:32], 16, axis=0))

    swap(tiny, "inputs", 0, 1)
    np.testing.assert_array_equal(plain(tiny.path, "inputs")[:32], np.roll(values[:32], 16, axis=0))
    error = refused_when_used(tiny, "stored bytes changed")
    assert (error.where.field, error.where.chunk) == ("inputs", 0)
    refused_when_certified(tiny, "chunk 0 of field inputs")


def test_two_chunks_swapped_in_the_index_of_a_shard_are_refused(make):
    """Row 8: the bytes stay where they are, the index says otherwise and its checksum is right."""
    tiny = make("zarr")
    file, place, table = shard_index(tiny, "inputs")
    table[[0, 1]] = table[[1, 0]]
    write_index(file, place, table)
    values = tiny.values["inputs"]
    np.testing.assert_array_equal(plain(tiny.path, "inputs")[:32], np.roll(values[:32], 16, axis=0))

    refused_when_used(tiny)
    refused_when_certified(tiny, "do not follow one another")


def test_chunks_of_two_fields_of_one_type_swapped_are_refused(make):
    """Row 8: a chunk belongs to its field too."""
    tiny = make("hdf5")
    (file, place, size), (_, offset, _) = tiny.file_of("visible"), tiny.file_of("inputs")
    data = file.read_bytes()
    overwrite(file, place, data[offset : offset + size])
    overwrite(file, offset, data[place : place + size])

    assert not np.array_equal(plain(tiny.path, "inputs"), tiny.values["inputs"], equal_nan=True)
    refused_when_used(tiny, "stored bytes changed")


SCALES = {"scale_factor": 100.0, "add_offset": 5.0, "_FillValue": np.float32(0)}


@pytest.mark.parametrize("key", SCALES)
@pytest.mark.parametrize("variant", ["hdf5", "zarr", "zarr-files"])
def test_an_attribute_that_changes_what_xarray_reads_is_refused(make, variant: str, key: str):
    """Row 11."""
    tiny = make(variant)
    value = SCALES[key]
    if variant == "hdf5":
        with h5py.File(tiny.path, "r+") as file:
            file["inputs"].attrs.create(key, value if key == "_FillValue" else np.float64(value))
        opened = xr.open_dataset(tiny.path, engine="h5netcdf")
    else:
        text = "AAAAAAAAAAA=" if key == "_FillValue" else value
        edit_json(tiny.path / "inputs/zarr.json", lambda node: node["attributes"].update({key: text}))
        opened = xr.open_zarr(tiny.path, consolidated=False)
    with opened as dataset:
        assert not np.array_equal(dataset["inputs"].values, tiny.values["inputs"])

    refused_when_used(tiny)
    refused_when_certified(tiny, "no text" if variant == "hdf5" else "attributes")


def test_swapping_bytes_back_makes_the_dataset_good_again(make):
    """The attacks above fail for what they change and for nothing else."""
    tiny = make("hdf5")
    swap(tiny, "inputs", 0, 1)
    with pytest.raises(IntegrityError):
        admitted(tiny).chunk(ChunkKey("inputs", 0))
    swap(tiny, "inputs", 0, 1)
    np.testing.assert_array_equal(admitted(tiny).chunk(ChunkKey("inputs", 0)), tiny.values["inputs"][:16])
    assert json.loads(tiny.lock.read_text())["datasets"]
