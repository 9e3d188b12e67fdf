"""Groups (sessions, trajectories) of which some are in two splits though others are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prep.blocks import FieldSpec
from prep.errors import counted
from prep.folds import Fold
from prep.folds.duplicates import DuplicatesResult, RowHashes
from prep.importers.names import is_time
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.words import regenerate, verb


class SharedSessions:
    """Ids of which some occur in two splits (the measurement of ``groups_disjoint``), and some in one.

    Ids that all splits hold alike name kinds of things (a system, a subject), not sessions, and ids that no two samples
    share name samples.
    """

    name = "shared_sessions"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(_fold(guess, field) for field in _ids(guess))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _ids(guess):
            found: DuplicatesResult = measured[_fold(guess, field).key]
            distinct = [count for count in found.distinct.values() if count]
            rows = [stop - start for start, stop in guess.spec.splits.values() if stop > start]
            kinds = found.shared_count >= max(distinct, default=0)
            if not found.shared_count or kinds or distinct == rows:
                continue
            held = sum(distinct) - max(distinct)
            first = found.shared[0]
            split = guess.spec.split_of
            yield Diagnostic(
                code="shared-sessions",
                severity="harmful" if field.name == guess.group else "doubtful",
                field=field.name,
                evidence=f"{counted(found.shared_count, 'id')} of {field.name} "
                f"{verb(found.shared_count, 'are')} in two splits, others in one; first: that of "
                f"sample {first[0]} ({split(first[0])}) is also that of sample {first[1]} ({split(first[1])})",
                consequence=f"up to {found.shared_count / max(held, 1):.0%} of the {field.name}s that are held out "
                "were partly trained on: neighbours in time are nearly the same sample, and the score is too good",
                remedy=f"divide by {field.name}, not by sample or window",
                command=regenerate(guess),
                samples=tuple(second for _, second in found.shared),
                measured={"shared": found.shared_count, "distinct": dict(found.distinct)},
            )


def _ids(guess: Guess) -> Iterator[FieldSpec]:
    if guess.divided:
        for field in guess.spec.fields:
            named = field.name == guess.group or not is_time(field.name)
            if field.role == "id" and not field.shape and field.dtype.kind in "iu" and named:
                yield field


def _fold(guess: Guess, field: FieldSpec) -> RowHashes:
    return RowHashes((field.name,), dict(guess.spec.splits))
