"""Signatures that count twice, of nobody, of those who are no longer trusted; old versions under good signatures."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from securesystemslib.dsse import Envelope as PlainEnvelope
from securesystemslib.signer import SSlibKey

import prep
from prep.certificate import envelope, manifest
from prep.certificate.keyfiles import read_private
from tests.attacks.outcomes import command, refused
from tests.attacks.tiny import Tiny, arrays, build


@pytest.fixture
def signed(make) -> Tiny:
    """A project whose dataset is signed by one key, which its trust.toml trusts."""
    tiny: Tiny = make("hdf5")
    key(tiny, "one")
    prep.certify(tiny.path, keys=[tiny.folder / "one.pem"])
    prep.trust_key(tiny.folder / "one.pem.pub", owner="Ada", datasets=["tiny"])
    assert prep.open(tiny.path, prep.Policy(level="signed")).id == "tiny"
    return tiny


def key(tiny: Tiny, name: str) -> None:
    """A new key pair in the project: NAME.pem and NAME.pem.pub."""
    prep.new_key(tiny.folder / f"{name}.pem")


def edit(tiny: Tiny, change: Any) -> None:
    """Change the envelope as JSON."""
    body = json.loads(tiny.certificate.read_bytes())
    change(body)
    tiny.certificate.write_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n")


def demand(tiny: Tiny, **policy: Any) -> None:
    prep.open(tiny.path, prep.Policy(level="signed", **policy))


def test_one_key_under_two_ids_is_one_signature(signed: Tiny):
    """Row 26: securesystemslib counts key ids, so one key meets a threshold of two."""
    body = json.loads(signed.certificate.read_bytes())
    (first,) = body["signatures"]
    edit(signed, lambda each: each["signatures"].append({"keyid": "another", "sig": first["sig"]}))
    raw = envelope_key(signed)
    both = [SSlibKey(name, "ed25519", "ed25519", {"public": raw.hex()}) for name in (first["keyid"], "another")]
    plain = PlainEnvelope.from_dict(json.loads(signed.certificate.read_bytes()))
    assert len(plain.verify(both, 2)) == 2

    demand(signed, threshold=1)
    refused(lambda: demand(signed, threshold=2), "1 of 2")


def envelope_key(tiny: Tiny) -> bytes:
    """The 32 bytes of the project's key."""
    return prep.show_key(tiny.folder / "one.pem.pub").key.raw


def test_the_same_signature_twice_counts_once(signed: Tiny):
    """Row 26."""
    edit(signed, lambda each: each["signatures"].append(dict(each["signatures"][0])))
    refused(lambda: demand(signed, threshold=2), "")


def test_one_key_listed_twice_in_the_trust_file_counts_for_nothing_more(signed: Tiny):
    """Row 26: the file is refused, whatever owners it names."""
    trust = signed.folder / "trust.toml"
    text = trust.read_text()
    entry = text[text.index("[[key]]") :]
    trust.write_text(text + "\n" + entry.replace("Ada", "Eve"))
    refused(lambda: demand(signed), "listed twice", 2)


def test_two_keys_meet_a_threshold_of_two(signed: Tiny):
    """The attacks above fail for what they do and for nothing else."""
    key(signed, "two")
    prep.certify(signed.path, keys=[signed.folder / "two.pem"])
    prep.trust_key(signed.folder / "two.pem.pub", owner="Bob", datasets=["tiny"])
    demand(signed, threshold=2)


def test_a_signature_taken_away_is_missed(signed: Tiny):
    """Row 17: downgrade from signed to sealed; the lock still pins the very same payload."""
    edit(signed, lambda each: each.update(signatures=[]))
    assert prep.open(signed.path).id == "tiny"
    error = refused(lambda: demand(signed), "signature")
    assert error.measured is not None
    done = command(signed.folder, "verify", str(signed.path), "--require", "signed", PREP_REQUIRE="sealed")
    assert done.returncode == 3, done.stderr


