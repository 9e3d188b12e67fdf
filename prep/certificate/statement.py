"""The statement: what was examined, by which schema and checks, with which verdict, and where the data came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prep.canonical import canonical_json, parse_json, value_digest
from prep.certificate.manifest import Manifest
from prep.errors import CertificateError, Where
from prep.report import contradiction

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://prep-certified.org/certificate/v1"
_MANIFEST_LIMIT = 1 << 40


@dataclass(frozen=True, slots=True)
class Statement:
    """A parsed statement. ``manifest_sha256`` is the bare hex of its one subject and ``manifest_bytes`` its length;
    ``claims`` is the whole predicate, ``payload`` the canonical text of all of it.
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
    payload: bytes

    @property
    def baselines(self) -> Mapping[str, Any]:
        """What trivial predictors score, by name."""
        found: Mapping[str, Any] = self.claims["baselines"]
        return found

    def describes(self, manifest: Manifest) -> bool:
        """Whether this is, to the last byte, the one statement that can be made over ``manifest`` with such a schema
        and report, and the report is about the same.
        """
        claims, report = self.claims, self.claims["report"]
        about = (self.dataset, self.version, self.root, claims["schema"]["digest"], claims["check_registry"])
        if tuple(report[name] for name in ("dataset", "version", "root", "schema", "check_registry")) != about:
            return False
        stated = compose(
            manifest,
            schema=claims["schema"],
            report=claims["report"],
            registry_digest=claims["check_registry"],
            baselines=claims["baselines"],
            created=self.created,
            expires=self.expires,
        )
        return canonical_json(stated) == self.payload


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
    """Parse a payload that is trusted already; a wrong type, a missing claim, anything more than the claims or a report
    that says otherwise than its checks is a `CertificateError`.
    """
    body = parse_json(payload, path=path)
    try:
        if canonical_json(body) != payload:
            raise _wrong(path, "the same, written otherwise than in canonical JSON")
        _demand_members(body, "statement", "_type", "subject", "predicateType", "predicate")
        if body["_type"] != STATEMENT_TYPE or body["predicateType"] != PREDICATE_TYPE:
            raise _wrong(path, f"{body['_type']} with {body['predicateType']}")
        (subject,) = body["subject"]
        _demand_members(subject, "subject", "name", "digest")
        _demand_members(subject["digest"], "digest", "sha256")
        claims = body["predicate"]
        _demand_texts(claims, "dataset", "version", "root", "verdict", "created", "expires", "check_registry")
        _demand_texts(claims["schema"], "digest", "text")
        _demand_texts(subject["digest"], "sha256")
        _demand_members(claims["schema"], "schema", "digest", "text")
        length = claims["manifest_bytes"]
        if type(length) is not int or not isinstance(claims["baselines"], dict):
            raise TypeError("manifest_bytes is no number, or baselines no table")
        if not 0 < length < _MANIFEST_LIMIT:
            raise ValueError(f"manifest_bytes is {length:.6g}")
        if wrong := contradiction(claims["report"]):
            raise ValueError(wrong)
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
            payload=payload,
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _wrong(path, f"{type(error).__name__}: {error}") from error


def _demand_members(table: Any, what: str, *names: str) -> None:
    if not isinstance(table, dict) or set(table) != set(names):
        raise TypeError(f"the {what} is not {' and '.join(names)} alone")


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
