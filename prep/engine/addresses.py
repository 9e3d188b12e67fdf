"""Where a dask scheduler is: an address, or the file that it wrote its address into."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prep.errors import UsageError, Where

_LAST_PORT = 65_535
_HOST_AND_PORT = re.compile(r"(?:[^\s/:@\[\]]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})")
_WITH_PORT = ("tcp", "tls", "ucx", "ucxx")
_FORMS = "tcp://HOST:PORT, or the file that `dask scheduler --scheduler-file FILE` writes"


def scheduler_address(text: str) -> str:
    """The address in ``text``: itself, or what a scheduler file of that path holds; `UsageError` otherwise."""
    if "://" in text:
        return _checked(text, text)
    if not text:
        raise _no_scheduler(text, "nothing: the name is empty")
    try:
        address = json.loads(Path(text).read_bytes())["address"]
    except FileNotFoundError:
        if _HOST_AND_PORT.fullmatch(text):
            return _checked(f"tcp://{text}", text)
        measured = "no such file"
    except (OSError, ValueError, KeyError, TypeError) as error:
        measured = f"a file without an address ({type(error).__name__})"
    else:
        return _checked(str(address), text)
    raise _no_scheduler(text, measured)


def _checked(address: str, text: str) -> str:
    """``address``, which ``text`` is or names, where a connection to it can be tried at all."""
    from distributed.comm.registry import get_backend

    scheme, _, place = address.partition("://")
    try:
        get_backend(scheme)
    except ValueError:
        raise _no_scheduler(text, f"an address that begins with {scheme}:// ({address})") from None
    if scheme in _WITH_PORT:
        found = _HOST_AND_PORT.fullmatch(place)
        if not found:
            raise _no_scheduler(text, f"{address}, which is not {scheme}://HOST:PORT")
        if not 0 < int(found[1]) <= _LAST_PORT:
            raise _no_scheduler(text, f"port {found[1]}, and ports end at {_LAST_PORT}")
    return address


def _no_scheduler(text: str, measured: str) -> UsageError:
    return UsageError(
        "this is neither the address nor the file of a dask scheduler",
        where=Where(key=f"scheduler {text}".rstrip()),
        measured=measured,
        allowed=_FORMS,
        remedy="start one (`dask scheduler --scheduler-file FILE`, `dask worker --scheduler-file FILE`) and name FILE",
    )
