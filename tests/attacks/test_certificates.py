"""Certificates that are replayed, taken away, of another kind or ambiguous; schemas and checks that were exchanged."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import prep
from prep.certificate import envelope
from prep.certificate.policy import Policy
from prep.errors import PrepError
from tests.attacks.outcomes import command, refused, refused_when_used
from tests.attacks.tiny import Tiny, admitted, build, edit_json, pin_payload, reseal, rewrite_manifest

SIDECARS = ("", ".cert.json", ".manifest")


def move_in(source: Tiny, target: Tiny) -> None:
    """A dataset with its sidecars in place of another."""
    for suffix in SIDECARS:
        shutil.copy(f"{source.path}{suffix}", f"{target.path}{suffix}")


def checksums(folder: Path, paths: list[Path]) -> Path:
    """A file of checksums as `sha256sum` writes it."""
    place = folder / "SHA256SUMS"
    place.write_text("".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in paths))
    return place


def all_match(place: Path, folder: Path) -> bool:
    """What `sha256sum --check` answers: whether what is listed is as it was."""
    lines = (line.split("  ") for line in place.read_text().splitlines())
    return all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for digest, name in lines)


def test_the_certificate_of_another_dataset_does_not_stand_for_this_one(make):
    """Row 16: both hold, each for itself; checksums beside the data know no names."""
    tiny = make("hdf5")
    other = build(tiny.folder, name="other", seed=1)
    move_in(other, tiny)
    assert all_match(checksums(tiny.path.parent, [tiny.path]), tiny.path.parent)

    assert prep.open(tiny.path).id == "other"
    error = refused(lambda: prep.open(tiny.path, Policy(dataset="tiny")), "another dataset", where="dataset other")
    assert error.measured == "other"
    done = command(tiny.folder, "train", "tiny", "--run-dir", "runs/x")
    assert done.returncode in (2, 3), done.stderr


def test_an_older_version_with_its_own_certificate_is_refused(make):
    """Row 16: the project has gone on to version 1.1.0 and somebody puts 1.0.0 back, sidecars and all."""
    tiny = make("hdf5")
    old = {suffix: Path(f"{tiny.path}{suffix}").read_bytes() for suffix in SIDECARS}
    newer = build(tiny.folder, version="1.1.0", seed=2)
    assert prep.open(newer.path).version == "1.1.0"
    for suffix, data in old.items():
        Path(f"{tiny.path}{suffix}").write_bytes(data)
    assert all_match(checksums(tiny.path.parent, [tiny.path]), tiny.path.parent)

    refused_when_used(tiny, "not the one that the project's lock pins")


def test_a_certificate_of_the_raw_data_does_not_stand_for_the_normalised(make):
    """Not on the page."""
    tiny = make("hdf5")
    with pytest.raises(PrepError):
        prep.certify(tiny.raw)
    shutil.copy(f"{tiny.raw}.manifest", f"{tiny.path}.manifest")
    refused_when_used(tiny, "manifest is not the one that was certified")
    # nor does a raw dataset pass under the certificate of the normalised one
    for suffix in SIDECARS[:1] + SIDECARS[2:]:
        shutil.copy(f"{tiny.raw}{suffix}", f"{tiny.path}{suffix}")
    root = rewrite_manifest(tiny)
    reseal(tiny, root)
    refused(lambda: admitted(tiny), "do not speak of the same data", 3)


@pytest.mark.parametrize(
    "variants", [("hdf5", "zarr"), ("zarr", "hdf5"), ("zarr", "zarr-files"), ("hdf5", "hdf5-gzip")]
)
def test_the_sidecars_of_a_copy_in_another_format_or_compression_are_refused(make, variants: tuple[str, str]):
    """Not on the page: the copies share one root, and still each has its own manifest."""
    one, other = make(variants[0]), make(variants[1])
    assert admitted_root(one) == admitted_root(other)
    for suffix in SIDECARS[1:]:
        shutil.copy(f"{one.path}{suffix}", f"{other.path}{suffix}")
    shutil.copy(one.lock, other.lock)

    refused_when_used(other)


def admitted_root(tiny: Tiny) -> str:
    return admitted(tiny).root


def test_of_two_datasets_with_one_name_only_the_pinned_one_is_trusted(make):
    """Not on the page."""
    tiny = make("hdf5")
    folder = tiny.folder / "elsewhere"
    twin = build(folder, seed=5)
    target = tiny.folder / "data/normalized/twin.h5"
    for suffix in SIDECARS:
        shutil.copy(f"{twin.path}{suffix}", f"{target}{suffix}")
    refused(lambda: prep.open(target), "lock pins")
    prep.certify(target, schema=twin.schema)
    assert prep.open(target).id == "tiny"
    refused(lambda: prep.open(tiny.path), "lock pins")


def test_a_dataset_without_its_certificate_is_refused(tiny: Tiny):
    """Row 17: who checks only what is listed finds nothing wrong with what is listed no more."""
    sums = checksums(tiny.folder, [tiny.certificate])
    assert all_match(sums, tiny.certificate.parent)
    tiny.certificate.unlink()
    sums.write_text("")
    assert all_match(sums, tiny.certificate.parent)

    error = refused_when_used(tiny, "is not certified")
    assert "prep certify" in error.remedy


def test_an_unsigned_certificate_does_not_meet_a_demand_for_signatures(make):
    """Row 17: the level is the consumer's; nothing in the dataset or in the environment lowers it."""
    tiny = make("hdf5")
    reseal(tiny, change=lambda statement: statement["predicate"].update(level="signed", signed=True))
    assert envelope.open_envelope(tiny.certificate.read_bytes(), path="").signatures == ()
    refused(lambda: prep.open(tiny.path, Policy(level="signed")), "signature")


