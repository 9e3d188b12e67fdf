"""NaN and infinity among the values that count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from prep.blocks import FieldSpec
from prep.errors import counted
from prep.folds import Fold
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import columns, columns_fold, listed
from prep.symptoms.words import places, rebuild


class NonFinite:
    """Counts NaN and infinity in all fields but masks, column by column, in every split."""

    name = "non_finite"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(columns_fold(guess, field, split) for field in _floats(guess) for split in guess.spec.splits)

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _floats(guess):
            found = [columns(guess, field, measured, split) for split in guess.spec.splits]
            nan = np.sum([each.moments.nan.reshape(-1) for each in found], axis=0)
            inf = np.sum([each.moments.inf.reshape(-1) for each in found], axis=0)
            bad = nan + inf > 0
            if not bad.any():
                continue
            samples = tuple(sorted(row for each in found for row in each.moments.nonfinite_samples))[:10]
            counts = [f"{int(nan.sum())} NaN"] if nan.any() else []
            counts += [counted(int(inf.sum()), "infinity", "infinities")] if inf.any() else []
            total = int((nan + inf).sum())
            values = total + sum(int(each.count.sum()) for each in found)
            where = f" in {listed(found[0].names, bad)}" if len(bad) > 1 else ""
            yield Diagnostic(
                code="non-finite",
                severity="harmful" if field.role in ("input", "target") else "doubtful",
                field=field.name,
                evidence=f"{field.name} holds {' and '.join(counts)} among {values:,} values{where}: "
                f"{places(guess, samples, later=len(samples) == 10)}",
                consequence="one of them makes the loss NaN, and the next step every weight: the training ends there"
                if field.role in ("input", "target")
                else "whatever is computed from it is NaN as well",
                remedy="find out where they come from; drop the samples, or mark the entries in a mask",
                command=rebuild(guess),
                samples=samples,
                harm=float(total),
                measured={"nan": int(nan.sum()), "inf": int(inf.sum())},
            )


def _floats(guess: Guess) -> Iterator[FieldSpec]:
    for field in guess.spec.fields:
        if field.role != "mask" and field.dtype.kind in "fc" and field.row_values:
            yield field
