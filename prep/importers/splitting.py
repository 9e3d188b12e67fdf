"""Which rows go to train, val and test: decided by a seed and nothing else, whole groups at a time where there are any.

Random numbers come from PCG64's raw stream, whose values NumPy keeps stable between versions, so a split outlives
upgrades. Inside each split rows keep the order of the source: what is drawn is which split a row belongs to, so a
source of any size is read front to back and never shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prep.blocks import SPLITS, Array
from prep.errors import DataError, UsageError, Where

Codes = NDArray[np.uint8]
# Rows are drawn in strata of this many, so that the split of any row is known without holding that of all the others.
STRATUM = 1 << 16
_NAMES = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "testing": 2}
_TOLERANCE = 1e-6


class Splitter(Protocol):
    """Knows the split of every row. ``counts`` are rows of train, val and test."""

    @property
    def counts(self) -> tuple[int, int, int]: ...

    def codes(self, start: int, stop: int, values: Array | None) -> Codes:
        """0, 1 or 2 for each of the rows ``start:stop``; ``values`` are these rows of the column that decides."""


@dataclass(frozen=True, slots=True)
class Undivided:
    """Every row is of the test split."""

    counts: tuple[int, int, int]

    def codes(self, start: int, stop: int, values: Array | None = None) -> Codes:
        return np.full(stop - start, 2, np.uint8)


@dataclass(frozen=True, slots=True)
class RowSplit:
    """Rows drawn one by one. Every run of `STRATUM` rows gives each split its share, so a drift falls on all three."""

    counts: tuple[int, int, int]
    seed: int

    def codes(self, start: int, stop: int, values: Array | None = None) -> Codes:
        result = np.empty(stop - start, np.uint8)
        for index in range(start // STRATUM, -(-stop // STRATUM)):
            first = index * STRATUM
            low, high = max(start, first), min(stop, first + STRATUM)
            result[low - start : high - start] = self._stratum(index)[low - first : high - first]
        return result

    def _stratum(self, index: int) -> Codes:
        total, (_, val, test) = sum(self.counts), self.counts
        first, last = index * STRATUM, min((index + 1) * STRATUM, total)
        held = [(val + test) * row // total for row in (first, last)]
        # Nested shares: val is a share of what is held out, so a stratum never owes more val rows than it holds out.
        taken = [val * count // (val + test) for count in held]
        codes = np.zeros(last - first, np.uint8)
        order = shuffled(last - first, self.seed, index)
        codes[order[: held[1] - held[0]]] = 2
        codes[order[: taken[1] - taken[0]]] = 1
        return codes


@dataclass(frozen=True, slots=True)
class GroupSplit:
    """Whole groups. ``groups`` are the distinct ids, ascending; ``assigned`` their splits; ``counts`` rows."""

    groups: Array
    assigned: Codes
    counts: tuple[int, int, int]

    def codes(self, start: int, stop: int, values: Array | None) -> Codes:
        assert values is not None, "a group split needs the ids of the rows"
        return self.assigned[np.searchsorted(self.groups, values.reshape(-1))]


@dataclass(frozen=True, slots=True)
class GivenSplit:
    """The split that the source states itself."""

    counts: tuple[int, int, int]

    def codes(self, start: int, stop: int, values: Array | None) -> Codes:
        assert values is not None, "a given split needs the values of its column"
        return given_codes(values, start, Where())


def checked_fractions(fractions: Sequence[float], seed: int) -> tuple[float, float, float]:
    """The fractions of train, val and test. `UsageError` unless they are three, positive, and add up to 1."""
    values = tuple(float(fraction) for fraction in fractions)
    if len(values) != 3 or not (all(value > 0 for value in values) and abs(sum(values) - 1) <= _TOLERANCE):
        raise UsageError(
            "the fractions of train, val and test do not make a split",
            measured=", ".join(f"{value:g}" for value in values),
            allowed="three positive numbers that add up to 1",
            remedy="give three fractions, for example 0.8, 0.1 and 0.1",
        )
    if seed < 0:
        raise UsageError("a seed cannot be negative", measured=seed, allowed="0 or more", remedy="give another seed")
    return values[0], values[1], values[2]


def shares(count: int, fractions: tuple[float, float, float], what: str, where: Where) -> tuple[int, int, int]:
    """How many of ``count`` things each split gets: rounded, at least one each. `DataError` for fewer than three."""
    if count < len(SPLITS):
        raise DataError(
            f"there are too few {what} for train, val and test",
            where=where,
            measured=f"{count} {what}",
            allowed=f"at least {len(SPLITS)}, one for each split",
            remedy=f"bring in more {what}",
        )
    val = min(max(round(fractions[1] * count), 1), count - 2)
    test = min(max(round(fractions[2] * count), 1), count - 1 - val)
    return count - val - test, val, test


def shuffled(count: int, seed: int, place: int) -> NDArray[np.int64]:
    """A permutation of ``range(count)`` that depends on (seed, place) alone."""
    stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(place,)))
    # The low bits give way to the position, so keys differ, and sorting them (much faster than argsort) has one result.
    bits = np.uint64(count.bit_length())
    keys = (stream.random_raw(count) >> bits << bits) | np.arange(count, dtype=np.uint64)
    keys.sort()
    return (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)


def divide_groups(count: int, fractions: tuple[float, float, float], seed: int, what: str, where: Where) -> Codes:
    """The split (0, 1, 2) of each of ``count`` groups, given in a fixed order."""
    train, val, _ = shares(count, fractions, what, where)
    assigned = np.full(count, 2, np.uint8)
    order = shuffled(count, seed, 0)
    assigned[order[:train]] = 0
    assigned[order[train : train + val]] = 1
    return assigned


def given_codes(values: Array, start: int, where: Where) -> Codes:
    """0, 1, 2 from a split column: integers 0, 1, 2 or names (train, val or validation, test); else a `DataError`."""
    flat: Any = values.reshape(-1)
    kinds, inverse = np.unique(flat, return_inverse=True)
    if flat.dtype.kind in "iu":
        codes = [int(kind) if 0 <= kind < len(SPLITS) else -1 for kind in kinds]
    else:
        names = [kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind) for kind in kinds]
        codes = [_NAMES.get(name.strip().lower(), -1) for name in names]
    if -1 in codes:
        bad = codes.index(-1)
        rows = np.flatnonzero(inverse.reshape(-1) == bad)[:5]
        raise DataError(
            "the split column holds a value that names no split",
            where=Where(path=where.path, key=where.key, samples=tuple(start + int(row) for row in rows)),
            measured=repr(kinds[bad].item() if hasattr(kinds[bad], "item") else kinds[bad]),
            allowed="0, 1, 2 or train, val, test",
            remedy="correct the column, or leave it out and let the rows be divided anew",
        )
    return np.asarray(codes, np.uint8)[inverse.reshape(-1)]


def every_split_used(counts: Sequence[int], what: str, where: Where) -> tuple[int, int, int]:
    """``counts`` of train, val and test. `DataError` if one of them is empty."""
    if not all(counts):
        raise DataError(
            "a split is empty",
            where=where,
            measured=", ".join(f"{name} {count} {what}" for name, count in zip(SPLITS, counts, strict=True)),
            allowed=f"at least one of the {what} in each split",
            remedy="give every split something, or leave the split column out and let the rows be divided anew",
        )
    return int(counts[0]), int(counts[1]), int(counts[2])