PAYLOAD_TYPES = ["application/json", "application/vnd.in-toto+json ", "application/vnd.in-toto+JSON", "", None, 1]


@pytest.mark.parametrize("kind", PAYLOAD_TYPES)
def test_an_envelope_of_another_payload_type_is_refused(make, kind: object):
    """Row 18: a reader that does not look at the type takes the payload for what it expects."""
    tiny = make("hdf5")
    edit_json(tiny.certificate, lambda body: body.update(payloadType=kind))
    body = json.loads(tiny.certificate.read_bytes())
    assert json.loads(base64.b64decode(body["payload"]))["predicate"]["verdict"] in ("passed", "warnings")

    refused_when_used(tiny, "payload")


TYPES: list[Callable[[dict[str, Any]], object]] = [
    lambda body: body.update(predicateType="https://slsa.dev/provenance/v1"),
    lambda body: body.update(predicateType="https://prep-certified.org/certificate/v0"),
    lambda body: body.update(predicateType="https://prep-certified.org/certificate/v1/"),
    lambda body: body.update(_type="https://in-toto.io/Statement/v0.1"),
    lambda body: body.pop("predicateType"),
    lambda body: body.pop("_type"),
    lambda body: body.update(subject=[]),
    lambda body: body.update(subject=body["subject"] * 2),
    lambda body: body["subject"][0].update(digest={"md5": "0" * 32}),
    lambda body: body["predicate"].pop("verdict"),
    lambda body: body["predicate"].pop("root"),
    lambda body: body["predicate"].update(verdict=True),
    lambda body: body["predicate"].update(verdict="failed"),
    lambda body: body["predicate"].update(dataset=["tiny"]),
    lambda body: body["predicate"].update(expires=0),
    lambda body: body["predicate"].update(expires="never"),
    lambda body: body["predicate"].update(schema="strict"),
    lambda body: body["predicate"].update(version=1),
]


@pytest.mark.parametrize("change", TYPES, ids=range(len(TYPES)))
def test_a_pinned_statement_of_another_kind_is_refused(make, change: Callable[[dict[str, Any]], object]):
    """Row 18: even an owner who pins such a certificate does not make it one of prep."""
    tiny = make("hdf5")
    reseal(tiny, change=lambda body: change(body) and None)
    found = json.loads(base64.b64decode(json.loads(tiny.certificate.read_bytes())["payload"]))
    assert found.get("predicate") is not None

    refused_when_used(tiny)


def first_check(body: dict[str, Any]) -> dict[str, Any]:
    """Of the report."""
    check: dict[str, Any] = body["predicate"]["report"]["checks"][0]
    return check


CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a failed check": lambda body: first_check(body).update(passed=False),
    "no value examined": lambda body: body["predicate"]["report"].update(values=0),
    "a check of nothing": lambda body: first_check(body).update(examined=0, present=0),
    "a check of a part": lambda body: first_check(body).update(present=first_check(body)["examined"] + 1),
    "another count": lambda body: body["predicate"]["report"].update(checks_passed=1),
    "no verdict": lambda body: body["predicate"]["report"].pop("verdict"),
    "checks that are numbers": lambda body: body["predicate"]["report"].update(checks=[1]),
    "a report that is a list": lambda body: body["predicate"].update(report=[["checks", [1]], ["verdict", "passed"]]),
    "a report of another root": lambda body: body["predicate"]["report"].update(root="blake3:0"),
    "a manifest of no length": lambda body: body["predicate"].update(manifest_bytes=0),
    "a manifest beyond any disk": lambda body: body["predicate"].update(manifest_bytes=1 << 70),
    "a manifest below zero": lambda body: body["predicate"].update(manifest_bytes=-2),
    "one member more": lambda body: body.update(extra=1),
    "another subject": lambda body: body["subject"][0].update(name="other"),
    "a subject with one member more": lambda body: body["subject"][0].update(annotations={"a": 1}),
    "a subject with another digest too": lambda body: body["subject"][0]["digest"].update(sha512="00"),
    "a moment that overflows": lambda body: body["predicate"].update(created="9999-12-31T23:59:59-14:00"),
    "an end that overflows": lambda body: body["predicate"].update(expires="9999-12-31T23:59:59-14:00"),
    "splits that are fractions": lambda body: body["predicate"]["splits"].update(test=10.0),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_pinned_statement_that_contradicts_itself_or_says_more_is_refused(make, kind: str):
    """Not on the page: the claims of a verdict are those of its own checks, and there is one statement of them."""
    tiny = make("hdf5")
    reseal(tiny, change=lambda body: CONTRADICTIONS[kind](body) and None)

    refused_when_used(tiny)


@pytest.mark.parametrize("blank", [b" ", b"\n"])
def test_a_pinned_statement_in_another_spelling_is_refused(make, blank: bytes):
    """Not on the page."""
    tiny = make("hdf5")
    payload = base64.b64decode(json.loads(tiny.certificate.read_bytes())["payload"])
    pin_payload(tiny, payload + blank)
    refused_when_used(tiny, "canonical")


@pytest.mark.parametrize("payload", [b"", b"{", b"null", b"[]", b"0", b"\xff\xfe", b'"statement"', b"{} {}", b"\0"])
def test_a_pinned_payload_that_cannot_be_parsed_is_refused(make, payload: bytes):
    """Row 18: a parse error is a failure, never a certificate without demands."""
    tiny = make("hdf5")
    pin_payload(tiny, payload)
    refused_when_used(tiny)


def weaken(tiny: Tiny) -> None:
    """The schema of the project without most of its checks."""
    text = yaml.safe_load(tiny.schema.read_text())
    kept = ("split_flags", "finite", "learnability")
    text["checks"] = [each for each in text["checks"] if each["options"]["check_name"] in kept]
    tiny.schema.write_text(yaml.safe_dump(text, sort_keys=False))


def test_data_certified_under_a_weaker_schema_are_refused_where_the_stricter_one_is_known(make):
    """Row 19: pandera passes whatever the schema at hand lets pass."""
    tiny = make("hdf5")
    strict = tiny.schema.read_text()
    weaken(tiny)
    assert len(yaml.safe_load(tiny.schema.read_text())["checks"]) < len(yaml.safe_load(strict)["checks"])
    prep.certify(tiny.path)
    assert prep.verify(tiny.path).dataset.id == "tiny"
    tiny.schema.write_text(strict)

    error = refused(lambda: prep.verify(tiny.path), "another schema")
    assert str(tiny.path) in error.where.path
    assert command(tiny.folder, "verify", str(tiny.path)).returncode == 3


def test_a_schema_pinned_by_the_consumer_cannot_be_swapped(make):
    """Row 19: in the Python API, by digest."""
    tiny = make("hdf5")
    digest = admitted(tiny).statement.claims["schema"]["digest"]
    assert prep.open(tiny.path, Policy(schema=digest)).id == "tiny"
    weaken(tiny)
    prep.certify(tiny.path)

    refused(lambda: prep.open(tiny.path, Policy(schema=digest)), "another schema")


