"""Whole numbers that stand for something and measure nothing: labels, tokens, codes. They have no scale."""

from __future__ import annotations

import numpy as np

from prep.blocks import FieldSpec
from prep.importers.names import is_code
from prep.symptoms.columns import Columns

# Without a name that tells: inputs of so many kinds, and targets of so many classes (those of ImageNet).
_MOST_KINDS, _MOST_CLASSES = 64, 1024


def named_codes(field: FieldSpec) -> bool:
    """Whether ``field`` holds whole numbers that its name calls codes (``input_ids``, ``labels``, ``zip``)."""
    return field.dtype.kind in "iu" and is_code(field.name)


def code_sequence(field: FieldSpec) -> bool:
    """Whether the samples of ``field`` are sequences of codes, by name: of tokens, most often."""
    return named_codes(field) and field.row_values > 1


def holds_codes(found: Columns) -> bool:
    """Whether whole numbers are codes: by name, or because they count up from -1, 0 or 1 to few: 64 kinds, of a target
    1024 classes where it has as many values. Inputs of several values a sample are codes by name only.
    """
    field, some = found.field, found.count > 0
    if field.dtype.kind not in "iu" or not some.any():
        return False
    if named_codes(field):
        return True
    if field.role == "input" and field.row_values > 1:
        return False
    low, kinds = found.low[some].min(), np.ptp([found.low[some].min(), found.high[some].max()]) + 1
    most = max(_MOST_KINDS, min(_MOST_CLASSES, int(found.count.sum()))) if field.role == "target" else _MOST_KINDS
    return bool(-1 <= low <= 1 and kinds <= most)
