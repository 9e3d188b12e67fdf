"""Moments as certificates and trust.toml write them: always with their offset, a day meant whole (UTC)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from prep.errors import UsageError, Where

SKEW = timedelta(days=1)
_DAYS = re.compile(r"([1-9][0-9]{0,4})d")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def now() -> datetime:
    """The present by this machine's clock."""
    return datetime.now(UTC)


def parse(text: object) -> datetime:
    """A moment of a certificate; `ValueError` unless it is an ISO 8601 text with its offset."""
    if not isinstance(text, str):
        raise ValueError(f"{type(text).__name__} where a moment is due")
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError("a moment without its offset from UTC")
    return _universal(moment)


def first_of(day: date | datetime) -> datetime:
    """The moment itself, or the first of a day (UTC); `ValueError` for a moment without its offset."""
    return _moment(day, time(0, 0, 0))


def last_of(day: date | datetime) -> datetime:
    """The moment itself, or the last second of a day (UTC); `ValueError` for a moment without its offset."""
    return _moment(day, time(23, 59, 59))


def expiry(text: str, start: datetime, key: str) -> str:
    """``90d`` counted from ``start``, or the end of a day (2027-01-31), as a certificate writes it.

    `UsageError` for another form and for what is past at ``start``.
    """
    try:
        days = _DAYS.fullmatch(text)
        until = start + timedelta(days=int(days[1])) if days else last_of(day(text))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            "this is no period and no day",
            where=Where(key=key),
            measured=text,
            allowed="days (90d), or a day (2027-01-31)",
            remedy=f"for example {key} 90d",
        ) from error
    if until <= start:
        raise UsageError(
            "this day is over already",
            where=Where(key=key),
            measured=text,
            allowed=f"a day after {start.date()}",
            remedy="name a day in the future",
        )
    return until.replace(microsecond=0).isoformat()


def day(text: str) -> date:
    """A day written 2027-01-31; `ValueError` for anything else."""
    if not _DATE.fullmatch(text):
        raise ValueError("not written YYYY-MM-DD")
    return date.fromisoformat(text)


def _moment(value: date | datetime, of_day: time) -> datetime:
    if not isinstance(value, datetime):
        return datetime.combine(value, of_day, UTC)
    if value.utcoffset() is None:
        raise ValueError("a moment without its offset from UTC")
    return _universal(value)


def _universal(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a moment outside the years 1 to 9999 (UTC)") from error
