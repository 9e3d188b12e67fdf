"""Containers: the same tree of fields, constants and documents as an HDF5 file or a Zarr v3 directory.

`create` writes one atomically, `open_container` says where every stored byte lies, `prep.formats.reader.ChunkReader`
reads the chunks. A format is one file here and one line in `FORMATS`.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prep.blocks import DatasetSpec
from prep.errors import UsageError, Where
from prep.formats.commit import storage_error
from prep.formats.layout import HDF5_SIGNATURE, ByteRange, Container, FieldLayout, foreign, no_such_dataset
from prep.registry import Table

if TYPE_CHECKING:
    from prep.formats.writer import Writer

FORMATS = Table("formats", {"hdf5": "prep.formats.hdf5:Hdf5", "zarr": "prep.formats.zarr:Zarr"})

__all__ = [
    "ENDINGS",
    "FORMATS",
    "SIDECARS",
    "ByteRange",
    "Container",
    "FieldLayout",
    "create",
    "format_by_ending",
    "format_of",
    "no_such_dataset",
    "open_container",
]

ENDINGS = {".h5": "hdf5", ".hdf5": "hdf5", ".nc": "hdf5", ".zarr": "zarr"}  # lower case; any case is read
SIDECARS = (".manifest", ".cert.json")  # what stands beside a dataset, by what follows its name


class Format(Protocol):
    """One container format."""

    def create(self, path: Path, spec: DatasetSpec, compression: str, identity: str) -> Writer:
        """A writer of a new dataset."""

    def open(self, path: Path) -> Container:
        """The structure of an existing dataset, refused where it is not exactly as prep writes it."""


def format_of(path: Path | str) -> str:
    """``"hdf5"`` or ``"zarr"``: by content for what exists, by ending for what does not.

    Raises `UsageError` for an unknown ending, `IntegrityError` for existing content that is neither, `StorageError`
    where it cannot be read.
    """
    place = Path(path)
    try:
        mode = place.stat().st_mode
        if stat.S_ISDIR(mode):
            if (place / "zarr.json").is_file():
                return "zarr"
            raise foreign(place, "this directory is not a Zarr v3 dataset: it has no zarr.json")
        if stat.S_ISREG(mode):
            with place.open("rb", buffering=0) as file:
                if file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
                    return "hdf5"
        raise foreign(place, "this is neither an HDF5 file nor a Zarr directory")
    except (FileNotFoundError, NotADirectoryError):
        return format_by_ending(place)
    except OSError as error:
        raise storage_error(error, place) from error


def open_container(path: Path | str) -> Container:
    """The structure of a stored dataset: its spec, where each chunk lies, and every other byte.

    No chunk is read. Raises `UsageError` where nothing is at ``path``, `IntegrityError` for anything that is not
    exactly the tree that prep writes (truncated, links, foreign filters or types, missing chunks, extra files or
    attributes).
    """
    place = Path(path)
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_such_dataset(place) from error
    except OSError as error:
        raise storage_error(error, place) from error
    container: Container = FORMATS.load(format_of(place))().open(place)
    return container


def create(path: Path | str, spec: DatasetSpec, compression: str = "none", identity: str = "") -> Writer:
    """A writer of a new dataset at ``path`` (replaced at commit where it exists); its ending decides on the format.

    ``spec`` needs its final fields; splits, attributes, constants and documents may still change until `Writer.commit`.
    ``compression`` is none, gzip, zstd or blosc. With an ``identity`` of the rows, which no other rows have, a writer
    that is interrupted after 64 MiB leaves its temporary to the next one of the same target, identity, spec and
    compression; without one, and for another, such a temporary is removed. Raises `SchemaError` for a spec that cannot
    be stored, `UsageError` for an unknown ending or compression, `StorageError`.
    """
    place = Path(path)
    writer: Writer = FORMATS.load(format_by_ending(place))().create(place, spec, compression, identity)
    return writer


def format_by_ending(path: Path) -> str:
    """The format that a dataset written at ``path`` will have; `UsageError` for an unknown ending."""
    name = ENDINGS.get(path.suffix.lower())
    if name is None:
        raise UsageError(
            "the ending does not name a format",
            where=Where(path=str(path)),
            measured=path.suffix or "no ending",
            allowed=", ".join(ENDINGS),
            remedy="end the path in .h5 or .zarr",
        )
    return name
