"""The digest of a container's own metadata: every stored byte that is no chunk."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from prep.errors import IntegrityError, Where
from prep.formats.files import Files, open_files
from prep.formats.layout import ByteRange

_PIECE = 4 << 20


def metadata_digest(place: Path | Files, ranges: Iterable[ByteRange]) -> str:
    """BLAKE3 over the container's own metadata, each range framed by its place and length; `IntegrityError` where it
    is short.
    """
    files = open_files(place)
    hasher = blake3(derive_key_context="prep 2026-11 metadata")
    for item in sorted(ranges, key=lambda each: (each.path, each.offset)):
        hasher.update(struct.pack("<QQQ", len(item.path.encode()), item.offset, item.size) + item.path.encode())
        for start in range(0, item.size, _PIECE):
            buffer = bytearray(min(_PIECE, item.size - start))
            try:
                done = files.read(item.path, memoryview(buffer), item.offset + start)
            except OSError as error:
                raise _unreadable(files, item, error.strerror or str(error)) from error
            if done != len(buffer):
                raise _unreadable(files, item, f"{start + done} of {item.size} bytes")
            hasher.update(buffer)
    return "blake3:" + hasher.hexdigest()


def _unreadable(files: Files, item: ByteRange, measured: str) -> IntegrityError:
    return IntegrityError(
        "part of the container's metadata cannot be read",
        where=Where(path=files.address, key=item.path),
        measured=measured,
        allowed=f"{item.size} bytes at {item.offset}",
        remedy="restore the dataset or build it again",
    )
