"""Memory that one unit of work after the other is read into: allocating it anew costs more than reading."""

from __future__ import annotations

from collections import deque

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.kernels.scratch import Scratch


class Buffers:
    """Room for the rows of one unit, field by field; it grows to the largest unit. Another process gets empty ones."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        self._rows: dict[str, Scratch] = {}

    def __reduce__(self) -> tuple[type[Buffers], tuple[()]]:
        return Buffers, ()

    def rows(self, spec: FieldSpec, count: int) -> Array:
        """An uninitialised array (count, *shape); what the field held before is overwritten from now on."""
        memory = self._rows.setdefault(spec.name, Scratch()).take(count * spec.row_bytes)
        return np.frombuffer(memory, spec.dtype).reshape(count, *spec.shape)


class Pool:
    """Buffers that are not in use. Another process that receives a pool starts with an empty one."""

    def __init__(self) -> None:
        self._free: deque[Buffers] = deque()

    def __reduce__(self) -> tuple[type[Pool], tuple[()]]:
        return Pool, ()

    def take(self) -> Buffers:
        """Buffers that nobody else holds."""
        try:
            return self._free.pop()
        except IndexError:
            return Buffers()

    def give(self, buffers: Buffers) -> None:
        """Take back what nobody reads any more."""
        self._free.append(buffers)