def test_a_rule_of_the_consumer_is_not_lowered_by_whoever_asks_for_less(signed: Tiny):
    """Row 17: the strictest of all demands holds."""
    edit(signed, lambda each: each.update(signatures=[]))
    trust = signed.folder / "trust.toml"
    trust.write_text(trust.read_text() + '\n[[dataset]]\nname = "tiny"\nlevel = "signed"\n')
    refused(lambda: prep.open(signed.path, prep.Policy(level="sealed")), "signature")
    done = command(signed.folder, "verify", str(signed.path), PREP_TRUST="/dev/null")
    assert done.returncode == 3, done.stderr


def test_the_key_id_of_a_trusted_key_does_not_make_a_signature(signed: Tiny):
    """Row 17: the id is a hint; another key has signed."""
    key(signed, "evil")
    name = json.loads(signed.certificate.read_bytes())["signatures"][0]["keyid"]
    edit(signed, lambda each: each.update(signatures=[]))
    prep.certify(signed.path, keys=[signed.folder / "evil.pem"])
    edit(signed, lambda each: each["signatures"][0].update(keyid=name))
    refused(lambda: demand(signed), "")


def test_a_payload_changed_under_its_signature_is_refused(signed: Tiny):
    """Row 18: one letter of the payload; JSON readers notice nothing."""

    def change(body: dict[str, Any]) -> None:
        payload = base64.b64decode(body["payload"]).replace(b'"version":"1.0.0"', b'"version":"9.0.0"')
        body["payload"] = base64.b64encode(payload).decode()

    edit(signed, change)
    body = json.loads(signed.certificate.read_bytes())
    assert json.loads(base64.b64decode(body["payload"]))["predicate"]["version"] == "9.0.0"
    refused(lambda: demand(signed), "")


def test_a_signature_over_another_payload_type_is_refused(signed: Tiny):
    """Row 18: the type is signed with the payload."""
    private = read_private(signed.folder / "one.pem")
    body = json.loads(signed.certificate.read_bytes())
    message = envelope.pae("application/json", base64.b64decode(body["payload"]))
    edit(signed, lambda each: each["signatures"][0].update(sig=base64.b64encode(private.sign(message)).decode()))
    refused(lambda: demand(signed), "")


def test_a_good_signature_of_the_owner_over_an_older_version_is_refused(signed: Tiny):
    """Row 16: rollback under a signature that still verifies."""
    old = {suffix: Path(f"{signed.path}{suffix}").read_bytes() for suffix in ("", ".cert.json", ".manifest")}
    build(signed.folder, version="1.1.0", seed=2)
    prep.certify(signed.path, keys=[signed.folder / "one.pem"])
    demand(signed, minimum_version="1.1.0")
    for suffix, data in old.items():
        Path(f"{signed.path}{suffix}").write_bytes(data)
    refused(lambda: demand(signed), "")
    signed.lock.unlink()
    demand(signed)
    refused(lambda: demand(signed, minimum_version="1.1.0"), "older than the consumer allows")


@pytest.mark.parametrize("version", ["10.0.0", "1.0.0.post1", "1.0.1"])
def test_versions_are_compared_as_versions_and_not_as_text(signed: Tiny, version: str):
    """Row 16: as text, "10.0.0" comes before "9.0.0" and "1.0.0"."""
    assert sorted(["10.0.0", "9.0.0"]) == ["10.0.0", "9.0.0"]
    refused(lambda: demand(signed, minimum_version=version), "older than the consumer allows")
    demand(signed, minimum_version="0.9.0")


def test_a_revoked_key_counts_for_nothing_whenever_it_signed(signed: Tiny):
    """Row 17."""
    prep.revoke("Ada", reason="left the house")
    error = refused(lambda: demand(signed), "revoked")
    assert "left the house" in str(error)


