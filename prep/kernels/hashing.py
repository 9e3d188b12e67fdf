"""128-bit hashes of rows of bytes: equal rows have equal hashes, others differ but for accidents of 2^-128 a pair.

Rows of a kibibyte and more are hashed one by one with BLAKE3. Shorter ones, for which a call each costs more than the
hashing, are mixed together: every 64-bit word is keyed by its position and passed through the finaliser of splitmix64
(G. Steele, D. Lea, C. Flood, OOPSLA 2014) with two sets of keys and constants, and the two lanes are summed. That is
no protection against rows made to collide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prep.canonical import blake3_digest

Array = NDArray[Any]
LONG_ROW = 1024
_PIECE_WORDS = 1 << 15
_GOLDEN = 0x9E3779B97F4A7C15
_LANES = (
    (0x243F6A8885A308D3, 30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31),
    (0x13198A2E03707344, 33, 0xFF51AFD7ED558CCD, 33, 0xC4CEB9FE1A85EC53, 33),
)


def row_hashes(arrays: Sequence[Array]) -> Array:
    """(rows, 2) uint64 hashes over the bytes of the same row in all ``arrays`` (rows, …), in the order given.

    Bytes count, not values: 0.0 and -0.0 differ, and so do the same numbers in another dtype.
    """
    rows = len(arrays[0])
    parts = [np.ascontiguousarray(array).reshape(rows, -1).view(np.uint8) for array in arrays if array[:1].size]
    size = sum(part.shape[1] for part in parts)
    if not rows or not size:
        return np.zeros((rows, 2), np.uint64)
    if size >= LONG_ROW:
        return _digests(parts, rows)
    result = np.empty((rows, 2), np.uint64)
    words = -(-size // 8)
    step = max(_PIECE_WORDS // words, 1)
    keys = [_place_keys(words, constants) for constants in _LANES]
    scratch = np.empty((2, words, min(step, rows)), np.uint64)
    for start in range(0, rows, step):
        lines = _words([part[start : start + step] for part in parts], words)
        mixed, spare = scratch[:, :, : lines.shape[1]]
        for lane, constants in enumerate(_LANES):
            np.bitwise_xor(lines, keys[lane], out=mixed)
            total = np.add.reduce(_finalise(mixed, spare, constants), axis=0)
            result[start : start + step, lane] = _finalise(total, np.empty_like(total), constants)
    return result


def _words(parts: Sequence[Array], words: int) -> Array:
    """(words, rows) uint64 of the rows' bytes, padded with zeros."""
    if len(parts) == 1 and parts[0].shape[1] == words * 8:
        padded = parts[0]
    else:
        padded = np.zeros((len(parts[0]), words * 8), np.uint8)
        np.concatenate(parts, axis=1, out=padded[:, : sum(part.shape[1] for part in parts)])
    return np.ascontiguousarray(padded.view(np.uint64).T)


def _place_keys(words: int, constants: tuple[int, ...]) -> Array:
    places = np.arange(1, words + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(constants[0])
    return _finalise(places, np.empty_like(places), constants)[:, np.newaxis]


def _digests(parts: Sequence[Array], rows: int) -> Array:
    result = np.empty((rows, 16), np.uint8)
    for row in range(rows):
        data = np.concatenate([part[row] for part in parts]) if len(parts) > 1 else parts[0][row]
        result[row] = np.frombuffer(blake3_digest(data.data), np.uint8, 16)
    return result.view(np.uint64)


def _finalise(words: Array, spare: Array, constants: tuple[int, ...]) -> Array:
    """The finaliser in place; ``spare`` is scratch of the same shape."""
    _, first, multiply, second, again, third = (np.uint64(value) for value in constants)
    for shift, factor in ((first, multiply), (second, again)):
        np.right_shift(words, shift, out=spare)
        np.bitwise_xor(words, spare, out=words)
        np.multiply(words, factor, out=words)
    np.right_shift(words, third, out=spare)
    return np.bitwise_xor(words, spare, out=words)
