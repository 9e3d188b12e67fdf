"""Levels: what a consumer demands is met by signatures that count, and every reason against it is named."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import prep
from prep import cli
from prep.canonical import canonical_json, parse_json
from prep.certificate import envelope, keyfiles, lock, moments
from prep.certificate.envelope import Envelope, Signature
from prep.certificate.keys import PrivateKey
from prep.certificate.tree import meaning
from prep.errors import CertificateError, ConfigError, PrepError, Refusal, UsageError
from prep.formats import open_container
from tests.conftest import working_in
from tests.signing import NAME, build_tiny, moved

SIGNED = prep.Policy(level="signed")


@dataclass(frozen=True)
class Scene:
    """An owner with a certified dataset and two keys, and a consumer who has a copy of it and no lock."""

    owner: Path
    consumer: Path
    dataset: Path
    copy: Path

    def key(self, name: str) -> PrivateKey:
        return keyfiles.read_private(self.owner / f"{name}.pem")

    def sealed(self) -> Envelope:
        return envelope.open_envelope(envelope.path_of(self.copy).read_bytes(), path="x")

    def put(self, made: Envelope) -> None:
        """Replace the consumer's certificate."""
        envelope.path_of(self.copy).write_bytes(made.encode())

    def restate(self, *signers: str, **claims: Any) -> Envelope:
        """The consumer gets a certificate with other claims, signed by the owner's keys."""
        body = parse_json(self.sealed().payload, path="x")
        body["predicate"].update(claims)
        made = Envelope(canonical_json(body), envelope.PAYLOAD_TYPE)
        for each in signers:
            made = made.signed_by(self.key(each))
        self.put(made)
        return made

    def pin(self, **changes: str) -> None:
        """The consumer's lock pins the certificate that is there."""
        sealed = self.sealed()
        claims = parse_json(sealed.payload, path="x")["predicate"]
        entry = {"version": claims["version"], "root": claims["root"], "created": claims["created"]}
        entry["meaning"] = meaning(open_container(self.copy).spec)
        entry |= {"certificate": sealed.digest, **changes}
        lock.pin(self.consumer / lock.NAME, NAME, lock.Pin(**entry))

    def trust(self, name: str, **options: Any) -> None:
        prep.trust_key(self.key(name).public.text, owner=name, **options)

    def rule(self, text: str) -> None:
        place = self.consumer / "trust.toml"
        before = place.read_text() if place.exists() else "version = 1\n"
        place.write_text(f'{before}\n[[dataset]]\nname = "{NAME}"\n{text}\n')


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owner's project: certified, signed by the key `ada`; a key `bob` lies there too."""
    folder = tmp_path_factory.mktemp("signed") / "owner"
    dataset = build_tiny(folder)
    with working_in(folder):
        for name in ("ada", "bob"):
            prep.new_key(f"{name}.pem")
        prep.certify(dataset, keys=["ada.pem"])
    return folder


@pytest.fixture
def scene(original: Path, tmp_path: Path) -> Iterator[Scene]:
    """A copy of both sides; the consumer's project is the working folder."""
    owner, consumer = tmp_path / "owner", tmp_path / "consumer"
    shutil.copytree(original, owner)
    dataset = owner / f"data/normalized/{NAME}.h5"
    copy = moved(dataset, consumer)
    (consumer / "pyproject.toml").touch()
    with working_in(consumer):
        yield Scene(owner, consumer, dataset, copy)


def reasons(call: Callable[[], object]) -> list[PrepError]:
    with pytest.raises(PrepError) as caught:
        call()
    assert caught.value.exit_code == 3
    return list(caught.value.errors) if isinstance(caught.value, Refusal) else [caught.value]


def refused(scene: Scene, policy: prep.Policy | None = SIGNED) -> list[str]:
    return [each.what for each in reasons(lambda: prep.open(scene.copy, policy))]


def test_a_signed_certificate_survives_moving_and_renaming_without_a_lock(scene: Scene):
    scene.trust("ada", datasets=["tiny-*"])
    data = prep.open(scene.copy, SIGNED)

    assert (data.standing.level, data.standing.pinned) == ("signed", False)
    assert [(each.owner, each.key) for each in data.standing.signers] == [("ada", scene.key("ada").public.id)]
    assert prep.open(scene.copy).standing.level == "signed"
    assert prep.verify(scene.copy, policy=SIGNED, deep=True).chunks > 0


