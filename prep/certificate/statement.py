"""The statement: what was examined, by which schema and checks, with which verdict, and where the data came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prep.canonical import parse_json, value_digest
from prep.certificate.manifest import Manifest
from prep.errors import CertificateError, Where

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://prep-certified.org/certificate/v1"


@dataclass(frozen=True, slots=True)
class Statement:
    """A parsed statement. ``manifest_sha256`` is the bare hex of its one subject and ``manifest_bytes`` its length;
    ``claims`` is the whole predicate.
    """

    dataset: str
    version: str
    manifest_sha256: str
    manifest_bytes: int
    root: str
    verdict: str
    created: str
    expires: str
    claims: Mapping[str, Any]

    @property
    def baselines(self) -> Mapping[str, Any]:
        """What trivial predictors score, by name."""
        found: Mapping[str, Any] = self.claims["baselines"]
        return found

    def describes(self, manifest: Manifest) -> bool:
        """Whether this is the one statement that can be made over ``manifest`` with such a schema and report."""
        claims = self.claims
        stated = compose(
            manifest,
            schema=claims["schema"],
            report=claims["report"],
            registry_digest=claims["check_registry"],
            baselines=claims["baselines"],
            created=self.created,
            expires=self.expires,
        )
        return stated["predicate"] == claims and self.manifest_sha256 == manifest.digest


def compose(
    manifest: Manifest,
    *,
    schema: Mapping[str, Any],
    report: Mapping[str, Any],
    registry_digest: str,
    baselines: Mapping[str, Any],
    created: str,
    expires: str = "",
) -> dict[str, Any]:
    """The in-toto Statement v1 over one manifest, JSON-ready.

    ``schema`` is {"digest", "text"}; ``report`` a validation report as JSON; ``registry_digest`` identifies the checks
    that judged.
    """
    documents = manifest.spec.documents
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": manifest.spec.name, "digest": {"sha256": manifest.digest}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "dataset": manifest.spec.name,
            "version": manifest.spec.version,
            "root": manifest.root,
            "manifest_bytes": manifest.length,
            "splits": {name: stop - start for name, (start, stop) in manifest.spec.splits.items()},
            "schema": dict(schema),
            "check_registry": registry_digest,
            "report": dict(report),
            "verdict": report["verdict"],
            "statistics": value_digest("statistics", documents.get("statistics", "")),
            "transforms": value_digest("transforms", documents.get("transforms", "")),
            "baselines": dict(baselines),
            "provenance": documents.get("provenance", ""),
            "created": created,
            "expires": expires,
        },
    }


def parse(payload: bytes, *, path: str) -> Statement:
    """Parse a payload that is trusted already; a wrong type or a missing claim is a `CertificateError`."""
    body = parse_json(payload, path=path)
    try:
        if body["_type"] != STATEMENT_TYPE or body["predicateType"] != PREDICATE_TYPE:
            raise _wrong(path, f"{body['_type']} with {body['predicateType']}")
        (subject,) = body["subject"]
        claims = body["predicate"]
        _demand_texts(claims, "dataset", "version", "root", "verdict", "created", "expires", "check_registry")
        _demand_texts(claims["schema"], "digest", "text")
        _demand_texts(subject["digest"], "sha256")
        if type(claims["manifest_bytes"]) is not int or not isinstance(claims["baselines"], dict):
            raise TypeError("manifest_bytes is no number, or baselines no table")
        if not claims["report"]["checks"]:
            raise ValueError("no check was made")
        return Statement(
            dataset=claims["dataset"],
            version=claims["version"],
            manifest_sha256=subject["digest"]["sha256"],
            manifest_bytes=claims["manifest_bytes"],
            root=claims["root"],
            verdict=claims["verdict"],
            created=claims["created"],
            expires=claims["expires"],
            claims=claims,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _wrong(path, f"{type(error).__name__}: {error}") from error


def _demand_texts(table: Any, *names: str) -> None:
    for name in names:
        if not isinstance(table[name], str):
            raise TypeError(f"{name} is no text")


def _wrong(path: str, measured: object) -> CertificateError:
    return CertificateError(
        "this certificate does not state what a prep certificate states",
        where=Where(path=path),
        measured=measured,
        allowed=f"{STATEMENT_TYPE} with {PREDICATE_TYPE} over one manifest",
        remedy="run `prep certify` on the dataset to write it again",
    )
