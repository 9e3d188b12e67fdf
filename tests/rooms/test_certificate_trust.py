"""trust.toml: what is written there is understood exactly or not at all, and changes leave what people wrote."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import prep
from prep.certificate import moments, trust
from prep.certificate.keys import PrivateKey
from prep.certificate.trust import Trust
from prep.errors import ConfigError, UsageError
from tests.conftest import ROOT, working_in

PUBLIC = PrivateKey.generate().public
SECOND = PrivateKey.generate().public
DIGEST = "blake3:" + "ab" * 32
WHOLE = f"""\
# whose key this is
version = 1

[[key]]
owner = "Ada"                      # call her: 4711
public = "{PUBLIC.text}"
datasets = ["control", "tones-*"]
valid_from = 2026-01-01
valid_until = 2027-12-31

[[key]]
owner = "Bob"
public = "{SECOND.text}"
datasets = "*"
revoked = {{ at = 2026-03-01T12:00:00+02:00, reason = "laptop stolen" }}

[[dataset]]
name = "control*"
level = "signed"
threshold = 2
minimum_version = "1.2.0"
schema = "{DIGEST}"
check_registry = ["{DIGEST}"]
max_age_days = 90

[[revoked]]
root = "{DIGEST}"
reason = "wrong calibration"

[[revoked]]
certificate = "sha256:{"cd" * 32}"
reason = "signed by mistake"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty working folder."""
    with working_in(tmp_path):
        yield tmp_path


def parsed(text: str) -> Trust:
    return trust.parse(text.encode(), Path("trust.toml"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_everything_that_is_written_is_understood():
    found = parsed(WHOLE)
    ada, bob = found.keys
    ((glob, rule),) = found.rules

    assert (ada.owner, ada.key, ada.datasets) == ("Ada", PUBLIC, ("control", "tones-*"))
    assert (ada.valid_from, ada.valid_until) == (at("2026-01-01"), at("2027-12-31T23:59:59"))
    assert bob.revoked == trust.Revocation(at("2026-03-01T10:00:00"), "laptop stolen")
    assert (glob, rule.level, rule.threshold, rule.minimum_version) == ("control*", "signed", 2, "1.2.0")
    assert (rule.schema, rule.check_registry, rule.max_age_days) == ((DIGEST,), (DIGEST,), 90)
    assert found.withdrawal(DIGEST) == "wrong calibration"
    assert found.withdrawal("sha256:" + "cd" * 32) == "signed by mistake"
    assert found.withdrawal("sha256:" + "00" * 32) == ""


@pytest.mark.parametrize(
    ("dataset", "moment", "what"),
    [
        ("control", "2026-06-01", None),
        ("tones-7", "2026-06-01", None),
        (None, "2026-06-01", None),
        ("tones", "2026-06-01", "is not valid for this dataset"),
        ("Control", "2026-06-01", "is not valid for this dataset"),
        ("control-2", "2026-06-01", "is not valid for this dataset"),
        ("control", "2025-12-31T23:59:59", "is not valid yet"),
        ("control", "2027-12-31T23:59:00", None),
        ("control", "2028-01-01", "has expired"),
    ],
)
def test_a_key_counts_in_its_time_and_for_its_datasets(dataset: str | None, moment: str, what: str | None):
    objection = parsed(WHOLE).keys[0].objection(dataset, at(moment))

    assert (objection and objection.what) == what


@pytest.mark.parametrize("moment", ["2020-01-01", "2026-06-01", "2099-01-01"])
def test_a_revoked_key_counts_for_nothing_at_any_moment(moment: str):
    objection = parsed(WHOLE).keys[1].objection("control", at(moment))

    assert objection is not None
    assert objection.what == "has been revoked"
    assert "laptop stolen" in objection.detail


KEY = f'[[key]]\nowner = "Ada"\npublic = "{PUBLIC.text}"\ndatasets = ["*"]\n'
WRONG = {
    "no version": ("", "an entry is missing"),
    "another version": ("version = 2", "another version"),
    "a version that is no number": ("version = true", "not of its kind"),
    "no TOML": ("version = ", "not valid TOML"),
    "a duplicate entry": ("version = 1\nversion = 1", "not valid TOML"),
    "an unknown table": ("version = 1\n[[keys]]\n", "no such entry"),
    "a table where a list of tables is due": ("version = 1\n[key]\nowner = 'A'", "not a list of tables"),
    "an unknown entry of a key": (f"version = 1\n{KEY}expires = 2027-01-01", "no such entry"),
    "an unknown entry of a revocation": (
        f"version = 1\n{KEY}revoked = {{at = 2026-01-01, reason = 'x', by = 'y'}}",
        "no such entry",
    ),
    "a revocation without a moment": (f"version = 1\n{KEY}revoked = {{reason = 'x'}}", "no moment"),
    "a revocation that is false": (f"version = 1\n{KEY}revoked = false", "not of its kind"),
    "a revocation that is empty": (f"version = 1\n{KEY}revoked = {{}}", "not of its kind"),
    "a key without an owner": ("version = 1\n" + KEY.replace('owner = "Ada"\n', ""), "an entry is missing"),
    "a key without datasets": ("version = 1\n" + KEY.replace('datasets = ["*"]\n', ""), "an entry is missing"),
    "a key for no dataset": ("version = 1\n" + KEY.replace('["*"]', "[]"), "not of its kind"),
    "datasets that are numbers": ("version = 1\n" + KEY.replace('["*"]', "[1]"), "no text"),
    "an owner that would move the cursor": ("version = 1\n" + KEY.replace("Ada", "Ada\\u001b[2J"), "cannot be shown"),
    "a key that is no key": ("version = 1\n" + KEY.replace(PUBLIC.text, "ed25519:AAAA"), "no Ed25519 public key"),
    "a weak key": (
        "version = 1\n" + KEY.replace(PUBLIC.text, "ed25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        "anybody can sign",
    ),
    "one key twice": ("version = 1\n" + KEY + KEY.replace("Ada", "Bob"), "listed twice"),
    "a day in quotes": (f"version = 1\n{KEY}valid_until = '2027-01-01'", "no moment"),
    "a moment without its offset": (f"version = 1\n{KEY}valid_until = 2027-01-01T00:00:00", "no moment"),
    "a key that is never valid": (
        f"version = 1\n{KEY}valid_from = 2027-01-02\nvalid_until = 2027-01-01",
        "never valid",
    ),
    "an unknown level": ("version = 1\n[[dataset]]\nname = '*'\nlevel = 'none'", "no such level"),
    "a threshold of none": (
        "version = 1\n[[dataset]]\nname = '*'\nlevel = 'signed'\nthreshold = 0",
        "a threshold counts keys",
    ),
    "a threshold of seals": ("version = 1\n[[dataset]]\nname = '*'\nthreshold = 2", "counts signatures"),
    "a threshold in quotes": (
        "version = 1\n[[dataset]]\nname = '*'\nlevel = 'signed'\nthreshold = '2'",
        "not of its kind",
    ),
    "a version that cannot be compared": (
        "version = 1\n[[dataset]]\nname = '*'\nminimum_version = 'new'",
        "this is no version",
    ),
    "a schema that is no digest": ("version = 1\n[[dataset]]\nname = '*'\nschema = 'control.yaml'", "no digest"),
    "an age below a day": ("version = 1\n[[dataset]]\nname = '*'\nmax_age_days = -1", "an age is"),
    "a rule without a name": ("version = 1\n[[dataset]]\nlevel = 'signed'", "an entry is missing"),
    "a withdrawal of nothing": ("version = 1\n[[revoked]]\nreason = 'x'", "one certificate or one root"),
    "a withdrawal of both": (
        f"version = 1\n[[revoked]]\nreason = 'x'\nroot = '{DIGEST}'\ncertificate = 'sha256:{'cd' * 32}'",
        "one certificate or one root",
    ),
    "a withdrawal in capitals": (
        f"version = 1\n[[revoked]]\nreason = 'x'\nroot = '{DIGEST.upper()}'",
        "one certificate or one root",
    ),
    "a withdrawal without a reason": (f"version = 1\n[[revoked]]\nroot = '{DIGEST}'", "an entry is missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_understood_is_a_configuration_error(case: str):
    text, match = WRONG[case]

    with pytest.raises(ConfigError, match=match) as caught:
        parsed(text)
    assert caught.value.exit_code == 2
    assert caught.value.where.path == "trust.toml"


def test_bytes_that_are_no_text_are_a_configuration_error():
    for data in (b"\xff\xfe", b"version = 1\n# " + b"x" * (1 << 20), b"a = " + b"[" * 100_000):
        with pytest.raises(ConfigError):
            trust.parse(data, Path("trust.toml"))


def test_a_trust_file_that_is_named_has_to_exist(folder: Path):
    assert prep.trusted().keys == ()
    with pytest.raises(ConfigError, match="no such trust file"):
        prep.trusted("other.toml")


def test_the_trust_file_is_that_of_the_project_and_none_above(folder: Path):
    prep.trust_key(PUBLIC.text, owner="Ada")
    (folder / "deep/er").mkdir(parents=True)
    (folder / "project/deep").mkdir(parents=True)
    (folder / "project/pyproject.toml").touch()

    assert trust.find(folder / "deep/er") == folder.resolve() / "trust.toml"
    assert trust.find(folder / "project/deep") == folder.resolve() / "project/trust.toml"


def test_a_change_leaves_comments_and_order_as_they_were(folder: Path):
    Path("trust.toml").write_text(WHOLE)
    third = PrivateKey.generate().public

    prep.trust_key(third.text, owner="Cy", datasets=["x"], until="2099-01-01")
    prep.revoke("Ada", reason="left")
    prep.revoke("blake3:" + "ef" * 32, reason="late")

    text = Path("trust.toml").read_text()
    kept = [line for line in text.splitlines() if line in WHOLE.splitlines()]
    assert [line for line in WHOLE.splitlines() if line and line not in kept] == []
    assert "# call her: 4711" in text
    found = prep.trusted()
    assert [each.owner for each in found.keys] == ["Ada", "Bob", "Cy"]
    assert found.keys[0].revoked is not None
    assert found.keys[0].revoked.reason == "left"
    assert found.keys[2].valid_until == at("2099-01-01T23:59:59")
    assert found.withdrawal("blake3:" + "ef" * 32) == "late"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["[[key]]", "inline"])
def test_line_ends_and_the_mode_of_the_file_stay(folder: Path, end: str, last: str):
    entry = f'[[key]]\nowner = "Ada"\npublic = "{PUBLIC.text}"\ndatasets = "*"'
    if last == "inline":
        entry += '\n\n[[key]]\nowner = "Bob"\npublic = "' + SECOND.text + '"\ndatasets = "*"\n'
        entry += 'revoked = {at = 2026-03-01, reason = "x"}'
    place = Path("trust.toml")
    place.write_bytes(f"version = 1\n\n{entry}".replace("\n", end).encode())
    place.chmod(0o640)

    prep.revoke("Ada", reason="left")
    prep.revoke(DIGEST, reason="late")
    prep.trust_key(PrivateKey.generate().public.text, owner="Cy")
    data = place.read_bytes()
    assert data.count(b"\n") == data.count(end.encode())
    assert data.endswith(end.encode())
    assert place.stat().st_mode & 0o777 == 0o640
    assert prep.trusted().keys[0].revoked is not None

    prep.revoke("Ada", reason="again")
    assert place.read_bytes() == data


def test_an_id_that_is_the_name_of_another_owner_revokes_nobody(folder: Path):
    prep.trust_key(PUBLIC.text, owner="Ada")
    prep.trust_key(SECOND.text, owner=PUBLIC.id[:12])
    before = Path("trust.toml").read_bytes()

    with pytest.raises(UsageError, match="somebody else too") as caught:
        prep.revoke(PUBLIC.id[:12], reason="left")
    assert PUBLIC.id[:16] in str(caught.value.allowed)
    assert SECOND.id[:16] in str(caught.value.allowed)
    assert Path("trust.toml").read_bytes() == before
    assert prep.revoke(SECOND.text, reason="left").keys[0].key == SECOND


def test_a_change_through_a_link_changes_the_file_behind_it(folder: Path):
    (folder / "shared.toml").write_text(WHOLE)
    Path("trust.toml").symlink_to("shared.toml")

    prep.revoke("Ada", reason="left")
    assert Path("trust.toml").is_symlink()
    assert "left" in (folder / "shared.toml").read_text()


def test_nothing_is_written_to_a_file_that_is_not_understood(folder: Path):
    Path("trust.toml").write_text("version = 1\nmystery = 1\n")

    for change in (
        lambda: prep.trust_key(PUBLIC.text, owner="Ada"),
        lambda: prep.revoke("blake3:" + "ef" * 32, reason="x"),
    ):
        with pytest.raises(ConfigError):
            change()
    assert Path("trust.toml").read_text() == "version = 1\nmystery = 1\n"


def test_keys_added_at_the_same_time_are_all_there(folder: Path):
    keys = [PrivateKey.generate().public for _ in range(12)]
    place = folder / "trust.toml"
    threads = [
        threading.Thread(target=prep.trust_key, args=(each.text,), kwargs={"owner": "Ada", "trust_path": place})
        for each in keys
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert {each.key for each in prep.trusted().keys} == set(keys)


def test_a_key_is_revoked_by_its_owner_its_id_or_itself(folder: Path):
    for name in ("Ada", PUBLIC.id, PUBLIC.id[:8], PUBLIC.id[:12].upper(), PUBLIC.text):
        Path("trust.toml").write_text(WHOLE)
        (revoked,) = prep.revoke(name, reason="x").keys
        assert revoked.key == PUBLIC

    for name in ("ada", PUBLIC.id[:7], "", "ed25519:"):
        with pytest.raises(UsageError, match="no key is meant"):
            prep.revoke(name, reason="x")


def test_a_revocation_is_not_changed_by_another(folder: Path):
    Path("trust.toml").write_text(WHOLE)
    prep.revoke("Bob", reason="something else")
    prep.revoke(DIGEST, reason="something else")

    assert Path("trust.toml").read_text() == WHOLE


def test_what_would_not_be_understood_is_not_added(folder: Path):
    for wrong in (
        {"owner": " "},
        {"owner": "a\nb"},
        {"owner": "Ada", "datasets": []},
        {"owner": "Ada", "datasets": [""]},
        {"owner": "Ada", "until": "90d"},
        {"owner": "Ada", "until": "2020-01-01"},
    ):
        with pytest.raises(UsageError):
            prep.trust_key(PUBLIC.text, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no digest"):
        prep.revoke("sha256:xy", reason="x")
    assert not Path("trust.toml").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90d", "2026-03-31T10:00:00+00:00"), ("1d", "2026-01-01T10:00:00+00:00"), ("2027-01-31", None)],
)
def test_an_expiry_is_a_number_of_days_or_a_day_to_its_end(text: str, expected: str | None):
    start = at("2025-12-31T10:00:00")

    assert moments.expiry(text, start, "--expires") == (expected or "2027-01-31T23:59:59+00:00")


@pytest.mark.parametrize(
    "text", ["", "90", "0d", "-1d", "1.5d", "90 d", "2027-1-31", "2027-02-30", "2025-12-30", "99999d9"]
)
def test_an_expiry_that_is_none_is_refused(text: str):
    with pytest.raises(UsageError):
        moments.expiry(text, at("2025-12-31T10:00:00"), "--expires")


def test_an_expiry_ends_before_the_calendar_does():
    with pytest.raises(UsageError):
        moments.expiry("99999d", at("9999-01-01"), "--expires")
    assert timedelta(days=1) == moments.SKEW


def test_the_documented_example_is_understood():
    text = (ROOT / "docs/trust.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    found = parsed(re.sub(r":([0-9a-f]+)…", lambda match: ":" + match[1].ljust(64, "0"), example))

    assert [each.owner for each in found.keys] == ["Ada Lovelace"]
    assert (len(found.rules), len(found.withdrawn or {})) == (1, 2)
    assert re.findall(r"^(\w+) =", example, re.M) == [
        *("version", "owner", "public", "datasets", "valid_from", "valid_until", "revoked"),
        *("name", "level", "threshold", "minimum_version", "schema", "check_registry", "max_age_days"),
        *("root", "reason", "at", "certificate", "reason"),
    ]
