"""Key files: a private key is written once, for its owner alone, and read only where nobody else could have read it."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from prep.certificate.keys import PrivateKey, PublicKey, is_encrypted, is_private
from prep.errors import UsageError, Where
from prep.formats.commit import storage_errors

PUBLIC_SUFFIX = ".pub"
_LIMIT = 64 << 10
_OTHERS = 0o077


def public_path(private: Path) -> Path:
    """Where the public half of a key file lies: beside it, with the ending added."""
    return private.with_name(private.name + PUBLIC_SUFFIX)


def write_pair(path: Path, key: PrivateKey, passphrase: str = "") -> None:
    """Write the private key (mode 0600) to ``path`` and the public one beside it.

    `UsageError` where either exists already: a key is never overwritten. `StorageError` where the system refuses.
    """
    for each in (path, public_path(path)):
        if os.path.lexists(each):
            raise _exists(each)
    with storage_errors(path):
        if not path.parent.exists():
            path.parent.mkdir(parents=True, mode=0o700)
    halves = ((public_path(path), key.public.pem, 0o644), (path, key.pem(passphrase), 0o600))
    try:
        for each, data, mode in halves:
            _write_new(each, data, mode)
    except BaseException:  # an interrupt too; what somebody else wrote meanwhile holds other bytes and stays
        for each, data, _ in halves:
            with suppress(OSError):
                if each.read_bytes() == data:
                    each.unlink()
        raise


def read_private(path: Path, passphrase: str = "") -> PrivateKey:
    """The private key in a file; `UsageError` unless it is one that only its owner may read."""
    return PrivateKey.from_pem(private_bytes(path), passphrase, where=Where(path=str(path)))


def read_public(path: Path) -> PublicKey:
    """The public key in a file; `UsageError` for what is none, a private key included."""
    data = _read(path, private=False)
    if is_private(data):
        raise UsageError(
            "this is a private key, and only public keys are passed on",
            where=Where(path=str(path)),
            measured="a PEM private key",
            allowed="a PEM public key",
            remedy=f"give its public half, {public_path(path)}; `prep key show {path}` prints it",
        )
    return PublicKey.from_pem(data, where=Where(path=str(path)))


def private_bytes(path: Path) -> bytes:
    """The text of a private key file, as yet unopened; `UsageError` where others may read or swap it."""
    data = _read(path, private=True)
    if not is_private(data):
        raise UsageError(
            "this is not a private key",
            where=Where(path=str(path)),
            measured="a public key" if b"PUBLIC KEY-----" in data else "something else",
            allowed="a PEM private key (PKCS8, Ed25519)",
            remedy="give the private key, without .pub; make one with `prep key new`",
        )
    return data


def holds_private(path: Path) -> bool:
    """Whether the key file holds a private key; `UsageError` where there is no such file."""
    return is_private(_read(path, private=False))


def needs_passphrase(path: Path) -> bool:
    """Whether the private key in a file is encrypted; the errors of `read_private`."""
    return is_encrypted(private_bytes(path))


def read_passphrase(path: Path) -> str:
    """The passphrase in a file, without the line's end; `UsageError` where it is empty or others may read it."""
    where = Where(path=str(path))
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & _OTHERS:
                raise _readable(path, status.st_mode)
            data = file.read(_LIMIT)
        text = data.decode()
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            "a passphrase is UTF-8 text", where=where, measured=str(error), remedy="write it again"
        ) from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise UsageError(
            "the passphrase file is empty",
            where=where,
            measured="no text",
            allowed="the passphrase, on one line",
            remedy="write the passphrase into it, or leave --passphrase-file out",
        )
    return text


def _read(path: Path, *, private: bool) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if private else 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(
                "a private key is not read through a symbolic link",
                where=Where(path=str(path)),
                measured="a symbolic link",
                allowed="the file itself",
                remedy=f"give the file itself: {os.path.realpath(path)}",
            ) from error
        raise _unreadable(path, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(
                "a key is kept in a regular file",
                where=Where(path=str(path)),
                measured="a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device",
                allowed="a PEM file",
                remedy="give the key's file; `prep key new` makes one",
            )
        if private and status.st_mode & _OTHERS:
            raise _readable(path, status.st_mode)
        data = os.read(descriptor, _LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(data) > _LIMIT:
        raise UsageError(
            "this file is larger than any key",
            where=Where(path=str(path)),
            measured=f"more than {_LIMIT} bytes",
            allowed=f"{_LIMIT} bytes",
            remedy="give the key's file; `prep key new` makes one",
        )
    return data


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never over anything: a temporary sibling that gets its name by a hard link."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    with storage_errors(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path, follow_symlinks=False)
        except FileExistsError as error:
            raise _exists(path) from error
        finally:
            with suppress(OSError):
                temporary.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _exists(path: Path) -> UsageError:
    return UsageError(
        "there is a file already, and a key is never overwritten",
        where=Where(path=str(path)),
        measured="a file, folder or link of that name",
        allowed="a new name",
        remedy="choose another path: prep key new PATH",
    )


def _readable(path: Path, mode: int) -> UsageError:
    return UsageError(
        "others than its owner may use this secret file",
        where=Where(path=str(path)),
        measured=f"mode {stat.S_IMODE(mode):04o}",
        allowed="mode 0600 or 0400",
        remedy=f"chmod 600 {path}; if others could have read it, make a new key and revoke this one",
    )


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        "this file cannot be read",
        where=Where(path=str(path)),
        measured=error.strerror,
        allowed="a file that you may read",
        remedy="check the path; `prep key new` makes a key",
    )
