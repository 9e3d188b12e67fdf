"""Others may replace a dataset at any moment: a report is of one dataset, and a certificate appears only beside the one
that it states, together with its pin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prep.canonical import sha256_hex
from prep.certificate import envelope, manifest
from prep.certificate.matching import manifest_bytes, match_container
from prep.errors import IntegrityError, PrepError, UnfinishedError, Where
from prep.formats.commit import storage_errors, tidy_up, write_atomically
from prep.formats.turn import turn


@contextmanager
def unreplaced(path: Path) -> Iterator[None]:
    """`UnfinishedError` where another dataset lies at ``path`` after the block than before, whatever was found in it:
    it may have been about half of each.
    """
    before = _identity(path)
    try:
        yield
    except PrepError as error:
        if _identity(path) != before:
            raise _replaced(path) from error
        raise
    if _identity(path) != before:
        raise _replaced(path)


def publish_certificate(
    path: Path, contents: manifest.Manifest, sealed: bytes, pin: Callable[[], None], pinned: Path
) -> None:
    """Write the envelope ``sealed`` beside the dataset at ``path`` and call ``pin``, which makes it trusted in the lock
    ``pinned``.

    At no moment does a certificate lie there that another pin or another dataset belongs to; where the disk refuses
    before the pin is changed, the old one stays. Raises `IntegrityError` where another dataset than that of
    ``contents`` lies there by now, `StorageError`, and what ``pin`` raises.
    """
    place = envelope.path_of(path)
    with storage_errors(path), turn(path):
        _demand_same(path, contents)
        if place.is_file() and place.read_bytes() == sealed:
            pin()
        else:
            write_atomically(place, sealed, meanwhile=pin)
    tidy_up(place, pinned)


def _demand_same(path: Path, contents: manifest.Manifest) -> None:
    beside = manifest.path_of(path)
    found = sha256_hex(manifest_bytes(path)) if beside.is_file() else "no manifest"
    if found != contents.digest:
        raise IntegrityError(
            "the dataset was replaced while it was certified",
            where=Where(path=str(path), dataset=contents.spec.name),
            measured=found,
            allowed=contents.digest,
            remedy="run `prep certify` again; it certifies what lies there now",
        )
    match_container(path, contents)


def _identity(path: Path) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for each in (path, manifest.path_of(path)):
        with suppress(OSError):
            status = each.stat()
            found.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
    return found


def _replaced(path: Path) -> UnfinishedError:
    return UnfinishedError(
        "the dataset was replaced or removed while it was examined",
        where=Where(path=str(path)),
        remedy="run the same command again; it examines what lies there now",
    )
