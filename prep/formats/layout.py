"""Where the bytes of a dataset lie: fields, chunks, codecs, byte ranges, whatever the container format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prep.blocks import DatasetSpec, FieldSpec
from prep.errors import IntegrityError, UsageError, Where

# A path keeps one slash of the two.
_ADDRESS = re.compile("([a-z][a-z0-9+.-]+):/{1,2}(.+)", re.DOTALL)
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
Codec = Mapping[str, Any]
Bytes = bytes | bytearray | memoryview | NDArray[Any]


def flat(data: Any) -> memoryview:
    """The bytes of anything with a C-contiguous buffer (`Bytes`, arrays of any dtype), without a copy."""
    source: Any = data.reshape(-1).view(np.uint8) if isinstance(data, np.ndarray) else data
    view = memoryview(source)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


@dataclass(frozen=True, slots=True, eq=False)
class FieldLayout:
    """The stored chunks of one field or constant.

    ``rows`` is the length of the first dimension, ``chunk_rows`` that of one chunk (the last chunk is padded with zeros
    to the same decoded size). ``codecs`` are numcodecs configurations in encoding order, empty for plain little-endian
    bytes in C order. ``offsets`` and ``sizes`` (uint64, one entry per chunk) are stored byte ranges: in the one file
    where ``template`` is empty, otherwise in the file ``template.format(index=i // chunks_per_file)`` relative to the
    dataset. A file of more than one chunk is a shard: chunks one after the other from its first byte, then their index.
    """

    spec: FieldSpec
    rows: int
    chunk_rows: int
    codecs: tuple[Codec, ...]
    offsets: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    template: str = ""
    chunks_per_file: int = 1

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return len(self.sizes)

    @property
    def chunk_bytes(self) -> int:
        """Decoded bytes of every chunk, padding included."""
        return self.chunk_rows * self.spec.row_bytes

    def row_range(self, index: int) -> tuple[int, int]:
        """Half-open range of the rows that chunk ``index`` holds."""
        start = index * self.chunk_rows
        return start, min(start + self.chunk_rows, self.rows)

    def file_of(self, index: int) -> str:
        """Path of the chunk's file relative to the dataset; empty for the dataset file itself."""
        return self.template.format(index=index // self.chunks_per_file)

    def file_bytes(self, index: int) -> int:
        """Size of the chunk's file, where ``template`` is not empty."""
        last = min(index // self.chunks_per_file * self.chunks_per_file + self.chunks_per_file, self.chunks) - 1
        return int(self.offsets[last]) + int(self.sizes[last]) + self.index_bytes

    @property
    def index_bytes(self) -> int:
        """Bytes of the index at the end of each shard: 16 for each chunk and a CRC-32C; 0 where there are no shards."""
        return 16 * self.chunks_per_file + 4 if self.chunks_per_file > 1 else 0

    def indices(self) -> Iterator[ByteRange]:
        """Where the index of each shard lies."""
        size = self.index_bytes
        for first in range(0, self.chunks, self.chunks_per_file) if size else ():
            yield ByteRange(self.file_of(first), self.file_bytes(first) - size, size)


def array_template(spec: FieldSpec) -> str:
    """Where the files of a variable lie in a folder: the default chunk keys of Zarr v3, chunked along ``sample``."""
    return "/".join([spec.name, "c", "{index}", *("0" for _ in spec.shape)])


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``size`` stored bytes at ``offset`` of the file ``path`` relative to the dataset ("" is the dataset itself)."""

    path: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """A stored dataset as found on disk, every byte accounted for.

    ``layouts`` covers fields and constants (a constant is one chunk); ``metadata`` is every stored byte that belongs to
    no chunk; ``size`` is the total in bytes: ``sum of chunk sizes + sum of metadata sizes``.
    """

    path: Path
    format: str
    spec: DatasetSpec
    layouts: Mapping[str, FieldLayout]
    metadata: tuple[ByteRange, ...]
    size: int


def damaged(
    path: Path | str,
    what: str,
    *,
    field: str = "",
    chunk: int | None = None,
    key: str = "",
    rows: tuple[int, int] | None = None,
    measured: object = None,
    allowed: object = None,
    remedy: str = "restore the dataset from a copy, or write it again with the command that made it",
) -> IntegrityError:
    """The error for stored bytes that are not what `prep` writes."""
    where = Where(path=str(path), field=field, chunk=chunk, key=key, rows=rows)
    return IntegrityError(what, where=where, measured=measured, allowed=allowed, remedy=remedy)


def too_many_files(path: Path | str, allowed: int) -> IntegrityError:
    """The error for a folder with more files than a dataset in it has."""
    return damaged(
        path,
        "there are files in the folder that the manifest does not name: more than it names in all",
        allowed=f"{allowed} files",
    )


def foreign(path: Path | str, what: str = "this dataset was not written by prep") -> IntegrityError:
    """The error for a well-formed file of somebody else."""
    return damaged(
        path,
        what,
        remedy=f"bring it in with: prep ingest {path} -o data/raw/NAME.h5; if prep wrote it, restore it from a copy",
    )


def no_such_dataset(
    path: Path | str,
    what: str = "there is no dataset at this path",
    remedy: str = "check the path, or make the dataset with `prep generate` or `prep ingest`",
) -> UsageError:
    """The error for a path where nothing is; of an address that was taken for a `Path`, it says who reads it."""
    if isinstance(path, Path) and (address := _ADDRESS.fullmatch(str(path))):
        scheme, rest = address.groups()
        return UsageError(
            "this is an address, and datasets are read from disk here",
            where=Where(path=f"{scheme}://{rest}"),
            measured=f"an address ({scheme})",
            allowed="a path on this machine",
            remedy=f"copy it here; `prep verify {scheme}://{rest}` reads it where it is",
        )
    return UsageError(what, where=Where(path=str(path)), remedy=remedy)
