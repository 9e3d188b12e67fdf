"""HDF5 filters as the codecs that they stand for; any filter that prep does not write is refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prep.formats.layout import Codec, damaged

_DEFLATE, _SHUFFLE, _BLOSC, _ZSTD = 1, 2, 32001, 32015
_BLOSC_COMPRESSORS = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")

Filter = tuple[int, tuple[int, ...]]  # its number and its parameters


def codecs_from(path: Path, name: str, filters: Iterable[Filter], itemsize: int) -> tuple[Codec, ...]:
    """numcodecs configurations, in encoding order, of the filters of dataset ``name``. Raises `IntegrityError`."""
    codecs: list[Codec] = []
    for place, (code, values) in enumerate(filters):
        if code == _SHUFFLE and place == 0 and values == (itemsize,):
            codecs.append({"id": "shuffle", "elementsize": values[0]})
        elif code == _DEFLATE and len(values) == 1:
            codecs.append({"id": "zlib", "level": values[0]})
        elif code == _ZSTD and len(values) == 1:
            codecs.append({"id": "zstd", "level": values[0], "checksum": False})
        elif code == _BLOSC and len(values) == 7 and values[6] < len(_BLOSC_COMPRESSORS):
            codecs.append(
                {
                    "id": "blosc",
                    "cname": _BLOSC_COMPRESSORS[values[6]],
                    "clevel": values[4],
                    "shuffle": values[5],
                    "blocksize": 0,
                }
            )
        else:
            raise damaged(
                path,
                "a dataset has a filter that prep does not use",
                field=name,
                measured=f"filter {code} {values}",
                allowed="shuffle, deflate, zstd, blosc",
            )
    if sum(codec["id"] != "shuffle" for codec in codecs) > 1:
        raise damaged(path, "a dataset is compressed more than once", field=name)
    return tuple(codecs)
