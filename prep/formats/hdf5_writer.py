"""The tree written as HDF5: chunks placed by us, structure by libhdf5 through a file that survives a full disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from prep.blocks import DatasetSpec, FieldSpec
from prep.errors import UsageError
from prep.formats.chunks import Chunk
from prep.formats.codecs import codecs_of
from prep.formats.commit import Pending, storage_error, storage_errors
from prep.formats.hdf5_structure import DIMENSION_ONLY
from prep.formats.layout import ByteRange, Codec, Container, flat
from prep.formats.rules import check_spec, dimension_sizes
from prep.formats.salvage import made_of
from prep.formats.survive import Announced, SurvivingFile
from prep.formats.tree import DOCUMENTS, field_attributes, root_attributes
from prep.formats.writer import Writer

# The newest structure that HDF5 1.10 to 1.14 (MATLAB, h5web) can read, with a checksum on every piece of metadata:
# "latest" of HDF5 2.0 writes compressed, bool and complex datasets that they cannot open.
_FORMAT = ("v110", "v110")
# Larger blocks of metadata keep the chunks of a field adjacent in the file.
_METADATA_BLOCK = 1 << 16
Reopen = Callable[[Path], Container]


def create_hdf5(path: Path, spec: DatasetSpec, compression: str, identity: str, reopen: Reopen) -> Writer:
    """See `prep.formats.create`; ``reopen`` reads the structure of what was written."""
    check_spec(spec)
    codecs_of(compression)
    if compression in ("zstd", "blosc"):
        _load_plugins(compression)
    pending = Pending(path, made_of(identity, f"hdf5 {h5py.version.hdf5_version}", spec, compression))
    with pending.discarded_on_error():
        return Writer(pending, _Hdf5Sink(pending, compression), spec, reopen)


def _load_plugins(compression: str) -> None:
    try:
        import_module("hdf5plugin")
    except ImportError as error:
        raise UsageError(
            f"HDF5 needs a plugin for the compression {compression!r}",
            measured="hdf5plugin is not installed",
            remedy="pip install 'prep-certified[codecs]', or use gzip or none, or write Zarr",
        ) from error


class _Hdf5Sink:
    def __init__(self, pending: Pending, compression: str) -> None:
        self._target, self._compression = pending.target, compression
        with storage_errors(self._target):
            self._disk = SurvivingFile(pending.path, adopt=pending.adopted)
        self._variables: dict[str, h5py.Dataset] = {}
        try:
            with self._surviving():
                self._file = h5py.File(self._disk, "w", libver=_FORMAT, meta_block_size=_METADATA_BLOCK)
        except BaseException:
            self.close()
            raise

    def codecs(self, spec: FieldSpec) -> tuple[Codec, ...]:
        return codecs_of(self._compression, spec.dtype.itemsize)

    def begin(self, spec: FieldSpec, rows: int, codecs: tuple[Codec, ...]) -> None:
        constant = spec.role == "constant"
        with self._surviving():
            self._variables[spec.name] = self._file.create_dataset(
                spec.name,
                shape=(rows if constant else 0, *spec.shape),
                maxshape=None if constant else (None, *spec.shape),
                chunks=(rows, *spec.shape),
                dtype=spec.dtype,
                **_filters(codecs),
            )

    def put(self, spec: FieldSpec, index: int, rows: int, chunk: Chunk) -> ByteRange | None:
        variable, data = self._variables[spec.name].id, flat(chunk.data)
        announced = Announced(data, chunk.place.offset if chunk.place else None)
        with self._surviving():
            if spec.role != "constant":
                # Never shrunk: libhdf5 would rewrite the last chunk.
                variable.set_extent((rows, *spec.shape))
            first = (index * self._variables[spec.name].chunks[0], *(0 for _ in spec.shape))
            self._disk.announced = announced
            variable.write_direct_chunk(first, data)
            self._disk.announced = None
        return None if announced.written is None else ByteRange("", announced.written, len(data))

    def finish(self, spec: DatasetSpec, rows: Mapping[str, int]) -> None:
        with self._surviving():
            self._write_dimensions(spec, rows)
            for field in (*spec.fields, *spec.constants):
                _write_attributes(self._variables[field.name], field_attributes(field))
            _write_attributes(self._file, root_attributes(spec))
            _write_attributes(self._file.create_group(DOCUMENTS), dict(spec.documents))
            self._variables.clear()
            self._file.close()

    def close(self) -> None:
        self._variables.clear()
        with suppress(Exception):
            self._file.close()
        self._disk.close()

    def leave(self) -> None:
        # libhdf5 closes in memory: what it would still write is worth nothing without the chunks to come.
        self._disk.error = self._disk.error or InterruptedError()
        self.close()

    def _write_dimensions(self, spec: DatasetSpec, rows: Mapping[str, int]) -> None:
        scales = {}
        for number, (dim, size) in enumerate(dimension_sizes(spec, rows).items()):
            label = dim
            if dim not in self._variables:
                self._file.create_dataset(dim, shape=(size,), dtype="<f4")
                label = f"{DIMENSION_ONLY}{size:10d}"
            scales[dim] = self._file[dim]
            scales[dim].make_scale(label)
            scales[dim].attrs["_Netcdf4Dimid"] = np.int32(number)
        for field in (*spec.fields, *spec.constants):
            for place, dim in enumerate(field.dims):
                if field.name != dim:
                    self._variables[field.name].dims[place].attach_scale(scales[dim])

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """What libhdf5 says after the disk has failed is only a consequence: the first failure is raised."""
        try:
            yield
        except Exception:
            if self._disk.error is None:
                raise
        error = self._disk.error
        if isinstance(error, OSError):
            raise storage_error(error, self._target) from error
        if error is not None:
            raise error


def _write_attributes(owner: Any, attributes: Mapping[str, Any]) -> None:
    for key, value in attributes.items():
        owner.attrs.create(key, _fixed(value) if isinstance(value, str) else np.array(value, np.uint8))


def _fixed(text: str) -> Any:
    """A text as HDF5 keeps it under a checksum: of fixed length. Those of variable length go to a heap without one.

    Two bytes at least, since h5netcdf takes a single one for a byte rather than a text.
    """
    data = text.encode()
    return np.array(data, dtype=h5py.string_dtype("utf-8", max(len(data), 2)))


def _filters(codecs: tuple[Codec, ...]) -> dict[str, Any]:
    """`h5py` arguments under which libhdf5 decodes what ``codecs`` encode."""
    options: dict[str, Any] = {}
    for codec in codecs:
        match codec["id"]:
            case "shuffle":
                options["shuffle"] = True
            case "zlib":
                options.update(compression="gzip", compression_opts=codec["level"])
            case "zstd":
                options.update(compression=32015, compression_opts=(codec["level"],))
            case "blosc":
                # 4 slots that the plugin fills, then level, shuffle, compressor (1: lz4)
                options.update(compression=32001, compression_opts=(0, 0, 0, 0, codec["clevel"], codec["shuffle"], 1))
    return options
