"""How a run ended, as a value: for people, for `--json`, for `result.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# References that are no estimators: nothing can score below them.
BOUNDS = ("perfect",)


@dataclass(frozen=True, slots=True)
class RunResult:
    """Metrics are those of the best epoch's weights, frozen, on the test split (``test``) and on the train split
    (``train``); ``references`` are simple estimators on the samples of the test split. ``target`` and ``reached`` are
    None where the system has no target; ``seconds`` is the time of the whole run, verification, measuring and the
    epochs before it was resumed included.
    """

    dataset: str
    system: str
    run_dir: str
    certificate: str
    root: str
    device: str
    epochs: int
    best_epoch: int
    seconds: float
    step0: float
    baseline: float
    metric: str
    test: Mapping[str, float]
    train: Mapping[str, float]
    references: Mapping[str, float]
    target: float | None
    reached: bool | None

    @property
    def better(self) -> dict[str, float]:
        """The references that score better than the model."""
        score = self.test[self.metric]
        return {name: value for name, value in self.references.items() if name not in BOUNDS and value < score}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready mapping of all fields, and of ``better``."""
        return {**asdict(self), "better": self.better}

    def summary_lines(self) -> list[str]:
        """The result as a person reads it."""
        score = self.test[self.metric]
        beside = ", ".join(f"{name} {value:.4g}" for name, value in self.references.items())
        lines = [
            f"test {self.metric} {score:.4g} (epoch {self.best_epoch} of {self.epochs}, {self.seconds:.0f} s on "
            f"{self.device}); beside it: {beside}",
        ]
        seen = self.train[self.metric]
        ratio = f", test/train {score / seen:.3g}" if score > 0 and seen > 0 else ""
        lines.append(f"train {self.metric} {seen:.4g}, frozen weights{ratio}")
        if self.better:
            named = ", ".join(f"{name} {value:.4g}" for name, value in self.better.items())
            lines.append(f"better than the model: {named}")
        others = [f"{name} {value:.4g}" for name, value in self.test.items() if name != self.metric]
        if others:
            lines.append("also: " + ", ".join(others))
        lines.append(f"first loss {self.step0:.4g}, baseline {self.baseline:.4g}")
        if self.target is not None:
            verdict = "reached" if self.reached else "missed"
            lines.append(f"target {self.metric} < {self.target:g}: {verdict}")
        lines.append(f"run in {self.run_dir}: log.txt, metrics.csv, loss.png, result.json, best.ckpt, last.ckpt")
        return lines
