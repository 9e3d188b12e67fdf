"""When samples that are equal mean something: which rows tell, how many pairs chance makes, what a leak costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.errors import counted
from prep.folds.duplicates import DuplicatesResult, RowHashes
from prep.folds.sampled import Sampled
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import CHANCE, fields_of
from prep.symptoms.words import regenerate, verb

MOST_CHANCE = 1e-3
# A row with so many values that are not 0 (or all, where it has fewer) and one in full precision tells.
FEWEST_VALUES = 4
_LOOKED_AT = 8
# Values of four decimal digits or fewer repeat by nature, whatever their type.
_DIGITS = 4
_REACH = 300
_TENS = 10.0 ** np.arange(-_REACH, _REACH + 1)
# How often values repeat is seen from so many samples, at so many places of each.
_SAMPLES, _PLACES = 1000, 32
# Beyond so many samples one content of k is looked at.
_MOST_ROWS = 1 << 21


def every(guess: Guess) -> int:
    """Of how many contents one is looked at, so that sorting them costs no more than two million rows do."""
    return -(-guess.spec.rows // _MOST_ROWS)


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
    return np.asarray(result & filled(flat), bool)


def filled(flat: Array) -> Array:
    """Which rows of (rows, w) real values have four (or all) that are neither 0 nor the last; (rows,) bool."""
    # Padding is 0, or whatever the row ends with.
    own = np.count_nonzero((flat != 0) & (flat != flat[:, -1:]), axis=1) + 1
    return np.asarray(own >= min(flat.shape[1], FEWEST_VALUES), bool)


def sample_fold(guess: Guess, field: FieldSpec) -> Sampled:
    """The values that `expected_pairs` is reckoned from."""
    return _sampled(guess.spec, field)


def _sampled(spec: DatasetSpec, field: FieldSpec) -> Sampled:
    size = width(field)
    places = np.sort(np.random.default_rng(size).permutation(size)[:_PLACES])
    return Sampled(field, tuple(places.tolist()), -(-spec.rows // _SAMPLES) or 1)


def expected_pairs(guess: Guess, field: FieldSpec, measured: Mapping[str, Any], values: int) -> float:
    """Equal pairs of rows of ``values`` values by chance, as often as these are seen to repeat: n²/2·Π pⱼ over the four
    that repeat least, pⱼ the share of equal pairs of value j among different rows that were sampled (one pair at
    least), as if values were independent.
    """
    return _pairs(guess.spec.rows, measured[sample_fold(guess, field).key], values)


def whole_row_folds(spec: DatasetSpec) -> dict[str, Sampled]:
    """What `expected_whole_rows` is reckoned from, by field."""
    return {each.name: _sampled(spec, each) for each in spec.fields if each.role in ("input", "target")}


def expected_whole_rows(spec: DatasetSpec, measured: Mapping[str, Any]) -> float:
    """Pairs of samples that are equal in all inputs and targets by chance, reckoned as `expected_pairs` are; infinite
    without any. ``measured`` maps the keys of `whole_row_folds` to their measurements.
    """
    seen = [measured[fold.key] for fold in whole_row_folds(spec).values()]
    return _pairs(spec.rows, np.concatenate(seen, axis=1), sum(each.shape[1] for each in seen)) if seen else np.inf


def _pairs(rows: int, samples: Array, values: int) -> float:
    seen = np.unique(samples, axis=0)
    pairs = max(len(seen) * (len(seen) - 1) / 2, 1.0)
    equal = [(counts * (counts - 1) / 2).sum() for counts in _counts(seen)]
    rates = np.sort(np.maximum(equal, 1.0) / pairs)[: min(values, FEWEST_VALUES)]
    return float(rows**2 / 2 * np.prod(np.minimum(rates, 1.0)))


def _counts(seen: Array) -> Iterator[Array]:
    for column in seen.T:
        yield np.unique(column, return_counts=True)[1]


def beyond_chance(found: DuplicatesResult, parts: int = 1) -> bool:
    """Whether more contents are shared than independent rows of any distribution would share, but for once in 1e9
    (W. Hoeffding, Probability inequalities for sums of bounded random variables, 1963): right for integers and
    rounded values too, since chance repeats rows within a split as readily. Of rows hashed by ``parts``, each content
    is there as often, and is evidence once.
    """
    if not found.repeated:
        return False
    share, mean = found.shared_count / found.repeated, found.by_chance / found.repeated
    if share <= mean or mean >= 1:
        return False
    rest = (1 - share) * math.log((1 - share) / (1 - mean)) if share < 1 else 0.0
    return found.repeated / parts * (share * math.log(share / mean) + rest) > -math.log(CHANCE)


def within_share(guess: Guess, fold: RowHashes, found: DuplicatesResult) -> float:
    """The share of train's samples that equal an earlier one of train."""
    start, stop = guess.spec.splits.get("train", (0, guess.spec.rows))
    rows = max(stop - start, 1) * max(round(found.rows / max(guess.spec.rows, 1)), 1)
    return 1.0 - found.distinct.get("train", rows) / rows if fold.every == 1 else found.within_count / found.rows


def leak(
    guess: Guess,
    fold: RowHashes,
    found: DuplicatesResult,
    code: str,
    what: str,
    consequence: str = "",
    remedy: str = "",
    unlikely: bool = True,
    parts: int = 1,
) -> Iterator[Diagnostic]:
    """The finding that samples of two splits are ``what``: beyond what chance shares (`beyond_chance`), or, where
    ``unlikely`` by chance at all, in contents of few rows or rarer within train: nothing where a tenth of the share of
    the smallest split repeats there. A sample may count once in each of the ``parts`` that its row is hashed by.
    """
    if not guess.divided or not found.across:
        return
    sizes = {name: stop - start for name, (start, stop) in guess.spec.splits.items() if stop > start}
    held = sum(rows for name, rows in sizes.items() if name != "train")
    count = max(min(-(-found.across_count // parts), held), len(found.across))
    looked = f" (one content of {fold.every} looked at)" if fold.every > 1 else ""
    rare = within_share(guess, fold, found) <= 0.1 * count / min(sizes.values())
    if not beyond_chance(found, parts) and not (unlikely and (rare or found.few_shared)):
        return
    (first, second), split = found.across[0], guess.spec.split_of
    name = fold.names[0]
    yield Diagnostic(
        code=code,
        severity="harmful",
        field=name,
        evidence=f"at least {counted(count, 'sample')} of {name} {verb(count, 'are')} {what} in two splits; first: "
        f"sample {second} ({split(second)}) and sample {first} ({split(first)}){looked}",
        consequence=consequence or _remembered(count * fold.every / max(held, 1)),
        remedy=remedy or "remove repeated samples before splitting; draw each split from seeds and groups of its own",
        command=regenerate(guess),
        samples=tuple(second for _, second in found.across),
        harm=1 + count * fold.every / max(held, 1),
        measured={"count": count},
    )


def _remembered(share: float) -> str:
    return f"{min(share, 1.0):.2%} of the samples held out were trained on: their score is that of remembering"