def test_a_seal_is_no_signature(scene: Scene):
    scene.restate()
    scene.pin()

    assert prep.open(scene.copy).standing == prep.gate.Standing("sealed", (), True)
    assert refused(scene) == ["the consumer demands a signature and this certificate has none"]


def test_a_signature_that_is_removed_is_missed(scene: Scene):
    """Attack 17: downgrade."""
    scene.trust("ada")
    scene.put(Envelope(scene.sealed().payload, envelope.PAYLOAD_TYPE))

    assert refused(scene) == ["the consumer demands a signature and this certificate has none"]
    assert refused(scene, None) == ["this certificate is not the one that the project's lock pins"]


def test_an_unknown_key_is_named(scene: Scene):
    scene.trust("bob")
    (reason,) = reasons(lambda: prep.open(scene.copy, SIGNED))

    assert reason.what == "this certificate is signed by a key that is not trusted"
    assert scene.key("ada").public.id[:16] in str(reason.measured)


def test_a_key_id_that_would_move_the_cursor_is_not_shown_as_it_is(scene: Scene):
    sealed = scene.sealed()
    scene.put(Envelope(sealed.payload, sealed.payload_type, (Signature("\x1b[2J" * 50, sealed.signatures[0].sig),)))
    scene.trust("bob")
    (reason,) = reasons(lambda: prep.open(scene.copy, SIGNED))

    assert "\x1b" not in str(reason)
    assert len(str(reason.measured)) < 80


def test_a_key_of_other_datasets_does_not_count(scene: Scene):
    scene.trust("ada", datasets=["control", "Tiny-*"])

    assert refused(scene) == ["this certificate is signed by a key that is not valid for this dataset"]
    assert refused(scene, None) == ["this certificate is not the one that the project's lock pins"]


