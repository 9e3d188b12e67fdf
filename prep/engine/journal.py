"""What was measured already, unit by unit, kept by the content of the rows: an interrupted pass goes on from there.

A record is found only by the digests of the very bytes it was measured on, which every pass reads and hashes anew, by
what was measured, and by the versions of what measures. So it cannot stand for other data; it is kept in the user's own
cache folder because whoever writes there decides what was measured.
"""

from __future__ import annotations

import os
import platform
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from prep.canonical import blake3_digest, framed_digest
from prep.engine.versions import installed
from prep.folds import Fold
from prep.folds.states import Relation, decode_states, description, relation

# A pass shorter than this leaves nothing behind.
PATIENCE = 5.0
FILE_LIMIT = 256 << 20
FOLDER_LIMIT = 2 << 30
_MAGIC = b"PREPJRN1"
_HEAD = struct.Struct("<8s32sQ")
_COMPUTING = ("numpy", "numba", "llvmlite")
_ROOMS = ("engine", "folds", "kernels", "checks", "transforms")


def cache_folder() -> Path:
    """Where journals lie: ``prep/examined`` in XDG_CACHE_HOME, by default ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "prep" / "examined"


class Journal:
    """The records of one dataset and verb. Whatever the disk refuses is not kept, and nothing else happens.

    ``context`` identifies what else decides on the measurements, such as a transform. Nothing is written in the first
    ``patience`` seconds.
    """

    def __init__(self, path: Path, context: str = "", patience: float = PATIENCE) -> None:
        self.path, self.context = path, context
        self._begins = time.monotonic() + patience
        self._known: dict[bytes, tuple[int, int]] | None = None
        self._basis = framed_digest("basis", context.encode(), _measuring_code())
        self._descriptions: dict[tuple[str, Relation], str] = {}

    @classmethod
    def of(cls, dataset: Path, verb: str, context: str = "") -> Journal:
        """The journal of a verb over the dataset at a path, in `cache_folder`."""
        name = framed_digest("journal", str(dataset.resolve()).encode(), verb.encode()).hex()[:32]
        return cls(cache_folder() / f"{name}.journal", context)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Journal, (self.path, self.context, float("inf")))

    @property
    def writes(self) -> bool:
        """Whether the pass has lasted long enough for records to be kept."""
        return time.monotonic() >= self._begins

    def key(self, folds: Mapping[str, Fold], start: int, stop: int, content: Iterable[bytes]) -> bytes:
        """What the record of rows ``start:stop`` is found by: ``content`` are the digests of their chunks."""
        about = [f"{start}:{stop}", *(self._description(key, fold, start, stop) for key, fold in folds.items())]
        return framed_digest("unit", self._basis, *(text.encode() for text in about), *content)

    def _description(self, key: str, fold: Fold, start: int, stop: int) -> str:
        related = relation(fold, start, stop)
        known = self._descriptions.get((key, related))
        if known is None:
            known = self._descriptions[key, related] = description(fold, related)
        return known

    def get(self, key: bytes) -> dict[str, Any] | None:
        """The states under ``key``; None where there are none, or the record is damaged."""
        place = self._index().get(key)
        if place is None:
            return None
        try:
            with self.path.open("rb") as file:
                data = os.pread(file.fileno(), place[1] + 32, place[0])
            if blake3_digest(data[:-32]) != data[-32:]:
                return None
            return decode_states(data[:-32])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, struct.error):
            return None

    def put(self, key: bytes, data: bytes) -> None:
        """Append ``data``, the encoded states, under ``key``."""
        if not self.writes:
            return
        try:
            self._append(key, data)
        except OSError:
            self._begins = float("inf")

    def _append(self, key: bytes, data: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = not self.path.exists() or self.path.stat().st_size > FILE_LIMIT
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags | (os.O_TRUNC if fresh else 0), 0o600)
        try:
            os.write(descriptor, _HEAD.pack(_MAGIC, key, len(data)) + data + blake3_digest(data))
        finally:
            os.close(descriptor)
        if fresh:
            _shrink(self.path.parent)

    def _index(self) -> dict[bytes, tuple[int, int]]:
        """Where the states of each key lie; a record cut short ends the list."""
        if self._known is None:
            found: dict[bytes, tuple[int, int]] = {}
            with suppress(OSError), self.path.open("rb") as file:
                size, place = os.fstat(file.fileno()).st_size, 0
                while place + _HEAD.size <= size:
                    magic, key, length = _HEAD.unpack(os.pread(file.fileno(), _HEAD.size, place))
                    end = place + _HEAD.size + length + 32
                    if magic != _MAGIC or end > size:
                        break
                    found[key] = (place + _HEAD.size, length)
                    place = end
            # Whole before another thread can see it.
            self._known = found
        return self._known


def _shrink(folder: Path) -> None:
    """Remove the journals that were not touched for longest until the folder is small enough."""
    files = sorted(folder.glob("*.journal"), key=lambda each: each.stat().st_mtime)
    total = sum(each.stat().st_size for each in files)
    for each in files[:-1]:
        if total <= FOLDER_LIMIT:
            return
        total -= each.stat().st_size
        each.unlink(missing_ok=True)


@cache
def _measuring_code() -> bytes:
    """Identifies the code that measures: its text, and the versions of the libraries under it."""
    libraries = (f"{package} {version}".encode() for package, version in installed(*_COMPUTING).items())
    parts = [platform.machine().encode(), *libraries]
    for room in _ROOMS:
        for file in sorted(files("prep").joinpath(room).iterdir(), key=lambda each: each.name):
            if file.name.endswith(".py"):
                parts += [f"{room}/{file.name}".encode(), file.read_bytes()]
    return framed_digest("measuring code", *parts)
