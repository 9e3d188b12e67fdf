"""Plain NumPy files: `.npz` members and single `.npy` arrays, read a block of rows at a time and never unpickled."""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from prep.blocks import Array
from prep.errors import IntegrityError, StorageError, UsageError, Where
from prep.importers import IngestOptions, Opened
from prep.importers.aligned import open_columns
from prep.importers.arranged import as_one
from prep.importers.columns import Column, Reader, Source
from prep.importers.sources import existing, identify

# Column-major members can only be read whole (a row is spread over all of them): so large may they be together.
MAX_FORTRAN_BYTES = 128 << 20
_SKIP = 1 << 20
# What `zipfile` and the decompressors behind it raise on damaged bytes.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Header:
    """The head of an array in `.npy` form; ``offset`` is where its values start."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Npy:
    """One array in a `.npy` file: one field, named after the file."""

    name = "npy"

    def recognises(self, source: str) -> bool:
        """By its ending."""
        return source.endswith(".npy")

    def open(self, source: str, options: IngestOptions) -> Opened:
        """See `survey`."""
        return open_columns(self.survey(source), options)

    def survey(self, source: str) -> Source:
        """Header and size are checked; values are read later. `IntegrityError` where bytes are missing or left over."""
        path = existing(Path(source))
        inputs = identify(path, [path])
        with array_errors(path), path.open("rb") as file:
            header = read_header(file, path, "")
        _exact(header, path.stat().st_size, path, "")
        reader = partial(_npy_pass, path, header)
        column = Column(path.stem, header.dtype, header.shape, reader)
        return Source(self.name, str(path), (column,), inputs)


class Npz:
    """The members of a `.npz` archive, one field each."""

    name = "npz"

    def recognises(self, source: str) -> bool:
        """By its ending."""
        return source.endswith(".npz")

    def open(self, source: str, options: IngestOptions) -> Opened:
        """See `survey`."""
        found = self.survey(source)
        found.vet([column.path for column in found.columns])
        return open_columns(*(as_one(found, options) or (found, options)))

    def survey(self, source: str) -> Source:
        """Headers of all members are checked; values are read later, member checksums with them."""
        path = existing(Path(source))
        inputs = identify(path, [path])
        columns, left_out, column_major = [], [], 0
        refused: dict[str, UsageError] = {}
        with array_errors(path), zipfile.ZipFile(path) as archive:
            for info in _members(archive, path):
                if not info.filename.endswith(".npy"):
                    left_out.append(info.filename)
                    continue
                name = info.filename.removesuffix(".npy")
                try:
                    with array_errors(path, name), archive.open(info) as stream:
                        header = read_header(stream, path, name)
                except UsageError as error:
                    refused[name] = error
                    columns.append(
                        Column(name, np.dtype(object), (), partial(_refuse, error), long_name="pickled objects")
                    )
                    continue
                _exact(header, info.file_size, path, name)
                column_major += header.size if header.fortran else 0
                reader = partial(_npz_pass, path, info.filename, header)
                columns.append(Column(name, header.dtype, header.shape, reader))
        if column_major > MAX_FORTRAN_BYTES:
            raise UsageError(
                "the archive holds large arrays in column-major (Fortran) order, whose rows cannot be read in turn",
                where=Where(path=str(path)),
                measured=f"{column_major} bytes",
                allowed=f"{MAX_FORTRAN_BYTES} bytes in that order",
                remedy="save them with numpy.ascontiguousarray(array), or as .npy files",
            )
        warnings = tuple(f"{name!r} in the archive is not an array and was left out" for name in left_out)
        vet = partial(_vet, refused)
        return Source(self.name, str(path), tuple(columns), inputs, warnings, tuple(left_out), vet=vet)


def _vet(refused: Mapping[str, UsageError], wanted: Sequence[str]) -> tuple[str, ...]:
    for name in wanted:
        if name in refused:
            raise refused[name]
    return ()


def _refuse(error: UsageError) -> Reader:
    raise error


def read_header(stream: IO[bytes], path: Path, key: str) -> Header:
    """The head of an array in `.npy` form. `UsageError` for objects and structures, `IntegrityError` for rubbish."""
    where = Where(path=str(path), key=key)
    try:
        version = npy.read_magic(stream)
        parse = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if parse is not None:
            shape, fortran, dtype = parse(stream)
            if min(shape, default=0) < 0:
                raise ValueError(f"shape {shape}")
    except OSError:
        raise
    except Exception as error:  # NumPy runs Python's parser on the header, which fails in many ways on damaged bytes
        raise IntegrityError(
            f"this is not an array that NumPy saved: {error}",
            where=where,
            remedy="the file is damaged or of another kind; save the array again with numpy.save or numpy.savez",
        ) from error
    if parse is None or dtype.hasobject or dtype.names is not None:
        raise UsageError(
            "the array holds Python objects or structures; objects are pickled, and pickles are never loaded",
            where=where,
            measured="structured dtype" if parse is None else f"dtype {dtype}",
            allowed="plain numbers",
            remedy="save plain numbers (array.astype(float)), one array for each quantity",
        )
    return Header(tuple(int(size) for size in shape), bool(fortran) and len(shape) > 1, dtype, stream.tell())


@contextmanager
def array_errors(path: Path, key: str = "") -> Iterator[None]:
    """Turn what damaged archives and refusing file systems raise into our errors."""
    where = Where(path=str(path), key=key)
    try:
        yield
    except _DAMAGE as error:
        raise IntegrityError(
            f"this archive cannot be read: {error}",
            where=where,
            remedy="the file is truncated or damaged; copy it again or save it again with numpy.savez",
        ) from error
    except OSError as error:
        raise StorageError(
            f"the file system refused to read this: {error.strerror or error}",
            where=where,
            remedy="check permissions and the health of the disk, then run the same command again",
        ) from error


def _members(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    double = [name for name, count in Counter(info.filename for info in infos).items() if count > 1]
    if double or any(info.flag_bits & 1 for info in infos):
        raise IntegrityError(
            "the archive holds a name twice" if double else "the archive is encrypted",
            where=Where(path=str(path), key=double[0] if double else ""),
            allowed="each name once, not encrypted",
            remedy="save it again with numpy.savez",
        )
    return infos


def _exact(header: Header, size: int, path: Path, key: str) -> None:
    if size - header.offset != header.size:
        raise IntegrityError(
            "the array is truncated" if size - header.offset < header.size else "bytes follow the array",
            where=Where(path=str(path), key=key),
            measured=f"{size - header.offset} bytes of values",
            allowed=f"{header.size} bytes for shape {header.shape}, dtype {header.dtype}",
            remedy="copy the file again, or save the array again with numpy.save or numpy.savez",
        )


@contextmanager
def _npy_pass(path: Path, header: Header) -> Iterator[Callable[[int, int], Array]]:
    rows, inner = header.shape[0], header.shape[1:]
    width, item = math.prod(inner), header.dtype.itemsize

    def read(start: int, stop: int) -> Array:
        count = stop - start
        if not header.fortran:
            return _fill(file, header.offset + start * width * item, (count, *inner), header.dtype, path)
        # Column-major: each entry of a row has its own run of all rows.
        runs = [
            _fill(file, header.offset + (run * rows + start) * item, (count,), header.dtype, path)
            for run in range(width)
        ]
        return np.stack(runs).reshape(*inner[::-1], count).T

    with array_errors(path), path.open("rb", buffering=0) as file:
        yield read


def _fill(file: Any, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> Array:
    array = np.empty(shape, dtype)
    view = memoryview(array.reshape(-1).view(np.uint8).data)
    file.seek(offset)
    while view.nbytes:
        count = file.readinto(view)
        if not count:
            raise IntegrityError(
                "the file ends before its array does",
                where=Where(path=str(path)),
                measured=f"{view.nbytes} bytes missing",
                allowed="none",
                remedy="copy the file again; something truncated it",
            )
        view = view[count:]
    return array


@contextmanager
def _npz_pass(path: Path, member: str, header: Header) -> Iterator[Callable[[int, int], Array]]:
    """One pass over a member. Rows that are passed over are still decompressed, so the checksum covers the whole."""
    key = member.removesuffix(".npy")
    width = math.prod(header.shape[1:]) * header.dtype.itemsize
    at = 0
    whole: Array | None = None

    def read(start: int, stop: int) -> Array:
        nonlocal at, whole
        with array_errors(path, key):
            if header.fortran:
                if whole is None:
                    whole = _values(stream, header.shape[::-1], header.dtype).T
                return whole[start:stop]
            _skip(stream, (start - at) * width)
            at = stop
            return _values(stream, (stop - start, *header.shape[1:]), header.dtype)

    with array_errors(path, key), zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        _skip(stream, header.offset)
        yield read


def _values(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    array = np.empty(shape, dtype)
    view = memoryview(array.reshape(-1).view(np.uint8).data)
    while view.nbytes:
        part = stream.read(min(view.nbytes, _SKIP))
        if not part:
            raise EOFError("it ends before its array does")
        view[: len(part)] = part
        view = view[len(part) :]
    return array


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0:
        part = stream.read(min(count, _SKIP))
        if not part:
            raise EOFError("it ends before its array does")
        count -= len(part)
