"""`prep trust`: whose signatures the project accepts, and what is not to be used any more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prep.certificate import keyfiles, moments, trust, trust_edit
from prep.certificate.keys import TEXT_PREFIX, PublicKey
from prep.certificate.trust import Trust, TrustedKey
from prep.errors import UsageError, Where

_DIGEST = re.compile(r"(sha256|blake3):[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was revoked: keys, or data by a digest."""

    path: Path
    keys: tuple[TrustedKey, ...] = ()
    digest: str = ""


def trust_key(
    public: str | Path,
    *,
    owner: str,
    datasets: Sequence[str] = ("*",),
    until: str | None = None,
    trust_path: str | Path | None = None,
) -> TrustedKey:
    """Add a public key (a PEM file, or ``ed25519:…``) to trust.toml.

    ``datasets`` are globs on the dataset id, ``until`` is the last day (YYYY-MM-DD) on which it counts. `UsageError`
    for what is no sound public key or listed already, `ConfigError` for a trust file that cannot be understood.
    """
    place = _place(trust_path)
    if isinstance(public, str) and public.startswith(TEXT_PREFIX):
        key = PublicKey.from_text(public, where=Where(key="PUBKEY"))
    else:
        key = keyfiles.read_public(Path(public))
    _demand_text("--owner", owner)
    if not datasets:
        raise _wrong("--dataset", "a key has to be good for some dataset", "none", "a glob such as control*")
    for each in datasets:
        _demand_text("--dataset", each)
    last = None
    if until is not None:
        try:
            last = moments.day(until)
        except ValueError as error:
            raise _wrong("--until", "this is no day", until, "YYYY-MM-DD") from error
        if moments.last_of(last) <= moments.now():
            raise _wrong("--until", "this day is over already", until, "a day in the future")
    return trust_edit.add_key(place, key, owner=owner, datasets=datasets, valid_until=last)


def trusted(trust_path: str | Path | None = None) -> Trust:
    """What trust.toml says; empty where there is none. `ConfigError` where it cannot be understood."""
    return trust.read(Path(trust_path), named=True) if trust_path else trust.read(trust.find())


def revoke(what: str, *, reason: str, trust_path: str | Path | None = None) -> Revoked:
    """Revoke an owner's keys, the key of an id, a certificate (``sha256:…``) or data by their root (``blake3:…``).

    What was revoked before stays as it was. `UsageError` where nothing is meant by ``what``.
    """
    place = _place(trust_path)
    _demand_text("--reason", reason)
    if what.startswith(("sha256:", "blake3:")):
        if not _DIGEST.fullmatch(what):
            raise _wrong("WHAT", "this is no digest", what, "sha256:<64 hex digits> or blake3:<64 hex digits>")
        trust_edit.withdraw(place, what, reason)
        return Revoked(place, digest=what)
    return Revoked(place, keys=trust_edit.revoke_keys(place, what, reason))


def trust_to_dict(found: Trust) -> dict[str, Any]:
    """The JSON form of a trust file."""
    at = moments.now()
    return {
        "path": str(found.path),
        "keys": [
            {
                "owner": each.owner,
                "id": each.key.id,
                "public": each.key.text,
                "datasets": list(each.datasets),
                "valid_from": _moment(each.valid_from),
                "valid_until": _moment(each.valid_until),
                "revoked": None
                if each.revoked is None
                else {"at": _moment(each.revoked.at), "reason": each.revoked.reason},
                "counts": not each.objection(None, at),
            }
            for each in found.keys
        ],
        "datasets": [
            {
                "name": glob,
                "level": rule.level,
                "threshold": rule.threshold,
                "minimum_version": rule.minimum_version,
                "schema": list(rule.schema),
                "check_registry": list(rule.check_registry),
                "max_age_days": rule.max_age_days,
            }
            for glob, rule in found.rules
        ],
        "revoked": dict(found.withdrawn or {}),
    }


def _place(trust_path: str | Path | None) -> Path:
    return Path(trust_path) if trust_path else trust.find()


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _demand_text(key: str, text: str) -> None:
    if not text.strip() or not text.isprintable():
        raise _wrong(key, "this text cannot be shown", ascii(text), "printable text on one line")


def _wrong(key: str, what: str, measured: object, allowed: str) -> UsageError:
    return UsageError(what, where=Where(key=key), measured=measured, allowed=allowed, remedy=f"mend {key}")
