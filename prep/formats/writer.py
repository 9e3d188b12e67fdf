"""Rows in any portions become whole encoded chunks: the writer that both formats share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec, chunk_rows
from prep.errors import UsageError, Where
from prep.formats.chunks import Chunk, Cutter, Portion, Variable, checked
from prep.formats.commit import Pending
from prep.formats.digests import ChunkDigests, Digests
from prep.formats.layout import ByteRange, Codec, Container
from prep.formats.ledger import Record
from prep.formats.rules import CHUNK_LIMIT, check_rows, check_spec
from prep.formats.salvage import Salvage


class Sink(Protocol):
    """Where encoded chunks go. Raises `StorageError`; `close` never raises and leaves no resources behind."""

    def codecs(self, spec: FieldSpec) -> tuple[Codec, ...]:
        """The codecs to encode this variable with."""

    def begin(self, spec: FieldSpec, rows: int, codecs: tuple[Codec, ...]) -> None:
        """A variable starts, with chunks of ``rows`` rows."""

    def put(self, spec: FieldSpec, index: int, rows: int, chunk: Chunk) -> ByteRange | None:
        """Chunk ``index``, in order; ``rows`` is how many rows the variable has with it. Returns where it lies now, in
        the hands of the operating system; None where that is not known. What lies at its ``place`` is not written.
        """

    def finish(self, spec: DatasetSpec, rows: Mapping[str, int]) -> None:
        """Attributes, documents, dimensions; afterwards everything has been handed to the operating system."""

    def close(self) -> None:
        """Let go of what was opened."""

    def leave(self) -> None:
        """As `close`, but nothing more is written."""


@dataclass(slots=True)
class _Rows:
    """What was stored of one variable, and the rows that do not fill a chunk yet."""

    variable: Variable
    begun: bool = False
    stored: int = 0
    held: int = 0
    buffer: Array | None = field(default=None, repr=False)
    digests: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)

    @property
    def spec(self) -> FieldSpec:
        return self.variable.spec

    @property
    def rows(self) -> int:
        return self.stored + self.held


class Writer:
    """Writes one dataset: append rows of every field in order, write constants, then `commit`.

    Until `commit` nothing is at the target; leaving a ``with`` block without it removes all that was written, unless it
    is an interrupt that ends the block and the writer is resumable (see `prep.formats.create`): the next writer of the
    same then finds in ``salvage`` what is finished, and takes it when it is `put` at the same rows. A field
    shorter than one chunk is stored as one chunk of exactly its rows. Raises `StorageError` where the file system
    refuses.
    """

    def __init__(self, pending: Pending, sink: Sink, spec: DatasetSpec, reopen: Callable[[Path], Container]) -> None:
        self._pending, self._sink, self._spec, self._reopen = pending, sink, spec, reopen
        self._open = True
        self._constants: dict[str, _Rows] = {}
        variables = {each.name: Variable(each, chunk_rows(spec, each.name), sink.codecs(each)) for each in spec.fields}
        self._rows = {name: _Rows(variable) for name, variable in variables.items()}
        self.cutter = Cutter(variables)
        known = pending.ledger.known if pending.ledger is not None else {}
        self.salvage = Salvage(pending.path, known, variables) if known else None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(interrupted=kind is not None and not issubclass(kind, Exception))

    def write(self, name: str, array: Array) -> None:
        """Append rows (rows, *shape) to a field; any number of rows at a time, the dtype exactly the field's.

        Whole chunks are encoded from ``array`` without a copy. Raises `UsageError` for another shape or dtype.
        """
        rows = self._rows[self._spec[name].name]
        self.put(name, self.cutter(name, rows.rows, array))

    def put(self, name: str, portion: Portion) -> None:
        """Append what `cutter` made of the next rows of a field, on whatever thread."""
        self._check_open()
        rows = self._rows[name]
        if portion.start != rows.rows:
            raise UsageError(
                "rows must come in order",
                where=Where(path=str(self._pending.target), field=name),
                measured=f"row {portion.start}",
                allowed=f"row {rows.rows}",
                remedy="put every portion of a field after the one before it",
            )
        self._hold(rows, portion.head)
        for chunk in portion.chunks:
            self._put(rows, chunk)
        self._hold(rows, portion.rest)

    @property
    def digests(self) -> dict[str, ChunkDigests]:
        """Digests of every chunk handed to the file system so far, by field and constant."""
        return {
            name: ChunkDigests(
                Digests.of(each for each, _ in rows.digests), Digests.of(each for _, each in rows.digests)
            )
            for name, rows in {**self._rows, **self._constants}.items()
        }

    def write_constant(self, spec: FieldSpec, array: Array) -> None:
        """Store an array without a sample dimension, once; shape (any length of at least 1, *spec.shape)."""
        self._check_open()
        array = checked(array, spec)
        if spec.role != "constant" or spec.name in self._constants or not 0 < array.nbytes <= CHUNK_LIMIT:
            raise UsageError(
                "a constant has the role 'constant', is written once and fits into one chunk",
                where=Where(field=spec.name),
                measured=f"role {spec.role}, {array.nbytes} bytes",
                allowed=f"1 to {CHUNK_LIMIT} bytes",
                remedy="write every constant once, in one piece",
            )
        check_spec(replace(self._spec, constants=(spec,)))
        rows = _Rows(Variable(spec, len(array), self._sink.codecs(spec)))
        self._put(rows, rows.variable.encode(array))
        self._constants[spec.name] = rows

    def commit(
        self,
        spec: DatasetSpec,
        superseded: Iterable[Path] = (),
        beside: Callable[[Container], tuple[Path, bytes]] | None = None,
    ) -> Container:
        """Store the rest and what ``spec`` says (splits, attributes, documents), and make the dataset appear.

        ``spec`` has the fields the writer was made with, apart from their attributes, and the constants that were
        written. ``superseded`` are sidecars of what lay there before; they go when the dataset appears, and
        what ``beside`` makes of the dataset, a path and its bytes, appears with it. Returns the dataset as read back
        before it appears. Raises `SchemaError` or `UsageError` where ``spec`` and what was written
        differ; after any error but an interrupt nothing is left.
        """
        self._check_open()
        try:
            self._check_same(spec)
            for variable in self._rows.values():
                self._put_rest(variable)
            rows = {name: variable.rows for name, variable in {**self._rows, **self._constants}.items()}
            self._sink.finish(spec, rows)
            self._sink.close()
            container = self._reopen(self._pending.path)
            self._pending.publish(superseded, beside(container) if beside is not None else None)
        except BaseException as error:
            self._end(interrupted=not isinstance(error, Exception))
            raise
        self.abort()
        return replace(container, path=self._pending.target)

    def abort(self) -> None:
        """Remove everything written so far; nothing happens after `commit`. Never raises."""
        self._end(interrupted=False)

    def _end(self, *, interrupted: bool) -> None:
        if not self._open:
            return
        self._open = False
        if interrupted and self._pending.resumable:
            self._sink.leave()
            self._pending.leave()
        else:
            self._sink.close()
            self._pending.discard()

    def _hold(self, rows: _Rows, array: Array) -> None:
        """Keep rows that do not fill a chunk, and store the chunk once they do."""
        if not len(array):
            return
        size = rows.variable.chunk_rows
        if rows.buffer is None:
            rows.buffer = np.empty((size, *rows.spec.shape), rows.spec.dtype)
        rows.buffer[rows.held : rows.held + len(array)] = array
        rows.held += len(array)
        if rows.held == size:
            rows.held = 0
            self._put(rows, rows.variable.encode(rows.buffer))

    def _put(self, rows: _Rows, chunk: Chunk) -> None:
        variable = rows.variable
        self._begin(rows)
        index = rows.stored // variable.chunk_rows
        rows.stored += chunk.rows
        place = self._sink.put(variable.spec, index, rows.stored, chunk)
        rows.digests.append((chunk.stored, chunk.logical))
        if place is not None and self._pending.ledger is not None and variable.spec.role != "constant":
            name = variable.spec.name
            self._pending.ledger.append(Record(name, index, chunk.rows, place, chunk.stored, chunk.logical))

    def _begin(self, rows: _Rows) -> None:
        if not rows.begun:
            self._sink.begin(rows.spec, rows.variable.chunk_rows, rows.variable.codecs)
            rows.begun = True

    def _put_rest(self, rows: _Rows) -> None:
        if not rows.begun:
            rows.variable = replace(rows.variable, chunk_rows=max(rows.held, 1))
        if rows.held and rows.buffer is not None:
            held, rows.held = rows.held, 0
            rows.buffer[held:] = 0
            self._put(rows, rows.variable.encode(rows.buffer[: rows.variable.chunk_rows], held))
        self._begin(rows)

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(
                "this writer has finished",
                where=Where(path=str(self._pending.target)),
                remedy="create a new writer for another dataset",
            )

    def _check_same(self, spec: DatasetSpec) -> None:
        stored = [(f.name, f.dtype, f.dims, f.shape) for f in self._spec.fields]
        wanted = [(f.name, f.dtype, f.dims, f.shape) for f in spec.fields]
        constants = sorted(f.name for f in spec.constants)
        if stored != wanted or constants != sorted(self._constants):
            raise UsageError(
                "the dataset to commit is not the one that was written",
                where=Where(path=str(self._pending.target)),
                measured=", ".join(f.name for f in (*spec.fields, *spec.constants)),
                allowed=", ".join([*self._rows, *self._constants]),
                remedy="commit the fields that the writer was created with and the constants that were written",
            )
        check_spec(spec)
        check_rows(spec, {name: rows.rows for name, rows in {**self._rows, **self._constants}.items()})
