"""What the columns of a CSV file hold, learned a block of lines at a time: their types, and what reading would lose."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from prep.importers.arrow import EXACT, MOST_DISTINCT, Kind, kind_of

NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*|\s*[-+]?(nan|inf)\s*", re.IGNORECASE)
COMMA_NUMBER = re.compile(r"\s*[-+]?(\d+,?\d*|,\d+)([eE][-+]?\d+)?\s*")
_DIGITS = r"^\s*[-+]?\d{16,}\s*$"
# (name, Arrow type to read as, its decimal point) -> the column of the block in hand
Read = Callable[[str, Any, str], Any]


@dataclass(slots=True)
class _Type:
    """The type of all values so far, read with one decimal point; places are (line, value as written)."""

    point: str
    type: Any
    beyond: tuple[int, str] | None = None
    below: bool = False
    rounded: tuple[int, str] | None = None


@dataclass(slots=True)
class Learned:
    """One column of a CSV file. ``decimal`` allows decimal commas, which a file cut at commas cannot have."""

    name: str
    decimal: bool
    gap: int = 0
    why: str = ""
    comma_at: tuple[int, str] | None = None
    distinct: set[str] = field(default_factory=set)
    _point: _Type | None = None
    _comma: _Type | None = None

    def absorb(self, column: Any, read: Read, line: Callable[[int], int]) -> None:
        """One block of the column as Arrow typed it; ``line`` gives the number of the line of a row of it."""
        import pyarrow as pa
        from pyarrow import compute

        known = self._point or _Type(".", pa.null())
        if column.null_count and not self.gap:
            self.gap = line(compute.index(column.is_null(), True).as_py())
        whole = _whole(column, partial(read, self.name, pa.uint64(), "."))
        if pa.types.is_string(whole) and not self.why:
            self.why = _no_number(column, line, known=known.type)
        if pa.types.is_string(whole) and len(self.distinct) <= MOST_DISTINCT:
            self.distinct |= set(column.unique().to_pylist())
        if self.decimal and pa.types.is_string(whole) and self._comma is None:
            earlier = known.type if not pa.types.is_floating(known.type) else pa.string()
            self._comma = replace(known, point=",", type=earlier)
        self._point = _learn(known, column, whole, partial(read, self.name), line)
        if self._comma is not None and not pa.types.is_string(self._comma.type):
            told = read(self.name, None, ",")
            if pa.types.is_floating(told.type) and self.comma_at is None:
                texts = read(self.name, pa.string(), ".")
                self.comma_at = _first(texts, r",", line)
            self._comma = _learn(self._comma, told, told.type, partial(read, self.name), line)

    def kind(self) -> tuple[Kind | str, Any, str]:
        """(dtype and shape of a row, ``"text"``, or why it is left out; the Arrow type to read; its decimal point)."""
        import pyarrow as pa

        chosen = self._point or _Type(".", pa.null())
        if self._comma is not None and not pa.types.is_string(self._comma.type) and self.comma_at:
            chosen = self._comma
        lost = chosen.rounded
        if chosen.beyond and not pa.types.is_integer(chosen.type) and not pa.types.is_string(chosen.type):
            lost = lost or chosen.beyond
        if chosen.beyond and pa.types.is_integer(chosen.type):
            signs = chosen.below and chosen.type == pa.uint64()
            lost = chosen.beyond if self.gap or signs else None
        if lost and not pa.types.is_string(chosen.type):
            what = "whole numbers beyond 2⁵³ beside gaps, fractions or signs, which float64 would round"
            return f"{what} (line {lost[0]}: {lost[1]})", chosen.type, chosen.point
        kind = kind_of(chosen.type, nulls=bool(self.gap))
        if pa.types.is_null(chosen.type):
            kind = "empty"
        if kind == "text" and self.why:
            kind = self.why if self.name.lower() != "split" else kind
        return kind, chosen.type, chosen.point

    def whole_with_gaps(self) -> bool:
        """Whether whole numbers or truth values become float64 because of gaps."""
        import pyarrow as pa

        kind, found, _ = self.kind()
        whole = pa.types.is_integer(found) or pa.types.is_boolean(found)
        return bool(self.gap) and whole and not isinstance(kind, str)


def _learn(known: _Type, column: Any, whole: Any, read: Callable[[Any, str], Any], line: Callable[[int], int]) -> _Type:
    import pyarrow as pa
    from pyarrow import compute

    found = replace(known, type=_wider(known.type, whole))
    if pa.types.is_integer(whole) and whole == column.type:
        found.below |= (compute.min(column).as_py() or 0) < 0
    if pa.types.is_integer(whole) and known.beyond is None and (place := _beyond(column, whole)) is not None:
        found.beyond = line(place), read(pa.string(), ".")[place].as_py().strip()
    if pa.types.is_floating(whole) and known.rounded is None and _reaches(column, EXACT):
        found.rounded = _rounded(read(pa.string(), "."), line)
    return found


def _reaches(column: Any, most: float) -> bool:
    from pyarrow import compute

    return bool(compute.any(compute.greater_equal(compute.abs(column), most)).as_py())


def _beyond(column: Any, whole: Any) -> int | None:
    """The first row that holds a whole number that float64 may not hold."""
    from pyarrow import compute

    if whole == column.type:
        low, high = compute.min_max(column).as_py().values()
        if low is None or (low >= -EXACT and high <= EXACT):
            return None
        outside = compute.or_(compute.less(column, -EXACT), compute.greater(column, EXACT))
    else:
        outside = compute.greater(column, float(EXACT))
    place = compute.index(outside, True).as_py()
    return None if place < 0 else place


def _rounded(texts: Any, line: Callable[[int], int]) -> tuple[int, str] | None:
    """The first whole number among the values of a column of fractions that float64 would change."""
    from pyarrow import compute

    rows = compute.fill_null(compute.match_substring_regex(texts, _DIGITS), False)
    for place in np.flatnonzero(rows.to_numpy(zero_copy_only=False)).tolist():
        text = texts[place].as_py().strip()
        if int(text) != int(float(text)):
            return line(place), text
    return None


def _first(texts: Any, pattern: str, line: Callable[[int], int]) -> tuple[int, str] | None:
    from pyarrow import compute

    place = compute.index(compute.fill_null(compute.match_substring_regex(texts, pattern), False), True).as_py()
    return None if place < 0 else (line(place), texts[place].as_py().strip()[:40])


def _whole(column: Any, read: Callable[[], Any]) -> Any:
    """The type of a column of a block; uint64 where Arrow takes whole numbers from 2⁶³ on for fractions, and ``read``
    (the column as uint64) takes them all.
    """
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_floating(column.type) or column.null_count == len(column):
        return column.type
    least, most = compute.min_max(column).as_py().values()
    if least < 0 or not 2.0**63 <= most < 2.0**64:
        return column.type
    try:
        read()
    except pa.ArrowInvalid:
        return column.type
    return pa.uint64()


def _no_number(column: Any, line: Callable[[int], int], *, known: Any) -> str:
    """Which value of a column of text is none of the numbers that it mostly holds; ``""`` where it is text."""
    import pyarrow as pa
    from pyarrow import compute, csv

    numbers = compute.match_substring_regex(column, rf"^({NUMBER.pattern})$", ignore_case=True)
    gaps = compute.is_in(column, value_set=pa.array(csv.ConvertOptions().null_values))
    numbers = compute.or_(numbers, gaps)
    commas = compute.match_substring_regex(column, r"^\s*[-+]?\d+,\d+\s*$")
    if (compute.sum(commas).as_py() or 0) * 2 > len(column):
        return "numbers with a comma; write them with a decimal point, and thousands without a comma"
    if pa.types.is_null(known) and (compute.sum(numbers).as_py() or 0) * 2 <= len(column):
        return ""
    place = compute.index(numbers, False).as_py()
    if place < 0:
        return ""
    return f"text: {column[place].as_py()[:40]!r} in line {line(place)} is no number"


def _wider(known: Any, found: Any) -> Any:
    """The type that holds values of both; text where none does."""
    import pyarrow as pa

    types = pa.types
    if types.is_null(known) or known == found:
        return found
    if types.is_null(found):
        return known
    if types.is_integer(known) and types.is_integer(found):
        return pa.uint64()
    numbers = [types.is_integer(each) or types.is_floating(each) for each in (known, found)]
    return pa.float64() if all(numbers) else pa.string()
