"""DSSE: signatures are over the exact bytes, keys count once, and other implementations agree."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

import prep
from prep.certificate import envelope
from prep.certificate.envelope import Envelope, Signature
from prep.certificate.keys import PrivateKey, PublicKey
from prep.errors import IntegrityError, Where
from tests.conftest import working_in
from tests.signing import build_tiny

STATEMENT = {"_type": "https://in-toto.io/Statement/v1", "number": 1.5, "text": "é"}


def opened(body: Any) -> Envelope:
    return envelope.open_envelope(json.dumps(body).encode(), path="x")


def body_of(made: Envelope) -> dict[str, Any]:
    return dict(json.loads(made.encode()))


@pytest.fixture(scope="module")
def keys() -> list[PrivateKey]:
    return [PrivateKey.generate() for _ in range(3)]


def test_the_signed_bytes_are_those_of_the_protocols_test_vector():
    """From protocol.md of secure-systems-lab/dsse, v1.0."""
    assert envelope.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert envelope.pae("", b"") == b"DSSEv1 0  0 "
    assert envelope.pae("é", b"\x00 1") == b"DSSEv1 2 \xc3\xa9 3 \x00 1"


def test_type_and_payload_cannot_run_into_each_other():
    assert envelope.pae("a 1 b", b"") != envelope.pae("a", b"b 0 ")


def test_a_signature_holds_for_these_bytes_and_no_others(keys: list[PrivateKey]):
    made = envelope.wrap(STATEMENT).signed_by(keys[0])
    changed = Envelope(made.payload + b" ", made.payload_type, made.signatures)
    retyped = Envelope(made.payload, made.payload_type + "x", made.signatures)

    assert made.signers([each.public for each in keys])[0] == (keys[0].public,)
    for each in (changed, retyped):
        assert each.signers([keys[0].public])[0] == ()


def test_one_key_counts_once_whatever_it_is_called(keys: list[PrivateKey]):
    """Attack 26: one key under two key ids, twice the same signature."""
    made = envelope.wrap(STATEMENT).signed_by(keys[0])
    (own,) = made.signatures
    many = Envelope(made.payload, made.payload_type, (own, own, Signature("another", own.sig), Signature("", own.sig)))
    same = PublicKey(bytes(keys[0].public.raw))

    assert opened(body_of(many)).signers([keys[0].public, same, keys[1].public]) == ((keys[0].public,), ())


def test_another_library_counts_one_key_under_two_ids_twice(keys: list[PrivateKey]):
    """What it is for: a threshold of two is met by one key there."""
    made = envelope.wrap(STATEMENT).signed_by(keys[0])
    twice = body_of(
        Envelope(made.payload, made.payload_type, tuple(Signature(name, made.signatures[0].sig) for name in "ab"))
    )
    listed = [SSlibKey(name, "ed25519", "ed25519", {"public": keys[0].public.raw.hex()}) for name in "ab"]

    assert len(OtherEnvelope.from_dict(twice).verify(listed, 2)) == 2


def test_the_key_id_is_a_hint_only(keys: list[PrivateKey]):
    made = envelope.wrap(STATEMENT).signed_by(keys[0])
    claimed = Envelope(made.payload, made.payload_type, (Signature(keys[1].public.id, made.signatures[0].sig),))

    assert claimed.signers([each.public for each in keys])[0] == (keys[0].public,)


def test_signatures_of_strangers_cost_a_bounded_number_of_tries(
    keys: list[PrivateKey], monkeypatch: pytest.MonkeyPatch
):
    """Each try hashes the payload; whoever is named by the signature itself is found all the same."""
    tries = []
    monkeypatch.setattr(PublicKey, "has_signed", lambda key, message, sig: tries.append(1) or sig == b"\1" * 64)
    many = [PrivateKey.generate().public for _ in range(30)]
    junk = [Signature(f"{index}", bytes(64)) for index in range(15)]
    for payload, most in ((b"x", 256), (bytes(11 << 20), 24)):
        signed = Envelope(payload, envelope.PAYLOAD_TYPE, (*junk, Signature(many[-1].id, b"\1" * 64)))
        tries.clear()

        assert signed.signers(many)[0] == (many[-1],)
        assert len(tries) <= most


def test_half_a_character_in_a_key_id_is_no_text(keys: list[PrivateKey]):
    body = body_of(envelope.wrap(STATEMENT).signed_by(keys[0]))
    body["signatures"][0]["keyid"] = "\ud800"

    with pytest.raises(IntegrityError, match="not valid JSON"):
        opened(body)


def test_a_second_signature_leaves_the_first_and_the_payload(keys: list[PrivateKey]):
    first = envelope.wrap(STATEMENT).signed_by(keys[0])
    both = first.signed_by(keys[1])

    assert both.payload == first.payload
    assert both.signatures[0] == first.signatures[0]
    assert set(both.signers([each.public for each in keys])[0]) == {keys[0].public, keys[1].public}
    assert both.signed_by(keys[1]).encode() == both.encode()


def test_an_envelope_survives_its_own_file(keys: list[PrivateKey]):
    made = envelope.wrap(STATEMENT).signed_by(keys[0]).signed_by(keys[1])

    assert envelope.open_envelope(made.encode(), path="x") == made
    assert envelope.seal(STATEMENT, keys[:2]) == made.encode()


def changed_body(key: PrivateKey, change: str) -> dict[str, Any]:
    body = body_of(envelope.wrap(STATEMENT).signed_by(key))
    (signature,) = body["signatures"]
    text = body["payload"]
    assert text.endswith("=") or change != "payload in a second spelling"
    changes: dict[str, Any] = {
        "another payload type": {"payloadType": "application/vnd.in-toto+JSON"},
        "no payload type": {"payloadType": None},
        "an unknown member": {"comment": "x"},
        "payload without padding": {"payload": text.rstrip("=")},
        "payload with a line break": {"payload": text[:4] + "\n" + text[4:]},
        "payload in url-safe base64": {"payload": "_" + text[1:]},
        "payload in a second spelling": {"payload": text.rstrip("=")[:-1] + "/" + "=" * text.count("=")},
        "payload is a list": {"payload": [1]},
        "signatures are no list": {"signatures": {"0": signature}},
        "a signature is no object": {"signatures": ["x"]},
        "a signature without sig": {"signatures": [{"keyid": "x"}]},
        "a signature with an unknown member": {"signatures": [{**signature, "cert": "x"}]},
        "a keyid that is no text": {"signatures": [{**signature, "keyid": 1}]},
        "a sig in a second spelling": {"signatures": [{**signature, "sig": signature["sig"].rstrip("=")}]},
        "a sig that is too short": {"signatures": [{**signature, "sig": base64.b64encode(b"x").decode()}]},
        "too many signatures": {"signatures": [signature] * 17},
    }
    return {**body, **changes[change]}


@pytest.mark.parametrize(
    "change",
    [
        "another payload type",
        "no payload type",
        "an unknown member",
        "payload without padding",
        "payload with a line break",
        "payload in url-safe base64",
        "payload in a second spelling",
        "payload is a list",
        "signatures are no list",
        "a signature is no object",
        "a signature without sig",
        "a signature with an unknown member",
        "a keyid that is no text",
        "a sig in a second spelling",
        "a sig that is too short",
        "too many signatures",
    ],
)
def test_what_is_not_exactly_an_envelope_is_refused(keys: list[PrivateKey], change: str):
    with pytest.raises(IntegrityError, match="cannot be used") as caught:
        opened(changed_body(keys[0], change))
    assert caught.value.exit_code == 3


def test_a_signature_without_a_key_id_is_one(keys: list[PrivateKey]):
    body = body_of(envelope.wrap(STATEMENT).signed_by(keys[0]))
    del body["signatures"][0]["keyid"]

    assert opened(body).signers([keys[0].public])[0] == (keys[0].public,)


def other_key(key: PrivateKey) -> SSlibKey:
    return SSlibKey(key.public.id, "ed25519", "ed25519", {"public": key.public.raw.hex()})


def test_our_envelope_verifies_with_securesystemslib(keys: list[PrivateKey]):
    made = body_of(envelope.wrap(STATEMENT).signed_by(keys[0]).signed_by(keys[1]))
    other = OtherEnvelope.from_dict(json.loads(json.dumps(made)))

    assert len(other.verify([other_key(each) for each in keys[:2]], 2)) == 2
    with pytest.raises((VerificationError, ValueError)):
        OtherEnvelope.from_dict(made).verify([other_key(keys[2])], 1)


def test_an_envelope_of_securesystemslib_verifies_with_ours():
    signer = CryptoSigner.generate_ed25519()
    other = OtherEnvelope(b'{"a":1}', envelope.PAYLOAD_TYPE, {})
    other.sign(signer)
    public = PublicKey.from_raw(bytes.fromhex(signer.public_key.keyval["public"]), where=Where())
    other_public = PrivateKey.generate().public

    found = opened(other.to_dict())
    assert found.payload == b'{"a":1}'
    assert found.signers([public, other_public]) == ((public,), ())
    assert len(found.signers([other_public])[1]) == 1


def test_a_real_certificate_is_an_in_toto_statement_and_verifies_elsewhere(tmp_path: Path):
    dataset = build_tiny(tmp_path / "owner")
    with working_in(tmp_path / "owner"):
        made = prep.new_key("a.pem")
        prep.certify(dataset, keys=["a.pem"])
    body = json.loads(envelope.path_of(dataset).read_bytes())

    other = OtherEnvelope.from_dict(body)
    other.verify([SSlibKey(made.key.id, "ed25519", "ed25519", {"public": made.key.raw.hex()})], 1)
    proto = json_format.Parse(other.payload, statement_pb2.Statement())
    found = Statement.copy_from_pb(proto)
    found.validate()
    assert found.pb.predicate_type == "https://prep-certified.org/certificate/v1"
    assert found.pb.subject[0].name == "tiny-1"
