"""`prep verify`: pass a dataset through the gate, and read every stored byte once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.certificate.policy import Policy
from prep.engine import Progress, Workers, silent
from prep.gate import CertifiedDataset, admit
from prep.verbs.schemas import demand_present_schema


@dataclass(frozen=True, slots=True)
class Verified:
    """A dataset that holds; ``chunks`` is how many were hashed (0 where only admission was asked for)."""

    dataset: CertifiedDataset
    chunks: int


def verify(
    dataset: str | Path,
    *,
    deep: bool = False,
    admission_only: bool = False,
    policy: Policy | None = None,
    lock_path: str | Path | None = None,
    trust_path: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    workers: Workers = None,
    progress: Progress = silent,
) -> Verified:
    """Admit ``dataset`` (a path or URL) as a training run would, and hash every stored byte.

    ``deep`` recomputes everything: values are decoded, logical digests and root computed, the container parsed and
    described anew. ``admission_only`` reads no chunk, as a training run that begins; each is then verified when it is
    read. Raises what the gate raises, and `IntegrityError`, or a `Refusal` of several, naming field, chunks and samples
    of whatever changed.
    """
    admitted = admit(dataset, policy, lock_path=lock_path, trust_path=trust_path, storage_options=storage_options)
    demand_present_schema(admitted)
    if admission_only:
        return Verified(admitted, 0)
    return Verified(admitted, admitted.verify(deep=deep, workers=workers, progress=progress))
