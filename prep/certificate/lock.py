"""`prep.lock`: what this project trusts: for each dataset its version, root and certificate, reviewed in git like any
lock file.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from prep.canonical import parse_json
from prep.certificate import moments
from prep.errors import CertificateError, Where
from prep.formats.commit import write_atomically
from prep.formats.files import read_regular

NAME = "prep.lock"
TRUST_NAME = "trust.toml"
_MARKERS = (NAME, TRUST_NAME, "Snakefile", "pyproject.toml", ".git")
_VERSION = 1
_SIZE_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class Pin:
    """What is trusted of one dataset. ``certificate`` is the ``sha256:`` of the envelope's payload, ``meaning`` digests
    what the root leaves out (`prep.certificate.tree.meaning`); without one only its very certificate is pinned.
    """

    version: str
    root: str
    certificate: str
    created: str
    meaning: str = ""


def find(start: Path | None = None) -> Path:
    """The lock that a consumer working in ``start`` (default: the current folder) uses.

    That of the nearest folder upwards that is a project (it has a prep.lock, trust.toml, Snakefile, pyproject.toml or
    .git), whether the lock exists yet or not; without a project, of ``start``. Never one beyond the consumer's own
    project, where anybody may have put it.
    """
    return project(start) / NAME


def project(start: Path | None = None) -> Path:
    """The nearest folder upwards from ``start`` (default: the current folder) that is a project, else ``start``."""
    origin = (start or Path.cwd()).resolve()
    for folder in (origin, *origin.parents):
        if any((folder / marker).exists() for marker in _MARKERS):
            return folder
    return origin


def read(path: Path) -> dict[str, Pin]:
    """Pins by dataset id; empty where there is no lock yet. A lock that cannot be understood is a
    `CertificateError`.
    """
    try:
        data = read_regular(path, _SIZE_LIMIT)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _wrong(path, error.strerror) from error
    body = parse_json(data, path=str(path), limit=_SIZE_LIMIT)
    try:
        if type(body["lock_version"]) is not int or body["lock_version"] != _VERSION:
            raise _wrong(path, f"lock version {body['lock_version']!r}")
        return {name: _pin(path, name, entry) for name, entry in body["datasets"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise _wrong(path, f"{type(error).__name__}: {error}") from error


def _pin(path: Path, name: str, entry: Mapping[str, str]) -> Pin:
    """One entry of the lock; an entry that is none is named."""
    try:
        found = Pin(**entry)
        for key, value in asdict(found).items():
            if not isinstance(value, str):
                raise TypeError(f"{key} is no text")
        moments.parse(found.created)
    except (TypeError, ValueError) as error:
        raise _wrong(path, f"the entry {name!a}: {error}") from error
    return found


def pin(path: Path, dataset: str, entry: Pin) -> None:
    """Record ``entry``; other datasets stay. Safe against other processes doing the same. Of a link, what it points to
    is changed.
    """
    path = path.resolve()
    with guard(path.parent):
        pins = read(path)
        if pins.get(dataset) != entry:
            _write(path, {**pins, dataset: entry})


def _write(path: Path, pins: Mapping[str, Pin]) -> None:
    body = {"lock_version": _VERSION, "datasets": {name: asdict(pins[name]) for name in sorted(pins)}}
    write_atomically(path, (json.dumps(body, indent=2) + "\n").encode())


@contextmanager
def guard(folder: Path) -> Iterator[None]:
    """Inside the block no other process changes the lock or the trust file of ``folder``."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _wrong(path: Path, measured: object) -> CertificateError:
    return CertificateError(
        "this lock file cannot be understood",
        where=Where(path=str(path)),
        measured=measured,
        allowed=f"lock version {_VERSION}, one entry a dataset with version, root, certificate, created",
        remedy="restore it from git, or delete it and certify the datasets again",
    )
