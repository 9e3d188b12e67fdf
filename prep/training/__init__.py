"""Training on certified data and nothing else.

The default call is `fit(prep.open(path), run_dir=Path("runs/control"))`. The parts: `systems/` (what is trained on
which data: model, loss, metrics, target), `data` (the only way in), `module` (Lightning), `guards/` (what watches a run
and stops it), `advice` (the decision table), `checkpoint` (atomic, bound to the certificate), `logs/` (what a run
tells), `run` (one run from admission to result) and `result`.

Nothing is imported before it is asked for: the decision table needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prep.training.data import CertifiedData
    from prep.training.module import TrainingModule
    from prep.training.result import RunResult
    from prep.training.run import fit
    from prep.training.systems import SYSTEMS, Hyperparameters, System, Target

__all__ = ["SYSTEMS", "CertifiedData", "Hyperparameters", "RunResult", "System", "Target", "TrainingModule", "fit"]

_HOMES = {
    "CertifiedData": "data",
    "TrainingModule": "module",
    "RunResult": "result",
    "fit": "run",
    "SYSTEMS": "systems",
    "Hyperparameters": "systems",
    "System": "systems",
    "Target": "systems",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
