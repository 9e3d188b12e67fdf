"""What of the differences between two datasets is within the limits of a schema, and what is beyond them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from prep.schema import Schema
from prep.schema.drift import COUNTS, limits_of, limits_within
from prep.verbs.features import Feature, Groups


@dataclass(frozen=True, slots=True)
class Judgement:
    """Something measured against a limit; ``measure`` is one of `MEASURES`, ``new``, ``lost``, or ``comparable``.
    ``by`` names the groups within which it was measured, "" where in the whole. ``beyond`` counts what is beyond the
    limit, of ``judged`` features or groups: of itself alone, or of all that `worst` took together.
    """

    field: str
    feature: str
    measure: str
    measured: float | str
    allowed: float | str
    by: str = ""
    beyond: int = 0
    judged: int = 1

    @property
    def excess(self) -> float:
        """How many times the limit it is; infinite beyond a limit of 0, and where nothing can be compared."""
        if isinstance(self.measured, str) or isinstance(self.allowed, str):
            return np.inf
        if self.allowed:
            return self.measured / self.allowed
        return np.inf if self.measured else 0.0


def judgements(
    schema: Schema,
    features: Iterable[Feature],
    ids: tuple[Groups, ...],
    reasons: Mapping[str, str],
    not_within: Mapping[tuple[str, str], str],
    unread: tuple[str, ...],
) -> Iterator[Judgement]:
    """Everything that has a limit; a field or group with limits that cannot be compared is beyond them. Those
    ``unread`` are the same on both sides, and beyond none.
    """
    grouped = limits_within(schema)
    for name, why in reasons.items():
        if limits_of(schema, name):
            yield Judgement(name, name, "comparable", why, "the same field in both", "", 1)
    for (name, by), why in not_within.items():
        if by in grouped and limits_of(schema, name):
            yield Judgement(name, f"{name} by {by}", "comparable", why, "groups that can be measured", by, 1)
    for each in features:
        limits = limits_of(schema, each.field)
        for measure, allowed in (grouped.get(each.by, {}) if each.by and limits else {} if each.by else limits).items():
            value = each.measures[measure]
            yield Judgement(each.field, each.name, measure, value, allowed, each.by, int(not value <= allowed))
    known = {each.field: each for each in ids}
    for name, limits in schema.drift.get("groups", {}).items():
        if name in unread:
            continue
        if name not in known:
            yield Judgement(name, name, "comparable", "no group on both sides", "one integer a sample", "", 1)
            continue
        if not known[name].complete:
            yield Judgement(name, name, "comparable", "more than a million groups", "a million", "", 1)
        for measure in (each for each in COUNTS if each in limits):
            count = len(getattr(known[name], measure))
            yield Judgement(name, name, measure, count, limits[measure], "", int(count > limits[measure]))


def worst(judged: Iterable[Judgement]) -> tuple[Judgement, ...]:
    """One judgement for each field, measure and field of groups: the farthest beyond its limit, or nearest to it."""
    found: dict[tuple[str, str, str], Judgement] = {}
    for each in judged:
        key = each.field, each.by, each.measure
        other = found.get(key)
        if other is None:
            found[key] = each
            continue
        larger = each if (each.beyond, each.excess) > (other.beyond > 0, other.excess) else other
        found[key] = replace(larger, beyond=each.beyond + other.beyond, judged=each.judged + other.judged)
    return tuple(sorted(found.values(), key=lambda each: (each.beyond == 0, -each.excess)))