def test_an_expired_key_does_not_count_and_says_so(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.trust("ada", until=(datetime.now(UTC) + timedelta(days=2)).date().isoformat())
    assert prep.open(scene.copy, SIGNED)

    monkeypatch.setattr(moments, "now", lambda: datetime.now(UTC) + timedelta(days=4))
    assert refused(scene) == ["this certificate is signed by a key that has expired"]


def test_a_revoked_key_counts_for_nothing(scene: Scene):
    scene.trust("ada")
    prep.revoke("ada", reason="laptop stolen")
    (reason,) = reasons(lambda: prep.open(scene.copy, SIGNED))

    assert reason.what == "this certificate is signed by a key that has been revoked"
    assert "laptop stolen" in str(reason.measured)


def test_what_a_revoked_key_signed_is_not_even_parsed(scene: Scene):
    """Attack 18 and 21: the payload is opaque until it is trusted."""
    key = scene.key("ada")
    scene.put(Envelope(b"this is no JSON", envelope.PAYLOAD_TYPE).signed_by(key))
    for policy in (None, SIGNED):
        assert not [each for each in refused(scene, policy) if "JSON" in each]

    scene.trust("ada")
    assert "not valid JSON" in refused(scene)[0]


def test_two_signatures_of_one_key_are_one(scene: Scene):
    """Attack 26."""
    scene.trust("ada")
    scene.trust("bob")
    scene.rule('level = "signed"\nthreshold = 2')
    sealed = scene.sealed()
    (own,) = sealed.signatures
    twice = (own, Signature(scene.key("bob").public.id, own.sig), own)
    scene.put(Envelope(sealed.payload, sealed.payload_type, twice))
    assert refused(scene, None) == ["this certificate has 1 of 2 signatures that are demanded"]

    scene.put(sealed.signed_by(scene.key("bob")))
    assert [each.owner for each in prep.open(scene.copy).standing.signers] == ["ada", "bob"]


def test_the_strictest_of_all_demands_holds(scene: Scene):
    scene.trust("ada")
    scene.pin()
    scene.rule('level = "sealed"')
    assert refused(scene, prep.Policy(level="signed", threshold=2))
    scene.rule('level = "signed"')
    assert prep.open(scene.copy)
    scene.rule('level = "signed"\nthreshold = 2')

    assert refused(scene, None) == ["this certificate has 1 of 2 signatures that are demanded"]
    assert refused(scene, prep.Policy(threshold=1)) == refused(scene, None)


def test_no_environment_variable_lowers_what_is_demanded(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.restate()
    scene.pin()
    for name in ("PREP_LEVEL", "PREP_REQUIRE", "PREP_TRUST", "PREP_LOCK", "XDG_CONFIG_HOME", "SOURCE_DATE_EPOCH"):
        monkeypatch.setenv(name, "sealed" if "EPOCH" not in name else "0")

    assert refused(scene)


def test_a_signature_does_not_overrule_the_lock(scene: Scene):
    """Attack 16: an older version, validly signed, is put back."""
    scene.trust("ada")
    scene.pin(version="0.2.0", certificate="sha256:" + "0" * 64)
    for policy in (None, SIGNED):
        assert refused(scene, policy) == ["the project's lock pins other data of this name"]

    scene.pin(certificate="sha256:" + "0" * 64)
    assert prep.open(scene.copy, SIGNED).standing.pinned is False


def test_an_older_version_than_is_demanded_is_refused(scene: Scene):
    scene.trust("ada")
    assert prep.open(scene.copy, prep.Policy(level="signed", minimum_version="0.1"))

    assert refused(scene, prep.Policy(level="signed", minimum_version="0.1.1")) == [
        "the version of this dataset is older than the consumer allows"
    ]
    scene.rule('minimum_version = "0.10"')
    assert refused(scene) == ["the version of this dataset is older than the consumer allows"]
    scene.restate("ada", version="newest")
    assert refused(scene) == ["the version of this dataset is no version that can be compared"]


def test_schema_and_checks_are_those_that_are_demanded(scene: Scene):
    """Attack 19."""
    scene.trust("ada")
    claims = parse_json(scene.sealed().payload, path="x")["predicate"]
    own = prep.Policy(
        schema=("blake3:" + "0" * 64, claims["schema"]["digest"]), check_registry=claims["check_registry"]
    )
    assert prep.open(scene.copy, own)
    scene.rule(f'schema = "blake3:{"1" * 64}"\ncheck_registry = ["blake3:{"2" * 64}"]')

    assert refused(scene, own) == [
        "the data were certified by another schema than the project has now",
        "the data were certified by other checks than the project has now",
    ]


def test_an_expired_certificate_is_refused_even_if_it_is_pinned(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.trust("ada")
    until = datetime.now(UTC) + timedelta(hours=1)
    scene.restate("ada", expires=until.isoformat())
    scene.pin()
    assert prep.open(scene.copy)

    monkeypatch.setattr(moments, "now", lambda: until)
    for policy in (None, SIGNED):
        assert refused(scene, policy) == ["the certificate has expired"]


@pytest.mark.parametrize("text", ["tomorrow", "2099-01-01", "2099-01-01T00:00:00"])
def test_an_expiry_that_cannot_be_understood_has_passed(scene: Scene, text: str):
    scene.trust("ada")
    scene.restate("ada", expires=text)

    assert refused(scene) == ["the certificate has expired"]


def test_a_certificate_of_the_future_is_refused(scene: Scene):
    scene.trust("ada")
    scene.restate("ada", created=(datetime.now(UTC) + timedelta(hours=20)).isoformat())
    assert prep.open(scene.copy)
    scene.restate("ada", created=(datetime.now(UTC) + timedelta(hours=30)).isoformat())
    assert refused(scene) == ["the certificate says that it was made in the future"]
    scene.restate("ada", created="")
    assert refused(scene) == ["the certificate does not say when it was made"]


def test_a_clock_that_goes_backwards_revives_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """Neither a certificate nor a key that had expired when the project last recorded a moment."""
    scene.trust("ada", until=(datetime.now(UTC) + timedelta(days=30)).date().isoformat())
    scene.restate("ada", expires=(datetime.now(UTC) + timedelta(days=20)).isoformat())
    assert prep.open(scene.copy, SIGNED)

    prep.trust_key(scene.key("bob").public.text, owner="bob")
    later = datetime.now(UTC) + timedelta(days=60)
    place = scene.consumer / "trust.toml"
    text = place.read_text() + f'revoked = {{ at = {later:%Y-%m-%dT%H:%M:%SZ}, reason = "lost" }}\n'
    place.write_text(text)
    (reason,) = reasons(lambda: prep.open(scene.copy, SIGNED))
    assert reason.what == "this certificate is signed by a key that has expired"
    assert f"{later:%Y-%m-%d}" in str(reason.allowed)
    assert "trust.toml says of bob" in str(reason.allowed)
    scene.pin()
    assert "the certificate has expired" in refused(scene)

    monkeypatch.setattr(moments, "now", lambda: datetime.now(UTC) - timedelta(days=700))
    assert "the certificate says that it was made in the future" in refused(scene, None)


def test_a_moment_in_the_lock_counts_up_to_a_day_ahead_and_is_named(scene: Scene):
    """One certification by a machine with a wrong clock does not end all that expires."""
    scene.trust("ada")
    scene.restate("ada", expires=(datetime.now(UTC) + timedelta(hours=10)).isoformat())
    for hours, expired in ((20, True), (30, False), (24 * 365 * 900, False)):
        created = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        lock.pin(scene.consumer / lock.NAME, "another", lock.Pin("1", "blake3:0", "sha256:0", created))
        if expired:
            (reason,) = reasons(lambda: prep.open(scene.copy, SIGNED))
            assert reason.what == "the certificate has expired"
            assert "prep.lock pins another" in str(reason.allowed)
        else:
            assert prep.open(scene.copy, SIGNED)


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": 1},
        {"level": ["signed"]},
        {"dataset": 7},
        {"dataset": None},
        {"strict": "no"},
        {"strict": 1},
        {"schema": 1},
        {"schema": None},
        {"schema": ("x", 1)},
        {"check_registry": ["x"]},
        {"threshold": "2"},
        {"minimum_version": 1.0},
        {"max_age_days": "3"},
        {"max_age_days": True},
        {"max_age_days": float("nan")},
    ],
    ids=str,
)
def test_a_demand_of_another_type_is_a_usage_error(wrong: dict[str, Any]):
    with pytest.raises(UsageError) as caught:
        prep.Policy(**wrong)
    assert next(iter(wrong)) in str(caught.value)


@pytest.mark.parametrize("policy", ["signed", {}, {"level": "signed"}, 0, False, prep.Policy])
def test_what_is_no_policy_is_not_taken_for_one(scene: Scene, policy: Any):
    scene.trust("ada")
    with pytest.raises(UsageError, match="Policy"):
        prep.open(scene.copy, policy)


def test_data_that_are_too_old_are_refused(scene: Scene):
    scene.trust("ada")
    scene.rule("max_age_days = 30")
    assert prep.open(scene.copy)
    scene.restate("ada", created=(datetime.now(UTC) - timedelta(days=31)).isoformat())

    assert refused(scene) == ["the certificate is too old"]


@pytest.mark.parametrize("kind", ["certificate", "root"])
def test_withdrawn_data_are_refused_even_if_they_are_pinned_and_signed(scene: Scene, kind: str):
    scene.trust("ada")
    scene.pin()
    data = prep.open(scene.copy)
    prep.revoke(data.certificate_digest if kind == "certificate" else data.root, reason="wrong calibration")

    for policy in (None, SIGNED):
        (reason,) = reasons(lambda policy=policy: prep.open(scene.copy, policy))  # type: ignore[misc]
        assert reason.what == "this dataset has been withdrawn"
        assert "wrong calibration" in str(reason.measured)


def test_every_reason_is_named_at_once(scene: Scene):
    scene.trust("ada", datasets=["other"])
    scene.trust("bob")
    scene.rule('level = "signed"\nthreshold = 2\nminimum_version = "3"')
    scene.restate("ada", "bob", expires="2020-01-01T00:00:00+00:00", verdict="failed")

    assert refused(scene, prep.Policy(dataset="control")) == [
        "the certified report is not a pass",
        "this is the certificate of another dataset",
        "the certificate has expired",
        "the version of this dataset is older than the consumer allows",
        "this certificate is signed by a key that is not valid for this dataset",
        "this certificate has 1 of 2 signatures that are demanded",
    ]


def test_claims_of_another_type_are_refused(scene: Scene):
    scene.trust("ada")
    for claims in ({"dataset": ["tiny-1"]}, {"version": 1}, {"created": None}, {"schema": "x"}, {"expires": 0}):
        scene.put(Envelope(scene.sealed().payload, envelope.PAYLOAD_TYPE))
        before = scene.sealed()
        scene.restate("ada", **claims)
        assert refused(scene) == ["this certificate does not state what a prep certificate states"]
        scene.put(before)


def test_a_trust_file_that_is_not_understood_stops_everything(scene: Scene):
    scene.pin()
    assert prep.open(scene.copy)
    (scene.consumer / "trust.toml").write_text("version = 1\n[[keys]]\n")

    with pytest.raises(ConfigError):
        prep.open(scene.copy)
    (scene.consumer / "good.toml").write_text("version = 1\n")
    assert prep.open(scene.copy, trust_path="good.toml")
    with pytest.raises(ConfigError, match="no such trust file"):
        prep.open(scene.copy, trust_path="nowhere.toml")


@pytest.mark.parametrize(
    "wrong",
    [{"level": "none"}, {"threshold": 0}, {"threshold": True}, {"minimum_version": "x"}, {"max_age_days": 0}],
)
def test_what_cannot_be_demanded_is_a_usage_error(wrong: dict[str, Any]):
    with pytest.raises(UsageError):
        prep.Policy(**wrong)


def test_training_demands_what_it_is_told_to(scene: Scene):
    scene.restate()
    scene.pin()
    with pytest.raises(CertificateError, match="demands a signature"):
        prep.train(scene.copy, require="signed")
    with pytest.raises(CertificateError, match="admitted without"):
        prep.train(prep.open(scene.copy), require="signed")


# What certify does to an earlier certificate.


def certified(scene: Scene, **options: Any) -> Any:
    with working_in(scene.owner):
        return prep.certify(scene.dataset, **options)


def sealed_at(path: Path) -> Envelope:
    return envelope.open_envelope(envelope.path_of(path).read_bytes(), path="x")


def test_a_second_person_signs_the_same_statement(scene: Scene):
    before = sealed_at(scene.dataset)
    done = certified(scene, keys=["bob.pem"])
    after = sealed_at(scene.dataset)

    assert (done.signatures, done.dropped) == (2, 0)
    assert after.payload == before.payload
    assert set(after.signers([scene.key("ada").public, scene.key("bob").public])[0]) == {
        scene.key("ada").public,
        scene.key("bob").public,
    }


def test_a_second_person_signs_in_a_project_of_her_own(scene: Scene):
    """Where no lock knows when the data were certified first."""
    before = scene.sealed()
    shutil.copy(scene.owner / "bob.pem", "bob.pem")
    scene.trust("ada")
    prep.certify(scene.copy, keys=["bob.pem"])

    assert scene.sealed().payload == before.payload
    assert len(scene.sealed().signatures) == 2
    assert lock.read(scene.consumer / lock.NAME)[NAME].certificate == before.digest


def test_certifying_again_without_a_key_keeps_the_signatures(scene: Scene):
    before = envelope.path_of(scene.dataset).read_bytes()
    certified(scene, locked=True)
    certified(scene)

    assert envelope.path_of(scene.dataset).read_bytes() == before


def test_nobody_signs_what_was_not_measured(scene: Scene):
    """The earlier certificate claims something else of the same bytes: it is stated anew."""
    for change in (
        {"baselines": {"zero": 0.0}},
        {"provenance": "forged"},
        {"verdict": "warnings"},
        {"statistics": "blake3:0"},
        {"check_registry": "blake3:0"},
        {"created": "2999-01-01T00:00:00+00:00"},
        {"expires": "2020-01-01T00:00:00+00:00"},
        {"extra": 1},
    ):
        scene.restate("ada", **change)
        forged = scene.sealed()
        shutil.copy(envelope.path_of(scene.copy), envelope.path_of(scene.dataset))
        done = certified(scene, keys=["bob.pem"])

        assert (done.signatures, done.dropped) == (1, 1), change
        assert sealed_at(scene.dataset).payload != forged.payload
        shutil.copy(envelope.path_of(scene.dataset), envelope.path_of(scene.copy))


def test_nobody_signs_the_words_of_a_stranger(scene: Scene):
    """The same statement but for its moments: of nobody, of a key that is not trusted, of one that is not any more."""
    for place in ("bob.pem", "ada.pem"):
        shutil.copy(scene.owner / place, place)
    first = scene.restate(created="2001-01-01T00:00:00+00:00", expires="9999-01-01T00:00:00+00:00")
    unheard = Envelope(first.payload, first.payload_type, (Signature("x", bytes(64)),))
    strange = first.signed_by(PrivateKey.generate())
    for forged in (unheard, strange, first.signed_by(scene.key("ada"))):
        scene.put(forged)
        done = prep.certify(scene.copy, keys=["bob.pem"])

        assert (done.signatures, done.dropped, done.expires, done.kept) == (1, 1, "", False)
        assert scene.sealed().payload != forged.payload
        (scene.consumer / lock.NAME).unlink()
    scene.trust("ada")
    scene.put(first.signed_by(scene.key("ada")))
    assert prep.certify(scene.copy, keys=["bob.pem"]).kept
    (scene.consumer / lock.NAME).unlink()
    prep.revoke("ada", reason="stolen")
    scene.put(first.signed_by(scene.key("ada")))
    assert not prep.certify(scene.copy, keys=["bob.pem"]).kept


@pytest.mark.parametrize("change", ["limit", "remedy", "count", "shown", "worst"])
def test_only_the_last_digits_of_measured_numbers_may_differ(scene: Scene, change: str):
    """Even for somebody who is trusted: limits, remedies and counts are exact, and what is tiny is no free choice."""
    scene.trust("ada")
    shutil.copy(scene.owner / "bob.pem", "bob.pem")
    report = parse_json(scene.sealed().payload, path="x")["predicate"]["report"]
    check = next(each for each in report["checks"] if each["check"] in ("learnability", "in_bounds"))
    if change == "worst":
        check = next(each for each in report["checks"] if each["worst"] is not None and abs(each["worst"]) < 1e-7)
        check["worst"] = 9e-7
    else:
        key = {"limit": "limit", "remedy": "remedy"}.get(change, "message")
        if change == "remedy":
            check[key] = "nothing to mend: prep certify 1"
        elif change == "shown":
            check = next(each for each in report["checks"] if re.search(r"\d\.\d{3}", each["message"]))
            check[key] = re.sub(r"(\d\.\d\d)\d", r"\g<1>", check[key])
        else:
            check = next(each for each in report["checks"] if re.search(r"\d", each[key]))
            check[key] = re.sub(r"\d", lambda found: str((int(found[0]) + 1) % 10), check[key], count=1)
    scene.restate("ada", report=report)

    assert not prep.certify(scene.copy, keys=["bob.pem"]).kept


@pytest.mark.parametrize("epoch", ["-1", "1e9", "soon", "٣", "9" * 30, "99999999999", " 1"])
def test_an_epoch_that_is_no_moment_of_the_past_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch, epoch: str):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(UsageError, match="no moment") as caught:
        certified(scene)
    assert "SOURCE_DATE_EPOCH" in str(caught.value)


