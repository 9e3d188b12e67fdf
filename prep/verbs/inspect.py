"""`prep inspect`: everything a dataset says about itself, and one table of what is certified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.blocks import DatasetSpec
from prep.certificate import manifest
from prep.certificate.evidence import Standing
from prep.certificate.matching import manifest_bytes
from prep.errors import PrepError, Refusal
from prep.formats import no_such_dataset, open_container
from prep.gate import CertifiedDataset, admit


@dataclass(frozen=True, slots=True)
class Inspection:
    """A dataset described: what it is, how it is stored, what its documents say, whether it is certified here.

    ``certificate`` is its digest, or the reason why the gate would refuse; ``standing`` says by whom it is trusted.
    ``layout`` maps a field to
    (rows a chunk, chunks, codec names).
    """

    path: Path
    format: str
    size: int
    spec: DatasetSpec
    layout: Mapping[str, tuple[int, int, tuple[str, ...]]]
    documents: Mapping[str, Any]
    root: str
    certified: bool
    certificate: str
    standing: Standing | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        spec = self.spec
        return {
            "path": str(self.path),
            "format": self.format,
            "bytes": self.size,
            "dataset": spec.name,
            "version": spec.version,
            "splits": {name: stop - start for name, (start, stop) in spec.splits.items()},
            "fields": [field.to_dict() for field in (*spec.fields, *spec.constants)],
            "layout": {
                name: {"chunk_rows": rows, "chunks": chunks, "codecs": list(codecs)}
                for name, (rows, chunks, codecs) in self.layout.items()
            },
            "attributes": dict(spec.attributes),
            "documents": dict(self.documents),
            "root": self.root,
            "certified": self.certified,
            "certificate": self.certificate,
            **(standing_to_dict(self.standing) if self.standing else {}),
        }


def standing_to_dict(standing: Standing) -> dict[str, Any]:
    """JSON-ready form of how a dataset is trusted."""
    return {
        "level": standing.level,
        "signers": [{"owner": each.owner, "key": each.key} for each in standing.signers],
        "pinned": standing.pinned,
    }


def inspect(
    dataset: str | Path, *, lock_path: str | Path | None = None, trust_path: str | Path | None = None
) -> Inspection:
    """Describe the dataset at a path, certified or not. `UsageError` or `IntegrityError` where it cannot be opened."""
    path = Path(dataset)
    if not path.exists():
        raise no_such_dataset(path)
    container = open_container(path)
    try:
        root = manifest.parse(manifest_bytes(path), path=str(path)).root
    except (OSError, PrepError):
        root = ""
    certificate, admitted = certified_here(path, lock_path=lock_path, trust_path=trust_path)
    standing = admitted.standing if admitted else None
    return Inspection(
        path=path,
        format=container.format,
        size=container.size,
        spec=container.spec,
        layout={
            name: (each.chunk_rows, len(each.offsets), tuple(str(codec["id"]) for codec in each.codecs))
            for name, each in container.layouts.items()
        },
        documents={name: _parsed(text) for name, text in container.spec.documents.items()},
        root=root,
        certified=standing is not None,
        certificate=certificate,
        standing=standing,
    )


def certified_here(
    path: Path, *, lock_path: str | Path | None = None, trust_path: str | Path | None = None
) -> tuple[str, CertifiedDataset | None]:
    """The digest of the certificate and the admitted dataset, or why the gate would refuse it and None."""
    try:
        admitted = admit(path, lock_path=lock_path, trust_path=trust_path)
    except Refusal as error:
        return "; ".join(each.what for each in error.errors), None
    except PrepError as error:
        return error.what, None
    return admitted.certificate_digest, admitted


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One line of the table of certified datasets."""

    dataset: str
    version: str
    path: Path
    bytes: int
    splits: Mapping[str, int]
    checks_passed: int
    checks: int
    root: str
    level: str


def summary(
    *datasets: str | Path, lock_path: str | Path | None = None, trust_path: str | Path | None = None
) -> tuple[SummaryRow, ...]:
    """What is certified at the given paths; the gate's error for the first that is not."""
    rows = []
    for path in map(Path, datasets):
        admitted = admit(path, lock_path=lock_path, trust_path=trust_path)
        report = admitted.statement.claims["report"]
        rows.append(
            SummaryRow(
                dataset=admitted.id,
                version=admitted.version,
                path=path,
                bytes=admitted.manifest.size,
                splits={split: admitted.row_count(split) for split in admitted.spec.splits},
                checks_passed=int(report["checks_passed"]),
                checks=len(report["checks"]),
                root=admitted.root,
                level=admitted.standing.level,
            )
        )
    return tuple(rows)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
