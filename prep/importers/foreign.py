"""Foreign HDF5 files as this process sees them: a descriptor, and a child that is asked what is in there."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import PrepError, Where
from prep.importers.columns import storable
from prep.importers.sources import storage_errors
from prep.isolation.answers import Answer
from prep.isolation.limits import FOREIGN, OWN
from prep.isolation.process import nonsense
from prep.isolation.sessions import Session, ask

TEXT = "text"  # in place of a dtype
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class ForeignHdf5:
    """One foreign HDF5 file of ``size`` bytes, parsed in a child of its own for as long as somebody holds this."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path), path.open("rb", buffering=0) as raw:
            self.size = os.fstat(raw.fileno()).st_size
            self._session = Session(raw.fileno(), path, FOREIGN)

    def ask(self, task: str, arguments: Any = None, *, most: int = 0) -> Answer:
        """See `prep.isolation.sessions.ask`."""
        return self._session.ask(task, arguments, most=most)

    @contextmanager
    def understood(self) -> Iterator[None]:
        """`IntegrityError` where an answer is not what it should be."""
        try:
            yield
        except ValueError as error:
            raise nonsense(self.path, error) from error

    def rows(self, place: str, shape: tuple[int, ...], dtype: np.dtype[Any], start: int, stop: int) -> Array:
        """Rows ``start:stop`` of the array of ``shape`` at ``place``."""
        if dtype.hasobject:
            storable(dtype, Where(path=str(self.path), key=place))
        wanted = (stop - start, *shape[1:])
        nbytes = math.prod(wanted) * dtype.itemsize
        with self.understood():
            answer = self.ask("read", {"place": place, "start": start, "stop": stop}, most=nbytes)
            return answer.array(0, dtype, wanted)

    def text(self, place: str, shape: tuple[int, ...], dtype: np.dtype[Any], start: int, stop: int) -> Array:
        """As `rows`, for texts."""
        with self.understood():
            texts = self.ask("read", {"place": place, "start": start, "stop": stop}).texts()
            wanted = (stop - start, *shape[1:])
            if len(texts) != math.prod(wanted):
                raise ValueError(f"{len(texts)} texts where {math.prod(wanted)} are expected")
            return np.array(texts, object).reshape(wanted)


def has_member(path: Path, name: str) -> bool:
    """Whether the root of an HDF5 file has a member ``name``; False, too, where it cannot be read. Never raises."""
    try:
        with path.open("rb", buffering=0) as raw:
            return ask(raw.fileno(), path, "member", name, OWN).truth()
    except (OSError, ValueError, PrepError):
        return False


def looks_like_hdf5(path: Path) -> bool:
    """Whether a file carries the HDF5 signature (at byte 0, 512, 1024, 2048, …); never raises."""
    try:
        if not path.is_file():
            return False
        with path.open("rb", buffering=0) as file:
            size, place = os.fstat(file.fileno()).st_size, 0
            while place + len(_SIGNATURE) <= size:
                if os.pread(file.fileno(), len(_SIGNATURE), place) == _SIGNATURE:
                    return True
                place = place * 2 or 512
    except (OSError, ValueError):
        pass
    return False
