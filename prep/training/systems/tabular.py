"""Any dataset with real inputs and targets: a perceptron from all inputs to all targets, for own data."""

from __future__ import annotations

from prep.gate import CertifiedDataset
from prep.training.systems.perceptron import PerceptronSystem
from prep.training.systems.system import Hyperparameters, by_role


class Tabular(PerceptronSystem):
    """Inputs, flattened, to targets; it has no target of its own but the certified baseline."""

    hyperparameters = Hyperparameters(epochs=20, batch_size=256, learning_rate=1e-3, weight_decay=1e-4)
    target = None
    widths = (128, 128)

    def __init__(self, data: CertifiedDataset) -> None:
        super().__init__(data, by_role(data, "input"), by_role(data, "target"))
