"""`prep inspect`: everything a dataset says about itself, and one table of what is certified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.blocks import DatasetSpec
from prep.certificate import lock, manifest
from prep.errors import PrepError
from prep.formats import no_such_dataset, open_container
from prep.gate import admit


@dataclass(frozen=True, slots=True)
class Inspection:
    """A dataset described: what it is, how it is stored, what its documents say, whether it is certified here.

    ``certified`` is the certificate's digest, or the reason why the gate would refuse. ``layout`` maps a field to
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
        }


def inspect(dataset: str | Path, *, lock_path: str | Path | None = None) -> Inspection:
    """Describe the dataset at a path, certified or not. `UsageError` or `IntegrityError` where it cannot be opened."""
    path = Path(dataset)
    if not path.exists():
        raise no_such_dataset(path)
    container = open_container(path)
    try:
        root = manifest.parse(manifest.path_of(path).read_bytes(), path=str(path)).root
    except (OSError, PrepError):
        root = ""
    try:
        certificate, certified = (
            admit(path, lock_path=Path(lock_path) if lock_path else None).certificate_digest,
            True,
        )
    except PrepError as error:
        certificate, certified = error.what, False
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
        certified=certified,
        certificate=certificate,
    )


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


def summary(*datasets: str | Path, lock_path: str | Path | None = None) -> tuple[SummaryRow, ...]:
    """What is certified at the given paths; the gate's error for the first that is not."""
    rows = []
    for path in map(Path, datasets):
        admitted = admit(path, lock_path=Path(lock_path) if lock_path else lock.find())
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
            )
        )
    return tuple(rows)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
