"""Numbers and strangers' texts as a page shows them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from prep.report.numbers import digits_apart

LONGEST = 400
_POWERS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
# No place in XML or a page: control characters, surrogates, and marks that turn the direction of what follows.
_UNSEEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u061b\u061d-\u200d\u2010-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def clean(text: object) -> str:
    """Text without what cannot be shown or would turn the line around."""
    return _UNSEEN.sub("\ufffd", str(text))


def short(text: object, longest: int = LONGEST) -> str:
    """`clean`, and cut where it is long."""
    whole = str(text)
    return clean(whole) if len(whole) <= longest else f"{clean(whole[:longest])}… ({len(whole):,} characters)"


def number(value: Any, digits: int = 4) -> str:
    """A number with ``digits`` significant ones, a true minus and powers of ten as people write them; – for NaN."""
    if not isinstance(value, int | float | np.number) or np.isnan(real := float(value)):
        return "–"
    if 1000 <= abs(real) < 1e6:
        return f"{real:,.{max(digits - len(str(int(abs(real)))), 0)}f}".replace("-", "−")
    text = f"{real:.{digits}g}".replace("inf", "∞").replace("-", "−")
    mantissa, mark, power = text.partition("e")
    if mark:
        text = f"{mantissa}×{power_of_ten(int(power.replace('−', '-')))}"
    return text


def apart(low: Any, high: Any, digits: int = 4) -> tuple[str, str]:
    """Both ends of a range, with more significant digits where ``digits`` do not tell them apart."""
    more = digits_apart([low, high]) - 4
    return number(low, digits + more), number(high, digits + more)


def power_of_ten(power: int) -> str:
    """10 with its power."""
    return f"10{str(power).translate(_POWERS)}"


def span(low: Any, high: Any, digits: int = 3) -> str:
    """A range of numbers, or the one it is."""
    first, last = number(low, digits), number(high, digits)
    return first if first == last else f"{first} … {last}"


def share(value: float) -> str:
    """A part of a whole in per cent."""
    if np.isnan(value):
        return "–"
    return "0\xa0%" if value == 0 else "<\xa00.01\xa0%" if value < 1e-4 else f"{100 * value:.3g}\xa0%"


def size(count: int) -> str:
    """Bytes as people say them."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
