"""Findings that another one explains: where a fill value is told, what it does to scales is said after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prep.symptoms import Diagnostic

_OF_SCALES = ("unnormalised-input", "unnormalised-target", "mixed-scales", "large-offset")


def explained(found: Sequence[Diagnostic]) -> list[Diagnostic]:
    """``found``, where scales of a field with a fill value have no command, which would bake it into the statistics,
    weigh no more than it, and tell to mend it first.
    """
    fills = {each.field: each.harm for each in found if each.code == "fill-value"}
    return [
        replace(
            each,
            harm=min(each.harm, fills[each.field]),
            remedy="mend the fill value first: it is part of what was measured here; then look again",
            command="",
        )
        if each.code in _OF_SCALES and each.field in fills
        else each
        for each in found
    ]
