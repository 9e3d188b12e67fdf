"""DSSE envelope around in-toto Statement v1: bytes stay opaque until they are trusted.

The sealed level has no signature; the list of signatures is where later levels put theirs.
Formats: DSSE v1.0 (secure-systems-lab/dsse), in-toto attestation Statement v1.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.canonical import canonical_json, parse_json, sha256_hex
from prep.errors import CertificateError, Where

PAYLOAD_TYPE = "application/vnd.in-toto+json"
SUFFIX = ".cert.json"
SIZE_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope; ``payload`` is not parsed, ``digest`` is its SHA-256."""

    payload: bytes
    payload_type: str
    signatures: tuple[dict[str, str], ...]

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of the payload: what a lock pins."""
        return "sha256:" + sha256_hex(self.payload)


def path_of(dataset: Path) -> Path:
    """Where the certificate of a dataset lies: beside it, with the ending added."""
    return dataset.with_name(dataset.name + SUFFIX)


def seal(statement: Any) -> bytes:
    """The envelope's bytes around a statement, without a signature."""
    payload = canonical_json(statement)
    envelope = {"payloadType": PAYLOAD_TYPE, "payload": base64.b64encode(payload).decode(), "signatures": []}
    return canonical_json(envelope) + b"\n"


def open_envelope(data: bytes, *, path: str) -> Envelope:
    """Take the envelope apart without looking at the payload; `CertificateError` for anything that is not exactly
    DSSE.
    """
    outer = parse_json(data, path=path, limit=SIZE_LIMIT)
    if not isinstance(outer, dict) or set(outer) != {"payloadType", "payload", "signatures"}:
        raise _wrong(
            path, "it is not a DSSE envelope", sorted(outer) if isinstance(outer, dict) else type(outer).__name__
        )
    if outer["payloadType"] != PAYLOAD_TYPE:
        raise _wrong(path, "its payload is of another type", outer["payloadType"])
    signatures = outer["signatures"]
    if not isinstance(signatures, list) or not all(isinstance(each, dict) for each in signatures):
        raise _wrong(path, "its signatures are not a list", type(signatures).__name__)
    try:
        payload = base64.b64decode(outer["payload"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise _wrong(path, "its payload is not base64", str(error)) from error
    return Envelope(payload, PAYLOAD_TYPE, tuple(signatures))


def _wrong(path: str, what: str, measured: object) -> CertificateError:
    return CertificateError(
        f"this certificate cannot be used: {what}",
        where=Where(path=path),
        measured=measured,
        allowed=f"a DSSE envelope of type {PAYLOAD_TYPE}",
        remedy="run `prep certify` on the dataset to write it again",
    )
