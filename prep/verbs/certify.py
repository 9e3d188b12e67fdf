"""`prep certify`: validate if need be, hash the bytes once more against the manifest, state what was examined, seal
and pin it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prep.canonical import parse_json
from prep.certificate import envelope, lock, manifest, statement
from prep.engine import DatasetSource, Progress, all_digests, silent
from prep.errors import CertificateError, DataError, IntegrityError, PrepError, Refusal, Where
from prep.formats.commit import write_atomically
from prep.report import Report
from prep.verbs.rawdata import read_manifest
from prep.verbs.schemas import schema_for
from prep.verbs.validate import registry_digest, validate


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate that was written. ``pinned`` is the lock that trusts it now."""

    path: Path
    dataset: str
    version: str
    root: str
    certificate: str
    pinned: Path
    report: Report


def certify(
    dataset: str | Path,
    *,
    report: str | Path | None = None,
    schema: str | Path | None = None,
    lock_path: str | Path | None = None,
    locked: bool = False,
    strict: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Certified:
    """Write ``<dataset>.cert.json`` at the sealed level and pin it in ``prep.lock``.

    ``report`` is a report that `validate` wrote; one that is missing or not about these bytes, this schema and these
    checks is made anew. ``locked`` refuses to change the lock. Raises `Refusal` or `DataError` where a check failed,
    `IntegrityError` where bytes differ from the manifest, `CertificateError` where the lock would have to change; an
    older certificate stays then only if it still holds.
    """
    path = Path(dataset)
    chosen = Path(lock_path) if lock_path else lock.find()
    contents = read_manifest(path)
    judged_by = schema_for(contents.spec, schema)
    judged = _fresh_report(report, contents, judged_by.digest)
    if judged is None:
        (outcome,) = validate(path, schema=schema, workers=workers, progress=progress)
        if outcome.report is None:
            assert outcome.error is not None
            raise outcome.error
        judged = outcome.report
    _demand_pass(path, judged, strict)
    with DatasetSource.open(path, contents.digests) as source:
        root = manifest.logical_root(source.spec, source.container.layouts, all_digests(source))
    if root != contents.root or root != judged.root:
        raise IntegrityError(
            "the dataset changed between validation and certification",
            where=Where(path=str(path), dataset=contents.spec.name),
            measured=root,
            allowed=judged.root,
            remedy="run `prep validate` and `prep certify` again while nothing else writes to it",
        )
    pins = lock.read(chosen)
    known = pins.get(contents.spec.name)
    created = known.created if known is not None and known.root == root else _now()
    body = statement.compose(
        contents,
        schema={"digest": judged_by.digest, "text": judged_by.text},
        report=judged.to_dict(),
        registry_digest=registry_digest(),
        baselines=judged.baselines,
        created=created,
    )
    sealed = envelope.seal(body)
    digest = envelope.open_envelope(sealed, path=str(path)).digest
    entry = lock.Pin(contents.spec.version, root, digest, created)
    if locked and known != entry:
        raise CertificateError(
            "certifying would change the lock, and it is locked",
            where=Where(path=str(chosen), dataset=contents.spec.name),
            measured=f"{entry.version} {entry.root} {entry.certificate}",
            allowed="no entry" if known is None else f"{known.version} {known.root} {known.certificate}",
            remedy="rebuild with the pinned code, schema and parameters, or certify without --locked and review it",
        )
    write_atomically(envelope.path_of(path), sealed)
    if not locked:
        lock.pin(chosen, contents.spec.name, entry)
    return Certified(path, contents.spec.name, contents.spec.version, root, digest, chosen, judged)


def _fresh_report(place: str | Path | None, contents: manifest.Manifest, schema_digest: str) -> Report | None:
    if place is None or not Path(place).exists():
        return None
    try:
        body = parse_json(Path(place).read_bytes(), path=str(place))
        candidates = body.get("datasets", [body])
        reports = [Report.from_dict(each.get("report", each)) for each in candidates]
    except (OSError, PrepError, KeyError, TypeError, AttributeError):
        return None
    expected = (contents.spec.name, contents.spec.version, contents.root, schema_digest, registry_digest())
    for each in reports:
        if (each.dataset, each.version, each.root, each.schema_digest, each.registry_digest) == expected:
            return each
    return None


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
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch and epoch.isdigit() else datetime.now(UTC)
    return moment.replace(microsecond=0).isoformat()
