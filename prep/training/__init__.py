"""Training on certified data and nothing else.

The default call is `fit(prep.open(path), run_dir=Path("runs/control"))`. The parts: `systems/` (what is trained on
which data: model, loss, metrics, target), `data` (the only way in), `module` (Lightning), `checkpoint` (atomic, bound
to the certificate), `history` (log lines, CSV, curve), `run` (one run from admission to result) and `result`.
"""

from __future__ import annotations

from prep.training.data import CertifiedDataModule
from prep.training.module import TrainingModule
from prep.training.result import RunResult
from prep.training.run import fit
from prep.training.systems import SYSTEMS, Hyperparameters, System, Target

__all__ = [
    "SYSTEMS",
    "CertifiedDataModule",
    "Hyperparameters",
    "RunResult",
    "System",
    "Target",
    "TrainingModule",
    "fit",
]
