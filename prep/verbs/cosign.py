"""An earlier certificate of the same data is kept and signed again, so that several people can sign one statement."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prep.canonical import canonical_json, parse_json
from prep.certificate import envelope, moments
from prep.certificate.evidence import Evidence
from prep.certificate.keys import PrivateKey
from prep.errors import PrepError, UsageError, Where
from prep.report import Report, disagreement

_TOLERANCE = 1e-6
_NOISE = 1e-12  # what float64 sums of standardised values differ by where both should be 0
_SHOWN_TOLERANCE = 1.1e-5  # one unit in the sixth digit
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+)")


def earlier(path: Path) -> envelope.Envelope | None:
    """The certificate that lies beside the dataset, as yet trusted for nothing; none where it cannot be used."""
    try:
        place = envelope.path_of(path)
        if not place.is_file() or place.stat().st_size > envelope.SIZE_LIMIT:
            return None
        return envelope.open_envelope(place.read_bytes(), path=str(place))
    except (OSError, PrepError):
        return None


def says_the_same(found: Evidence, own: Mapping[str, Any], measured: Report, *, expires: str | None) -> bool:
    """Whether an earlier certificate may be kept instead of ``own``, the statement just made of what was measured.

    It is the very same, or somebody whom the project trusts stands behind it: the lock pins it, or a key of trust.toml
    that counts has signed it; what nobody stands behind is not even parsed. It states the same of the same bytes,
    schema and checks, measured numbers up to the rounding of another machine; it is of the past, has not expired, and
    expires when it is asked to (``expires``, where that is).
    """
    sealed = found.sealed
    if sealed.payload == canonical_json(own):
        return True
    if not found.stands_behind(measured.dataset, measured.root):
        return False
    try:
        stated, claimed = (parse_json(each, path="") for each in (sealed.payload, canonical_json(own)))
        label, until = (stated["predicate"].pop(name) for name in ("created", "expires"))
        for name in ("created", "expires"):
            del claimed["predicate"][name]
        created, now = moments.parse(label), moments.now()
        timely = created <= now + moments.SKEW and (not until or moments.parse(until) > now)
        report = stated["predicate"]["report"]
        return (
            timely
            and until == (until if expires is None else expires)
            and _same(stated, claimed)
            and not (disagreement(report, measured))
        )
    except (PrepError, ValueError, KeyError, TypeError, AttributeError):
        return False


def sign(sealed: envelope.Envelope, keys: Sequence[PrivateKey], path: Path) -> envelope.Envelope:
    """The envelope with the signatures of ``keys`` too; `UsageError` where it would get more than one can have."""
    for key in keys:
        sealed = sealed.signed_by(key)
    if len(sealed.signatures) > envelope.SIGNATURES_LIMIT:
        raise UsageError(
            "this certificate has as many signatures as one can have",
            where=Where(path=str(envelope.path_of(path))),
            measured=len(sealed.signatures),
            allowed=envelope.SIGNATURES_LIMIT,
            remedy="state it anew, without the earlier signatures: prep certify --renew --key KEY",
        )
    return sealed


def _same(stated: Any, own: Any, *, message: bool = False) -> bool:
    """Equal, but for the last digits of measured numbers, also where the ``message`` of a finding shows them.

    Limits, counts and every other text are equal.
    """
    if isinstance(stated, dict) and isinstance(own, dict):
        return stated.keys() == own.keys() and all(
            _same(stated[key], own[key], message=key == "message" and "limit" in own) for key in own
        )
    if isinstance(stated, list) and isinstance(own, list):
        return len(stated) == len(own) and all(_same(each, other) for each, other in zip(stated, own, strict=True))
    if isinstance(stated, float) and isinstance(own, float):
        return math.isclose(stated, own, rel_tol=_TOLERANCE, abs_tol=_NOISE)
    if message and isinstance(stated, str) and isinstance(own, str):
        return _NUMBER.split(stated) == _NUMBER.split(own) and all(
            math.isclose(float(shown), float(measured), rel_tol=_SHOWN_TOLERANCE, abs_tol=_NOISE)
            for shown, measured in zip(_NUMBER.findall(stated), _NUMBER.findall(own), strict=True)
        )
    return type(stated) is type(own) and bool(stated == own)
