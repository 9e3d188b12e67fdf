"""What a linear probe sees of the targets: nothing at all (are they those of these inputs?), or everything (a leak)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import FieldSpec
from prep.folds import Fold, Scope
from prep.folds.gram import STATE_BYTES, Gram, GramResult
from prep.folds.lagged import LaggedGram
from prep.importers.names import is_time
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.codes import code_sequence
from prep.symptoms.columns import FEWEST, fields_of, is_square, listed
from prep.symptoms.words import look, number, rebuild, verb

_WIDEST = 1024
# Products of one probe: a tenth of a second of BLAS.
_WORK = 1 << 31
_MOST_ROWS = 1 << 16
_TAPS = 32
_CODES = 64
# p above this: the F-test sees nothing; and it would have seen a share of this much of the spread.
LARGEST_P, SEEN = 0.01, 0.05
# Correlation of copies: rounding to float32 takes 1e-14 of it, what is measured twice far more.
_COPY = 1e-9


class LinearProbe:
    """Least squares of each target on each input over the first samples of train (as many as the work allows), judged
    by the F-test of all weights together.

    A target counts as unseen where p > 0.01 for every input, and a relation that explains 5 % would have been seen. It
    may still be nonlinear: doubtful, never more. Long sequences (sample, step) of the same steps are probed with a
    filter of 32 steps. Complex inputs are not probed (of a random phase a linear probe sees nothing), nor matrices,
    which are products. Sequences of codes mean nothing as numbers: they are looked at for copies only, and not in a
    target that is one itself. A target whose squared correlation with one input column is 1 to within 1e-9 is a copy.
    """

    name = "linear_probe"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for _, folds in _probes(guess) for fold in folds)

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for target, folds in _probes(guess):
            found: list[GramResult] = [measured[fold.key] for fold in folds]
            if not all(map(_is_finite, found)):
                continue  # values beyond what can be squared, and told as such
            for fold, result in zip(folds, found, strict=True):
                # A model of language is meant to say its own input, some steps on or where it was hidden.
                if not (code_sequence(target) and code_sequence(fold.input)):
                    yield from _copies(guess, target, fold.input, result)
            given = [fold.input.name for fold in folds]
            # Codes of a few integers tell a mean at most; any other input might be what the target follows from.
            others = [field for field in _inputs(guess, "fiuc") if field.name not in given]
            few = all(field.dtype.kind in "iu" and field.row_values <= _CODES for field in others)
            if few and not any(map(code_sequence, _inputs(guess, "iu"))):
                yield from _unseen(guess, target, given, found)


def _is_finite(found: GramResult) -> bool:
    sums = [each for parts in found.parts for _, each in parts]
    return all(bool(np.isfinite(table).all()) for each in sums for table in (each.xx, each.xy, each.yy))


def _inputs(guess: Guess, kinds: str) -> list[FieldSpec]:
    return list(fields_of(guess, "input", kinds))


def _probes(guess: Guess) -> Iterator[tuple[FieldSpec, list[Gram | LaggedGram]]]:
    train = Scope.of(guess.spec, "train")
    for target in fields_of(guess, "target", "fiu"):
        folds: list[Gram | LaggedGram] = []
        for given in _inputs(guess, "fiu"):
            wide, tall = given.row_values, target.row_values
            if is_square(target) or not wide or not tall:
                continue
            if wide + tall <= _WIDEST:
                counted = _mask(guess, target)
                scope = _first(train, _rows(wide, tall, counted is not None))
                folds.append(Gram(given, target, scope, "", _mask(guess, given), counted))
            elif _are_sequences(guess, given, target):
                rows = max(_WORK // (wide * _TAPS * _TAPS), 1)
                folds.append(LaggedGram(given, target, _first(train, rows), _TAPS))
        if folds:
            yield target, folds


def _rows(wide: int, tall: int, masked: bool) -> int:
    """How many samples a probe may see: of a masked target each may have a pattern, and sums, of its own."""
    rows = max(min(_WORK // (wide * (wide + tall)), _MOST_ROWS), 20 * wide)
    room = STATE_BYTES // (8 * (wide + 2) * (wide + tall))
    return min(rows, room) if masked and 2 ** min(tall, 30) > room else rows


def _are_sequences(guess: Guess, given: FieldSpec, target: FieldSpec) -> bool:
    """Whether both are (sample, step) of the same steps: of one dimension, or as long as a field of times."""
    timed = any(is_time(each.name) and each.shape == given.shape for each in guess.spec.fields)
    same = given.shape == target.shape and len(given.shape) == 1
    return same and given.dtype.kind == "f" and (given.dims == target.dims or timed)


def _first(train: Scope, rows: int) -> Scope:
    return Scope(train.split, train.start, min(train.stop, train.start + rows))


def _mask(guess: Guess, field: FieldSpec) -> FieldSpec | None:
    return guess.spec[field.mask] if field.mask and field.mask in guess.spec else None


def _unseen(guess: Guess, target: FieldSpec, given: list[str], found: list[GramResult]) -> Iterator[Diagnostic]:
    from scipy.special import fdtrc, fdtri

    seen = np.zeros(found[0].targets, bool)
    varies, best, detectable = np.zeros(found[0].targets, bool), np.zeros(found[0].targets), 0.0
    for result in found:
        n = result.counts[0] if len(result.parts) else np.zeros(result.targets)
        rank = max(_varying(result), 1)
        rest = n - rank - 1
        if not len(result.parts) or (rest < 1).any():
            return
        r2 = result.r2()[0]
        with np.errstate(all="ignore"):
            p = fdtrc(rank, rest, r2 / rank / ((1 - r2) / rest))
            limit = fdtri(rank, rest, 1 - LARGEST_P)
        seen |= ~(p > LARGEST_P)  # NaN: a target without spread
        varies |= np.isfinite(r2)
        best = np.fmax(best, r2)
        detectable = max(detectable, float(np.max(rank * limit / (rank * limit + rest))))
    unseen = ~seen & varies
    if not unseen.any() or detectable > SEEN:
        return
    names = tuple(f"column {place}" for place in range(len(unseen)))
    which = f"{listed(names, unseen)} of {target.name}" if len(unseen) > 1 else target.name
    rows = max(result.rows for result in found)
    yield Diagnostic(
        code="target-not-seen",
        severity="doubtful",
        field=target.name,
        evidence=f"a linear probe of {', '.join(given)} explains "
        f"{number(float(best[unseen].max()))} of the spread of {which} on {rows} samples, which is what chance gives",
        consequence="if inputs and targets were shuffled apart, nothing can be learned, and the best loss is that of "
        "the mean; a relation without any linear part is possible, and then this means nothing",
        remedy="see that row i of the inputs belongs to row i of the targets: follow one sample by hand",
        command=look(guess, target.name),
        measured={"r2": float(best[unseen].max()), "detectable": detectable, "columns": int(unseen.sum())},
    )


def _varying(result: GramResult) -> int:
    spreads = [np.diagonal(sums.xx) > 0 for parts in result.parts for _, sums in parts]
    return int(np.logical_or.reduce(spreads).sum()) if spreads else 0


def _copies(guess: Guess, target: FieldSpec, given: FieldSpec, result: GramResult) -> Iterator[Diagnostic]:
    pairs: list[tuple[int, int]] = []
    for parts in result.parts:
        for chosen, sums in parts:
            if sums.n < FEWEST:
                continue
            xx = np.diagonal(sums.xx)[:, np.newaxis]
            # What varies by rounding only is a copy of nothing.
            with np.errstate(all="ignore"):
                some = (xx > 1e-12 * sums.n * sums.x[:, np.newaxis] ** 2) & (sums.yy > 1e-12 * sums.n * sums.y**2)
            with np.errstate(all="ignore"):
                same = some & (sums.xy**2 / (xx * sums.yy) >= 1 - _COPY)
            for column, place in np.argwhere(same).tolist():
                pairs.append((column, int(np.asarray(chosen)[place])))
    if not pairs:
        return
    targets = len({place for _, place in pairs})
    whole = targets == result.targets and given.row_values == target.row_values > 1
    column, place = pairs[0]
    every = "all" if targets == result.targets else f"{targets} of"
    which = f"{every} {result.targets} columns of {target.name}" if result.targets > 1 else target.name
    yield Diagnostic(
        code="target-in-input",
        severity="doubtful" if whole else "harmful",
        field=target.name,
        evidence=f"{which} {verb(targets, 'are')} in {given.name}, up to scale and offset; first: column {place} is "
        f"column {column} of {given.name}",
        consequence="one weight solves the task and the loss goes to 0; where the input will not be there, nothing was "
        "learned" + (" (a model that reconstructs its input is meant to see this)" if whole else ""),
        remedy="take the target out of the input, or predict what is not known then",
        command=rebuild(guess),
        measured={"columns": targets},
    )
