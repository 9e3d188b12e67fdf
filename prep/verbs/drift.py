"""What of the differences between two datasets is beyond the limits of a schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prep.schema import Schema
from prep.schema.drift import COUNTS, limits_of, limits_within
from prep.verbs.features import Feature, Groups


@dataclass(frozen=True, slots=True)
class Breach:
    """Something beyond a limit; ``measure`` is one of `MEASURES`, ``new``, ``lost``, or ``comparable``."""

    field: str
    feature: str
    measure: str
    measured: float | str
    allowed: float | str


def breaches(
    schema: Schema,
    found: tuple[Feature, ...],
    within: tuple[Feature, ...],
    ids: tuple[Groups, ...],
    reasons: Mapping[str, str],
    not_within: Mapping[tuple[str, str], str],
    unread: tuple[str, ...],
) -> tuple[Breach, ...]:
    """What is beyond the limits of a schema, the worst first; a field or group with limits that cannot be compared is.
    Those ``unread`` are the same on both sides.
    """
    grouped = limits_within(schema)
    beyond: list[tuple[float, Breach]] = []
    for name, why in reasons.items():
        if limits_of(schema, name):
            beyond.append((np.inf, Breach(name, name, "comparable", why, "the same field in both")))
    for (name, by), why in not_within.items():
        if by in grouped and limits_of(schema, name):
            beyond.append((np.inf, Breach(name, f"{name} by {by}", "comparable", why, "groups that can be measured")))
    for each in (*found, *within):
        limits = limits_of(schema, each.field)
        for measure, allowed in (grouped.get(each.by, {}) if each.by and limits else {} if each.by else limits).items():
            value = each.measures[measure]
            if not value <= allowed:
                ratio = value / allowed if allowed else np.inf
                beyond.append((ratio, Breach(each.field, each.name, measure, value, allowed)))
    known = {each.field: each for each in ids}
    for name, limits in schema.drift.get("groups", {}).items():
        if name in unread:
            continue
        if name not in known:
            beyond.append((np.inf, Breach(name, name, "comparable", "no group on both sides", "one integer a sample")))
            continue
        if not known[name].complete:
            beyond.append((np.inf, Breach(name, name, "comparable", "more than a million groups", "a million")))
        for measure in COUNTS:
            allowed, count = limits.get(measure, np.inf), len(getattr(known[name], measure))
            if count > allowed:
                beyond.append((count / allowed if allowed else np.inf, Breach(name, name, measure, count, allowed)))
    return tuple(each for _, each in sorted(beyond, key=lambda pair: -pair[0]))
