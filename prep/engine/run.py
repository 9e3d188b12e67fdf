"""One pass: read a segment, transform it, offer it to every fold, write it, drop it; merge what was learned in row
order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from prep.blocks import Array, Block
from prep.engine.executor import Progress, available_workers, ordered, silent
from prep.engine.source import ChunkDigests, DatasetSource
from prep.errors import DataError
from prep.folds import Fold

Apply = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class Sink(Protocol):
    """Takes the rows of a field, in order."""

    def write(self, name: str, array: Array) -> None: ...


@dataclass(frozen=True, slots=True)
class Measurements:
    """What one pass learned: finished folds by key, digests by field (where asked for), rows seen."""

    results: Mapping[str, Any]
    digests: Mapping[str, ChunkDigests]
    rows: int


@dataclass(frozen=True, slots=True)
class _Examined:
    block: Block | None
    states: dict[str, Any]
    digests: dict[str, ChunkDigests]
    rows: int


def run(
    source: DatasetSource,
    folds: Iterable[Fold] = (),
    *,
    transform: Apply | None = None,
    sink: Sink | None = None,
    digests: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Measurements:
    """Read every row of ``source`` once.

    Folds see blocks after ``transform`` (if any); ``sink`` receives the same blocks in row order. With ``digests``
    every field is read and every chunk hashed. Memory is bounded by a few segments a worker, whatever the size of the
    dataset. Errors: those of the source (`IntegrityError`), the transform (`DataError`, samples counted from the first
    of the dataset) and the sink (`StorageError`).
    """
    unique = {fold.key: fold for fold in folds}
    wanted = frozenset().union(*(fold.fields for fold in unique.values())) if unique else frozenset()
    if transform is not None or sink is not None or digests:
        wanted |= frozenset(spec.name for spec in source.spec.fields)
    names = wanted & {spec.name for spec in source.spec.constants}
    constants = {name: array for name, array in (source.constants()[0] if names else {}).items() if name in names}
    job = _Job(source, unique, wanted, constants, transform, sink is not None, digests)
    total = source.spec.rows
    states: dict[str, Any] = {}
    seen: dict[str, list[ChunkDigests]] = {}
    done = 0
    progress(0, total)
    for examined in ordered(job, source.segments() if wanted else [], workers or available_workers()):
        if sink is not None and examined.block is not None:
            for name, array in examined.block.arrays.items():
                sink.write(name, array)
        for key, state in examined.states.items():
            states[key] = unique[key].merge(states[key], state) if key in states else state
        for name, chunk in examined.digests.items():
            seen.setdefault(name, []).append(chunk)
        done += examined.rows
        progress(done, total)
    results = {key: fold.finish(states.get(key, fold.empty())) for key, fold in unique.items()}
    return Measurements(results, {name: _join(parts) for name, parts in seen.items()} if digests else {}, done)


@dataclass(frozen=True, slots=True)
class _Job:
    source: DatasetSource
    folds: Mapping[str, Fold]
    names: frozenset[str]
    constants: Mapping[str, Array]
    transform: Apply | None
    keep: bool
    hashed: bool

    def __call__(self, segment: tuple[int, int]) -> _Examined:
        start, stop = segment
        block, digests = self.source.read(start, stop, self.names, self.hashed)
        arrays = block.arrays if self.transform is None else self._transformed(self.transform, block)
        block = Block(start, stop, arrays, self.constants)
        states = {key: fold.absorb(fold.empty(), block) for key, fold in self.folds.items()}
        return _Examined(block if self.keep else None, states, digests, stop - start)

    def _transformed(self, transform: Apply, block: Block) -> Mapping[str, Array]:
        try:
            return transform(block.arrays)
        except DataError as error:
            # A transform sees one block and counts samples from its first row.
            spec, where = self.source.spec, error.where
            samples = tuple(block.start + row for row in where.samples)
            splits = dict.fromkeys(spec.split_of(row) for row in samples)
            error.where = replace(
                where,
                path=where.path or str(self.source.container.path),
                dataset=where.dataset or spec.name,
                split=where.split or ", ".join(splits),
                samples=samples,
            )
            raise


def _join(parts: list[ChunkDigests]) -> ChunkDigests:
    return ChunkDigests(
        tuple(digest for part in parts for digest in part.stored),
        tuple(digest for part in parts for digest in part.logical),
    )