def test_an_expiry_counts_from_the_present(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """SOURCE_DATE_EPOCH is a label: `created` alone comes from it."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    done = certified(scene, expires="30d", renew=True)
    assert moments.parse(done.expires) > datetime.now(UTC) + timedelta(days=29)
    assert lock.read(scene.owner / lock.NAME)[NAME].created == "2001-09-09T01:46:40+00:00"
    with pytest.raises(UsageError, match="over already"):
        certified(scene, expires="2001-12-31")


def test_a_finding_that_was_changed_is_not_signed_again(scene: Scene):
    report = parse_json(scene.sealed().payload, path="x")["predicate"]["report"]
    report["checks"][0]["examined" if "examined" in report["checks"][0] else "passed"] = 1
    scene.restate("ada", report=report)
    shutil.copy(envelope.path_of(scene.copy), envelope.path_of(scene.dataset))

    assert certified(scene, keys=["bob.pem"]).dropped == 1


def test_the_last_digit_of_another_machine_is_no_other_statement(scene: Scene):
    body = parse_json(scene.sealed().payload, path="x")["predicate"]
    rounded = {name: _nudged(value) for name, value in body["baselines"].items()}
    assert rounded != body["baselines"]
    kept = scene.restate("ada", baselines=rounded, report={**body["report"], "baselines": rounded})
    with working_in(scene.owner):
        scene.trust("ada")
    shutil.copy(envelope.path_of(scene.copy), envelope.path_of(scene.dataset))

    assert certified(scene, keys=["bob.pem"]).signatures == 2
    assert sealed_at(scene.dataset).payload == kept.payload


def _nudged(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _nudged(each) for name, each in value.items()}
    return value * (1 + 1e-12) if isinstance(value, float) else value


def test_an_expiry_is_a_new_statement_and_the_same_day_is_not(scene: Scene):
    first = certified(scene, keys=["ada.pem"], expires="2099-01-31")
    assert (first.expires, first.dropped) == ("2099-01-31T23:59:59+00:00", 1)
    again = certified(scene, keys=["bob.pem"], expires="2099-01-31")
    assert (again.certificate, again.signatures) == (first.certificate, 2)
    kept = certified(scene)
    assert (kept.certificate, kept.signatures, kept.expires) == (first.certificate, 2, first.expires)

    assert certified(scene, expires="30d").dropped == 2


def test_renewing_states_the_present_moment(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    before = lock.read(scene.owner / lock.NAME)[NAME].created
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(datetime.now(UTC).timestamp()) - 3600))
    assert certified(scene, expires="2099-01-31").signatures == 0
    assert lock.read(scene.owner / lock.NAME)[NAME].created == before
    certified(scene, renew=True)
    assert lock.read(scene.owner / lock.NAME)[NAME].created < before


def test_a_lock_with_a_moment_to_come_is_not_believed(scene: Scene):
    pins = lock.read(scene.owner / lock.NAME)[NAME]
    created = "2999-01-01T00:00:00+00:00"
    envelope.path_of(scene.dataset).unlink()
    lock.pin(scene.owner / lock.NAME, NAME, lock.Pin(pins.version, pins.root, pins.certificate, created))
    certified(scene)
    assert lock.read(scene.owner / lock.NAME)[NAME].created < "2999"


def test_a_key_that_cannot_sign_is_refused_before_anything_is_measured(scene: Scene):
    before = envelope.path_of(scene.dataset).read_bytes()
    os.chmod(scene.owner / "bob.pem", 0o644)
    with pytest.raises(UsageError, match="others than its owner"):
        certified(scene, keys=["ada.pem", "bob.pem"])

    assert envelope.path_of(scene.dataset).read_bytes() == before


def test_an_earlier_certificate_that_cannot_be_read_is_replaced(scene: Scene):
    place = envelope.path_of(scene.dataset)
    for data in (b"", b"{}", b"\x00" * 100, Envelope(b"[", envelope.PAYLOAD_TYPE).signed_by(scene.key("ada")).encode()):
        place.write_bytes(data)
        assert certified(scene, keys=["bob.pem"]).signatures == 1


def test_a_certificate_is_never_given_more_signatures_than_can_be_read(scene: Scene):
    sealed = sealed_at(scene.dataset)
    full = tuple(Signature(str(index), sealed.signatures[0].sig) for index in range(envelope.SIGNATURES_LIMIT))
    envelope.path_of(scene.dataset).write_bytes(Envelope(sealed.payload, sealed.payload_type, full).encode())

    with pytest.raises(UsageError, match="as many signatures"):
        certified(scene, keys=["bob.pem"])
    assert certified(scene, keys=["bob.pem"], renew=True).signatures == 1


def test_inspect_says_who_signed(scene: Scene, capsys: pytest.CaptureFixture[str]):
    scene.trust("ada")

    assert cli.run(["inspect", str(scene.copy)]) == 0
    assert f"signed: signed by ada (key {scene.key('ada').public.id[:16]}…)" in capsys.readouterr().out
    found = prep.inspect(scene.copy).to_dict()
    assert (found["level"], found["pinned"]) == ("signed", False)
    assert found["signers"] == [{"owner": "ada", "key": scene.key("ada").public.id}]


def test_the_schema_of_the_project_counts_in_its_folders_too(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    schema = scene.owner / f"schemas/{NAME}.yaml"
    schema.write_text(schema.read_text() + "\n# reviewed again\n")
    (scene.owner / "pyproject.toml").touch()
    monkeypatch.chdir(scene.owner / "data")

    with pytest.raises(CertificateError, match="schema"):
        prep.verify(scene.dataset)
    with pytest.raises(CertificateError, match="schema"):
        prep.train(scene.dataset, run_dir=scene.owner / "run")
    prep.certify(scene.dataset)
    assert prep.verify(scene.dataset)
