"""`prep key`: make a key that signs certificates, and show what may be told about one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from prep.certificate import keyfiles
from prep.certificate.keys import PrivateKey, PublicKey


@dataclass(frozen=True, slots=True)
class KeyShown:
    """The public side of a key. ``private`` and ``public_file`` are where it lies, where that is known."""

    key: PublicKey
    private: Path | None = None
    public_file: Path | None = None

    def to_dict(self) -> dict[str, str]:
        """JSON-ready form; nothing private is in it."""
        places = {"private_file": self.private, "public_file": self.public_file}
        return {
            "id": self.key.id,
            "public": self.key.text,
            "pem": self.key.pem.decode(),
            **{name: str(path) for name, path in places.items() if path is not None},
        }


def default_path() -> Path:
    """Where a key goes that nobody says a place for: the user's own configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return folder / "prep" / "key.pem"


def new_key(path: str | Path | None = None, *, passphrase: str = "") -> KeyShown:
    """Make an Ed25519 key: the private half at ``path`` (mode 0600, encrypted where there is a passphrase), the public
    one beside it (``.pub``).

    `UsageError` where either is there already, `StorageError` where the system refuses.
    """
    place = Path(path) if path else default_path()
    key = PrivateKey.generate()
    keyfiles.write_pair(place, key, passphrase)
    return KeyShown(key.public, place, keyfiles.public_path(place))


def show_key(path: str | Path, *, passphrase: str = "") -> KeyShown:
    """The public side of the key in a file, private or public. `UsageError` for what is no sound Ed25519 key."""
    place = Path(path)
    if keyfiles.holds_private(place):
        return KeyShown(keyfiles.read_private(place, passphrase).public, place)
    return KeyShown(keyfiles.read_public(place), None, place)
