"""Episodes that lie one after the other in flat arrays and end where flags say so (D4RL: terminals or timeouts)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prep.blocks import row_ranges
from prep.importers.columns import Column
from prep.importers.names import is_group

# An episode ends where one of a pair says so, that the task is over or that it was cut short; `done` is either.
_FLAGS = (
    ("terminals", "timeouts"),
    ("terminations", "truncations"),
    ("terminated", "truncated"),
    ("dones",),
    ("done",),
)
_STEP = 1 << 20


def ends_at_flags(columns: Sequence[Column]) -> tuple[NDArray[np.int64], str] | None:
    """Ends (exclusive, rising) of the episodes of ``columns`` of equal length, and the paths that say so.

    The last episode may be open, and ends with the rows. None where there are no flags of zeros and ones, where these
    cut nothing, or where a column states the episode of each row itself.
    """
    if any(is_group(each.path) and each.dtype.kind in "iu" for each in columns):
        return None
    flags = [each for each in columns if each.shape[1:] in ((), (1,)) and each.dtype.kind in "biuf"]
    for names in _FLAGS:
        found = [each for each in flags if each.path.rsplit("/", 1)[-1].lower() in names]
        if found:
            ends = _ends(found)
            return None if ends is None else (ends, " or ".join(each.path for each in found))
    return None


def _ends(flags: Sequence[Column]) -> NDArray[np.int64] | None:
    rows = flags[0].shape[0]
    set_at = [each for flag in flags if (each := _set_at(flag)) is not None]
    if len(set_at) < len(flags):
        return None
    ends = np.union1d(np.concatenate(set_at) + 1, [rows])
    return ends.astype(np.int64) if len(ends) > 1 else None


def _set_at(flag: Column) -> NDArray[np.int64] | None:
    """The rows where a flag is 1; None where it holds anything but 0 and 1."""
    found = []
    with flag.reader() as read:
        for start, stop in row_ranges(flag.shape[0], _STEP):
            values = read(start, stop).reshape(-1)
            if not ((values == 0) | (values == 1)).all():
                return None
            found.append(np.flatnonzero(values) + start)
    return np.concatenate(found)
