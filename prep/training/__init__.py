"""Training on certified data and nothing else.

The default call is `fit(prep.open(path), run_dir=Path("runs/control"))`. The parts: `systems/` (what is trained on
which data: model, loss, metrics, target), `data` (the only way in), `module` (Lightning), `checkpoint` (atomic, bound
to the certificate), `logs/` (what a run tells), `run` (one run from admission to result), `result`, and `advice` (what
the numbers of a run say about the learning rate, the model and the data). Nothing is imported before it is used: what
reads logs needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prep.registry import Table

if TYPE_CHECKING:
    from prep.training.data import CertifiedData as CertifiedData
    from prep.training.module import TrainingModule as TrainingModule
    from prep.training.result import RunResult as RunResult
    from prep.training.run import fit as fit
    from prep.training.systems import SYSTEMS as SYSTEMS
    from prep.training.systems import Hyperparameters as Hyperparameters
    from prep.training.systems import System as System
    from prep.training.systems import Target as Target

_PARTS = Table(
    "parts of training",
    {
        "SYSTEMS": "prep.training.systems:SYSTEMS",
        "CertifiedData": "prep.training.data:CertifiedData",
        "Hyperparameters": "prep.training.systems:Hyperparameters",
        "RunResult": "prep.training.result:RunResult",
        "System": "prep.training.systems:System",
        "Target": "prep.training.systems:Target",
        "TrainingModule": "prep.training.module:TrainingModule",
        "fit": "prep.training.run:fit",
    },
)
__all__ = ["SYSTEMS", "CertifiedData", "Hyperparameters", "RunResult", "System", "Target", "TrainingModule", "fit"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _PARTS.load(name)
    raise AttributeError(f"module 'prep.training' has no attribute {name!r}")
