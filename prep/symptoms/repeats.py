"""When samples that are equal mean something: which rows tell, how many pairs chance makes, what a leak costs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.folds.duplicates import DuplicatesResult, RowHashes
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import fields_of
from prep.symptoms.words import rebuild

MOST_CHANCE = 1e-3
# A row with so many values that are not 0 (or all, where it has fewer) and one in full precision tells.
FEWEST_VALUES = 4
_LOOKED_AT = 8
# Values of four decimal digits or fewer repeat by nature, whatever their type.
_DIGITS = 4
_REACH = 300
_TENS = 10.0 ** np.arange(-_REACH, _REACH + 1)
# Significand bits less two, since values crowd within a few powers of two.
_BITS = {2: 9, 4: 22, 8: 51}


def float_fields(guess: Guess) -> Iterator[FieldSpec]:
    """Inputs and targets of floats."""
    return (field for field in fields_of(guess, kinds="fc") if field.row_values)


def width(field: FieldSpec) -> int:
    """Real values of one sample."""
    return field.row_values * (2 if field.dtype.kind == "c" else 1)


def real_size(field: FieldSpec) -> int:
    """Bytes of one real value."""
    return field.dtype.itemsize // (2 if field.dtype.kind == "c" else 1)


def telling(flat: Array) -> Array:
    """Which rows of (rows, w) real values could not equal another by nature: four values are neither 0 nor the last,
    and one of eight that are looked at (at fixed random places) has more than four decimal digits; (rows,) bool.
    """
    size = flat.shape[1]
    chosen = np.sort(np.random.default_rng(size).permutation(size)[:_LOOKED_AT])
    some = flat[:, chosen].astype(np.float64)
    with np.errstate(all="ignore"):
        # The decimal exponent from the binary one, give or take one digit.
        power = np.floor(np.frexp(some)[1] * np.log10(2.0)).astype(np.int64)
        digits = some * _TENS[np.clip(_DIGITS - power, -_REACH, _REACH) + _REACH]
        # float32 holds 4 digits to about 1e-3 of the last.
        fine = np.isfinite(digits) & (np.abs(digits - np.rint(digits)) > 2e-3) & (some != 0)
    result = fine.any(axis=1)
    # Padding is 0, or whatever the row ends with.
    own = np.count_nonzero((flat != 0) & (flat != flat[:, -1:]), axis=1) + 1
    return np.asarray(result & (own >= min(size, FEWEST_VALUES)), bool)


def expected_pairs(field: FieldSpec, rows: int) -> float:
    """Equal pairs of telling rows by chance: n²/2^(bw+1) for w values of b bits, w at most four."""
    return rows**2 * 2.0 ** -(_BITS[real_size(field)] * min(width(field), FEWEST_VALUES) + 1)


def within_share(guess: Guess, fold: RowHashes, found: DuplicatesResult) -> float:
    """The share of train's samples that equal an earlier one of train."""
    start, stop = guess.spec.splits.get("train", (0, guess.spec.rows))
    rows = max(stop - start, 1) * max(round(found.rows / max(guess.spec.rows, 1)), 1)
    return 1.0 - found.distinct.get("train", rows) / rows


def leak(
    guess: Guess,
    fold: RowHashes,
    found: DuplicatesResult,
    code: str,
    what: str,
    consequence: str = "",
    remedy: str = "",
) -> Iterator[Diagnostic]:
    """The finding that samples of two splits are ``what``, unless that is as common within train: nothing where a tenth
    of the share of the smallest split repeats there.
    """
    if not guess.divided or not found.across:
        return
    sizes = {name: stop - start for name, (start, stop) in guess.spec.splits.items() if stop > start}
    held = sum(rows for name, rows in sizes.items() if name != "train")
    count = max(min(found.across_count, held), len(found.across))
    if within_share(guess, fold, found) > 0.1 * count / min(sizes.values()):
        return
    (first, second), split = found.across[0], guess.spec.split_of
    name = fold.names[0]
    yield Diagnostic(
        code=code,
        severity="harmful",
        field=name,
        evidence=f"{count} samples of {name} or more are {what} in two splits; first: sample {second} "
        f"({split(second)}) and sample {first} ({split(first)})",
        consequence=consequence or _remembered(count / max(held, 1)),
        remedy=remedy or "remove repeated samples before splitting; draw each split from seeds and groups of its own",
        command=rebuild(guess),
        samples=tuple(second for _, second in found.across),
        harm=1 + count / max(held, 1),
        measured={"count": found.across_count},
    )


def _remembered(share: float) -> str:
    return f"{min(share, 1.0):.2%} of the samples held out were trained on: their score is that of remembering"
