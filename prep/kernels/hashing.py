"""128-bit hashes of rows: equal rows have equal hashes, others differ but for accidents of about 2^-64 a pair.

Every 64-bit word is added to a key of its place, its halves are multiplied and the products summed, in two lanes with
keys of their own (after NH of UMAC: J. Black, S. Halevi, H. Krawczyk, T. Krovetz, P. Rogaway, CRYPTO 1999); each sum
passes the finaliser of splitmix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014). The keys are known, so that is no
protection against rows made to collide: a collision is a false alarm, never a missed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prep.kernels.compiled import lanes_for

Array = NDArray[Any]
_PIECE_WORDS = 1 << 15
_GOLDEN = 0x9E3779B97F4A7C15
_SEEDS = (0x243F6A8885A308D3, 0x13198A2E03707344)
_HALF = np.uint64(32)
_LOWER = np.uint64(0xFFFFFFFF)


def row_hashes(arrays: Sequence[Array], *, same_zero: bool = False) -> Array:
    """(rows, 2) uint64 hashes over the bytes of the same row in all ``arrays`` (rows, …), in the order given.

    Bytes count, not values: the same numbers in another dtype differ, and so do 0.0 and -0.0 unless ``same_zero``.
    """
    rows = len(arrays[0])
    sums = np.zeros((rows, 2), np.uint64)
    place = 0
    for array in arrays:
        if array[:1].size and rows:
            place += _add(sums, array, place, same_zero)
    return np.stack([_finalise(sums[:, lane] + np.uint64(place)) for lane in range(2)], axis=1)


def _add(sums: Array, array: Array, place: int, same_zero: bool) -> int:
    """Add the products of one array's words, whose keys begin at ``place``; returns the words of a row."""
    rows = len(sums)
    sign = 0
    if same_zero and array.dtype.kind in "fc":
        width = array.dtype.itemsize // (2 if array.dtype.kind == "c" else 1)
        sign = width if width in (4, 8) else 0
        array = array if sign else array + array.dtype.type(0)
    flat = np.ascontiguousarray(array).reshape(rows, -1).view(np.uint8)
    size = flat.shape[1]
    words = -(-size // 8)
    keys = _keys(place + words)[:, place:]
    loops = lanes_for(flat.nbytes)
    if loops is not None and size % 8 == 0:
        loops.add_products(flat.view(np.uint64), np.ascontiguousarray(keys), sign, sums)
        return words
    step = max(_PIECE_WORDS // words, 1)
    for start in range(0, rows, step):
        lines = _words(flat[start : start + step], words)
        if sign:
            lines = _without_signed_zeros(lines, sign)
        for lane in range(2):
            moved = lines + keys[lane]
            sums[start : start + step, lane] += ((moved & _LOWER) * (moved >> _HALF)).sum(axis=1, dtype=np.uint64)
    return words


def _words(lines: Array, words: int) -> Array:
    """(rows, words) uint64 of the rows' bytes, padded with zeros."""
    if lines.shape[1] == words * 8:
        return lines.view(np.uint64)
    padded = np.zeros((len(lines), words * 8), np.uint8)
    padded[:, : lines.shape[1]] = lines
    return padded.view(np.uint64)


def _without_signed_zeros(lines: Array, width: int) -> Array:
    parts = lines.view(np.uint32 if width == 4 else np.uint64)
    sign = parts.dtype.type(1 << (8 * width - 1))
    return np.where(parts == sign, parts.dtype.type(0), parts).view(np.uint64)


@lru_cache(maxsize=16)
def _keys(words: int) -> Array:
    """(2, words) uint64, of which a shorter table is the beginning."""
    places = np.arange(1, words + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    keys = np.stack([_finalise(places + np.uint64(seed)) for seed in _SEEDS])
    keys.flags.writeable = False
    return keys


def _finalise(words: Array) -> Array:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)))
