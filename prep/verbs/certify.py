"""`prep certify`: measure the dataset itself, state what was examined, seal, sign and pin it; a report from before
only has to agree.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from prep.canonical import canonical_json, parse_json
from prep.certificate import envelope, keyfiles, lock, moments, statement, trust
from prep.certificate.evidence import Evidence
from prep.certificate.keys import PrivateKey, PublicKey
from prep.certificate.tree import meaning
from prep.engine import Progress, Workers, silent
from prep.errors import CertificateError, DataError, IntegrityError, PrepError, Refusal, UsageError, Where
from prep.report import Report, disagreement
from prep.verbs.cosign import earlier, says_the_same, sign
from prep.verbs.published import publish_certificate
from prep.verbs.rawdata import read_manifest
from prep.verbs.schemas import schema_for
from prep.verbs.validate import examine

_LATEST = 9_999_999_999  # in the year 2286: what is later was meant otherwise


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate that was written. ``pinned`` is the lock that trusts it now, ``keys`` are those that signed it now.

    ``signatures`` counts all that it has; ``dropped`` those of an earlier certificate that said something else, or
    that nobody trusted stood behind. ``kept`` is true where the statement is an earlier one, word for word.
    """

    path: Path
    dataset: str
    version: str
    root: str
    certificate: str
    pinned: Path
    report: Report
    expires: str = ""
    keys: tuple[PublicKey, ...] = ()
    signatures: int = 0
    dropped: int = 0
    kept: bool = False


def certify(
    dataset: str | Path,
    *,
    report: str | Path | None = None,
    schema: str | Path | None = None,
    lock_path: str | Path | None = None,
    locked: bool = False,
    strict: bool = False,
    keys: Sequence[str | Path] = (),
    passphrase: str = "",
    expires: str | None = None,
    renew: bool = False,
    workers: Workers = None,
    progress: Progress = silent,
) -> Certified:
    """Write ``<dataset>.cert.json``, signed by the private ``keys``, if any, and pin it in ``prep.lock``.

    Every check is measured here, in one pass that also hashes the bytes; nothing is taken from a file. ``report`` is a
    report that `validate` wrote: where it is about these bytes, this schema and these checks and says anything else,
    it or the data were changed, a `CertificateError`. ``locked`` refuses to change the lock.

    A certificate that is pinned, or signed by a key of trust.toml, and says the same stays, with its signatures: a
    second person adds one to it.
    ``expires`` (``90d``, or the last day, ``2027-01-31``) ends it; ``renew`` states the present moment where that of
    the first certification of the same data would stay. ``passphrase`` opens the keys that have one.

    Raises `Refusal` or `DataError` where a check failed, `IntegrityError` where bytes differ from the manifest,
    `CertificateError` where the lock would have to change, `UsageError` for a key that cannot sign; an older
    certificate stays then only if it still holds.
    """
    path = Path(dataset)
    signing = _private_keys(keys, passphrase)
    until = None if expires is None else moments.expiry(expires, moments.now(), "--expires")
    _now()
    chosen = Path(lock_path) if lock_path else lock.find()
    trusted = trust.read(trust.find())
    contents = read_manifest(path)
    judged_by = schema_for(contents.spec, schema)
    judged = examine(path, schema=schema, recall=False, workers=workers, progress=progress)
    if report is not None:
        _demand_agreement(Path(report), judged)
    _demand_pass(path, judged, strict)
    root = judged.root
    if root != contents.root or judged.schema_digest != judged_by.digest:
        raise IntegrityError(
            "the dataset or its schema changed while it was certified",
            where=Where(path=str(path), dataset=contents.spec.name),
            measured=f"{root}, schema {judged.schema_digest}",
            allowed=f"{contents.root}, schema {judged_by.digest}",
            remedy="run `prep validate` and `prep certify` again while nothing else writes to it",
        )
    pins = lock.read(chosen)
    known = pins.get(contents.spec.name)
    created = _now() if renew else _first_certified(known, root)
    body = statement.compose(
        contents,
        schema={"digest": judged_by.digest, "text": judged_by.text},
        report=judged.to_dict(),
        registry_digest=judged.registry_digest,
        baselines=judged.baselines,
        created=created,
        expires=until or "",
    )
    sealed, found = envelope.wrap(body), earlier(path)
    if found is not None and not renew:
        evidence = Evidence(found, pins, trusted, chosen, path)
        if says_the_same(evidence, body, judged, expires=until):
            sealed = found
    kept = sealed.payload != canonical_json(body)
    stated = statement.parse(sealed.payload, path=str(path))
    dropped = len(found.signatures) if found is not None and found.digest != sealed.digest else 0
    sealed = sign(sealed, signing, path)
    digest, created = sealed.digest, stated.created
    entry = lock.Pin(contents.spec.version, root, digest, created, meaning(contents.spec))
    if locked and known != (entry if known is None or known.meaning else replace(entry, meaning="")):
        raise CertificateError(
            "certifying would change the lock, and it is locked",
            where=Where(path=str(chosen), dataset=contents.spec.name),
            measured=f"{entry.version} {entry.root} {entry.certificate}",
            allowed="no entry" if known is None else f"{known.version} {known.root} {known.certificate}",
            remedy="rebuild with the pinned code, schema and parameters, or certify without --locked and review it",
        )
    change = partial(lock.pin, chosen, contents.spec.name, entry)
    publish_certificate(path, contents, sealed.encode(), pin=(lambda: None) if locked else change, pinned=chosen)
    return Certified(
        path,
        contents.spec.name,
        contents.spec.version,
        root,
        digest,
        chosen,
        judged,
        expires=stated.expires,
        keys=tuple(each.public for each in signing),
        signatures=len(sealed.signatures),
        dropped=dropped,
        kept=kept,
    )


