"""Rows in any portions become whole encoded chunks: the writer that both formats share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec, chunk_rows
from prep.errors import UsageError, Where
from prep.formats.codecs import Encoder, encoder
from prep.formats.commit import Pending
from prep.formats.layout import Bytes, Codec, Container
from prep.formats.rules import CHUNK_LIMIT, check_rows, check_spec


class Sink(Protocol):
    """Where encoded chunks go. Raises `StorageError`; `close` never raises and leaves no resources behind."""

    def codecs(self, spec: FieldSpec) -> tuple[Codec, ...]:
        """The codecs to encode this variable with."""

    def begin(self, spec: FieldSpec, rows: int, codecs: tuple[Codec, ...]) -> None:
        """A variable starts, with chunks of ``rows`` rows."""

    def put(self, spec: FieldSpec, index: int, rows: int, data: Bytes) -> None:
        """Chunk ``index``, in order; ``rows`` is how many rows the variable has with it."""

    def finish(self, spec: DatasetSpec, rows: Mapping[str, int]) -> None:
        """Attributes, documents, dimensions; afterwards everything has been handed to the operating system."""

    def close(self) -> None:
        """Let go of what was opened."""


@dataclass(slots=True)
class _Rows:
    """The rows of one variable that do not fill a chunk yet. ``begun`` is None until the first chunk is stored."""

    spec: FieldSpec
    chunk_rows: int
    encode: Encoder
    codecs: tuple[Codec, ...]
    begun: bool = False
    stored: int = 0
    held: int = 0
    buffer: Array | None = field(default=None, repr=False)

    @property
    def rows(self) -> int:
        return self.stored + self.held


class Writer:
    """Writes one dataset: append rows of every field in order, write constants, then `commit`.

    Until `commit` nothing is at the target; leaving a ``with`` block without it removes all that was written. A field
    shorter than one chunk is stored as one chunk of exactly its rows. Raises `StorageError` where the file system
    refuses.
    """

    def __init__(self, pending: Pending, sink: Sink, spec: DatasetSpec, reopen: Callable[[Path], Container]) -> None:
        self._pending, self._sink, self._spec, self._reopen = pending, sink, spec, reopen
        self._open = True
        self._constants: dict[str, int] = {}
        self._rows = {}
        for variable in spec.fields:
            codecs = sink.codecs(variable)
            rows = chunk_rows(spec, variable.name)
            self._rows[variable.name] = _Rows(variable, rows, encoder(codecs), codecs)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, name: str, array: Array) -> None:
        """Append rows (rows, *shape) to a field; any number of rows at a time, the dtype exactly the field's.

        Whole chunks are encoded from ``array`` without a copy. Raises `UsageError` for another shape or dtype.
        """
        self._check_open()
        rows = self._rows[self._spec[name].name]
        array = _checked(array, rows.spec)
        start = 0
        if rows.held:
            start = self._hold(rows, array)
        while len(array) - start >= rows.chunk_rows:
            self._put(rows, array[start : start + rows.chunk_rows])
            start += rows.chunk_rows
        if start < len(array):
            self._hold(rows, array[start:])

    def write_constant(self, spec: FieldSpec, array: Array) -> None:
        """Store an array without a sample dimension, once; shape (any length of at least 1, *spec.shape)."""
        self._check_open()
        array = _checked(array, spec)
        if spec.role != "constant" or spec.name in self._constants or not 0 < array.nbytes <= CHUNK_LIMIT:
            raise UsageError(
                "a constant has the role 'constant', is written once and fits into one chunk",
                where=Where(field=spec.name),
                measured=f"role {spec.role}, {array.nbytes} bytes",
                allowed=f"1 to {CHUNK_LIMIT} bytes",
                remedy="write every constant once, in one piece",
            )
        check_spec(replace(self._spec, constants=(spec,)))
        codecs = self._sink.codecs(spec)
        self._sink.begin(spec, len(array), codecs)
        self._sink.put(spec, 0, len(array), encoder(codecs)(array))
        self._constants[spec.name] = len(array)

    def commit(self, spec: DatasetSpec, superseded: Iterable[Path] = ()) -> Container:
        """Store the rest and what ``spec`` says (splits, attributes, documents), and make the dataset appear.

        ``spec`` has the fields the writer was made with, apart from their attributes, and the constants that were
        written. ``superseded`` are sidecars of what lay there before; they go when the dataset appears. Returns the
        dataset as read back before it appears. Raises `SchemaError` or `UsageError` where ``spec`` and what was written
        differ; after any error nothing is left.
        """
        self._check_open()
        try:
            self._check_same(spec)
            for variable in self._rows.values():
                self._put_rest(variable)
            rows = {**{name: variable.rows for name, variable in self._rows.items()}, **self._constants}
            self._sink.finish(spec, rows)
            self._sink.close()
            container = self._reopen(self._pending.path)
            self._pending.publish(superseded)
        finally:
            self.abort()
        return replace(container, path=self._pending.target)

    def abort(self) -> None:
        """Remove everything written so far; nothing happens after `commit`. Never raises."""
        if self._open:
            self._open = False
            self._sink.close()
            self._pending.discard()

    def _hold(self, rows: _Rows, array: Array) -> int:
        if rows.buffer is None:
            rows.buffer = np.empty((rows.chunk_rows, *rows.spec.shape), rows.spec.dtype)
        taken = min(rows.chunk_rows - rows.held, len(array))
        rows.buffer[rows.held : rows.held + taken] = array[:taken]
        rows.held += taken
        if rows.held == rows.chunk_rows:
            rows.held = 0
            self._put(rows, rows.buffer)
        return taken

    def _put(self, rows: _Rows, array: Array, valid: int | None = None) -> None:
        if not rows.begun:
            self._sink.begin(rows.spec, rows.chunk_rows, rows.codecs)
            rows.begun = True
        index = rows.stored // rows.chunk_rows
        rows.stored += rows.chunk_rows if valid is None else valid
        self._sink.put(rows.spec, index, rows.stored, rows.encode(array))

    def _put_rest(self, rows: _Rows) -> None:
        if not rows.begun:
            rows.chunk_rows = max(rows.held, 1)
        if rows.held and rows.buffer is not None:
            held, rows.held = rows.held, 0
            rows.buffer[held:] = 0
            self._put(rows, rows.buffer[: rows.chunk_rows], held)
        elif not rows.begun:
            self._sink.begin(rows.spec, rows.chunk_rows, rows.codecs)
            rows.begun = True

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
        check_rows(spec, {**{name: rows.rows for name, rows in self._rows.items()}, **self._constants})


def _checked(array: Array, spec: FieldSpec) -> Array:
    array = np.asarray(array)
    little = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    if array.shape[1:] != spec.shape or array.ndim == 0 or little != spec.dtype:
        raise UsageError(
            "rows do not have the shape and dtype of their field",
            where=Where(field=spec.name),
            measured=f"{array.dtype} {array.shape}",
            allowed=f"{spec.dtype} (rows, {', '.join(map(str, spec.shape))})",
            remedy="convert the array, or change the field",
        )
    return np.ascontiguousarray(array, dtype=spec.dtype)
