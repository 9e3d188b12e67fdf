"""Keys: what is written is for its owner alone, what is read is sound, and nothing private is ever shown."""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import prep
from prep import cli
from prep.canonical import sha256_hex
from prep.certificate import keyfiles, keys
from prep.certificate.keys import PrivateKey, PublicKey
from prep.errors import StorageError, UsageError, Where
from tests.conftest import working_in

PRIME = 2**255 - 19
CURVE = -121665 * pow(121666, -1, PRIME) % PRIME
HERE = Where(key="test")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty working folder."""
    with working_in(tmp_path):
        yield tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed448.Ed448PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed448.Ed448PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def secret_file(path: Path, data: bytes, permissions: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(permissions)
    return path


OTHERS = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "EC": lambda: ec.generate_private_key(ec.SECP256R1()),
    "Ed448": ed448.Ed448PrivateKey.generate,
}


def test_a_new_key_is_readable_by_its_owner_only_even_under_an_open_umask(folder: Path):
    before = os.umask(0)
    try:
        made = prep.new_key("deep/er/a.pem")
    finally:
        os.umask(before)

    assert made.private is not None
    assert mode(made.private) == 0o600
    assert mode(folder / "deep/er") == 0o700
    assert keyfiles.read_private(made.private).public == made.key
    assert keyfiles.read_public(folder / "deep/er/a.pem.pub") == made.key
    assert sorted(os.listdir(folder / "deep/er")) == ["a.pem", "a.pem.pub"]


def test_a_key_without_a_place_goes_to_the_users_own_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    assert prep.new_key().private == folder / "config/prep/key.pem"

    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(folder))
    assert prep.new_key().private == folder / ".config/prep/key.pem"


@pytest.mark.parametrize("taken", ["a.pem", "a.pem.pub"])
@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_key_is_never_overwritten(folder: Path, taken: str, kind: str):
    if kind == "file":
        Path(taken).write_text("precious")
    else:
        Path(taken).symlink_to(folder / "elsewhere")
    before = sorted(os.listdir())

    with pytest.raises(UsageError, match="never overwritten"):
        prep.new_key("a.pem")
    assert sorted(os.listdir()) == before


def test_a_key_that_appears_meanwhile_is_not_overwritten_either(folder: Path, monkeypatch: pytest.MonkeyPatch):
    Path("a.pem").write_text("precious")
    monkeypatch.setattr("os.path.lexists", lambda _: False)

    with pytest.raises(UsageError, match="never overwritten"):
        prep.new_key("a.pem")
    assert Path("a.pem").read_text() == "precious"
    assert sorted(os.listdir()) == ["a.pem"]


def test_a_disk_that_refuses_leaves_no_half_of_a_key(folder: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.link

    def link(source: Path, target: Path, **options: bool) -> None:
        if target.name == "a.pem":
            raise OSError(28, "No space left on device")
        real(source, target, **options)

    monkeypatch.setattr("os.link", link)
    with pytest.raises(StorageError):
        prep.new_key("a.pem")
    assert os.listdir() == []


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_an_interrupt_leaves_no_half_of_a_key(folder: Path, monkeypatch: pytest.MonkeyPatch, moment: int):
    """Before or after either of both files gets its name."""
    link, times = os.link, iter(range(1, 9))

    def interrupted(*args: object, **options: object) -> None:
        for step in (lambda: None, lambda: link(*args, **options)):  # type: ignore[arg-type]
            step()
            if next(times) == moment:
                raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prep.new_key("key.pem")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("permissions", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_private_key_that_others_may_use_is_refused(folder: Path, permissions: int):
    prep.new_key("a.pem")
    Path("a.pem").chmod(permissions)

    with pytest.raises(UsageError, match="others than its owner") as caught:
        keyfiles.read_private(Path("a.pem"))
    assert caught.value.measured == f"mode {permissions:04o}"


def test_a_private_key_is_read_from_a_plain_file_only(folder: Path):
    prep.new_key("a.pem")
    Path("link.pem").symlink_to("a.pem")
    os.mkfifo("pipe.pem", 0o600)
    Path("folder.pem").mkdir()

    for name, match in (("link", "symbolic link"), ("pipe", "regular file"), ("folder", "regular file")):
        with pytest.raises(UsageError, match=match):
            keyfiles.read_private(Path(f"{name}.pem"))
    with pytest.raises(UsageError, match="cannot be read"):
        keyfiles.read_private(Path("nowhere.pem"))
    with pytest.raises(UsageError, match="larger than any key"):
        keyfiles.read_private(secret_file(Path("large.pem"), b"PRIVATE KEY-----" * 10_000))


@pytest.mark.parametrize("name", OTHERS)
def test_keys_of_other_algorithms_are_refused_by_name(folder: Path, name: str):
    other = OTHERS[name]()

    with pytest.raises(UsageError, match="another algorithm") as caught:
        keyfiles.read_private(secret_file(Path("x.pem"), private_pem(other)))
    assert caught.value.measured == name
    with pytest.raises(UsageError, match="another algorithm"):
        keyfiles.read_public(secret_file(Path("x.pem.pub"), public_pem(other)))


def test_what_is_no_key_is_refused(folder: Path):
    prep.new_key("a.pem")

    with pytest.raises(UsageError, match="not a private key"):
        keyfiles.read_private(secret_file(Path("x.pem"), b"something"))
    with pytest.raises(UsageError, match="not a private key") as caught:
        keyfiles.read_private(secret_file(Path("y.pem"), Path("a.pem.pub").read_bytes()))
    assert caught.value.measured == "a public key"
    with pytest.raises(UsageError, match="no private key"):
        keyfiles.read_private(secret_file(Path("z.pem"), Path("a.pem").read_bytes()[:-60]))
    with pytest.raises(UsageError, match="no public key"):
        keyfiles.read_public(secret_file(Path("p.pem"), b"something"))


def test_a_private_key_is_not_taken_for_a_public_one(folder: Path):
    prep.new_key("a.pem")

    with pytest.raises(UsageError, match="only public keys are passed on"):
        prep.trust_key("a.pem", owner="Ada")
    assert not Path("trust.toml").exists()


def test_a_passphrase_opens_its_key_and_no_other_does(folder: Path):
    made = prep.new_key("a.pem", passphrase="correct horse")

    assert b"ENCRYPTED" in Path("a.pem").read_bytes()
    assert keyfiles.read_private(Path("a.pem"), "correct horse").public == made.key
    with pytest.raises(UsageError, match="does not open this key"):
        keyfiles.read_private(Path("a.pem"), "battery staple")
    with pytest.raises(UsageError, match="none was given"):
        keyfiles.read_private(Path("a.pem"))


def test_a_passphrase_comes_from_a_file_that_is_for_its_owner_alone(folder: Path):
    file = secret_file(Path("word"), "pässword\n".encode())
    assert cli.run(["key", "new", "a.pem", "--passphrase-file", "word"]) == 0
    assert cli.run(["key", "show", "a.pem", "--passphrase-file", "word"]) == 0
    assert keyfiles.read_private(Path("a.pem"), "pässword")

    file.chmod(0o644)
    assert cli.run(["key", "show", "a.pem", "--passphrase-file", "word"]) == 2
    secret_file(file, b"\n")
    with pytest.raises(UsageError, match="empty"):
        keyfiles.read_passphrase(file)
    secret_file(file, b"\xff\n")
    with pytest.raises(UsageError, match="UTF-8"):
        keyfiles.read_passphrase(file)


def test_a_key_is_shown_without_anything_private(folder: Path, capsys: pytest.CaptureFixture[str]):
    made = prep.new_key("a.pem")
    key = keyfiles.read_private(Path("a.pem"))
    secrets = [line for line in Path("a.pem").read_text().splitlines() if "-----" not in line]

    for path in ("a.pem", "a.pem.pub"):
        for options in ([], ["--json", "-"]):
            assert cli.run(["key", "show", path, *options]) == 0
    shown = capsys.readouterr().out
    assert shown.count(made.key.id) == 4
    assert made.key.text in shown
    assert not [each for each in secrets if each in shown + repr(key) + repr(made)]
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)


def test_the_id_of_a_key_is_the_digest_of_its_der_form():
    key = PrivateKey.generate().public

    assert key.id == sha256_hex(bytes.fromhex("302a300506032b6570032100") + key.raw)
    assert PublicKey.from_text(key.text, where=HERE) == PublicKey.from_pem(key.pem, where=HERE) == key


def root_of(square: int) -> int | None:
    """A square root modulo the prime, where there is one."""
    found = pow(square, (PRIME + 3) // 8, PRIME)
    turned = found * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    return next((each for each in (found, turned) if (each * each - square) % PRIME == 0), None)


def small_heights() -> list[int]:
    """y of every point of -x² + y² = 1 + d x² y² whose order divides 8, worked out rather than copied.

    Orders 1 and 2 are (0, ±1), order 4 has y = 0. A point of order 8 doubles to one with y = 0, so x² = -y², and then
    d y⁴ + 2 y² - 1 = 0.
    """
    heights = {0, 1, PRIME - 1}
    under = root_of((1 + CURVE) % PRIME)
    assert under is not None
    for sign in (under, -under):
        y = root_of((sign - 1) * pow(CURVE, -1, PRIME) % PRIME)
        heights |= {y, PRIME - y} if y else set()
    return sorted(heights)


def test_the_refused_points_are_those_of_small_order():
    assert sorted(keys._SMALL_ORDER) == small_heights()


@pytest.mark.parametrize("y", keys._SMALL_ORDER)
@pytest.mark.parametrize("sign", [0, 1])
def test_a_weak_public_key_is_refused(y: int, sign: int):
    raw = (y | sign << 255).to_bytes(32, "little")

    with pytest.raises(UsageError, match="anybody can sign"):
        PublicKey.from_raw(raw, where=HERE)


def test_a_weak_key_would_let_anybody_sign():
    """What the refusal is for: the library itself accepts a signature that nobody made."""
    weak = PublicKey((1).to_bytes(32, "little"))

    assert weak.has_signed(b"anything at all", (1).to_bytes(32, "little") + bytes(32))


@pytest.mark.parametrize("height", [PRIME, PRIME + 1, PRIME + 5, 2**255 - 1])
def test_a_second_spelling_of_a_point_is_refused(height: int):
    with pytest.raises(UsageError, match="one allowed way"):
        PublicKey.from_raw(height.to_bytes(32, "little"), where=HERE)


def test_a_public_key_in_text_has_one_spelling():
    text = PrivateKey.generate().public.text

    for wrong in (
        text[:-1],
        text + "=",
        text.upper(),
        text.replace("ed25519:", "rsa:"),
        text[:-4] + "AA==",
        text + "\n",
    ):
        with pytest.raises(UsageError):
            PublicKey.from_text(wrong, where=HERE)


def test_a_passphrase_is_asked_for_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    answers = iter(["pässword", "pässword", "", ""])

    def ask(text: str, **options: object) -> str:
        assert options["hide_input"]
        asked.append(text)
        return next(answers)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", ask)
    assert cli.run(["key", "new", "a.pem"]) == 0
    assert cli.run(["key", "show", "a.pem"]) == 0
    assert cli.run(["key", "show", "a.pem.pub"]) == 0
    assert cli.run(["key", "new", "b.pem"]) == 0
    assert cli.run(["key", "new", "c.pem", "--no-passphrase"]) == 0

    assert len(asked) == 3
    assert [b"ENCRYPTED" in Path(f"{name}.pem").read_bytes() for name in "abc"] == [True, False, False]
