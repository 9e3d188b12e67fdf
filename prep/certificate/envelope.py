"""DSSE envelope around in-toto Statement v1: bytes stay opaque until they are trusted.

A sealed certificate has no signature; a signed one has some, each over the exact bytes of payload and payload type.
Formats: DSSE v1.0 (secure-systems-lab/dsse), in-toto attestation Statement v1.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prep.canonical import canonical_json, parse_json, sha256_hex
from prep.certificate.keys import PrivateKey, PublicKey, strict_base64
from prep.errors import CertificateError, Where

PAYLOAD_TYPE = "application/vnd.in-toto+json"
SUFFIX = ".cert.json"
SIZE_LIMIT = 16 << 20
SIGNATURES_LIMIT = 16
_SIGNATURE_LENGTH = 64
_TRIES = 256
_TRIED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature; ``keyid`` is a hint whose key it may be, and trusted for nothing."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope; ``payload`` is not parsed, ``digest`` is its SHA-256."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...] = ()

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of the payload: what a lock pins."""
        return "sha256:" + sha256_hex(self.payload)

    @property
    def signed_bytes(self) -> bytes:
        """What is signed: payload type and payload in DSSE's pre-authentication encoding."""
        return pae(self.payload_type, self.payload)

    def signers(self, keys: Iterable[PublicKey]) -> tuple[tuple[PublicKey, ...], tuple[Signature, ...]]:
        """Those of ``keys`` that signed, each once however often it did and under whatever id, and the signatures
        that are of none of them.

        Anybody may have written them, and each try hashes the payload: every signature is tried with the key that it
        names, then with the others as long as the tries last, fewer for a large payload.
        """
        message, known = self.signed_bytes, {key.id: key for key in keys}
        tries = min(_TRIES, max(SIGNATURES_LIMIT, _TRIED_BYTES // len(message)))
        signers: dict[Signature, PublicKey] = {}
        hinted = [(each, known[each.keyid]) for each in self.signatures if each.keyid in known]
        others = ((each, key) for each in self.signatures for key in known.values() if key.id != each.keyid)
        for each, key in (*hinted, *others):
            if tries and each not in signers:
                tries -= 1
                if key.has_signed(message, each.sig):
                    signers[each] = key
        found = set(signers.values())
        return (
            tuple(key for key in known.values() if key in found),
            tuple(each for each in self.signatures if each not in signers),
        )

    def signed_by(self, key: PrivateKey) -> Envelope:
        """The same payload, signed by ``key`` too; what the key's own id named before is replaced."""
        signature = Signature(key.public.id, key.sign(self.signed_bytes))
        others = tuple(each for each in self.signatures if each.keyid != signature.keyid)
        return replace(self, signatures=(*others, signature))

    def encode(self) -> bytes:
        """The certificate file's bytes."""
        return (
            canonical_json(
                {
                    "payloadType": self.payload_type,
                    "payload": base64.b64encode(self.payload).decode(),
                    "signatures": [
                        {"keyid": each.keyid, "sig": base64.b64encode(each.sig).decode()} for each in self.signatures
                    ],
                }
            )
            + b"\n"
        )


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding: lengths in front, so that type and payload cannot run into each other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def path_of(dataset: Path) -> Path:
    """Where the certificate of a dataset lies: beside it, with the ending added."""
    return dataset.parent / f"{dataset.name}{SUFFIX}"


def wrap(statement: Any) -> Envelope:
    """The envelope around a statement, without a signature."""
    return Envelope(canonical_json(statement), PAYLOAD_TYPE)


def seal(statement: Any, keys: Sequence[PrivateKey] = ()) -> bytes:
    """The certificate file's bytes around a statement, signed by ``keys``."""
    made = wrap(statement)
    for key in keys:
        made = made.signed_by(key)
    return made.encode()


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
    if not isinstance(signatures, list):
        raise _wrong(path, "its signatures are not a list", type(signatures).__name__)
    if len(signatures) > SIGNATURES_LIMIT:
        raise _wrong(path, f"it has more than {SIGNATURES_LIMIT} signatures", len(signatures))
    try:
        payload = strict_base64(outer["payload"])
    except ValueError as error:
        raise _wrong(path, "its payload is not base64", error) from error
    return Envelope(payload, PAYLOAD_TYPE, tuple(_signature(each, path) for each in signatures))


def _signature(entry: object, path: str) -> Signature:
    if not isinstance(entry, dict) or not {"sig"} <= set(entry) <= {"keyid", "sig"}:
        named = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise _wrong(path, "a signature has other members than keyid and sig", named)
    keyid = entry.get("keyid", "")
    if not isinstance(keyid, str):
        raise _wrong(path, "a signature's keyid is no text", type(keyid).__name__)
    try:
        sig = strict_base64(entry["sig"])
    except ValueError as error:
        raise _wrong(path, "a signature is not base64", error) from error
    if len(sig) != _SIGNATURE_LENGTH:
        raise _wrong(path, f"a signature is not {_SIGNATURE_LENGTH} bytes long", len(sig))
    return Signature(keyid, sig)


def _wrong(path: str, what: str, measured: object) -> CertificateError:
    return CertificateError(
        f"this certificate cannot be used: {what}",
        where=Where(path=path),
        measured=measured,
        allowed=f"a DSSE envelope of type {PAYLOAD_TYPE}",
        remedy="run `prep certify` on the dataset to write it again",
    )
