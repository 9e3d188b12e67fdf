"""The files an import reads: ordinary files that exist, are digested, and have not changed when reading ends."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from prep.canonical import value_digest
from prep.errors import IntegrityError, StorageError, UsageError, Where

_BUFFER = 4 << 20
_LISTED = 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source as it was when it was opened."""

    path: Path
    name: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """All files of a source, in name order."""

    files: tuple[SourceFile, ...]

    def notes(self) -> dict[str, Any]:
        """What provenance keeps: count, bytes, one digest over names and digests, and each file where they are few.

        Every byte is read for it. Digests are ``blake3:<hex>``.
        """
        pairs = [[file.name, _digest(file.path)] for file in self.files]
        listed = [
            {"name": file.name, "bytes": file.size, "digest": digest}
            for file, (_, digest) in zip(self.files[:_LISTED], pairs, strict=False)
        ]
        return {
            "count": len(self.files),
            "bytes": sum(file.size for file in self.files),
            "digest": value_digest("import source", pairs),
            "files": listed if len(self.files) <= _LISTED else [],
        }

    def unchanged(self) -> None:
        """`IntegrityError` if a file has been replaced or written to since it was opened."""
        for file in self.files:
            with storage_errors(file.path):
                state = file.path.stat()
            if (state.st_size, state.st_mtime_ns) != (file.size, file.modified):
                raise IntegrityError(
                    "the source changed while it was being read",
                    where=Where(path=str(file.path)),
                    measured=f"{state.st_size} bytes, modified at {state.st_mtime_ns} ns",
                    allowed=f"{file.size} bytes, modified at {file.modified} ns",
                    remedy="stop whatever writes to it and ingest again",
                )


def existing(path: Path) -> Path:
    """``path`` if something is there; otherwise a `UsageError` that names the nearest neighbour."""
    with storage_errors(path):
        if path.exists():
            return path
        if path.is_symlink():
            raise UsageError(
                "this is a link to something that is not there",
                where=Where(path=str(path)),
                measured=f"link to {path.readlink()}",
                remedy="name the file itself, or mend the link",
            )
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, siblings, n=1)
    raise UsageError(
        "there is no such file or directory",
        where=Where(path=str(path)),
        remedy=f"did you mean {str(path.parent / close[0])!r}?" if close else "check the path of the source",
    )


def identify(root: Path, files: Iterable[Path]) -> Inputs:
    """``files`` (below ``root``, which names them) as they are now. `UsageError` for what is no ordinary file."""
    found = []
    for path in sorted(files):
        with storage_errors(path):
            if not path.is_file():
                raise UsageError(
                    "only ordinary files can be imported",
                    where=Where(path=str(path)),
                    remedy="copy the data into a regular file first",
                )
            state = path.stat()
        name = path.relative_to(root).as_posix() if path != root else path.name
        found.append(SourceFile(path, name, state.st_size, state.st_mtime_ns))
    return Inputs(tuple(found))


def tree_files(root: Path) -> list[Path]:
    """Every file below a directory. `IntegrityError` for a symbolic link: it would bring in bytes from elsewhere."""
    found: list[Path] = []
    with storage_errors(root):
        for folder, folders, names in os.walk(root):
            for name in (*folders, *names):
                path = Path(folder, name)
                if path.is_symlink():
                    raise IntegrityError(
                        "a link inside the source leads out of it",
                        where=Where(path=str(path)),
                        measured=f"symbolic link to {path.readlink()}",
                        allowed="ordinary files and directories",
                        remedy="replace the link by what it points to (cp -rL SOURCE COPY)",
                    )
            found.extend(Path(folder, name) for name in names)
    return found


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a `StorageError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the file system refused to read this: {error.strerror or error}",
            where=Where(path=str(path)),
            remedy="check permissions and the health of the disk, then run the same command again",
        ) from error


def _digest(path: Path) -> str:
    hasher, buffer = blake3(), bytearray(_BUFFER)
    view = memoryview(buffer)
    with storage_errors(path), path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
    return f"blake3:{hasher.hexdigest()}"
