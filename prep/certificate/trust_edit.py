"""Changes to trust.toml: a key added or revoked, data withdrawn; comments and order stay as people wrote them."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prep.certificate import moments, trust
from prep.certificate.keys import TEXT_PREFIX, PublicKey
from prep.certificate.lock import guard
from prep.certificate.trust import Trust, TrustedKey
from prep.errors import ConfigError, UsageError, Where
from prep.formats.commit import Pending, storage_errors, write_at

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_SHORTEST_ID = 8
_HEAD = """\
# Whose signatures this project accepts, and what it demands of which dataset. Review it like prep.lock.
# `prep trust add`, `prep trust list` and `prep trust revoke` change it; docs/trust.md describes every entry.
version = 1

"""


def add_key(
    path: Path, key: PublicKey, *, owner: str, datasets: Sequence[str], valid_until: date | None = None
) -> TrustedKey:
    """Trust ``key`` for the dataset ids that match ``datasets`` (globs); `UsageError` where it is listed already."""

    def change(document: TOMLDocument, known: Trust) -> None:
        import tomlkit

        for each in known.keys:
            if each.key == key:
                raise UsageError(
                    "this key is listed already",
                    where=Where(path=str(path)),
                    measured=f"{each}{', revoked' if each.revoked else ''}",
                    allowed="a key that is not listed",
                    remedy="change its entry in the file; a key that was revoked is replaced by a new one",
                )
        entry = tomlkit.table()
        entry["owner"], entry["public"], entry["datasets"] = owner, key.text, list(datasets)
        if valid_until is not None:
            entry["valid_until"] = valid_until
        entry.add(tomlkit.nl())
        _tables(document, "key").append(entry)

    changed = _change(path, change)
    return next(each for each in changed.keys if each.key == key)


def revoke_keys(path: Path, name: str, reason: str) -> tuple[TrustedKey, ...]:
    """Revoke from now on the keys that ``name`` means: an owner's, the one of a key id (8 digits or more) or of
    ``ed25519:…``. `UsageError` where there is none, or several for an id; what was revoked before stays as it was.
    """
    chosen: list[TrustedKey] = []

    def change(document: TOMLDocument, known: Trust) -> None:
        import tomlkit

        chosen.extend(_named(known, name))
        moment = moments.now().replace(microsecond=0)
        for index, each in enumerate(known.keys):
            if each in chosen and each.revoked is None:
                table = tomlkit.inline_table()
                table["at"], table["reason"] = moment, reason
                document["key"][index]["revoked"] = table

    changed = _change(path, change)
    return tuple(each for each in changed.keys if each.key in [other.key for other in chosen])


def withdraw(path: Path, digest: str, reason: str) -> None:
    """Withdraw a certificate (``sha256:…``) or data (root ``blake3:…``); nothing where they are already."""

    def change(document: TOMLDocument, known: Trust) -> None:
        import tomlkit

        if known.withdrawal(digest):
            return
        entry = tomlkit.table()
        entry["certificate" if digest.startswith("sha256:") else "root"] = digest
        entry["reason"], entry["at"] = reason, moments.now().replace(microsecond=0)
        entry.add(tomlkit.nl())
        _tables(document, "revoked").append(entry)

    _change(path, change)


def _named(known: Trust, name: str) -> list[TrustedKey]:
    digits = name.lower()
    by_owner = [each for each in known.keys if each.owner == name]
    if name.startswith(TEXT_PREFIX):
        by_id = [each for each in known.keys if each.key.text == name]
    else:
        by_id = [each for each in known.keys if len(digits) >= _SHORTEST_ID and each.key.id.startswith(digits)]
    found = by_owner or by_id
    if by_owner and not {each.key for each in by_id} <= {each.key for each in by_owner}:
        found = [*by_owner, *(each for each in by_id if each not in by_owner)]
        raise UsageError(
            "this names an owner, and the key of somebody else too",
            where=Where(path=str(known.path)),
            measured=name,
            allowed=", ".join(str(each) for each in found),
            remedy="name the key itself, as `prep trust list --json` shows it: ed25519:…, or more digits of its id",
        )
    if not found or (not by_owner and len(found) > 1):
        raise UsageError(
            "no key is meant by this" if not found else "several keys are meant by this",
            where=Where(path=str(known.path)),
            measured=name,
            allowed=", ".join(str(each) for each in (found or known.keys)) or "the file lists no key",
            remedy=f"name an owner, or a key id ({_SHORTEST_ID} digits or more) of `prep trust list`",
        )
    return found


def _tables(document: TOMLDocument, name: str) -> Any:
    import tomlkit

    if name not in document:
        document.append(name, tomlkit.aot())
    return document[name]


def _change(path: Path, change: Callable[[TOMLDocument, Trust], None]) -> Trust:
    """Apply ``change`` to the file, or to a new one; it is written only if it can be understood afterwards."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    target = path.resolve()
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with guard(target.parent):
            before = target.read_bytes() if target.exists() else _HEAD.encode()
            known = trust.parse(before, path)
            try:
                # One line end while it is changed: entries would be put on the last line, or get another end.
                text = before.decode().replace("\r\n", "\n")
                document = tomlkit.parse(text if text.endswith("\n") else text + "\n")
                unchanged = tomlkit.dumps(document)
                change(document, known)
                text = tomlkit.dumps(document)
                if text == unchanged:
                    return known
                after = text.replace("\n", _line_end(before)).encode()
            except (TOMLKitError, TypeError, KeyError) as error:
                raise ConfigError(
                    "this trust file cannot be changed by prep",
                    where=Where(path=str(path)),
                    measured=error,
                    allowed="[[key]], [[dataset]] and [[revoked]] as tables of their own",
                    remedy="write the entry by hand; docs/trust.md shows the form",
                ) from error
            changed = trust.parse(after, path)
            with Pending(target) as pending:
                write_at(pending.path, after)
                if target.exists():
                    pending.path.chmod(stat.S_IMODE(target.stat().st_mode))
                pending.publish()
            return changed


def _line_end(text: bytes) -> str:
    return "\r\n" if text.partition(b"\n")[0].endswith(b"\r") else "\n"
