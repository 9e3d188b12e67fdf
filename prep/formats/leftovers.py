"""Hidden siblings of a target: their names, whose they are, and what becomes of those that a dead process left."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from prep.formats.ledger import Ledger


def sibling(target: Path, suffix: str) -> Path:
    """A hidden name beside ``target`` that nobody has: it tells the host and process it belongs to."""
    return target.parent / f".{target.name}.{_place()}.{os.getpid()}.{secrets.token_hex(4)}{suffix}"


def remove_stale(target: Path, made_of: bytes = b"") -> Ledger | None:
    """Remove what dead processes left for ``target``, but for the fullest temporary that is ``made_of`` the same.

    Who keeps a ledger is alive as long as it is locked, whatever has its process id now. Raises `OSError`.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}\.{_place()}\.(\d+)\.[0-9a-f]{{8}}\.(tmp|old|new|done)")
    left = {target.parent / name: match for name in os.listdir(target.parent) if (match := pattern.fullmatch(name))}
    chosen: Ledger | None = None
    for path in sorted(path for path in left if path.suffix == ".done"):
        temporary = path.with_suffix(".tmp")
        try:
            ledger = Ledger.claim(path)
        except BlockingIOError:
            del left[path]
            left.pop(temporary, None)
            continue
        except OSError:
            continue
        del left[path]
        same = bool(made_of) and ledger.made_of == made_of and left.pop(temporary, None) is not None
        rest = [ledger]
        if same and len(ledger.known) > (len(chosen.known) if chosen else 0):
            chosen, rest = ledger, [chosen] if chosen else []
        for each in rest:
            remove(each.path.with_suffix(".tmp"))
            each.remove()
        left.pop(temporary, None)
    for path, match in left.items():
        if _is_alive(int(match[1])):
            continue
        if match[2] == "old" and not target.exists():
            path.rename(target)  # its process died between the two renames of `Swap`
        else:
            remove(path)
    return chosen


def remove(path: Path) -> None:
    """Remove a file or a directory with all that is below it; never raises."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _place() -> str:
    """Eight hex digits for the host and process-id namespace, within which a process id means something."""
    namespace = ""
    with suppress(OSError):
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    return hashlib.sha256(f"{platform.node()}/{namespace}".encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
