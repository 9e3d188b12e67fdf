"""Foreign HDF5 files read defensively: hard links only, bytes inside the one file, and no filter that loads code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from prep.errors import IntegrityError, PrepError, StorageError, UsageError, Where
from prep.isolation.positioned import PositionedFile

# Built into the HDF5 library (1-6) or h5py (lzf); any other id makes HDF5 search its plugin path for a shared library.
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
MAX_COMPONENTS = 32


class Hdf5Tree:
    """An HDF5 file, open as ``descriptor``, read-only; every object is reached through hard links alone.

    For the child process (`prep.isolation`) alone. ``path`` is its name in errors.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._file: h5py.File | None = None

    def open(self) -> Hdf5Tree:
        """Open it, and return it."""
        with hdf5_errors(self.path):
            self._file = h5py.File(PositionedFile(self._descriptor), "r")
        return self

    def close(self) -> None:
        """Let go of it; the descriptor stays open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def root(self) -> h5py.File:
        """The open file."""
        assert self._file is not None, "it is not open"
        return self._file

    def names(self, group: h5py.Group) -> list[str]:
        """Names of a group's members."""
        with hdf5_errors(self.path, group.name):
            names = list(group)
            # h5py gives bytes where a name is not UTF-8.
            return [name if isinstance(name, str) else name.decode() for name in names]

    def has(self, group: h5py.Group, name: str) -> bool:
        """Whether a group has a member of that name, whatever it is."""
        with hdf5_errors(self.path, group.name):
            return bool(group.id.links.exists(name.encode()))

    def is_hard(self, group: h5py.Group, name: str) -> bool:
        """Whether a member of a group is linked hard."""
        with hdf5_errors(self.path, group.name):
            return bool(group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD)

    def member(self, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
        """One member of a group; a soft or external link, or a named type, is an `IntegrityError`."""
        place = f"{group.name.rstrip('/')}/{name}"
        with hdf5_errors(self.path, place):
            kind = group.id.links.get_info(name.encode()).type
            if kind != h5py.h5l.TYPE_HARD:
                raise IntegrityError(
                    "this is a link to data elsewhere, which cannot be checked",
                    where=Where(path=str(self.path), key=place),
                    measured="soft link" if kind == h5py.h5l.TYPE_SOFT else "external link",
                    allowed="hard links only",
                    remedy="copy the linked data into the file (h5copy), or leave the link out of the mapping",
                )
            found = group[name]
            if isinstance(found, h5py.Dataset):
                # Decode the header here, so that damage in it is an error of ours and not of whoever looks first.
                _ = found.shape, found.dtype, found.chunks, found.maxshape
        if not isinstance(found, h5py.Group | h5py.Dataset):
            raise IntegrityError(
                "this is neither a group nor a dataset",
                where=Where(path=str(self.path), key=place),
                measured=type(found).__name__,
                allowed="group or dataset",
                remedy="leave it out of the mapping",
            )
        return found

    def attributes(self, item: h5py.Group | h5py.Dataset, names: Iterable[str]) -> dict[str, Any]:
        """Those of an object's attributes that exist; bytes are decoded to text."""
        with hdf5_errors(self.path, item.name):
            values = {name: item.attrs[name] for name in names if name in item.attrs}
        return {
            name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, value in values.items()
        }

    def dataset(self, path: str) -> h5py.Dataset | None:
        """The dataset at ``path`` (components joined by ``/``), safe to read; None where there is none."""
        found: h5py.Group | h5py.Dataset = self.root
        for part in path.strip("/").split("/"):
            if not isinstance(found, h5py.Group) or not self.has(found, part):
                return None
            found = self.member(found, part)
        if not isinstance(found, h5py.Dataset):
            return None
        self.vet(found)
        return found

    def datasets(
        self, group: h5py.Group | None = None, links: list[str] | None = None
    ) -> Iterator[tuple[str, h5py.Dataset]]:
        """(path, dataset) of everything below ``group``, depth first in stored order; not vetted yet.

        Paths of what is no hard link to a group or dataset go into ``links``, where given, instead of an error.
        """
        yield from self._below(self.root if group is None else group, "", frozenset(), links)

    def _below(
        self, group: h5py.Group, prefix: str, above: frozenset[int], links: list[str] | None
    ) -> Iterator[tuple[str, h5py.Dataset]]:
        with hdf5_errors(self.path, group.name):
            address = int(h5py.h5o.get_info(group.id).addr)
        if address in above or len(above) > MAX_COMPONENTS:
            raise IntegrityError(
                "the groups of this file contain each other",
                where=Where(path=str(self.path), key=group.name),
                measured="a cycle of hard links" if address in above else f"more than {MAX_COMPONENTS} levels",
                allowed="a tree",
                remedy="the file was not written by an ordinary program; ask for the original",
            )
        for name in self.names(group):
            if links is not None and not self.is_hard(group, name):
                links.append(f"{prefix}{name}")
                continue
            member = self.member(group, name)
            if isinstance(member, h5py.Dataset):
                yield f"{prefix}{name}", member
            else:
                yield from self._below(member, f"{prefix}{name}/", above | {address}, links)

    def vet(self, dataset: h5py.Dataset) -> None:
        """Refuse a dataset whose bytes lie in other files, or need a filter that is not built in."""
        where = Where(path=str(self.path), key=dataset.name)
        with hdf5_errors(self.path, dataset.name):
            elsewhere = "external raw storage" if dataset.external else "virtual dataset" if dataset.is_virtual else ""
            layout = dataset.id.get_create_plist()
            filters = [int(layout.get_filter(index)[0]) for index in range(layout.get_nfilters())]
        if elsewhere:
            raise IntegrityError(
                "the values of this dataset lie in other files, which may change or be missing unnoticed",
                where=where,
                measured=elsewhere,
                allowed="values stored in this file",
                remedy="repack it into one file (h5repack), then ingest that",
            )
        if unknown := [number for number in filters if number not in _FILTERS]:
            raise UsageError(
                "this dataset is compressed with a filter that is not built into HDF5",
                where=where,
                measured=f"filter id {unknown[0]}",
                allowed=", ".join(_FILTERS.values()),
                remedy="rewrite it with a built-in filter (h5repack -f GZIP=1 OLD NEW), then ingest that",
            )

    def read(self, dataset: h5py.Dataset, start: int, stop: int) -> Any:
        """Rows ``start:stop`` as a new array; a chunk that cannot be decoded is an `IntegrityError`."""
        with hdf5_errors(self.path, dataset.name):
            return np.asarray(dataset[start:stop])


@contextmanager
def hdf5_errors(path: Path, key: str | None = None) -> Iterator[None]:
    """Turn what h5py raises on a damaged or unreadable file into our errors."""
    where = Where(path=str(path), key=key or "")
    try:
        yield
    except PrepError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise StorageError(
                f"the file system refused to read this: {error.strerror or error}",
                where=where,
                remedy="check permissions and the health of the disk, then run the same command again",
            ) from error
        raise _damaged(where, error) from error
    except (RuntimeError, KeyError, ValueError, TypeError, UnicodeDecodeError) as error:
        raise _damaged(where, error) from error


def _damaged(where: Where, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"this HDF5 file cannot be read: {error}",
        where=where,
        remedy="the file is truncated, damaged or still open for writing; copy or write it again",
    )
