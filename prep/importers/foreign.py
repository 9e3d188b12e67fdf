"""Foreign HDF5 and Parquet files as this process sees them: a descriptor, and a child that is asked what is there."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from prep.blocks import Array
from prep.errors import PrepError, Where
from prep.importers.columns import Column, storable
from prep.importers.sources import storage_errors
from prep.isolation.answers import Answer
from prep.isolation.limits import FOREIGN, OWN
from prep.isolation.refusals import nonsense
from prep.isolation.sessions import Session, ask

TEXT, LINK = "text", "link"  # in place of a dtype
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class ForeignFile:
    """One foreign file of ``size`` bytes, parsed in a child of its own for as long as somebody holds this.

    ``reads`` and ``texts`` are the tasks of the child that answer with rows.
    """

    reads, texts = "", ""

    def __init__(self, path: Path) -> None:
        self.path = path
        with storage_errors(path), path.open("rb", buffering=0) as raw:
            self.size = os.fstat(raw.fileno()).st_size
            self._session = Session(raw.fileno(), path, FOREIGN)

    def ask(self, task: str, arguments: Any = None, *, most: int = 0) -> Answer:
        """See `prep.isolation.sessions.ask`."""
        return self._session.ask(task, arguments, most=most)

    def abandon(self) -> None:
        """See `prep.isolation.sessions.Session.abandon`."""
        self._session.abandon()

    @contextmanager
    def understood(self) -> Iterator[None]:
        """`IntegrityError` where an answer is not what it should be."""
        try:
            yield
        except ValueError as error:
            raise nonsense(self.path, error) from error

    def rows(self, columns: Sequence[Column], start: int, stop: int, keep: Array | None = None) -> list[Array]:
        """Rows ``start:stop`` of some columns, or those of them that are in ``keep``."""
        return self._rows([(column.path, column.dtype, column.shape) for column in columns], start, stop, keep)

    def numbers(self, place: str, dtype: np.dtype[Any], shape: tuple[int, ...], start: int, stop: int) -> Array:
        """Rows ``start:stop`` of the array of ``dtype`` and ``shape`` at ``place``."""
        return self._rows([(place, dtype, shape)], start, stop, None)[0]

    def _rows(
        self, arrays: list[tuple[str, np.dtype[Any], tuple[int, ...]]], start: int, stop: int, keep: Array | None
    ) -> list[Array]:
        for place, dtype, _ in arrays:
            if dtype.hasobject:
                storable(dtype, Where(path=str(self.path), key=place))
        count = stop - start if keep is None else len(keep)
        question: dict[str, Any] = {"places": [place for place, _, _ in arrays], "start": start, "stop": stop}
        question["dtypes"] = [dtype.str for _, dtype, _ in arrays]
        question["shapes"] = [shape[1:] for _, _, shape in arrays]
        if keep is not None:
            kept = np.zeros(stop - start, bool)
            kept[keep] = True
            question["keep"] = np.packbits(kept).tobytes().hex()
        wanted = [(dtype, (count, *shape[1:])) for _, dtype, shape in arrays]
        with self.understood():
            answer = self.ask(
                self.reads, question, most=sum(dtype.itemsize * math.prod(shape) for dtype, shape in wanted)
            )
            return [answer.array(index, dtype, shape) for index, (dtype, shape) in enumerate(wanted)]

    def text(self, place: str, shape: tuple[int, ...], start: int, stop: int) -> Array:
        """Rows ``start:stop`` of the texts at ``place``."""
        wanted = (stop - start, *shape[1:])
        with self.understood():
            texts = self.ask(self.texts, {"place": place, "start": start, "stop": stop}).texts()
            if len(texts) != math.prod(wanted):
                raise ValueError(f"{len(texts)} texts where {math.prod(wanted)} are expected")
            return np.array(texts, object).reshape(wanted)


class ForeignHdf5(ForeignFile):
    """One foreign HDF5 file."""

    reads, texts = "read", "texts"

    def vet(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Warnings about the arrays at ``paths``. Raises what forbids reading one."""
        with self.understood():
            return self.ask("vet", list(paths)).texts()


class ForeignParquet(ForeignFile):
    """One foreign Parquet file; each column is read front to back."""

    reads, texts = "table read", "table texts"


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
