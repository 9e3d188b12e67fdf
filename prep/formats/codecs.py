"""Compression by name, and decoding that never allocates more than a chunk is meant to hold."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numcodecs
import numpy as np

from prep.blocks import Array
from prep.errors import UsageError
from prep.formats.layout import Bytes, Codec, flat

COMPRESSIONS = ("none", "gzip", "zstd", "blosc")
GZIP_LEVEL = 4
_ZSTD = {"id": "zstd", "level": 3, "checksum": False}
_BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
_WINDOW = {"zlib": 15, "gzip": 31}
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BLOSC_HEADER = 16

_CHAINS = ((), ("gzip",), ("zlib",), ("shuffle",), ("shuffle", "zlib"), ("zstd",), ("blosc",))
_LEVELS = tuple(range(10))
_OPTIONS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "gzip": {"level": _LEVELS},
    "zlib": {"level": _LEVELS},
    "shuffle": {"elementsize": range(1, 17)},
    "zstd": {"level": range(-7, 23), "checksum": (False, True)},
    "blosc": {
        "cname": ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"),
        "clevel": _LEVELS,
        "shuffle": (0, 1, 2),
        "blocksize": range(1 << 31),
    },
}

Encoder = Callable[[Array], Bytes]


def codecs_of(compression: str, shuffled_zlib: int = 0) -> tuple[Codec, ...]:
    """numcodecs configurations, in encoding order, of a compression named by the user.

    gzip is a gzip stream, or, where ``shuffled_zlib`` is an element size in bytes, shuffle and zlib (what HDF5 calls
    gzip). Raises `UsageError` for an unknown name.
    """
    gzip: tuple[Codec, ...] = ({"id": "gzip", "level": GZIP_LEVEL},)
    if shuffled_zlib:
        gzip = ({"id": "shuffle", "elementsize": shuffled_zlib}, {"id": "zlib", "level": GZIP_LEVEL})
    chains: Mapping[str, tuple[Codec, ...]] = {"none": (), "gzip": gzip, "zstd": (_ZSTD,), "blosc": (_BLOSC,)}
    if compression not in chains:
        raise UsageError(
            f"there is no compression {compression!r}",
            measured=compression,
            allowed=", ".join(COMPRESSIONS),
            remedy="use one of the listed names",
        )
    return chains[compression]


def check_codecs(codecs: Sequence[Codec], itemsize: int) -> None:
    """`ValueError` unless this is a chain that prep writes, in numcodecs' words, for elements of ``itemsize`` bytes."""
    names = tuple(codec.get("id") for codec in codecs)
    if names not in _CHAINS:
        raise ValueError(f"codecs {', '.join(map(str, names))}")
    for codec in codecs:
        allowed = _OPTIONS[codec["id"]]
        if set(codec) != {"id", *allowed} or not all(
            type(codec[key]) is type(values[0]) and codec[key] in values for key, values in allowed.items()
        ):
            raise ValueError(f"options of codec {codec['id']}")
        if codec.get("elementsize", itemsize) != itemsize:
            raise ValueError(f"shuffle of {codec['elementsize']} bytes for elements of {itemsize}")


def encoder(codecs: Sequence[Codec]) -> Encoder:
    """A function from a C-contiguous array to the bytes that are stored; the same array gives the same bytes."""
    steps: list[Callable[[Any], Bytes]] = [
        _deflate(codec) if codec["id"] in _WINDOW else _numcodec(codec) for codec in codecs
    ]

    def encode(array: Array) -> Bytes:
        data: Bytes = array
        for step in steps:
            data = step(data)
        return data

    return encode


def decode(codecs: Sequence[Codec], stored: Bytes, size: int, out: memoryview | None = None) -> memoryview:
    """The ``size`` bytes that ``stored`` stands for, at no more than about twice ``size`` bytes of memory.

    They are in ``out`` (writable, of exactly ``size`` bytes) where it is given, otherwise in ``stored`` itself or in
    new memory. Raises `ValueError` where ``stored`` is no such encoding or decodes to another size; ``out`` then holds
    anything.
    """
    data = flat(stored)
    for step, codec in enumerate(reversed(codecs), 1):
        data = _DECODERS[codec["id"]](codec, data, size, out if step == len(codecs) else None)
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes instead of {size}")
    if out is None or data is out:
        return data
    out[:] = data
    return out


def _numcodec(codec: Codec) -> Encoder:
    encode: Encoder = numcodecs.get_codec(dict(codec)).encode
    return _one_thread(encode) if codec["id"] == "blosc" else encode


def _one_thread(encode: Encoder) -> Encoder:
    # blosc threads place their blocks in the order in which they finish, so the bytes would differ from run to run
    def alone(array: Array) -> Bytes:
        before, numcodecs.blosc.use_threads = numcodecs.blosc.use_threads, False
        try:
            return encode(array)
        finally:
            numcodecs.blosc.use_threads = before

    return alone


def _deflate(codec: Codec) -> Encoder:
    # numcodecs writes the time of day into the gzip header
    def encode(array: Array) -> Bytes:
        stream = zlib.compressobj(codec["level"], zlib.DEFLATED, _WINDOW[codec["id"]])
        return stream.compress(flat(array)) + stream.flush()

    return encode


def _inflate(codec: Codec, stored: memoryview, size: int, _: memoryview | None) -> memoryview:
    stream = zlib.decompressobj(_WINDOW[codec["id"]])
    try:
        data = stream.decompress(stored, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not stream.eof or stream.unused_data:
        raise ValueError("the stream does not end where it should")
    return flat(data)


def _unshuffle(codec: Codec, stored: memoryview, size: int, out: memoryview | None) -> memoryview:
    return _fill({"id": "shuffle", "elementsize": codec["elementsize"]}, stored, size, len(stored), out)


def _unzstd(codec: Codec, stored: memoryview, size: int, out: memoryview | None) -> memoryview:
    return _fill(codec, stored, size, _zstd_size(bytes(stored[:18])), out)


def _unblosc(codec: Codec, stored: memoryview, size: int, out: memoryview | None) -> memoryview:
    head = bytes(stored[:_BLOSC_HEADER])
    if len(head) < _BLOSC_HEADER or int.from_bytes(head[12:16], "little") != len(stored):
        raise ValueError("the blosc header does not fit the chunk")
    return _fill(codec, stored, size, int.from_bytes(head[4:8], "little"), out)


def _fill(codec: Codec, stored: memoryview, size: int, claimed: int, out: memoryview | None) -> memoryview:
    if claimed != size:
        raise ValueError(f"{claimed} bytes instead of {size}")
    target = flat(np.empty(size, np.uint8)) if out is None else out
    try:
        numcodecs.get_codec(dict(codec)).decode(stored, target)
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return target


def _zstd_size(head: bytes) -> int:
    """Content size in a zstd frame header (RFC 8878, section 3.1.1.1); a frame without one is refused."""
    if head[:4] != _ZSTD_MAGIC or len(head) < 5:
        raise ValueError("no zstd frame")
    flags = head[4]
    kind, single = flags >> 6, bool(flags & 0x20)
    width = (1 if single else 0, 2, 4, 8)[kind]
    place = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    field = head[place : place + width]
    if not width or len(field) < width:
        raise ValueError("a zstd frame without its content size")
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)


_DECODERS: Mapping[str, Callable[[Codec, memoryview, int, memoryview | None], memoryview]] = {
    "zlib": _inflate,
    "gzip": _inflate,
    "shuffle": _unshuffle,
    "zstd": _unzstd,
    "blosc": _unblosc,
}
