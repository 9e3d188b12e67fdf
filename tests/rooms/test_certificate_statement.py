"""A statement says exactly what a certificate says; whatever does not is told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prep.canonical import canonical_json
from prep.certificate import envelope, statement
from prep.errors import CertificateError

_PLACE = Path(__file__).parents[1] / "golden/hdf5-by-0.1.0/plain"
Change = Callable[[dict[str, Any]], Any]

CASES: dict[str, tuple[Change, str]] = {
    "another type": (lambda body: body.update(_type="https://in-toto.io/Statement/v0.1"), "Statement/v0.1 with"),
    "another predicate": (
        lambda body: body.update(predicateType="https://slsa.dev/provenance/v1"),
        "with https://slsa",
    ),
    "a member more": (lambda body: body.update(more=1), "the statement is not"),
    "a subject with more": (lambda body: body["subject"][0].update(uri="x"), "the subject is not"),
    "another digest": (lambda body: body["subject"][0]["digest"].update(sha512="x"), "the digest is not"),
    "a schema with more": (lambda body: body["predicate"]["schema"].update(more="x"), "the schema is not"),
    "a version that is a number": (lambda body: body["predicate"].update(version=1), "version is no text"),
    "a manifest of no number of bytes": (lambda body: body["predicate"].update(manifest_bytes="9"), "no number"),
    "baselines that are a list": (lambda body: body["predicate"].update(baselines=[]), "no table"),
    "a manifest of no byte": (lambda body: body["predicate"].update(manifest_bytes=0), "manifest_bytes is 0"),
    "a manifest of all there are": (
        lambda body: body["predicate"].update(manifest_bytes=1 << 60),
        "manifest_bytes is 1.15292e+18",
    ),
    "a verdict that does not follow": (lambda body: body["predicate"]["report"].update(verdict="failed"), "verdict"),
}


def payload() -> bytes:
    (place,) = _PLACE.rglob(f"*{envelope.SUFFIX}")
    return envelope.open_envelope(place.read_bytes(), path="certificate").payload


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_statement_of_prep_is_told(case: str):
    change, said = CASES[case]
    body = json.loads(payload())
    assert statement.parse(canonical_json(body), path="c").dataset
    change(body)

    with pytest.raises(CertificateError) as caught:
        statement.parse(canonical_json(body), path="dataset.cert.json")

    assert said in str(caught.value)
    assert caught.value.where.path == "dataset.cert.json"


def test_signatures_that_are_no_list_are_told():
    (place,) = _PLACE.rglob(f"*{envelope.SUFFIX}")
    body = json.loads(place.read_bytes())

    for wrong in ({}, "", None, 0):
        with pytest.raises(CertificateError, match="its signatures are not a list"):
            envelope.open_envelope(json.dumps({**body, "signatures": wrong}).encode(), path="certificate")
