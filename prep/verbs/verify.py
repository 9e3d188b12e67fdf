"""`prep verify`: pass a dataset through the gate and, with ``deep``, hash every stored byte again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prep.certificate import manifest
from prep.certificate.policy import Policy
from prep.engine import DatasetSource, Progress, silent
from prep.errors import IntegrityError, Where
from prep.gate import CertifiedDataset, admit
from prep.verbs.rawdata import all_digests


@dataclass(frozen=True, slots=True)
class Verified:
    """A dataset that holds; ``chunks`` is how many were hashed (0 unless deep)."""

    dataset: CertifiedDataset
    chunks: int


def verify(
    dataset: str | Path,
    *,
    deep: bool = False,
    policy: Policy | None = None,
    lock_path: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> Verified:
    """Admit ``dataset`` as a training run would; with ``deep`` also recompute every chunk's digests and the root.

    Raises what the gate raises, and `IntegrityError` naming field, chunk and samples of the first chunk that changed.
    """
    admitted = admit(dataset, policy, lock_path=Path(lock_path) if lock_path else None)
    if not deep:
        return Verified(admitted, 0)
    with DatasetSource.open(admitted.path, admitted.manifest.digests) as source:
        digests = all_digests(source, workers, progress)
        root = manifest.logical_root(source.spec, source.container.layouts, digests)
    if root != admitted.root:
        raise IntegrityError(
            "the recomputed root is not the certified one",
            where=Where(path=str(admitted.path), dataset=admitted.id),
            measured=root,
            allowed=admitted.root,
            remedy="restore the dataset with its sidecars, or build and certify it again",
        )
    return Verified(admitted, admitted.manifest.chunks)
