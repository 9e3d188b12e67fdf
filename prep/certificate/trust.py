"""`trust.toml`: whose signatures this project accepts for which datasets, and what it demands of each.

The file belongs to the consumer, lies beside prep.lock and is reviewed like it. Anything in it that cannot be
understood is a `ConfigError`, and then nothing is trusted.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, cast

from prep.certificate import lock, moments
from prep.certificate.keys import PublicKey
from prep.certificate.policy import Level, Policy
from prep.errors import ConfigError, UsageError, Where
from prep.formats.files import read_regular

NAME = lock.TRUST_NAME
VERSION = 1
_SIZE_LIMIT = 1 << 20
_CERTIFICATE = re.compile(r"sha256:[0-9a-f]{64}")
_BLAKE3 = re.compile(r"blake3:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Revocation:
    """When a key was revoked, and why."""

    at: datetime
    reason: str


class Objection(NamedTuple):
    """Why a key does not count: what is the matter with it, and the particulars."""

    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key, whose it is, and for which datasets and how long it counts."""

    owner: str
    key: PublicKey
    datasets: tuple[str, ...]
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    revoked: Revocation | None = None

    def __str__(self) -> str:
        return f"{self.owner} (key {self.key.id[:16]}…)"

    def objection(self, dataset: str | None, at: datetime) -> Objection | None:
        """Why this key's signature does not count for ``dataset`` (where it is known) at a moment; none where it does.
        A revoked key counts for nothing, whenever it signed.
        """
        if self.revoked is not None:
            return Objection("has been revoked", f"on {self.revoked.at.date()}: {self.revoked.reason}")
        if self.valid_until is not None and at > self.valid_until:
            return Objection("has expired", f"valid until {self.valid_until.date()}")
        if self.valid_from is not None and at < self.valid_from:
            return Objection("is not valid yet", f"valid from {self.valid_from.date()}")
        if dataset is not None and not any(fnmatchcase(dataset, glob) for glob in self.datasets):
            return Objection("is not valid for this dataset", f"valid for {', '.join(self.datasets)}")
        return None


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust file's content; ``withdrawn`` maps the digest of a certificate or the root of a dataset to the reason."""

    path: Path
    keys: tuple[TrustedKey, ...] = ()
    rules: tuple[tuple[str, Policy], ...] = ()
    withdrawn: Mapping[str, str] | None = None

    def policies(self, dataset: str) -> tuple[Policy, ...]:
        """What the rules that name ``dataset`` demand; all of it is demanded."""
        return tuple(policy for glob, policy in self.rules if fnmatchcase(dataset, glob))

    def withdrawal(self, *digests: str) -> str:
        """Why one of ``digests`` is withdrawn; empty where none is."""
        return next((self.withdrawn[each] for each in digests if self.withdrawn and each in self.withdrawn), "")


def find(start: Path | None = None) -> Path:
    """The trust file that a consumer working in ``start`` (default: the current folder) uses, whether it exists or
    not: that of the same project as prep.lock.
    """
    return lock.find(start).with_name(NAME)


def read(path: Path, *, named: bool = False) -> Trust:
    """What a trust file says; nothing is trusted where there is none, unless somebody ``named`` it.

    `ConfigError` for anything that cannot be understood.
    """
    try:
        data = read_regular(path, _SIZE_LIMIT)
    except FileNotFoundError as error:
        if named:
            raise _wrong(path, "", "there is no such trust file", error.strerror, "a trust.toml") from error
        return Trust(path)
    except OSError as error:
        raise _wrong(path, "", "this trust file cannot be read", error.strerror, "a file that you may read") from error
    return parse(data, path)


def parse(data: bytes, path: Path) -> Trust:
    """What the bytes of a trust file say; `ConfigError` naming ``path`` for anything that cannot be understood."""
    if len(data) > _SIZE_LIMIT:
        raise _wrong(path, "", "this trust file is too large", len(data), f"{_SIZE_LIMIT} bytes")
    try:
        body = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _wrong(path, "", "this trust file is not valid TOML", error, "TOML 1.0, UTF-8") from error
    top = _Reader(path, "", body)
    version = top.take("version", int, required=True)
    if version != VERSION:
        raise _wrong(path, "version", "this trust file is of another version", version, str(VERSION))
    keys = tuple(map(_key, top.tables("key")))
    rules = tuple(map(_rule, top.tables("dataset")))
    withdrawn = dict(map(_withdrawn, top.tables("revoked")))
    top.demand_empty()
    for index, each in enumerate(keys):
        if each.key in [other.key for other in keys[:index]]:
            raise _wrong(path, f"key[{index}]", "the same key is listed twice", str(each), "one entry a key")
    return Trust(path, keys, rules, withdrawn)


