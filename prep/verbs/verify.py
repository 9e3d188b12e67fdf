"""`prep verify`: pass a dataset through the gate and, with ``deep``, hash every stored byte again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prep.certificate.policy import Policy
from prep.engine import Progress, Workers, silent
from prep.gate import CertifiedDataset, admit
from prep.verbs.schemas import demand_present_schema


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
    trust_path: str | Path | None = None,
    workers: Workers = None,
    progress: Progress = silent,
) -> Verified:
    """Admit ``dataset`` as a training run would; with ``deep`` also recompute every chunk's digests and the root.

    Raises what the gate raises, and `IntegrityError` naming field, chunk and samples of the first chunk that changed.
    """
    admitted = admit(dataset, policy, lock_path=lock_path, trust_path=trust_path)
    demand_present_schema(admitted)
    if not deep:
        return Verified(admitted, 0)
    return Verified(admitted, admitted.verify(workers, progress))
