"""Which samples of two datasets are not the same bytes: by the digests of chunks, and row by row where these differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.engine import DatasetSource, Progress, Workers, ordered, silent
from prep.formats.digests import ChunkDigests

KEEP = 1000
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two datasets, and the digests of its chunks by field."""

    source: DatasetSource
    digests: Mapping[str, ChunkDigests]


@dataclass(slots=True)
class Rows:
    """How many rows, and the ranges they form: first and last, ascending; the first thousand ``ranges`` are kept."""

    count: int = 0
    ranges: list[Range] = field(default_factory=list)
    more: int = 0

    def add(self, first: int, last: int) -> None:
        """Rows behind all those that were added before."""
        self.count += last - first + 1
        if self.ranges and not self.more and self.ranges[-1][1] + 1 == first:
            self.ranges[-1] = (self.ranges[-1][0], last)
        elif len(self.ranges) < KEEP:
            self.ranges.append((first, last))
        else:
            self.more += 1


@dataclass(frozen=True, slots=True)
class Samples:
    """What became of the samples of A in B. Samples are compared by their place within their split; row numbers are
    those of B, of ``removed`` ones those of A. ``fields`` says it field by field; ``compared`` are the fields looked
    at, ``apart`` those that both have in another dtype, shape or state, ``rows`` the samples that both have. ``read``
    counts the rows that had to be read, by field.
    """

    rows: int
    compared: tuple[str, ...]
    apart: tuple[str, ...]
    changed: Rows
    fields: Mapping[str, Rows]
    added: Mapping[str, Range]
    removed: Mapping[str, Range]
    read: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Window:
    """``rows`` rows from row ``a`` of A and row ``b`` of B on, and the fields that may differ there."""

    a: int
    b: int
    rows: int
    names: tuple[str, ...]


def comparable(one: FieldSpec, other: FieldSpec) -> bool:
    """Whether equal rows of two fields are equal bytes, transformed in the same way or not at all."""
    same = all(getattr(one, each) == getattr(other, each) for each in ("dtype", "dims", "shape"))
    return same and _applied(one) == _applied(other)


def _applied(field: FieldSpec) -> str:
    return field.transform if field.transform_state == "normalized" else "identity"


def same_bytes(a: Side, b: Side, name: str) -> bool:
    """Whether a field holds the same rows on both sides, by digest alone; False where the chunks cannot tell."""
    mine, theirs = (side.source.container.layouts[name] for side in (a, b))
    return (
        comparable(mine.spec, theirs.spec)
        and (mine.rows, mine.chunk_rows) == (theirs.rows, theirs.chunk_rows)
        and a.digests[name].logical == b.digests[name].logical
    )


def changed_samples(a: Side, b: Side, workers: Workers = None, progress: Progress = silent) -> Samples:
    """Compare the samples of two datasets, split by split. No chunk is read whose logical digest, place and number of
    rows are the same on both sides; of the others the rows are compared. A worker holds a chunk of one field at a
    time. Raises `IntegrityError` where a chunk is not the one its digest tells of.
    """
    mine, theirs = (side.source.spec for side in (a, b))
    shared = [each for each in mine.fields if each.role != "split" and each.row_bytes and each.name in theirs]
    names = tuple(each.name for each in shared if comparable(each, theirs[each.name]))
    added, removed = {}, {}
    windows: list[_Window] = []
    rows = 0
    for split in dict.fromkeys((*mine.splits, *theirs.splits)):
        (start, stop), (low, high) = mine.splits.get(split, (0, 0)), theirs.splits.get(split, (0, 0))
        both = min(stop - start, high - low)
        rows += both
        if high - low > both:
            added[split] = (low + both, high - 1)
        if stop - start > both:
            removed[split] = (start + both, stop - 1)
        windows += _windows(a, b, names, start, low, both)
    changed, fields = Rows(), {name: Rows() for name in names}
    read = dict.fromkeys(names, 0)
    looked = ordered(_Look(a, b), windows, workers)
    # Ranges ascend in B where its splits lie in the order of A's; each window is of one split.
    for done, (window, found) in enumerate(zip(windows, looked, strict=True)):
        progress(done, len(windows))
        either = np.zeros(window.rows, np.bool_)
        for name, (differ, count) in found.items():
            _add(fields[name], differ, window.b)
            read[name] += count
            either |= differ
        _add(changed, either, window.b)
    return Samples(
        rows,
        names,
        tuple(each.name for each in shared if each.name not in names),
        changed,
        {name: each for name, each in fields.items() if each.count},
        added,
        removed,
        {name: count for name, count in read.items() if count},
    )


def _add(rows: Rows, differ: Array, start: int) -> None:
    edges = np.flatnonzero(np.diff(differ.astype(np.int8), prepend=0, append=0)).tolist()
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        rows.add(start + first, start + stop - 1)


def _windows(a: Side, b: Side, names: Sequence[str], start: int, low: int, rows: int) -> Iterator[_Window]:
    """Pieces of a split in which some field may differ; no chunk of A lies in two of them."""
    step = max((a.source.container.layouts[name].chunk_rows for name in names), default=1)
    first = start
    while first < start + rows:
        stop = min((first // step + 1) * step, start + rows)
        window = _Window(first, low + first - start, stop - first, tuple(names))
        suspect = tuple(name for name in names if any(True for _ in _pieces(a, b, name, window)))
        if suspect:
            yield replace(window, names=suspect)
        first = stop


def _pieces(a: Side, b: Side, name: str, window: _Window) -> Iterator[Range]:
    """The rows of a window (half-open, from its first) that have to be read: chunk by chunk of A, but for those whose
    digests say that they are the same rows in B.
    """
    mine, theirs = (side.source.container.layouts[name] for side in (a, b))
    step = mine.chunk_rows
    one, other = a.digests[name].logical, b.digests[name].logical
    aligned = window.a == window.b and step == theirs.chunk_rows
    for index in range(window.a // step, -(-(window.a + window.rows) // step)):
        if aligned and index < len(other) and one[index] == other[index]:
            continue
        low, high = max(index * step, window.a), min((index + 1) * step, window.a + window.rows)
        yield low - window.a, high - window.a


@dataclass(frozen=True, slots=True)
class _Look:
    a: Side
    b: Side

    def __call__(self, window: _Window) -> dict[str, tuple[Array, int]]:
        """Of each field which rows differ, and how many were read."""
        found = {}
        for name in window.names:
            differ, read = np.zeros(window.rows, np.bool_), 0
            for low, high in _pieces(self.a, self.b, name, window):
                one = self.a.source.reader.rows(name, window.a + low, window.a + high)
                other = self.b.source.reader.rows(name, window.b + low, window.b + high)
                differ[low:high] = (_bytes(one) != _bytes(other)).any(axis=1)
                read += high - low
            found[name] = differ, read
        return found


def _bytes(rows: Array) -> Array:
    return np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
