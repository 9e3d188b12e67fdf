"""Samples that repeat: within a split, and, which is a leak, across two; exactly, a rounding away, or overlapping."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.checks.near_unique_rows import cells
from prep.folds import Fold
from prep.folds.duplicates import DuplicatesResult, Part, RowHashes
from prep.kernels.hashing import row_hashes
from prep.kernels.matrices import real_view
from prep.symptoms import Diagnostic, Guess, Severity
from prep.symptoms.columns import fields_of
from prep.symptoms.words import rebuild

# A copy through float32 differs by half an ulp, 6e-8 of a value; the grid of `near_unique_rows` finds what differs by
# less than a thousandth of its cell almost surely.
TOLERANCE = 1e-4
# Significand bits, less two for values crowded within a power of two or four.
_BITS = {2: 9, 4: 22, 8: 51}
_MOST_CHANCE = 1e-3


class RepeatedRows:
    """Equal samples of an input or target field of floats.

    n samples of w values of b significand bits have n²/2^(bw+1) equal pairs by chance; where that is less than a
    thousandth one pair is a finding. Coarse values (rounded, quantised, of few kinds) repeat by nature: so many samples
    across splits count as a leak only where less than a tenth of that share repeat within train.
    """

    name = "repeated_rows"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(_exact(guess, field) for field in _fields(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _fields(guess):
            found: DuplicatesResult = measured[_exact(guess, field).key]
            if _expected(field, guess.spec.rows) > _MOST_CHANCE:
                continue
            yield from _across(guess, field, found, "shared-rows", "equal")
            if found.within_count and not _natural(guess, found, found.within_count):
                yield _within(guess, field, found)


class NearlyRepeatedRows:
    """Samples of two splits that are equal but for rounding: the two grids of the check ``near_unique_rows``, relative to
    the size of the sample (a power of two near its RMS, which scales exactly).

    With cells of 1e-4, n samples have n²·1e-4^min(w, 8) such pairs by chance: judged where that is below a thousandth.
    As for equal samples, data that nearly repeat within train do so by nature.
    """

    name = "nearly_repeated_rows"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for field in self._fields(guess) for fold in (_near(guess, field), _exact(guess, field)))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in self._fields(guess):
            equal: DuplicatesResult = measured[_exact(guess, field).key]
            if equal.across_count:
                continue
            yield from _across(
                guess, field, measured[_near(guess, field).key], "nearly-shared-rows", "equal but for rounding"
            )

    def _fields(self, guess: Guess) -> Iterator[FieldSpec]:
        for field in _fields(guess):
            width = field.row_values * (2 if field.dtype.kind == "c" else 1)
            chance = 2 * math.log(max(guess.spec.rows, 1)) + min(width, 8) * math.log(TOLERANCE)
            if guess.divided and _real_size(field) >= 4 and width >= 4 and chance < math.log(_MOST_CHANCE):
                yield field


class SharedSteps:
    """Windows of one series in two splits, whatever the overlap: of each sample (sample, step, …) the step with the least
    hash is compared, which two windows have in common as often as they overlap (A. Broder, Resemblance and containment
    of documents, 1997).

    A sample at rest is no evidence. As for equal samples, steps that repeat within train in other places do so by
    nature, unless that is by the same overlap: they are judged where steps are of three values or more.
    """

    name = "shared_steps"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for field in self._fields(guess) for fold in (_steps(guess, field), _exact(guess, field)))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in self._fields(guess):
            found: DuplicatesResult = measured[_steps(guess, field).key]
            equal: DuplicatesResult = measured[_exact(guess, field).key]
            if not found.across_count or equal.across_count:
                continue
            yield _told(
                guess,
                field,
                found,
                "shared-steps",
                f"samples of {field.name} in two splits hold the same steps: {found.across_count} or more",
                "windows of one series are in train and test: the test is passed by remembering",
                "give each window the id of its series, divide by series, then cut windows",
            )

    def _fields(self, guess: Guess) -> Iterator[FieldSpec]:
        for field in fields_of(guess, "input", "f"):
            sizes = field.shape
            sequence = len(sizes) == 2 and sizes[0] > 2 and 3 <= sizes[1] <= 256 and sizes[0] != sizes[1]
            if guess.divided and sequence and _real_size(field) >= 4:
                yield field


def _fields(guess: Guess) -> Iterator[FieldSpec]:
    for field in fields_of(guess, kinds="fc"):
        if field.row_values:
            yield field


def _real_size(field: FieldSpec) -> int:
    return field.dtype.itemsize // (2 if field.dtype.kind == "c" else 1)


def _exact(guess: Guess, field: FieldSpec) -> RowHashes:
    return RowHashes((field.name,), dict(guess.spec.splits), "telling", telling_rows)


def _near(guess: Guess, field: FieldSpec) -> RowHashes:
    return RowHashes((field.name,), dict(guess.spec.splits), "near", relative_cells, {"tolerance": TOLERANCE})


def _steps(guess: Guess, field: FieldSpec) -> RowHashes:
    return RowHashes((field.name,), dict(guess.spec.splits), "least step", least_step)


def telling_rows(arrays: Mapping[str, Array]) -> list[Part]:
    """Each row, telling unless all of its values are one (rows at rest, blank rows)."""
    (values,) = arrays.values()
    flat = values.reshape(len(values), -1)
    if flat.shape[1] == 1:
        return [Part(values, flat[:, 0] != 0)]
    # Most rows show it in two values.
    telling = flat[:, 0] != flat[:, 1]
    rest = np.flatnonzero(~telling)
    telling[rest] = (flat[rest] != flat[rest, :1]).any(axis=1)
    return [Part(values, telling)]


def relative_cells(arrays: Mapping[str, Array], tolerance: float) -> list[Part]:
    """`prep.checks.near_unique_rows.cells` of each row over a power of two near its RMS, which is in the cell too."""
    ((name, values),) = arrays.items()
    flat = real_view(values).reshape(len(values), -1)
    size = np.sqrt(np.einsum("ij,ij->i", flat, flat, dtype=np.float64) / max(flat.shape[1], 1))
    usable = np.isfinite(size) & (size > 0)
    # The power changes in the middle of nowhere, not at 1, which is the RMS of normalised samples.
    power = np.floor(np.log2(np.where(usable, size, 1.0)) + 0.37)
    scaled = flat * np.exp2(-power)[:, np.newaxis].astype(flat.dtype)
    scaled[~usable] = np.nan
    parts = cells({name: scaled}, tolerance)
    return [Part(np.concatenate([part.values, power[:, np.newaxis]], axis=1), part.telling) for part in parts]


def least_step(arrays: Mapping[str, Array]) -> list[Part]:
    """The step of each row with the least hash, telling where the row moves."""
    (values,) = arrays.values()
    rows, steps, width = values.shape
    hashes = row_hashes([values.reshape(rows * steps, width)], same_zero=True)[:, 0].reshape(rows, steps)
    # A step at rest occurs many times, also in other series that have come to rest.
    still = np.zeros((rows, steps), bool)
    still[:, 1:] = hashes[:, 1:] == hashes[:, :-1]
    still[:, :-1] |= still[:, 1:]
    least = np.where(still, np.iinfo(np.uint64).max, hashes).argmin(axis=1)
    chosen = values[np.arange(rows), least]
    moving = ~still[np.arange(rows), least] & (np.count_nonzero(chosen, axis=1) > 1)
    return [Part(np.ascontiguousarray(chosen), moving)]


def _expected(field: FieldSpec, rows: int) -> float:
    """Equal pairs by chance."""
    bits = _BITS[_real_size(field)] * field.row_values * (2 if field.dtype.kind == "c" else 1)
    return rows**2 * 2.0 ** -min(bits + 1, 1000)


def _natural(guess: Guess, found: DuplicatesResult, count: int) -> bool:
    """Whether rows repeat so often within train that repeating is no finding."""
    return _within_share(guess, found) > 0.1 * count / max(guess.spec.rows, 1) and not _few(guess, found)


def _few(guess: Guess, found: DuplicatesResult) -> bool:
    """Whether hardly any row repeats within train: these are copies, not values of few kinds."""
    return _within_share(guess, found) < 0.01


def _within_share(guess: Guess, found: DuplicatesResult) -> float:
    start, stop = guess.spec.splits.get("train", (0, guess.spec.rows))
    return 1.0 - found.distinct.get("train", stop - start) / max(stop - start, 1)


def _across(guess: Guess, field: FieldSpec, found: DuplicatesResult, code: str, how: str) -> Iterator[Diagnostic]:
    if not guess.divided or not found.across_count:
        return
    smaller = min(stop - start for name, (start, stop) in guess.spec.splits.items() if stop > start)
    if _within_share(guess, found) > 0.1 * found.across_count / max(smaller, 1):
        return
    count = max(min(found.across_count, guess.spec.rows), len(found.across))
    rows = sum(stop - start for name, (start, stop) in guess.spec.splits.items() if name != "train")
    yield _told(
        guess,
        field,
        found,
        code,
        f"samples of {field.name} in two splits are {how}: {count} or more",
        f"{min(count / max(rows, 1), 1.0):.2%} of the samples held out were trained on: their score is that of remembering",
        "remove repeated samples, and draw each split from seeds or groups of its own, before anything else",
    )


def _told(
    guess: Guess, field: FieldSpec, found: DuplicatesResult, code: str, what: str, consequence: str, remedy: str
) -> Diagnostic:
    split = guess.spec.split_of
    first = f"sample {found.across[0][1]} ({split(found.across[0][1])}) and sample {found.across[0][0]} "
    first += f"({split(found.across[0][0])})" if found.across else ""
    severity: Severity = "harmful"
    return Diagnostic(
        code=code,
        severity=severity,
        field=field.name,
        evidence=f"{what}; first: {first}",
        consequence=consequence,
        remedy=remedy,
        command=rebuild(guess),
        samples=tuple(second for _, second in found.across),
        measured={"count": found.across_count},
    )


def _within(guess: Guess, field: FieldSpec, found: DuplicatesResult) -> Diagnostic:
    share = found.within_count / max(guess.spec.rows, 1)
    return Diagnostic(
        code="duplicate-rows",
        severity="doubtful" if share >= 0.01 else "note",
        field=field.name,
        evidence=f"{found.within_count} samples of {field.name} equal an earlier one of their split",
        consequence=f"{share:.2%} of the samples count twice or more in the loss; where splits are cut at random from such "
        "data, copies end up on both sides",
        remedy="remove the copies, or count them on purpose (weights)",
        command=rebuild(guess),
        measured={"count": found.within_count},
    )
