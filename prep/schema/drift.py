"""The section ``prep.drift`` of a schema: what it may name, and which limits hold for a field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prep.schema.plan import Schema
from prep.strict_yaml import Place

COUNTS = ("new", "lost")


def limits_of(schema: Schema, name: str) -> Mapping[str, float]:
    """The limits of a field: those of its own before those of all; none for a field that is ignored, and for ids."""
    drift = schema.drift
    if not drift or name in drift.get("ignore", ()):
        return {}
    if name in schema.fields and schema.fields[name].role in ("id", "split", "constant"):
        return {}
    return {**drift["limits"], **drift.get("fields", {}).get(name, {})}


def limits_within(schema: Schema) -> dict[str, Mapping[str, float]]:
    """The limits of distances within each group, by the field that names the groups."""
    groups = schema.drift.get("groups", {})
    stated = {
        name: {measure: allowed for measure, allowed in limits.items() if measure not in COUNTS}
        for name, limits in groups.items()
    }
    return {name: limits for name, limits in stated.items() if limits}


def drift_problems(schema: Schema) -> Iterator[tuple[Place, str, object, str, str]]:
    """Names that are no field whose distribution is compared, or no group: place, what, measured, allowed, remedy."""
    drift = schema.drift
    named: list[tuple[Place, str]] = [
        (("prep", "drift", key, name), name) for key in ("fields", "groups") for name in drift.get(key, {})
    ]
    named += [(("prep", "drift", "ignore", index), name) for index, name in enumerate(drift.get("ignore", ()))]
    for place, name in named:
        roles = ("id",) if place[2] == "groups" else ("input", "target", "aux", "mask")
        allowed = [each for each, plan in schema.fields.items() if plan.role in roles and not plan.companion_of]
        if name not in allowed:
            yield (
                place,
                f"{name!r} is no {'group' if roles == ('id',) else 'field'} whose drift can be limited",
                schema.fields[name].role if name in schema.fields else "no such field",
                ", ".join(allowed) or "a field of role id",
                "correct the name; ids belong to prep.drift.groups, other fields to prep.drift.fields",
            )
