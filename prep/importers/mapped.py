"""Any HDF5 or Zarr tree: a mapping file says which arrays are fields. Flat trees of equal-length arrays, episodes, and
arrays named after splits need none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import IntegrityError, PrepError, StorageError, UsageError, Where
from prep.importers import IngestOptions, Opened
from prep.importers.aligned import open_columns
from prep.importers.arranged import as_one
from prep.importers.columns import Column, Reader, Source
from prep.importers.foreign import LINK, TEXT, ForeignHdf5, has_member, looks_like_hdf5
from prep.importers.mapping import parse_mapping
from prep.importers.packed import all_stored, described, plain_values, statistics_of
from prep.importers.sources import existing, identify, tree_files
from prep.isolation.answers import Answer

_ENDINGS = (".h5", ".hdf5", ".hdf", ".nc")


class MappedHdf5:
    """An HDF5 file of arrays with one row a sample, wherever they lie in the tree."""

    name = "hdf5"

    def recognises(self, source: str) -> bool:
        """By signature or ending, but not one group an episode (which is Minari's)."""
        path = Path(source)
        if not looks_like_hdf5(path):
            return path.suffix in _ENDINGS and not path.is_dir()
        return not has_member(path, "episode_0")

    def open(self, source: str, options: IngestOptions) -> Opened:
        """Shapes, dtypes and storage of all arrays that are wanted are checked; values are read later."""
        found = self._found(source, links=False)
        if together := as_one(found, options):
            return open_columns(*together)
        return open_columns(vetted(found, _wanted(found, options)), options)

    def survey(self, source: str) -> Source:
        """All arrays, and links to others; what forbids reading one is not looked for yet."""
        return self._found(source, links=True)

    def _found(self, source: str, *, links: bool) -> Source:
        path = existing(Path(source))
        inputs = identify(path, [path])
        foreign = ForeignHdf5(path)
        with foreign.understood():
            columns = [_hdf5_column(foreign, each) for each in foreign.ask("columns", links).list()]
        return Source(self.name, str(path), tuple(columns), inputs, elsewhere=foreign, vet=foreign.vet)


class MappedZarr:
    """A Zarr directory (format 2 or 3) of arrays with one row a sample, wherever they lie in the tree."""

    name = "zarr"

    def recognises(self, source: str) -> bool:
        """By ending, or a directory with Zarr metadata at its root."""
        return source.rstrip("/").endswith(".zarr") or any(
            os.path.isfile(os.path.join(source, name)) for name in ("zarr.json", ".zgroup", ".zarray")
        )

    def open(self, source: str, options: IngestOptions) -> Opened:
        """Shapes, dtypes and codecs of all arrays that are wanted are checked; values are read later."""
        found = self.survey(source)
        if together := as_one(found, options):
            return open_columns(*together)
        return open_columns(vetted(found, _wanted(found, options)), options)

    def survey(self, source: str) -> Source:
        """All arrays; what forbids reading one is not looked for yet."""
        path = existing(Path(source))
        inputs = identify(path, tree_files(path))
        with zarr_errors(path):
            arrays = dict(_zarr_arrays(path))
            columns = [_zarr_column(path, place, array) for place, array in arrays.items()]
        return Source(self.name, str(path), tuple(columns), inputs, vet=partial(_vet_zarr, path, arrays))


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


def vetted(found: Source, wanted: Sequence[str]) -> Source:
    """The same source with the warnings about its columns ``wanted``. Raises what forbids reading one of them."""
    return replace(found, warnings=(*found.warnings, *found.vet(wanted)))


def _vet_zarr(path: Path, arrays: Mapping[str, Any], wanted: Sequence[str]) -> tuple[str, ...]:
    warnings: list[str] = []
    for place in wanted:
        if place in arrays:
            plain_values(dict(arrays[place].attrs), path, place, warnings)
            with zarr_errors(path, place):
                stored = arrays[place].nchunks_initialized, arrays[place].nchunks
            all_stored(stored, arrays[place].nbytes, arrays[place].fill_value, path, place, warnings)
    return tuple(warnings)


def _wanted(found: Source, options: IngestOptions) -> list[str]:
    """Paths of the columns that will be read. `UsageError` with a draft where that is not plain."""
    if options.mapping:
        mapping = parse_mapping(options.mapping)
        return [field.path for field in mapping.fields] + ([mapping.split] if mapping.split else [])
    columns = found.columns
    lengths = {column.shape[:1] for column in columns}
    nested = [column.path for column in columns if "/" in column.path]
    odd = [column.path for column in columns if column.dtype.kind not in "biufc" and column.path != "split"]
    if columns and not nested and not odd and len(lengths) == 1 and lengths != {()}:
        return [column.path for column in columns]
    reason = (
        "it has groups" if nested else "its arrays differ in length" if len(lengths) != 1 else "not all are numbers"
    )
    raise UsageError(
        "it is not plain which arrays of this source are fields",
        where=Where(path=found.path),
        measured=f"{len(columns)} arrays; {reason}" if columns else "no arrays",
        allowed="a flat tree of numeric arrays of equal length, or a mapping file",
        remedy="save this draft as mapping.yaml, edit it, and ingest again with --mapping mapping.yaml:\n"
        + found.draft(),
    )


def _hdf5_column(foreign: ForeignHdf5, answer: Answer) -> Column:
    place, kind, shape = answer["path"].text(), answer["dtype"], answer["shape"].counts()
    if kind.value == LINK:
        return Column(place, np.dtype(object), (), partial(_unread, place), long_name="a link to data elsewhere")
    text = kind.value == TEXT
    dtype = np.dtype(str) if text else kind.dtype()

    @contextmanager
    def reader() -> Iterator[Callable[[int, int], Array]]:
        yield partial(foreign.text, place, shape) if text else partial(foreign.numbers, place, dtype, shape)

    chunk_rows = max(answer["chunk_rows"].count(), 1)
    stated = {kind: each.numbers() for kind, each in answer["statistics"].items()}
    return Column(place, dtype, shape, reader, chunk_rows, answer["units"].text(), answer["long_name"].text(), stated)


def _unread(place: str) -> Reader:
    raise AssertionError(f"{place} is never read")


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
    attributes = dict(array.attrs)
    chunk_rows = stored[0] if stored else 1
    return Column(
        place, dtype, tuple(array.shape), reader, chunk_rows, *described(attributes), statistics_of(attributes)
    )