def test_another_set_of_checks_is_another_digest_in_the_certificate(make, monkeypatch: pytest.MonkeyPatch):
    """Row 19: a check that was replaced by one that always passes changes what the certificate says of the checks."""
    from prep.checks import CHECKS
    from prep.verbs.judged import registry_digest

    before = registry_digest()
    monkeypatch.setitem(CHECKS._members, "finite_or_not", CHECKS._members["finite"])
    added = registry_digest()
    monkeypatch.delitem(CHECKS._members, "finite_or_not")
    monkeypatch.delitem(CHECKS._members, "unique_rows")
    assert len({before, added, registry_digest()}) == 3


AMBIGUITIES: dict[str, Callable[[bytes], bytes]] = {
    "a key twice": lambda data: data.replace(b"{", b'{"payloadType":"x",', 1),
    "NaN": lambda data: data.replace(b'"signatures":[]', b'"signatures":NaN'),
    "infinity": lambda data: data.replace(b'"signatures":[]', b'"signatures":[Infinity]'),
    "a key more": lambda data: data.replace(b"{", b'{"level":"signed",', 1),
    "something behind it": lambda data: data + b"{}",
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "base64 with blanks": lambda data: data.replace(b'"payload":"', b'"payload":" '),
    "base64 without its end": lambda data: data.replace(b'=","payloadType', b'","payloadType').replace(b'=","', b'","'),
    "another encoding": lambda data: data.decode().encode("utf-16"),
}


@pytest.mark.parametrize("kind", AMBIGUITIES)
def test_an_envelope_that_two_parsers_could_read_differently_is_refused(make, kind: str):
    """Row 21: Python's json takes the last of two keys, NaN and what follows the payload type."""
    tiny = make("hdf5")
    data = AMBIGUITIES[kind](tiny.certificate.read_bytes())
    if data == tiny.certificate.read_bytes():
        pytest.skip("the payload of this certificate needs no padding")
    if kind in ("a key twice", "NaN", "infinity", "a key more"):
        assert json.loads(data)["payload"]
    tiny.certificate.write_bytes(data)

    refused_when_used(tiny)


def test_a_key_said_twice_in_lock_manifest_or_payload_is_refused(make):
    """Row 21."""
    tiny = make("hdf5")
    lock = tiny.lock.read_text()
    (entry,) = json.loads(lock)["datasets"].values()
    tiny.lock.write_text(lock.replace('"root":', f'"root": "blake3:{"0" * 64}",\n      "root":'))
    assert json.loads(tiny.lock.read_text())["datasets"]["tiny"] == entry
    refused(lambda: admitted(tiny), "duplicate key", where="prep.lock")
    tiny.lock.write_text(lock)

    payload = base64.b64decode(json.loads(tiny.certificate.read_bytes())["payload"])
    twice = payload.replace(b'"verdict":', b'"verdict":"failed","verdict":', 1)
    assert json.loads(twice)["predicate"]["verdict"] != "failed"
    pin_payload(tiny, twice)
    refused(lambda: admitted(tiny), "duplicate key")
    pin_payload(tiny, payload)

    data = tiny.manifest.read_bytes()
    length = int.from_bytes(data[8:12], "little")
    header = data[12 : 12 + length].replace(b'"dataset":"tiny"', b'"dataset":"best","dataset":"tiny"', 1)
    tiny.manifest.write_bytes(data[:8] + len(header).to_bytes(4, "little") + header + data[12 + length :])
    assert json.loads(header)["dataset"] == "tiny"
    reseal(tiny)
    refused(lambda: admitted(tiny), "duplicate key")


def test_a_manifest_header_that_is_not_canonical_is_refused(make):
    """Row 21: one dataset, one manifest; a pinned certificate over another spelling does not help."""
    tiny = make("hdf5")
    data = tiny.manifest.read_bytes()
    length = int.from_bytes(data[8:12], "little")
    header = json.dumps(json.loads(data[12 : 12 + length])).encode()
    tiny.manifest.write_bytes(data[:8] + len(header).to_bytes(4, "little") + header + data[12 + length :])
    reseal(tiny)
    refused_when_used(tiny, "says it otherwise")


