"""Ed25519 keys: what signs, what verifies, and how a public key is written down.

Signing and verifying are `cryptography`'s. A key's id is the SHA-256 of its SubjectPublicKeyInfo (RFC 8410).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from prep.canonical import sha256_hex
from prep.errors import UsageError, Where

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

TEXT_PREFIX = "ed25519:"
_SIZE = 32
_FIELD = 2**255 - 19
# y of the eight points whose order divides 8 (RFC 8032, 5.1; the same list as in libsodium's ge25519_has_small_order).
# Under such a key anybody can write a signature that OpenSSL accepts.
_SMALL_ORDER = (
    0,
    1,
    _FIELD - 1,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
)


@dataclass(frozen=True)
class PublicKey:
    """A public key by its 32 raw bytes; two keys are one key where these are equal, whatever they are called.

    Made by `from_text`, `from_pem` or `from_raw`, which refuse what is no sound Ed25519 key.
    """

    raw: bytes

    @classmethod
    def from_raw(cls, raw: bytes, *, where: Where) -> PublicKey:
        """From 32 raw bytes; `UsageError` for another length, a second spelling of a point, or a point of small
        order.
        """
        if len(raw) != _SIZE:
            _refuse("this is no Ed25519 public key", f"{len(raw)} bytes", f"{_SIZE} bytes", where)
        height = int.from_bytes(raw, "little") & (2**255 - 1)
        if height >= _FIELD:
            _refuse("this public key is not spelled in the one allowed way", raw.hex(), "y below 2^255 - 19", where)
        if height in _SMALL_ORDER:
            _refuse("this public key is weak: anybody can sign in its name", raw.hex(), "a point of large order", where)
        return cls(raw)

    @classmethod
    def from_text(cls, text: str, *, where: Where) -> PublicKey:
        """From ``ed25519:<base64 of 32 bytes>``; `UsageError` for anything else."""
        if not text.startswith(TEXT_PREFIX):
            _refuse("this is no public key", text[:80], f"{TEXT_PREFIX}<base64 of {_SIZE} bytes>", where)
        try:
            raw = strict_base64(text.removeprefix(TEXT_PREFIX))
        except ValueError as error:
            _refuse("this public key is not in base64", error, f"{TEXT_PREFIX}<base64 of {_SIZE} bytes>", where)
        return cls.from_raw(raw, where=where)

    @classmethod
    def from_pem(cls, data: bytes, *, where: Where) -> PublicKey:
        """From a PEM SubjectPublicKeyInfo; `UsageError` for another algorithm and for what is none."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            found = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            _refuse("this is no public key", _first_sentence(error), "a PEM public key (Ed25519)", where)
        return cls._of(found, where)

    @classmethod
    def _of(cls, found: object, where: Where) -> PublicKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if not isinstance(found, Ed25519PublicKey):
            _refuse("this key is of another algorithm", algorithm(found), "Ed25519", where)
        return cls.from_raw(found.public_bytes_raw(), where=where)

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.raw)

    @cached_property
    def id(self) -> str:
        """SHA-256, bare hex, of the DER SubjectPublicKeyInfo."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return sha256_hex(self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    @property
    def text(self) -> str:
        """``ed25519:<base64>``: the form that trust.toml holds."""
        return TEXT_PREFIX + base64.b64encode(self.raw).decode()

    @property
    def pem(self) -> bytes:
        """PEM SubjectPublicKeyInfo."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over exactly ``message``."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A private key that signs; it never shows itself. Made by `generate` or `from_pem`."""

    def __init__(self, key: Ed25519PrivateKey, public: PublicKey) -> None:
        self._key = key
        self.public = public

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.id[:16]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled")

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new key from the system's random numbers."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.generate()
        return cls(key, PublicKey(key.public_key().public_bytes_raw()))

    @classmethod
    def from_pem(cls, data: bytes, passphrase: str = "", *, where: Where) -> PrivateKey:
        """From a PEM (PKCS8); `UsageError` for another algorithm, a wrong passphrase and for what is no key."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        secret = passphrase.encode() if is_encrypted(data) else None
        if secret == b"":
            raise UsageError(
                "this key has a passphrase and none was given",
                where=where,
                measured="no passphrase",
                allowed="the passphrase of the key",
                remedy="type it when asked, or keep it in a file: --passphrase-file FILE",
            )
        try:
            found = load_pem_private_key(data, secret)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            if secret is not None:
                raise UsageError(
                    "the passphrase does not open this key",
                    where=where,
                    measured=_first_sentence(error),
                    allowed="the passphrase that the key was made with",
                    remedy="try again; a key whose passphrase is lost is revoked and replaced by a new one",
                ) from error
            _refuse("this is no private key", _first_sentence(error), "a PEM private key (PKCS8, Ed25519)", where)
        if not isinstance(found, Ed25519PrivateKey):
            _refuse("this key is of another algorithm", algorithm(found), "Ed25519", where)
        return cls(found, PublicKey(found.public_key().public_bytes_raw()))

    def pem(self, passphrase: str = "") -> bytes:
        """PKCS8 PEM, encrypted where there is a passphrase."""
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over ``message``."""
        return self._key.sign(message)


def is_private(data: bytes) -> bool:
    """Whether PEM text holds a private key."""
    return b"PRIVATE KEY-----" in data


def is_encrypted(data: bytes) -> bool:
    """Whether PEM text holds a private key that a passphrase opens."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data


def strict_base64(text: object) -> bytes:
    """Decode standard base64 in its one canonical spelling; `ValueError` for any other."""
    if not isinstance(text, str):
        raise ValueError(f"{type(text).__name__} where a text is due")
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error
    if base64.b64encode(data).decode() != text:
        raise ValueError("it is not spelled in the one canonical way")
    return data


def algorithm(key: object) -> str:
    """What kind of key this is, as people call it."""
    return type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey").removeprefix("_") or "unknown"


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0].split("\n")[0] or type(error).__name__


def _refuse(what: str, measured: object, allowed: str, where: Where) -> NoReturn:
    raise UsageError(
        what,
        where=where,
        measured=measured,
        allowed=allowed,
        remedy="use a key that `prep key new` made; `prep key show FILE` says what a key file holds",
    )
