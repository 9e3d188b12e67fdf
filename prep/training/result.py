"""How a run ended, as a value: for people, for `--json`, for `result.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from prep.training.advice import RATIO
from prep.training.learning_curves import Curves, held_to_train

# References that are no estimators: nothing can score below them.
BOUNDS = ("perfect",)


@dataclass(frozen=True, slots=True)
class RunResult:
    """Metrics are those of the best epoch's weights, frozen, on the test split (``test``) and on the train split
    (``train``); ``references`` are simple estimators on the samples of the test split. ``target`` and ``reached`` are
    None where the system has no target; ``warnings`` is what the guards had to say; ``seconds`` is the time of the
    whole run, verification, measuring and the epochs before it was resumed included.
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
    warnings: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Test over train, frozen weights; None where a score is not positive."""
        test, train = self.test[self.metric], self.train[self.metric]
        return test / train if test > 0 and train > 0 else None

    @property
    def verdict(self) -> str:
        """How it ended, in one sentence."""
        score = f"test {self.metric} {self.test[self.metric]:.4g}"
        baseline = self.references.get("zero", self.baseline)
        if self.target is None:
            better = self.test[self.metric] < baseline
            return (
                f"Trained, without a target to reach: {score}, "
                f"{'below' if better else 'no better than'} the baseline {baseline:.4g}"
            )
        if not self.reached:
            return f"Not there yet: {score} is not below the target {self.target:g}"
        seen = self.train[self.metric]
        ratio = held_to_train(Curves(baseline=self.baseline, seen=seen, test=self.test[self.metric]))
        if ratio is not None and ratio > RATIO:
            return (
                f"Overfitted: {score} is below the target {self.target:g}, but on train it is {seen:.4g}, "
                f"{ratio:.3g} times better"
            )
        return f"Done: {score} is below the target {self.target:g}"

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
        ratio = "" if self.ratio is None else f", test/train {self.ratio:.3g}"
        lines.append(f"train {self.metric} {self.train[self.metric]:.4g}, frozen weights{ratio}")
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
        if self.warnings:
            lines.append(f"warnings: {len(self.warnings)}, repeated in summary.md")
        lines.append(
            f"run in {self.run_dir}: summary.md, loss.png, log.txt, metrics.csv, result.json, best.ckpt, last.ckpt"
        )
        return lines