class _Reader:
    """Takes the entries of one table, each checked; what is left at the end is unknown."""

    def __init__(self, path: Path, place: str, body: Mapping[str, Any]) -> None:
        self.path, self.place, self._left, self._known = path, place, dict(body), list[str]()

    def take(self, name: str, kind: type, *, required: bool = False) -> Any:
        """The entry, of exactly this type; None where it is left out and may be."""
        self._known.append(name)
        if name not in self._left:
            if required:
                raise self.wrong(name, "an entry is missing", "nothing", f"{name} = …")
            return None
        value = self._left.pop(name)
        if type(value) is not kind or value in ("", {}, []):
            measured = f"{type(value).__name__} {value!r}"[:120]
            raise self.wrong(name, "an entry is not of its kind", measured, f"a {_KINDS[kind]}")
        return value

    def text(self, name: str) -> str:
        """A text that has to be there, on one line."""
        value: str = self.take(name, str, required=True)
        if not value.isprintable() or not value.strip():
            raise self.wrong(name, "this text cannot be shown", ascii(value), "printable text on one line")
        return value

    def texts(self, name: str, *, required: bool = False, pattern: re.Pattern[str] | None = None) -> tuple[str, ...]:
        """A text or a list of texts."""
        if isinstance(self._left.get(name), str):
            self._left[name] = [self._left[name]]
        values = self.take(name, list, required=required) or []
        for value in values:
            if not isinstance(value, str) or not value.isprintable() or not value or "\x00" in value:
                raise self.wrong(name, "an entry is no text", ascii(value), "texts")
            if pattern and not pattern.fullmatch(value):
                raise self.wrong(name, "this is no digest", value, "blake3:<64 hex digits>")
        return tuple(values)

    def moment(self, name: str, of_day: Callable[[date], datetime], *, required: bool = False) -> datetime | None:
        """A TOML date, or a TOML date and time with its offset."""
        self._known.append(name)
        value = self._left.pop(name, None)
        if value is None and not required:
            return None
        if isinstance(value, date):
            try:
                return of_day(value)
            except (ValueError, OverflowError):
                pass
        allowed = "a date (2027-01-31) or a moment with its offset (2027-01-31T12:00:00Z), without quotes"
        raise self.wrong(name, "this is no moment", value, allowed)

    def tables(self, name: str) -> list[_Reader]:
        """The tables of an array of tables, none where it is left out."""
        self._known.append(name)
        entries = self._left.pop(name, [])
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise self.wrong(name, "this is not a list of tables", type(entries).__name__, f"[[{name}]]")
        return [_Reader(self.path, f"{name}[{index}]", each) for index, each in enumerate(entries)]

    def demand_empty(self) -> None:
        """`ConfigError` where an entry was not taken."""
        if self._left:
            raise self.wrong(next(iter(self._left)), "there is no such entry", "", ", ".join(self._known))

    def wrong(self, name: str, what: str, measured: object, allowed: str) -> ConfigError:
        """The error about one entry of this table."""
        place = ".".join(filter(None, (self.place, name)))
        return _wrong(self.path, place, what, None if measured == "" else measured, allowed)


_KINDS = {int: "whole number", str: "text", list: "list of texts that is not empty", dict: "table", float: "number"}


def _key(entry: _Reader) -> TrustedKey:
    owner, text = entry.text("owner"), entry.text("public")
    place = Where(path=str(entry.path), key=f"{entry.place}.public")
    try:
        key = PublicKey.from_text(text, where=place)
    except UsageError as error:
        raise ConfigError(
            error.what, where=place, measured=error.measured, allowed=error.allowed, remedy=error.remedy
        ) from error
    datasets = entry.texts("datasets", required=True)
    start, stop = entry.moment("valid_from", moments.first_of), entry.moment("valid_until", moments.last_of)
    revoked = None
    if (table := entry.take("revoked", dict)) is not None:
        inner = _Reader(entry.path, f"{entry.place}.revoked", table)
        at = inner.moment("at", moments.first_of, required=True)
        assert at is not None
        revoked = Revocation(at, inner.text("reason"))
        inner.demand_empty()
    entry.demand_empty()
    if start and stop and start >= stop:
        raise entry.wrong("valid_until", "this key is never valid", stop.date(), f"a day after {start.date()}")
    return TrustedKey(owner, key, datasets, start, stop, revoked)


def _rule(entry: _Reader) -> tuple[str, Policy]:
    glob = entry.text("name")
    level = entry.take("level", str) or "sealed"
    threshold = entry.take("threshold", int)
    if threshold is not None and level != "signed":
        raise entry.wrong("threshold", "a threshold counts signatures", f"level {level}", 'level = "signed" with it')
    try:
        policy = Policy(
            level=cast(Level, level),  # Policy refuses what is none
            threshold=1 if threshold is None else threshold,
            minimum_version=entry.take("minimum_version", str) or "",
            schema=entry.texts("schema", pattern=_BLAKE3),
            check_registry=entry.texts("check_registry", pattern=_BLAKE3),
            max_age_days=entry.take("max_age_days", int),
        )
    except ConfigError:
        raise
    except UsageError as error:
        raise entry.wrong(error.where.key, error.what, error.measured, str(error.allowed)) from error
    entry.demand_empty()
    return glob, policy


def _withdrawn(entry: _Reader) -> tuple[str, str]:
    certificate, root = entry.take("certificate", str), entry.take("root", str)
    digest = certificate or root
    pattern, form = (_CERTIFICATE, "sha256") if certificate else (_BLAKE3, "blake3")
    if (certificate is None) == (root is None) or not pattern.fullmatch(digest):
        raise entry.wrong(
            "certificate" if certificate else "root",
            "a withdrawal names one certificate or one root",
            digest or "neither",
            f"{form}:<64 hex digits>",
        )
    reason = entry.text("reason")
    entry.moment("at", moments.first_of)
    entry.demand_empty()
    return digest, reason


def _wrong(path: Path, key: str, what: str, measured: object, allowed: str) -> ConfigError:
    return ConfigError(
        what,
        where=Where(path=str(path), key=key),
        measured=measured,
        allowed=allowed,
        remedy="mend it by docs/trust.md, or restore it from git; nothing is trusted until then",
    )
