"""What an interrupted writer has finished is taken over by the next one, chunk by chunk, once each is hashed anew."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numcodecs
import numpy as np

from prep.blocks import DatasetSpec, chunk_rows
from prep.canonical import blake3_digest, canonical_json, framed_digest
from prep.formats.chunks import Chunk, Portion, Variable
from prep.formats.files import read_at
from prep.formats.ledger import Record


def made_of(identity: str, container: str, spec: DatasetSpec, compression: str) -> bytes:
    """32 bytes that identify what a writer makes, byte for byte: ``identity`` of its rows, and how they are stored.

    Empty where ``identity`` is: nobody goes on with that.
    """
    if not identity:
        return b""
    fields = [[field.to_dict(), chunk_rows(spec, field.name)] for field in spec.fields]
    encoders = [compression, numcodecs.__version__, zlib.ZLIB_RUNTIME_VERSION]
    return framed_digest("made of", identity.encode(), container.encode(), canonical_json([fields, encoders]))


@dataclass(frozen=True, slots=True)
class Salvage:
    """The finished chunks of the temporary at ``path``, for any thread. Damage is never an error, only lost time."""

    path: Path
    known: Mapping[tuple[str, int], Record]
    variables: Mapping[str, Variable]

    def portions(self, start: int, stop: int, take: Callable[[int], memoryview]) -> dict[str, Portion] | None:
        """Rows ``start:stop`` of every variable as its chunks, each with the place where it lies already.

        None unless all of them are there, whole, and their bytes are the ones that were written. They lie in what
        ``take`` (from a number of bytes) gives.
        """
        records: dict[str, list[Record]] = {}
        for name, variable in self.variables.items():
            size = variable.chunk_rows
            if start % size or stop % size:
                return None
            found = [self.known.get((name, index)) for index in range(start // size, stop // size)]
            records[name] = [record for record in found if record is not None and record.rows == size]
            if len(records[name]) < len(found):
                return None
        memory = take(sum(record.place.size for group in records.values() for record in group))
        portions: dict[str, Portion] = {}
        for name, group in records.items():
            chunks = []
            for record in group:
                data, memory = memory[: record.place.size], memory[record.place.size :]
                if not self._read(record, data):
                    return None
                chunks.append(Chunk(record.rows, data, record.stored, record.logical, record.place))
            spec = self.variables[name].spec
            none = np.empty((0, *spec.shape), spec.dtype)
            portions[name] = Portion(start, none, tuple(chunks), none)
        return portions

    def _read(self, record: Record, data: memoryview) -> bool:
        """Whether the bytes of ``record`` are now in ``data``."""
        try:
            place = self.path / record.place.path if record.place.path else self.path
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if read_at(descriptor, data, record.place.offset) < len(data):
                    return False
            finally:
                os.close(descriptor)
        except (OSError, ValueError):
            return False
        return blake3_digest(data) == record.stored
