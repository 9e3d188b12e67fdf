"""Any HDF5 or Zarr tree: a mapping file says which arrays are fields; flat trees of equal-length arrays need none."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from prep.blocks import Array
from prep.errors import DataError, IntegrityError, PrepError, StorageError, UsageError, Where
from prep.importers import IngestOptions, Opened
from prep.importers.aligned import open_columns
from prep.importers.columns import Column, Source
from prep.importers.hdf5tree import Hdf5Tree, hdf5_errors, looks_like_hdf5
from prep.importers.mapping import parse_mapping
from prep.importers.sources import existing, identify, tree_files

_ENDINGS = (".h5", ".hdf5", ".hdf", ".nc")
_ATTRIBUTES = ("NAME", "units", "unit", "long_name", "scale_factor", "add_offset", "_FillValue", "missing_value")
_BARE_SCALE = "This is a netCDF dimension but not a netCDF variable"


class MappedHdf5:
    """An HDF5 file of arrays with one row a sample, wherever they lie in the tree."""

    name = "hdf5"

    def recognises(self, source: str) -> bool:
        """By signature or ending, but not one group an episode (which is Minari's)."""
        path = Path(source)
        if not looks_like_hdf5(path):
            return path.suffix in _ENDINGS and not path.is_dir()
        try:
            with Hdf5Tree(path) as tree:
                return not tree.has(tree.root, "episode_0")
        except PrepError:
            return True

    def open(self, source: str, options: IngestOptions) -> Opened:
        """Shapes, dtypes and storage of all arrays are checked; values are read later."""
        path = existing(Path(source))
        inputs = identify(path, [path])
        warnings: list[str] = []
        columns = []
        with Hdf5Tree(path) as tree:
            for place, dataset in tree.datasets():
                attributes = tree.attributes(dataset, _ATTRIBUTES)
                if not str(attributes.get("NAME", "")).startswith(_BARE_SCALE):
                    columns.append(_hdf5_column(path, place, dataset, attributes))
            wanted = _wanted(columns, options, path)
            for place in wanted:
                if (found := tree.dataset(place)) is not None:
                    _plain_values(tree.attributes(found, _ATTRIBUTES), path, place, warnings)
                    with hdf5_errors(path, place):
                        stored, fill = _hdf5_chunks(found), found.fillvalue
                    _all_stored(stored, fill, path, place, warnings)
        return open_columns(Source(self.name, str(path), tuple(columns), inputs, tuple(warnings)), options)


class MappedZarr:
    """A Zarr directory (format 2 or 3) of arrays with one row a sample, wherever they lie in the tree."""

    name = "zarr"

    def recognises(self, source: str) -> bool:
        """By ending, or a directory with Zarr metadata at its root."""
        return source.rstrip("/").endswith(".zarr") or any(
            os.path.isfile(os.path.join(source, name)) for name in ("zarr.json", ".zgroup", ".zarray")
        )

    def open(self, source: str, options: IngestOptions) -> Opened:
        """Shapes, dtypes and codecs of all arrays are checked; values are read later."""
        path = existing(Path(source))
        inputs = identify(path, tree_files(path))
        warnings: list[str] = []
        columns = []
        with zarr_errors(path):
            arrays = dict(_zarr_arrays(path))
        for place, array in arrays.items():
            columns.append(_zarr_column(path, place, array))
        for place in _wanted(columns, options, path):
            if place in arrays:
                _plain_values(dict(arrays[place].attrs), path, place, warnings)
                with zarr_errors(path, place):
                    stored = arrays[place].nchunks_initialized, arrays[place].nchunks
                _all_stored(stored, arrays[place].fill_value, path, place, warnings)
        return open_columns(Source(self.name, str(path), tuple(columns), inputs, tuple(warnings)), options)


@contextmanager
def zarr_errors(path: Path, key: str = "") -> Iterator[None]:
    """Turn what zarr raises on a damaged store into our errors."""
    where = Where(path=str(path), key=key)
    try:
        yield
    except PrepError:
        raise
    except OSError as error:
        raise StorageError(
            f"the file system refused to read this: {error.strerror or error}",
            where=where,
            remedy="check permissions and the health of the disk, then run the same command again",
        ) from error
    except Exception as error:  # zarr and its codecs raise nearly every built-in kind on damaged bytes
        raise IntegrityError(
            f"this Zarr store cannot be read: {type(error).__name__}: {error}",
            where=where,
            remedy="the store is incomplete or damaged, or uses a codec that is not installed; copy or write it again",
        ) from error


def _wanted(columns: list[Column], options: IngestOptions, path: Path) -> list[str]:
    """Paths of the columns that will be read. `UsageError` with a draft where that is not plain."""
    if options.mapping:
        mapping = parse_mapping(options.mapping)
        return [field.path for field in mapping.fields] + ([mapping.split] if mapping.split else [])
    lengths = {column.shape[:1] for column in columns}
    nested = [column.path for column in columns if "/" in column.path]
    odd = [column.path for column in columns if column.dtype.kind not in "biufc" and column.path != "split"]
    if columns and not nested and not odd and len(lengths) == 1 and lengths != {()}:
        return [column.path for column in columns]
    reason = (
        "it has groups" if nested else "its arrays differ in length" if len(lengths) != 1 else "not all are numbers"
    )
    draft = Source("", str(path), tuple(columns), identify(path, [])).draft()
    raise UsageError(
        "it is not plain which arrays of this source are fields",
        where=Where(path=str(path)),
        measured=f"{len(columns)} arrays; {reason}" if columns else "no arrays",
        allowed="a flat tree of numeric arrays of equal length, or a mapping file",
        remedy=f"save this draft as mapping.yaml, edit it, and ingest again with --mapping mapping.yaml:\n{draft}",
    )


def _hdf5_column(path: Path, place: str, dataset: h5py.Dataset, attributes: Mapping[str, Any]) -> Column:
    dtype = np.dtype(str) if h5py.check_string_dtype(dataset.dtype) else dataset.dtype
    chunk = dataset.chunks[0] if dataset.chunks else 1
    return Column(place, dtype, dataset.shape or (), partial(_hdf5_pass, path, place), chunk, *_described(attributes))


@contextmanager
def _hdf5_pass(path: Path, place: str) -> Iterator[Callable[[int, int], Array]]:
    with Hdf5Tree(path) as tree:
        dataset = tree.dataset(place)
        if dataset is None:
            raise IntegrityError(
                "an array disappeared while the source was being read",
                where=Where(path=str(path), key=place),
                remedy="stop whatever writes to the file and ingest again",
            )
        yield partial(tree.read, dataset)


def _hdf5_chunks(dataset: h5py.Dataset) -> tuple[int, int]:
    """Stored chunks, and how many there should be (an unchunked array is one chunk)."""
    if dataset.chunks is None:
        return int(dataset.id.get_storage_size() > 0), 1
    total = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    return int(dataset.id.get_num_chunks()), total


def _zarr_arrays(path: Path) -> Iterator[tuple[str, Any]]:
    import zarr

    root = zarr.open(store=str(path), mode="r")
    if isinstance(root, zarr.Array):
        yield path.stem, root
        return
    for place, member in sorted(root.members(max_depth=None)):
        if isinstance(member, zarr.Array):
            yield place, member


def _zarr_column(path: Path, place: str, array: Any) -> Column:
    stored = array.shards or array.chunks
    text = array.dtype.kind in "OUT"

    @contextmanager
    def reader() -> Iterator[Callable[[int, int], Array]]:
        def read(start: int, stop: int) -> Array:
            with zarr_errors(path, place):
                return np.asarray(array[start:stop])

        yield read

    dtype = np.dtype(str) if text else np.dtype(array.dtype)
    return Column(place, dtype, tuple(array.shape), reader, stored[0] if stored else 1, *_described(dict(array.attrs)))


def _plain_values(attributes: dict[str, Any], path: Path, place: str, warnings: list[str]) -> None:
    """Refuse packed values: what is stored is then not what was measured."""
    scale, offset = attributes.get("scale_factor", 1), attributes.get("add_offset", 0)
    if not (np.all(np.asarray(scale) == 1) and np.all(np.asarray(offset) == 0)):
        raise DataError(
            "the array is packed: its stored values stand for others",
            where=Where(path=str(path), key=place),
            measured=f"scale_factor {scale}, add_offset {offset}",
            allowed="neither attribute",
            remedy="unpack it first: xarray.open_dataset(SOURCE) decodes, .to_netcdf with an empty encoding writes",
        )
    for name in ("_FillValue", "missing_value"):
        value = attributes.get(name)
        if value is not None and not (isinstance(value, float | np.ndarray) and np.all(np.isnan(value))):
            warnings.append(
                f"{place}: values equal to {value!r} are declared missing ({name}); they were kept as they are"
            )


def _all_stored(stored: tuple[int, int], fill: object, path: Path, place: str, warnings: list[str]) -> None:
    """Report chunks that were never written; refuse an array of which nothing was (its size is a claim, not data)."""
    present, total = stored
    if total and not present:
        raise DataError(
            "none of the array's values were ever written",
            where=Where(path=str(path), key=place),
            measured=f"0 of {total} chunks stored; it would read as {fill} throughout",
            allowed="at least one stored chunk",
            remedy="write the data again, or leave the array out of the mapping",
        )
    if present < total:
        warnings.append(f"{place}: {total - present} of {total} chunks are not stored and read as {fill}")


def _described(attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Units and long name."""
    units, unit, title = (
        value if isinstance(value := attributes.get(name), str) else "" for name in ("units", "unit", "long_name")
    )
    return units or unit, title