YAML_TRICKS = {
    "a key twice": ("strict: true\n", "strict: true\nstrict: false\n", "duplicate key"),
    "an anchor": ("strict: true\n", "strict: &x true\n", "anchors"),
    "a tag": ("title: tiny\n", "title: !!python/object/apply:os.getcwd []\n", "tags"),
    "not a number": ("low: -10.0", "low: .nan", "finite numbers"),
    "infinity": ("high: 10.0", "high: .inf", "finite numbers"),
    "a second document": ("prep:\n", "---\nprep:\n", ""),
    "laughs": ("title: tiny\n", "title: &a [x]\nmore: [*a, *a, *a]\n", "anchors"),
}


@pytest.mark.parametrize("trick", YAML_TRICKS)
def test_yaml_that_plain_loaders_read_in_their_own_way_is_refused(make, trick: str):
    """Row 21: PyYAML takes the last of two keys, and numbers that are none."""
    tiny = make("hdf5")
    old, new, cause = YAML_TRICKS[trick]
    text = tiny.schema.read_text()
    assert old in text
    tiny.schema.write_text(text.replace(old, new, 1))
    if trick == "a key twice":
        assert yaml.safe_load(tiny.schema.read_text())["strict"] is False
    for action in (lambda: prep.certify(tiny.path), lambda: prep.verify(tiny.path)):
        error = refused(action, cause, 2)
        assert str(tiny.schema.name) in str(error)


def test_lock_entries_of_other_types_are_refused(make):
    """Not on the page."""
    tiny = make("hdf5")
    good = json.loads(tiny.lock.read_text())
    entry = good["datasets"]["tiny"]
    bad: list[object] = [
        [],
        {},
        None,
        {"lock_version": 1},
        {"lock_version": True, "datasets": good["datasets"]},
        {"lock_version": 2, "datasets": good["datasets"]},
        {"lock_version": 1, "datasets": []},
        {"lock_version": 1, "datasets": {"tiny": []}},
        {"lock_version": 1, "datasets": {"tiny": {**entry, "certificate": None}}},
        {"lock_version": 1, "datasets": {"tiny": {**entry, "certificate": [entry["certificate"]]}}},
        {"lock_version": 1, "datasets": {"tiny": {**entry, "more": "x"}}},
        {"lock_version": 1, "datasets": {"tiny": {key: entry[key] for key in ("version", "root")}}},
    ]
    for body in bad:
        tiny.lock.write_text(json.dumps(body))
        refused(lambda: admitted(tiny), "lock")
    tiny.lock.write_text(json.dumps(good))
    assert admitted(tiny).id == "tiny"


@pytest.mark.parametrize("created", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "soon", "2026-01-01"])
def test_a_lock_entry_with_a_moment_that_is_none_is_named(make, created: str):
    """Not on the page: the first two are moments, and overflow where they are compared."""
    tiny = make("hdf5")
    good = tiny.lock.read_text()
    body = json.loads(good)
    body["datasets"]["another"] = {**body["datasets"]["tiny"], "created": created}
    tiny.lock.write_text(json.dumps(body))

    refused(lambda: admitted(tiny), "'another'")
    refused(lambda: prep.certify(tiny.path), "'another'")


@pytest.mark.parametrize(
    "name", ["t\u0456ny", "Tiny", "tiny ", "tiny\u200b", "ti\u006e\u0303y", "../tiny", "tiny\n", "TINY", ""]
)
def test_a_lock_entry_under_a_name_that_looks_alike_pins_nothing(make, name: str):
    """Not on the page: look-alikes, other case, blanks, invisible characters."""
    tiny = make("hdf5")
    pins = json.loads(tiny.lock.read_text())
    pins["datasets"] = {name: pins["datasets"]["tiny"]}
    tiny.lock.write_text(json.dumps(pins))
    refused(lambda: admitted(tiny), "")


def test_a_lock_that_is_a_folder_a_pipe_or_unreadable_is_no_trust(make):
    """Not on the page."""
    tiny = make("hdf5")
    tiny.lock.unlink()
    tiny.lock.mkdir()
    refused(lambda: admitted(tiny), "lock")
