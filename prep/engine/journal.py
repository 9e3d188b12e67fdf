"""What was measured already, unit by unit, kept by the content of the rows: an interrupted pass goes on from there.

A record is found only by the fields and the digests of the very bytes it was measured on, which every pass reads and
hashes anew, by what was measured, and by the versions of what measures; its check covers what it is found by, under a
secret of the user that no environment variable moves. So it cannot stand for other data, and nobody else can write one,
whoever restores or redirects the cache.
"""

from __future__ import annotations

import os
import platform
import pwd
import secrets
import sqlite3
import stat
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import RLock
from typing import Any

from blake3 import blake3

from prep.canonical import framed_digest
from prep.engine.versions import installed
from prep.folds import Fold
from prep.folds.states import Relation, decode_states, description, encode_states, relation

# A pass shorter than this leaves nothing behind.
WORTH_SECONDS = 5.0
FILE_LIMIT = 256 << 20
FOLDER_LIMIT = 2 << 30
_FIND = "SELECT record FROM records WHERE key = ?"
_KEEP = "INSERT OR REPLACE INTO records VALUES (?, ?)"
_COMPUTING = ("numpy", "numba", "llvmlite")
_ROOMS = ("engine", "folds", "kernels", "checks", "transforms")


def cache_folder() -> Path:
    """Where journals lie: ``prep/examined`` in XDG_CACHE_HOME, by default ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "prep" / "examined"


@dataclass(frozen=True, slots=True)
class Unit:
    """What the record of some rows is found by, and the name in it of the state of each fold, by the fold's key."""

    key: bytes
    names: Mapping[str, str]


class Journal:
    """The records of one dataset and verb. Whatever the disk refuses is not kept, and nothing else happens.

    ``context`` identifies what else decides on the measurements, such as a transform. Nothing is written in the first
    ``patience`` seconds. Threads may share one; in another process it only reads.
    """

    def __init__(
        self, path: Path, context: str = "", patience: float = WORTH_SECONDS, secret: bytes | None = None
    ) -> None:
        self.path, self.context = path, context
        self._secret = secret or _own_secret()
        self._begins = time.monotonic() + patience
        self._basis = framed_digest("basis", context.encode(), _measuring_code())
        self._descriptions: dict[tuple[str, Relation], str] = {}
        self._reading: sqlite3.Connection | None = None
        self._writing: sqlite3.Connection | None = None
        self._turn = RLock()

    @classmethod
    def of(cls, dataset: Path, verb: str, context: str = "") -> Journal:
        """The journal of a verb over the dataset at a path, in `cache_folder`."""
        name = framed_digest("journal", os.fsencode(dataset.resolve()), verb.encode()).hex()[:32]
        return cls(cache_folder() / f"{name}.sqlite", context)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Journal, (self.path, self.context, float("inf"), self._secret))

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            for connection in (self._reading, self._writing):
                if connection is not None:
                    with suppress(sqlite3.Error):
                        connection.close()
            self._reading = self._writing = None

    @property
    def writes(self) -> bool:
        """Whether the pass has lasted long enough for records to be kept."""
        return time.monotonic() >= self._begins

    def unit(self, folds: Mapping[str, Fold], start: int, stop: int, content: Iterable[bytes]) -> Unit:
        """Rows ``start:stop``, of which ``content`` tells the fields and the digests of their chunks."""
        names = {key: self._description(key, fold, start, stop) for key, fold in folds.items()}
        about = [f"{start}:{stop}", *names.values()]
        return Unit(framed_digest("unit", self._basis, *(text.encode() for text in about), *content), names)

    def _description(self, key: str, fold: Fold, start: int, stop: int) -> str:
        related = relation(fold, start, stop)
        known = self._descriptions.get((key, related))
        if known is None:
            known = self._descriptions[key, related] = description(fold, related)
        return known

    def get(self, unit: Unit) -> dict[str, Any]:
        """The state of every fold of the unit by the fold's key; empty where there is no record, or it is damaged."""
        try:
            found = self._found(unit.key)
            if not found or not secrets.compare_digest(self._check(unit.key, found[0][:-32]), found[0][-32:]):
                return {}
            states = decode_states(found[0][:-32])
            return {key: states[name] for key, name in unit.names.items()}
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, struct.error):
            return {}

    def record(self, unit: Unit, states: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
        """A key and a record for `put`; None where nothing is to be kept."""
        if not self.writes or not unit.names:
            return None
        try:
            data = encode_states({name: states[key] for key, name in unit.names.items()})
        except TypeError:  # a fold from elsewhere
            return None
        return unit.key, data + self._check(unit.key, data)

    def put(self, key: bytes, record: bytes) -> None:
        """Keep a record, if the pass has lasted long enough."""
        if not self.writes:
            return
        try:
            connection = self._writing or self._writer()
            with connection:
                connection.execute(_KEEP, (key, record))
        except (sqlite3.Error, OSError):
            self._begins = float("inf")

    def _check(self, key: bytes, data: bytes) -> bytes:
        return blake3(key + data, key=self._secret).digest()

    def _found(self, key: bytes) -> tuple[bytes] | None:
        with self._turn:
            if self._reading is None:
                if not self.path.exists():
                    return None
                # Not read-only: whoever comes after a kill has to roll back what was begun.
                self._reading = sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True, check_same_thread=False)
            found: tuple[bytes] | None = self._reading.execute(_FIND, (key,)).fetchone()
            return found

    def _writer(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _sound(self.path):
            with self._turn:
                # Who still reads the old file would take the transactions of the new one for its own, and undo them.
                self.close()
                self.path.unlink(missing_ok=True)
        self._writing = _prepared(self.path)
        _shrink(self.path.parent)
        return self._writing


@cache
def _own_secret() -> bytes:
    """32 bytes in the home folder that the system's user database names, made when they are first asked for; of this
    process alone where they cannot be kept, or others could have written or read them.
    """
    try:
        place = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".config" / "prep" / "journal.key"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            _appear(place, secrets.token_bytes(32))
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            sound = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
            data = file.read(33)
        if sound and len(data) == 32:
            return data
    except (OSError, KeyError):
        pass
    return secrets.token_bytes(32)


def _appear(place: Path, data: bytes) -> None:
    """Whole at once, and not where another process was faster."""
    newborn = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    descriptor = os.open(newborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        with suppress(FileExistsError):
            os.link(newborn, place)
    finally:
        newborn.unlink()


def _sound(path: Path) -> bool:
    """Whether what lies there, if anything, is a whole journal."""
    with closing(sqlite3.connect(path, timeout=1.0)) as connection:
        try:
            return bool(connection.execute("PRAGMA quick_check").fetchall() == [("ok",)])
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise  # another process is writing it
            return False


def _prepared(path: Path) -> sqlite3.Connection:
    """A journal with room for more, the oldest records gone where it was more than half full."""
    connection = sqlite3.connect(path, timeout=1.0)
    connection.execute("PRAGMA synchronous = OFF")  # what a crash of the machine takes away is measured again
    connection.execute("CREATE TABLE IF NOT EXISTS records (key BLOB UNIQUE, record BLOB)")
    page, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count"))
    connection.execute(f"PRAGMA max_page_count = {FILE_LIMIT // page}")
    if page * pages > FILE_LIMIT // 2:
        with connection:
            connection.execute("DELETE FROM records WHERE rowid <= (SELECT (min(rowid) + max(rowid)) / 2 FROM records)")
    return connection


def _shrink(folder: Path) -> None:
    """Remove the journals that were not touched for longest until the folder is small enough."""
    files = sorted(folder.glob("*.sqlite"), key=lambda each: each.stat().st_mtime)
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