def _first_certified(known: lock.Pin | None, root: str) -> str:
    """When these data were certified first, as the lock knows it; now, where it does not, or knows a moment to come."""
    if known is not None and known.root == root:
        with suppress(ValueError):
            if moments.parse(known.created) <= moments.now() + moments.SKEW:
                return known.created
    return _now()


def _private_keys(places: Sequence[str | Path], passphrase: str) -> tuple[PrivateKey, ...]:
    """The keys, each once, before anything is measured."""
    found = [keyfiles.read_private(Path(each), passphrase) for each in places]
    return tuple({each.public: each for each in found}.values())


def _demand_agreement(place: Path, measured: Report) -> None:
    """`CertificateError` where a report of the very same bytes, schema and checks says anything else than they do, or
    is not about this dataset at all; `UsageError` where there is none.
    """
    if not place.exists():
        raise UsageError(
            "there is no such report",
            where=Where(path=str(place), dataset=measured.dataset),
            remedy="leave the report out, or write it: prep validate DATASET --json FILE",
        )
    try:
        body = parse_json(place.read_bytes(), path=str(place))
        reports = [each.get("report") or {} for each in body.get("datasets", [body])]
        differences = [disagreement(each, measured) for each in reports]
        if measured.dataset not in [each.get("dataset") for each in reports]:
            differences = [f"nothing about {measured.dataset}"]
    except (OSError, PrepError, AttributeError, TypeError) as error:
        differences = [f"it cannot be read ({type(error).__name__})"]
    for difference in filter(None, differences):
        raise CertificateError(
            "the report does not say what the data say",
            where=Where(path=str(place), dataset=measured.dataset),
            measured=difference,
            allowed="a report that `prep validate --json` wrote of these bytes, left as it is",
            remedy="run `prep validate` again and find out who changed the report; certify measures for itself",
        )


def _demand_pass(path: Path, report: Report, strict: bool) -> None:
    counted = report.failed + (report.warned if strict else ())
    reasons: list[PrepError] = []
    for result in counted:
        finding = result.finding
        kind = IntegrityError if result.kind == "integrity" else DataError
        reasons.append(
            kind(
                f"not certified: {result.check} failed: {finding.message}",
                where=Where(
                    path=str(path),
                    dataset=report.dataset,
                    field=result.field,
                    split=", ".join(dict.fromkeys(finding.splits)),
                    samples=finding.samples,
                ),
                measured=None if finding.worst is None else f"{finding.worst:.6g}",
                allowed=finding.limit,
                remedy=finding.remedy,
            )
        )
    if reasons:
        raise reasons[0] if len(reasons) == 1 else Refusal(reasons)


def _now() -> str:
    """Now, or the moment that SOURCE_DATE_EPOCH fixes for reproducible builds; it is a label, no verdict depends on
    it.
    """
    epoch, moment = os.environ.get("SOURCE_DATE_EPOCH"), moments.now()
    if epoch:
        # Not by this machine's clock, which may be the one that is wrong: whoever verifies judges by theirs.
        if not (epoch.isascii() and epoch.isdigit() and len(epoch) <= len(str(_LATEST)) and int(epoch) <= _LATEST):
            raise UsageError(
                "this is no moment at which data can have been certified",
                where=Where(key="SOURCE_DATE_EPOCH"),
                measured=epoch[:40],
                allowed=f"whole seconds since 1970, at most {_LATEST}",
                remedy="unset SOURCE_DATE_EPOCH, or set it to the time of the last commit",
            )
        moment = datetime.fromtimestamp(int(epoch), UTC)
    return moment.replace(microsecond=0).isoformat()
