"""What is trained on which data: one file a system, one line in `SYSTEMS`."""

from __future__ import annotations

from prep.registry import Table
from prep.training.systems.system import Hyperparameters, System, Target

SYSTEMS = Table(
    "systems",
    {
        "control": "prep.training.systems.control:Control",
        "covariance": "prep.training.systems.covariance:Covariance",
        "peptide": "prep.training.systems.peptide:Peptide",
        "regression": "prep.training.systems.regression:Regression",
        "tabular": "prep.training.systems.tabular:Tabular",
        "tones": "prep.training.systems.tones:Tones",
    },
)

__all__ = ["SYSTEMS", "Hyperparameters", "System", "Target"]
