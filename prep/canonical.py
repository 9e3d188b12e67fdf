"""Canonical JSON and length-framed digests: the only way `prep` turns values into bytes that are hashed."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from blake3 import blake3
from typing_extensions import Buffer

from prep.errors import IntegrityError, Where

_CONTEXT = "prep 2026-11 {domain}"


def canonical_json(value: Any) -> bytes:
    """Sorted keys, no blanks, UTF-8, shortest float form; NaN and infinity are refused (RFC 8785 in spirit)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse_json(data: bytes, *, path: str, limit: int = 64 << 20) -> Any:
    """Parse JSON strictly: at most ``limit`` bytes of UTF-8, no duplicate keys, no NaN, no infinity however it is
    written.

    Raises `IntegrityError` naming ``path``.
    """
    if len(data) > limit:
        raise IntegrityError(
            "this JSON document is larger than any that prep writes",
            where=Where(path=path),
            measured=f"{len(data)} bytes",
            allowed=f"{limit} bytes",
            remedy="it was not written by prep; restore the original",
        )
    try:
        # Decoded here: `json` would guess UTF-16 and UTF-32 from the first bytes, and other readers would not.
        text = data.decode()
        found = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
        return found
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"this is not valid JSON: {error}",
            where=Where(path=path),
            remedy="the file is damaged or was edited; write it again with the command that made it",
        ) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"duplicate key {key[:40]!r}")
        result[key] = value
    return result


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond float64")
    return number


def blake3_digest(data: Buffer) -> bytes:
    """Plain 32-byte BLAKE3 of ``data``."""
    return blake3(data).digest()


def blake3_hex(data: Buffer) -> str:
    """``blake3:<hex>`` of ``data``, the form digests take in text."""
    return "blake3:" + blake3(data).hexdigest()


def sha256_hex(data: Buffer) -> str:
    """Bare SHA-256 hex, the form in-toto subjects take."""
    return hashlib.sha256(data).hexdigest()


def framed_digest(domain: str, *parts: bytes) -> bytes:
    """BLAKE3 in derive-key mode over length-framed parts, so that no two part lists share an encoding."""
    hasher = blake3(derive_key_context=_CONTEXT.format(domain=domain))
    hasher.update(len(parts).to_bytes(8, "little"))
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def value_digest(domain: str, value: Any) -> str:
    """``blake3:<hex>`` of a JSON-ready value within ``domain``."""
    return "blake3:" + framed_digest(domain, canonical_json(value)).hex()
