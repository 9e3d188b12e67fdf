"""How trust.toml and what was signed look to a person."""

from __future__ import annotations

from prep.certificate import moments
from prep.certificate.policy import Policy
from prep.certificate.trust import Trust, TrustedKey
from prep.cli.output import say, table
from prep.verbs.certify import Certified


def show_trust(found: Trust) -> None:
    """Keys, rules and withdrawals, as tables."""
    if not (found.keys or found.rules or found.withdrawn):
        say(f"{found.path} trusts nobody: prep trust add PUBKEY --owner NAME")
        return
    say(f"{found.path}")
    if found.keys:
        rows = [
            [each.owner, each.key.id[:16], ", ".join(each.datasets), _span(each), _state(each)] for each in found.keys
        ]
        say(table("", [(name, "left") for name in ("owner", "key id", "datasets", "valid", "state")], rows))
    if found.rules:
        say(
            table("", [("datasets", "left"), ("demanded", "left")], [[glob, _rule(rule)] for glob, rule in found.rules])
        )
    if found.withdrawn:
        rows = [[digest, reason] for digest, reason in found.withdrawn.items()]
        say(table("", [("revoked", "left"), ("reason", "left")], rows))


def show_signed(done: Certified) -> None:
    """Who signed, and what those who rely on it have to do."""
    if done.expires:
        say(f"valid until {done.expires}")
    if done.dropped:
        say(
            f"{done.dropped} signatures of the earlier certificate are gone: it said something else, "
            "or no key of trust.toml was among them",
            "warn",
        )
    if done.kept:
        say(f"the statement is the earlier one (sha256 {done.certificate[7:23]}…), which says what was measured now")
    for key in done.keys:
        say(f"signed by key {key.id}", "good")
    if done.signatures > len(done.keys):
        say(f"{done.signatures} signatures in all; those of others stayed")
    for key in done.keys:
        say(
            "in each project that relies on it, once: "
            f"prep trust add {key.text} --owner NAME --dataset {done.dataset}   (writes its trust.toml)"
        )


def _span(key: TrustedKey) -> str:
    start, stop = (str(each.date()) if each else "" for each in (key.valid_from, key.valid_until))
    return " ".join(filter(None, (start and f"from {start}", stop and f"until {stop}"))) or "always"


def _state(key: TrustedKey) -> str:
    objection = key.objection(None, moments.now())
    return f"{objection.what}, {objection.detail}" if objection else "counts"


def _rule(rule: Policy) -> str:
    parts = [rule.level + (f" by {rule.threshold} keys" if rule.threshold > 1 else "")]
    parts += [f"version {rule.minimum_version} or newer"] if rule.minimum_version else []
    parts += [f"schema {' or '.join(rule.schema)}"] if rule.schema else []
    parts += [f"checks {' or '.join(rule.check_registry)}"] if rule.check_registry else []
    parts += [f"at most {rule.max_age_days:g} days old"] if rule.max_age_days else []
    return ", ".join(parts)
