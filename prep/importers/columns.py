"""What an importer found in a source, before any of it is read: columns that can be opened again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from prep.blocks import Array
from prep.errors import ConfigError, UsageError, Where
from prep.importers.mapping import draft
from prep.importers.sources import Inputs

MAX_CHUNK_BYTES = 64 << 20
Reader = AbstractContextManager[Callable[[int, int], Array]]


@dataclass(frozen=True, slots=True)
class Column:
    """One array of a source, not yet read.

    ``shape`` includes the rows. ``reader`` opens one pass: a context manager around ``read(start, stop) -> rows``,
    called with ascending, never overlapping ranges. ``chunk_rows`` are the rows the source stores together;
    ``statistics`` are attributes of it that are called mean, std, min or max, as lists of numbers. ``dated`` says that
    the source stores dates or times, whatever the name; the values are seconds.
    """

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    reader: Callable[[], Reader]
    chunk_rows: int = 1
    units: str = ""
    long_name: str = ""
    statistics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    dated: bool = False

    @property
    def tells_time(self) -> bool:
        """Whether one value a row is a point in time by its type or its units (CF: days since 1970-01-01)."""
        return self.shape[1:] in ((), (1,)) and (self.dated or " since " in self.units)


def _nothing_to_say(paths: Sequence[str]) -> tuple[str, ...]:
    return ()


class Elsewhere(Protocol):
    """Another process that reads columns; it is asked for several at once."""

    def rows(self, columns: Sequence[Column], start: int, stop: int, keep: Array | None = None) -> list[Array]:
        """Rows ``start:stop`` of some columns, or those of them that are in ``keep``."""

    def abandon(self) -> None:
        """End a reading, in whatever thread, of which nobody wants the rest."""


@dataclass(frozen=True, slots=True)
class Source:
    """Everything an importer found: its own ``name``, the source's ``path``, columns, digests, what it has to say.

    ``elsewhere`` is the process that reads the columns, where it is not this one. ``vet`` gives warnings about the
    columns at some paths, and raises what forbids reading one.
    """

    importer: str
    path: str
    columns: tuple[Column, ...]
    inputs: Inputs
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    elsewhere: Elsewhere | None = None
    vet: Callable[[Sequence[str]], tuple[str, ...]] = _nothing_to_say

    def find(self, path: str, key: str) -> Column:
        """The column at ``path``; a `ConfigError` that lists what exists, about entry ``key`` of the mapping."""
        for column in self.columns:
            if column.path == path:
                return column
        listed = [column.path for column in self.columns]
        more = f" and {len(listed) - 30} more" if len(listed) > 30 else ""
        raise ConfigError(
            f"the source has no array {path!r}",
            where=Where(path=self.path, key=key),
            measured=path,
            allowed=(", ".join(listed[:30]) or "nothing") + more,
            remedy="correct the path in the mapping",
        )

    def draft(self) -> str:
        """A mapping file for this source, to save and edit."""
        return draft((column.path, column.shape, column.dtype) for column in self.columns)


def read_step(columns: Iterable[Column], row_bytes: int, limit: int) -> int:
    """Rows to read at once: about ``limit`` bytes, in whole chunks of the source where those are not too large."""
    step = max(limit // row_bytes, 1)
    chunk = max(column.chunk_rows for column in columns)
    if chunk <= step:
        return step - step % chunk
    return chunk if chunk * row_bytes <= MAX_CHUNK_BYTES else step


def storable(dtype: np.dtype[Any], where: Where) -> np.dtype[Any]:
    """The little-endian dtype a field is stored in: the source's, but float32 for float16; else a `UsageError`."""
    if dtype.kind in "biufc" and dtype.itemsize <= (16 if dtype.kind == "c" else 8):
        wider = np.dtype(np.float32) if dtype == np.float16 else dtype
        return wider.newbyteorder("<") if wider.byteorder == ">" else wider
    remedies = {
        "O": "object arrays hold pickled Python objects, which are never loaded; save plain numbers",
        "M": "subtract a reference time and save seconds as float64",
        "m": "save seconds as float64",
        "V": "save each member of the structure as an array of its own",
        "f": "save it as float64",
        "c": "save it as complex128",
    }
    raise UsageError(
        "fields hold numbers of fixed size only",
        where=where,
        measured=f"dtype {dtype}",
        allowed="bool, integers, float16 to float64, complex64, complex128",
        remedy=remedies.get(dtype.kind, "encode text as integer codes, or leave this array out with a mapping file"),
    )