def test_a_key_is_good_only_for_the_datasets_it_was_trusted_for(make):
    """Row 16: a trusted signature over somebody else's data."""
    tiny = make("hdf5")
    key(tiny, "one")
    prep.certify(tiny.path, keys=[tiny.folder / "one.pem"])
    prep.trust_key(tiny.folder / "one.pem.pub", owner="Ada", datasets=["Tiny", "tin", "tiny-*"])
    refused(lambda: demand(tiny), "not valid for this dataset")


def test_checks_that_were_exchanged_are_refused_where_the_consumer_pins_them(signed: Tiny):
    """Row 19: the certificate says by which set of checks the data were judged."""
    digest = prep.open(signed.path).statement.claims["check_registry"]
    demand(signed, check_registry=digest)
    refused(lambda: demand(signed, check_registry=f"blake3:{'0' * 64}"), "other checks")


def test_a_trust_file_that_cannot_be_understood_trusts_nobody(signed: Tiny):
    """Row 17 and 21: unknown keys, duplicate tables, wrong types: a typo must not switch a demand off."""
    trust = signed.folder / "trust.toml"
    text = trust.read_text()
    for bad in (
        text + '\n[[dataset]]\nname = "tiny"\nlevl = "signed"\n',
        text + '\n[[dataset]]\nname = "tiny"\nlevel = "none"\n',
        text + '\n[[dataset]]\nname = "tiny"\nthreshold = 0\n',
        text + '\n[[dataset]]\nname = "tiny"\nthreshold = true\n',
        text + "\nlevel = 1\n",
        text.replace("version = 1", "version = 2"),
        text.replace("version = 1", ""),
        "\x00",
        "[" * 10_000,
    ):
        trust.write_text(bad)
        refused(lambda: demand(signed), "", 2)
    trust.write_text(text)
    demand(signed)


def test_a_signature_does_not_bring_back_the_units_of_another_day(signed: Tiny, tmp_path: Path):
    """Beyond the page: raw data that differ by powers of two are bit-equal once they are standardised, so values and
    root are the pinned ones; the transforms that lead back to original units are not.
    """
    raw = arrays()
    other = build(
        tmp_path / "another",
        raw={**raw, "inputs": raw["inputs"] * np.float32(4), "targets": raw["targets"] * np.float32(1024)},
    )
    prep.certify(other.path, keys=[signed.folder / "one.pem"], lock_path=other.lock)
    assert other.contents.root == signed.contents.root

    for suffix in ("", manifest.SUFFIX, envelope.SUFFIX):
        shutil.copy(f"{other.path}{suffix}", f"{signed.path}{suffix}")
    refused(lambda: demand(signed), "pins other data", 3)
    assert command(signed.folder, "verify", str(signed.path), "--deep", "--require", "signed").returncode == 3

    body = json.loads(signed.lock.read_text())
    del body["datasets"]["tiny"]["meaning"]  # a lock of an older prep stands for its very certificate
    signed.lock.write_text(json.dumps(body))
    refused(lambda: demand(signed), "pins other data", 3)


def test_another_certificate_of_the_same_data_is_the_pinned_one(signed: Tiny):
    """What the pin is about is the data: a certificate that is renewed elsewhere needs no review of the lock."""
    before = signed.lock.read_bytes()
    prep.certify(signed.path, keys=[signed.folder / "one.pem"], renew=True)
    assert signed.lock.read_bytes() != before
    signed.lock.write_bytes(before)

    demand(signed)


def test_a_lock_behind_a_link_is_the_one_that_is_changed(signed: Tiny, tmp_path: Path):
    shared = tmp_path / "shared"
    shared.mkdir()
    signed.lock.rename(shared / "prep.lock")
    signed.lock.symlink_to(shared / "prep.lock")
    before = (shared / "prep.lock").read_bytes()

    prep.certify(signed.path, renew=True)

    assert signed.lock.is_symlink()
    assert (shared / "prep.lock").read_bytes() != before
