"""Badly scaled vectors: a small perceptron on standardised inputs and targets."""

from __future__ import annotations

from prep.gate import CertifiedDataset
from prep.training.systems.perceptron import PerceptronSystem
from prep.training.systems.system import Hyperparameters, Target, require


class Regression(PerceptronSystem):
    """16-64-64-4, mean squared error of the standardised targets; Adam, since nothing decays."""

    hyperparameters = Hyperparameters(epochs=100, batch_size=64, learning_rate=1e-3, warmup=0.02)
    target = Target("mse", 0.05)
    widths = (64, 64)

    def __init__(self, data: CertifiedDataset) -> None:
        require(data, "inputs", "targets")
        super().__init__(data, [data.spec["inputs"]], [data.spec["targets"]])
