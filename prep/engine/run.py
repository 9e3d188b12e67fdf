"""One pass: read a segment, transform it, offer it to every fold, write it, drop it; merge what was learned in row
order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from prep.blocks import Array, Block, DatasetSpec, FieldSpec
from prep.canonical import blake3_digest, canonical_json
from prep.engine.buffers import Buffers, Pool
from prep.engine.executor import Progress, Workers, ordered, silent
from prep.engine.journal import Journal, Unit
from prep.errors import DataError
from prep.folds import Fold, meets
from prep.formats.chunks import Cutter, Portion
from prep.formats.digests import ChunkDigests
from prep.formats.layout import flat
from prep.formats.salvage import Salvage

Apply = Callable[[Mapping[str, Array]], Mapping[str, Array]]


class Source(Protocol):
    """Rows that can be read once: those of a stored dataset, or of a foreign file (`prep.engine.foreign`).

    ``segments`` are units of work, in row order; ``block`` makes the rows of one, on a worker.
    """

    @property
    def spec(self) -> DatasetSpec: ...

    @property
    def path(self) -> Path: ...

    def constants(self) -> tuple[dict[str, Array], dict[str, ChunkDigests]]: ...

    def segments(self, names: frozenset[str], least: int = 1) -> Iterable[Any]: ...

    def block(
        self, segment: Any, names: frozenset[str], hashed: bool, buffers: Buffers
    ) -> tuple[Block, dict[str, ChunkDigests]]: ...


class Sink(Protocol):
    """Takes the rows of every field, in order, after its ``cutter`` has prepared them on a worker.

    See `prep.formats.writer.Writer`.
    """

    cutter: Cutter
    salvage: Salvage | None

    def put(self, name: str, portion: Portion) -> None: ...


@dataclass(frozen=True, slots=True)
class Measurements:
    """What one pass learned: finished folds by key, digests by field (where asked for), rows seen."""

    results: Mapping[str, Any]
    digests: Mapping[str, ChunkDigests]
    rows: int


@dataclass(frozen=True, slots=True)
class _Examined:
    portions: dict[str, Portion]
    states: dict[str, Any]
    digests: dict[str, ChunkDigests]
    rows: int
    buffers: Buffers | None
    record: tuple[bytes, bytes] | None


def run(
    source: Source,
    folds: Iterable[Fold] = (),
    *,
    transform: Apply | None = None,
    sink: Sink | None = None,
    digests: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
    journal: Journal | None = None,
) -> Measurements:
    """Read every row of ``source`` once.

    Folds see blocks after ``transform`` (if any); ``sink`` receives the same blocks in row order. With ``digests``
    every field is read and every chunk hashed. What ``journal`` knows of the very same rows is not measured again, and
    where the ``salvage`` of ``sink`` holds all that becomes of them they are not transformed again either; a sink has
    one only for the rows of this source under this transform. Memory is bounded by a few segments a worker, whatever
    the size of the dataset. Errors: those of the source (`IntegrityError`), the transform (`DataError`, samples counted
    from the first of the dataset) and the sink (`StorageError`).
    """
    unique = {fold.key: fold for fold in folds}
    wanted = frozenset().union(*(fold.fields for fold in unique.values())) if unique else frozenset()
    if transform is not None or sink is not None or digests:
        wanted |= frozenset(spec.name for spec in source.spec.fields)
    names = wanted & {spec.name for spec in source.spec.constants}
    constants = {name: array for name, array in (source.constants()[0] if names else {}).items() if name in names}
    pool = Pool()
    cutter = sink.cutter if sink is not None else None
    # The workers of a scheduler may not see the files of this machine.
    salvage = sink.salvage if sink is not None and not isinstance(workers, str) else None
    job = _Job(source, unique, wanted, constants, transform, cutter, digests, pool, journal, salvage)
    least = max((each.chunk_rows for each in cutter.variables.values()), default=1) if cutter else 1
    total = source.spec.rows
    states: dict[str, Any] = {}
    seen: dict[str, list[ChunkDigests]] = {}
    done = 0
    progress(0, total)
    with closing(journal) if journal is not None else nullcontext():
        for examined in ordered(job, source.segments(wanted, least) if wanted else [], workers):
            if sink is not None:
                for name, portion in examined.portions.items():
                    sink.put(name, portion)
            if examined.buffers is not None:
                pool.give(examined.buffers)
            if journal is not None and examined.record is not None:
                journal.put(*examined.record)
            for key, state in examined.states.items():
                states[key] = unique[key].merge(states[key], state) if key in states else state
            for name, chunk in examined.digests.items():
                seen.setdefault(name, []).append(chunk)
            done += examined.rows
            progress(done, total)
    results = {key: fold.finish(states.get(key, fold.empty())) for key, fold in unique.items()}
    return Measurements(
        results, {name: ChunkDigests.joined(parts) for name, parts in seen.items()} if digests else {}, done
    )


@dataclass(frozen=True, slots=True)
class _Job:
    source: Source
    folds: Mapping[str, Fold]
    names: frozenset[str]
    constants: Mapping[str, Array]
    transform: Apply | None
    cutter: Cutter | None
    hashed: bool
    pool: Pool
    journal: Journal | None
    salvage: Salvage | None

    def __call__(self, segment: Any) -> _Examined:
        buffers = self.pool.take()
        hashed = self.hashed or self.journal is not None
        read, digests = self.source.block(segment, self.names, hashed, buffers)
        start, stop = read.start, read.stop
        folds = {name: fold for name, fold in self.folds.items() if meets(fold, start, stop)}
        known, unit = self._known(folds, read, digests)
        todo = {name: fold for name, fold in folds.items() if name not in known}
        if self.salvage is not None and not todo:
            # The memory for stored bytes is free again once the rows are read.
            saved = self.salvage.portions(start, stop, buffers.scratch.take)
            if saved is not None:
                return _Examined(saved, {name: known[name] for name in folds}, digests, stop - start, buffers, None)
        states: dict[str, Any] = dict(known)
        record: tuple[bytes, bytes] | None = None
        arrays: Mapping[str, Array] = {}
        if todo or self.cutter is not None or not known:
            arrays = read.arrays if self.transform is None else self._transformed(self.transform, read)
            block = Block(start, stop, arrays, self.constants)
            eager = sorted(todo.items(), key=lambda each: not getattr(each[1], "first", False))
            # Folds count what is not finite; signalling NaNs of data that are none are no reason for a warning.
            with np.errstate(all="ignore"):
                found = {name: fold.absorb(fold.empty(), block) for name, fold in eager}
            # In the order of the folds, so that what is merged does not depend on what was known.
            states = {name: known[name] if name in known else found[name] for name in folds}
            if self.journal is not None and unit is not None and not known:
                record = self.journal.record(unit, states)
        if self.cutter is None:
            self.pool.give(buffers)
            return _Examined({}, states, digests, stop - start, None, record)
        portions = {name: self.cutter(name, start, arrays[name]) for name in self.cutter.variables}
        return _Examined(portions, states, digests, stop - start, buffers, record)

    def _known(
        self, folds: Mapping[str, Fold], read: Block, digests: Mapping[str, ChunkDigests]
    ) -> tuple[dict[str, Any], Unit | None]:
        """What the journal says of these rows, and what it says it under."""
        if self.journal is None:
            return {}, None
        content: list[bytes] = []
        for name in sorted(digests):
            content += [_identity(self.source.spec[name]), *digests[name].logical]
        for name in sorted(self.constants):
            content += [_identity(self.source.spec.stored(name)), blake3_digest(flat(self.constants[name]))]
        kept = {name: fold for name, fold in folds.items() if getattr(fold, "journaled", True)}
        unit = self.journal.unit(kept, read.start, read.stop, content)
        return self.journal.get(unit), unit

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
                path=where.path or str(self.source.path),
                dataset=where.dataset or spec.name,
                split=where.split or ", ".join(splits),
                samples=samples,
            )
            raise


def _identity(spec: FieldSpec) -> bytes:
    """What the bytes of a field mean."""
    return canonical_json(spec.to_dict())
