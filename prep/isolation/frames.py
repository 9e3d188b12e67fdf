"""Messages between a process and its child: a JSON value and raw parts, each with its length before it; no pickle.

A message is ``magic (4 bytes), bytes of the JSON text (u64), number of parts (u32), bytes of each part (u64 each), the
JSON text, the parts``; integers are big-endian. One descriptor may come with it.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Part = NDArray[np.uint8]
MOST_JSON = 256 << 20
MOST_PARTS = 1 << 16
_MAGIC = b"prep"
_HEAD = struct.Struct("!4sQI")
_SIZE = struct.Struct("!Q")


def send(
    channel: socket.socket, value: Any, parts: Sequence[Any] = (), *, file: int = -1, until: float | None = None
) -> None:
    """Send ``value`` and the bytes of ``parts`` (C-contiguous buffers), and the descriptor ``file`` where it is not -1.

    ``until`` is a time of `time.monotonic`: `TimeoutError` after it. `OSError` where nobody listens any more.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    views = [memoryview(part).cast("B") if memoryview(part).nbytes else memoryview(b"") for part in parts]
    head = _HEAD.pack(_MAGIC, len(text), len(views)) + b"".join(_SIZE.pack(view.nbytes) for view in views)
    _wait(channel, until)
    sent = socket.send_fds(channel, [head], [file]) if file >= 0 else channel.send(head)
    for each in (memoryview(head)[sent:], memoryview(text), *views):
        _wait(channel, until)
        channel.sendall(each)


def receive(
    channel: socket.socket, *, most: int, most_json: int = MOST_JSON, until: float | None = None
) -> tuple[Any, list[Part]]:
    """The next message: its value, and its parts of at most ``most`` bytes together.

    Raises `EOFError` or `OSError` where the other end is gone, `TimeoutError` after ``until``, `ValueError` for what is
    no message or is larger than allowed: nothing is allocated for what is not allowed.
    """
    return _body(channel, bytes(_filled(channel, _HEAD.size, until)), most, most_json, until)


def receive_with_file(channel: socket.socket) -> tuple[Any, list[Part], int]:
    """As `receive`, without limits, and the descriptor that came with the message or -1."""
    head, files, _, _ = socket.recv_fds(channel, _HEAD.size, 1)
    if not head:
        raise EOFError
    rest = _filled(channel, _HEAD.size - len(head), None)
    return *_body(channel, head + bytes(rest), 0, MOST_JSON, None), files[0] if files else -1


def _body(
    channel: socket.socket, head: bytes, most: int, most_json: int, until: float | None
) -> tuple[Any, list[Part]]:
    magic, length, count = _HEAD.unpack(head)
    if magic != _MAGIC:
        raise ValueError("bytes that are no message")
    if length > most_json or count > MOST_PARTS:
        raise ValueError(f"a message of {length} bytes of JSON and {count} parts")
    sizes = [size for (size,) in _SIZE.iter_unpack(bytes(_filled(channel, count * _SIZE.size, until)))]
    if sum(sizes) > most:
        raise ValueError(f"{sum(sizes)} bytes where at most {most} are expected")
    text = _filled(channel, length, until)
    try:
        value = json.loads(bytes(text), parse_constant=_refuse)
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return value, [_filled(channel, size, until) for size in sizes]


def _filled(channel: socket.socket, size: int, until: float | None) -> Part:
    data = np.empty(size, np.uint8)
    view = data.data
    while view:
        _wait(channel, until)
        count = channel.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def _wait(channel: socket.socket, until: float | None) -> None:
    # A moment is left when the time is up: who was stopped (Ctrl-Z) meanwhile finds the answer there.
    channel.settimeout(None if until is None else max(until - time.monotonic(), 0.01))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"the number {constant}")
