"""What every system says: its model, its loss, what it measures, and when it has reached its target."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from prep.blocks import Array, FieldSpec
from prep.errors import CertificateError, SchemaError, UsageError, Where
from prep.gate import CertifiedDataset
from prep.training.advice import RATIO, STEP0_FACTOR
from prep.training.schedule import KINDS, Schedule

Batch = Mapping[str, Tensor]
Outputs = Mapping[str, Tensor]
Precision = Literal["32-true", "bf16-mixed"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """AdamW with gradients clipped to norm ``clip``; the rate rises over the share ``warmup`` of all steps, then falls
    as ``schedule`` says (`prep.training.schedule`). On a CPU, ``threads`` are used where the model has no work for more
    (0: as torch decides). ``precision`` is Lightning's name of it; a ``compiled`` model goes through torch.compile.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    clip: float = 1.0
    warmup: float = 0.05
    threads: int = 0
    schedule: Schedule = "cosine"
    precision: Precision = "32-true"
    compiled: bool = False

    def replaced(
        self,
        begun: Mapping[str, Any],
        *,
        rate: float | None = None,
        schedule: str | None = None,
        precision: str | None = None,
        compiled: bool | None = None,
    ) -> Hyperparameters:
        """With another rate, schedule or precision, compiled or not; by default as a run was ``begun``. `UsageError`
        for others than there are.
        """
        rate = begun.get("learning_rate", self.learning_rate) if rate is None else rate
        schedule = begun.get("schedule", self.schedule) if schedule is None else schedule
        precision = begun.get("precision", self.precision) if precision is None else precision
        compiled = begun.get("compiled", self.compiled) if compiled is None else compiled
        if not 0.0 < rate < math.inf:
            raise UsageError(
                "a learning rate is a positive number",
                measured=f"{rate:g}",
                allowed="above 0",
                remedy=f"leave --learning-rate out (the system has {self.learning_rate:g}), or raise it",
            )
        if schedule not in KINDS:
            raise UsageError(
                "there is no such schedule",
                measured=schedule,
                allowed=", ".join(KINDS),
                remedy="leave --schedule out, or name one of these",
            )
        exact = demand_precision(precision)
        return replace(self, learning_rate=rate, schedule=schedule, precision=exact, compiled=compiled)

    def to_dict(self) -> dict[str, Any]:
        """What a run that goes on has to share with the one that was begun."""
        shared = ("batch_size", "learning_rate", "schedule", "precision", "compiled")
        return {name: getattr(self, name) for name in shared}


def demand_precision(name: str) -> Precision:
    """The precision of that name; `UsageError` for what is none of `PRECISIONS`."""
    for known in PRECISIONS:
        if name == known:
            return known
    raise UsageError(
        "there is no such precision",
        measured=name,
        allowed=", ".join(PRECISIONS),
        remedy="leave --precision out, or name one of these",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """A run has worked when ``metric`` on the test split, weights frozen, is below ``below``."""

    metric: str
    below: float


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition of success: ``value`` of ``metric`` is to be below ``below``, and of a ratio at most that; ``kind``
    is train, test, ratio or something else that only the system knows.
    """

    kind: str
    metric: str
    value: float
    below: float

    @property
    def met(self) -> bool:
        """Whether it holds; a value that is not finite meets nothing."""
        return self.value <= self.below if self.kind == "ratio" else self.value < self.below


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between ``edges`` (bins + 1,) by label, in ``units``."""

    edges: Array
    units: str
    counts: Mapping[str, Array]


class System(abc.ABC):
    """How to train on one kind of certified data.

    Made from a `CertifiedDataset`, of which the constructor reads metadata and constants only. ``metric`` is what
    decides between epochs (on val) and is compared with ``target`` (on test); predicting zero scores ``baseline``.
    """

    hyperparameters: ClassVar[Hyperparameters]
    metric: ClassVar[str]
    target: ClassVar[Target | None]

    def __init__(self, data: CertifiedDataset) -> None:
        self.data = data

    def certified_baseline(self, field: str) -> float:
        """What predicting zero scores for a target field on train; `CertificateError` where nobody measured it."""
        known = self.data.baselines.get("targets", {})
        if field not in known:
            raise CertificateError(
                "the certificate holds no baseline of a target",
                where=Where(path=str(self.data.path), dataset=self.data.id, field=field),
                measured=", ".join(known),
                allowed="the mean square of every target",
                remedy="run `prep certify` on the dataset again",
            )
        return float(known[field]["zero"])

    def examine(self) -> None:
        """Refuse data that only this system can know to be wrong (`DataError`); every byte is verified by then."""
        return

    @property
    @abc.abstractmethod
    def fields(self) -> tuple[str, ...]:
        """The fields that a batch needs."""

    @property
    @abc.abstractmethod
    def baseline(self) -> float:
        """What predicting zero scores in ``metric``, from the certificate where it has it."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields that the model itself reads: what a prediction needs."""
        return self.fields

    @property
    def predicted(self) -> tuple[str, ...]:
        """The fields that `predictions` speaks of."""
        return tuple(spec.name for spec in by_role(self.data, "target"))

    @abc.abstractmethod
    def model(self) -> nn.Module:
        """A fresh network; it maps a batch to what `loss` and `sums` take. Weights come from torch's generator."""

    @property
    def pieces(self) -> int:
        """How many pieces `cut` makes of every batch."""
        return 1

    def cut(self, batch: Batch) -> Iterator[Batch]:
        """What is trained on and measured step by step, in this order: the batch, or windows of its sequences."""
        yield batch

    @abc.abstractmethod
    def augment(self, batch: Batch) -> Batch:
        """The batch as training sees it; drawn from torch's generator, the batch itself where nothing is to be
        changed.
        """

    @abc.abstractmethod
    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The training loss, a finite scalar."""

    def components(self, outputs: Mapping[str, Tensor], batch: Batch) -> Mapping[str, Tensor]:
        """The terms that `loss` adds up, scalars by name, for people to see; nothing for a loss of one term."""
        return {}

    def certified_probe(self, field: str, zero: float) -> dict[str, float]:
        """The mean squared error of the certificate's linear probe on the test split, as a reference; nothing where
        there is none. ``zero`` is what predicting zero scores there.
        """
        for probe in self.data.baselines.get("probes", ()):
            about = probe["check"], probe["field"], probe.get("split")
            if about == ("learnability", field, "test") and "nmse" in probe:
                return {"linear_probe": float(probe["nmse"]) * zero}
        return {}

    @property
    def first_loss(self) -> tuple[float, float]:
        """Between what the very first loss lies, weights as they are made: within a factor of three of the baseline."""
        return self.baseline / STEP0_FACTOR, self.baseline * STEP0_FACTOR

    def known(self, batch: Batch) -> Iterator[tuple[str, Outputs, float]]:
        """Predictions whose score, in the loss and in ``metric``, is known beforehand: what each is, outputs, score.

        Of a system that can say what is `perfect`: that scores 0, zero its mean square, unit normal noise on all that
        counts 1.
        """
        perfect = self.perfect(batch)
        if perfect is None:
            return
        outputs, counted = perfect
        generator = torch.Generator().manual_seed(0)
        noise = {
            name: torch.randn(value.shape, generator=generator, dtype=value.dtype).to(value.device)
            for name, value in outputs.items()
        }
        yield "a perfect prediction", outputs, 0.0
        zero = {name: torch.zeros_like(value) for name, value in outputs.items()}
        yield "predicting zero", zero, _mean_square(outputs, counted)
        noisy = {name: value + noise[name] for name, value in outputs.items()}
        yield "unit normal noise", noisy, _mean_square(noise, counted)

    def nothing(self, batch: Batch) -> Outputs | None:
        """Outputs that predict zero everywhere; None for a system without `perfect` ones."""
        perfect = self.perfect(batch)
        return None if perfect is None else {name: torch.zeros_like(value) for name, value in perfect[0].items()}

    def perfect(self, batch: Batch) -> tuple[Outputs, Outputs] | None:
        """Outputs that predict ``batch`` exactly, and for each of them 1 where a value counts and 0 where not; None for
        a system whose loss is no mean square of its outputs.
        """
        return None

    def flow(self, sums: Mapping[str, Array]) -> Mapping[str, float] | None:
        """Of a flow: the losses of both directions, ``forward`` and ``inverse``, above what the identity scores, and
        how far the round trip is from where it began, ``reconstruction`` and ``log_det``; None for other systems.
        """
        return None

    def predictions(self, outputs: Outputs, batch: Batch) -> dict[str, Array]:
        """What ``outputs`` say of each of the fields `predicted`, in normalised units: (batch, *shape) float64 or
        complex128.
        """
        return {name: numpy(outputs[name]) for name in self.predicted}

    def joined(self, pieces: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """Predictions for a batch, of those for the pieces that `cut` made of it."""
        (whole,) = pieces
        return dict(whole)

    def truth(self, batch: Batch) -> dict[str, tuple[Array, Array]]:
        """What `predictions` should have been, and 1 where a value counts; a field of which nobody knows is left out.

        Arrays as those of `predictions`.
        """
        perfect = self.perfect(batch)
        if perfect is None:
            return {}
        return {name: (numpy(perfect[0][name]), numpy(perfect[1][name])) for name in perfect[0]}

    def groups(self, batch: Batch) -> tuple[str, Array] | None:
        """What metrics are also told apart by: its name and the group of each row of the batch; None for nothing."""
        return None

    def criteria(self, train: Mapping[str, float], test: Mapping[str, float]) -> tuple[Criterion, ...]:
        """When a run has succeeded, judged on metrics of frozen weights. By default both splits are below the target
        (where there is none, below the baseline), and test is no more than half again above train.
        """
        below = self.target.below if self.target else self.baseline
        seen, score = train[self.metric], test[self.metric]
        ratio = score / seen if seen > 0 else math.inf if score > 0 else 1.0
        return (
            Criterion("train", self.metric, seen, below),
            Criterion("test", self.metric, score, below),
            Criterion("ratio", f"{self.metric}, test/train", ratio, RATIO),
        )

    def exported(self, network: nn.Module) -> nn.Module:
        """``network`` as one graph from a batch of whole samples to what is `predicted`, in normalised units, without
        decisions that depend on values.
        """
        return network

    def histograms(self, sums: Mapping[str, Array]) -> dict[str, Histogram]:
        """Distributions that say how good the model is, by what they are of."""
        return {}

    @abc.abstractmethod
    def sums(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Array]:
        """Additive float64 sums of a batch, any shape; `metrics` takes their totals over a split."""

    @abc.abstractmethod
    def metrics(self, sums: Mapping[str, Array]) -> dict[str, float]:
        """``metric`` and whatever else tells how good the model is, in original units too."""

    @abc.abstractmethod
    def references(self, batches: Iterable[Batch]) -> dict[str, float]:
        """What simple estimators score in ``metric`` on the same batches, by name."""


def _mean_square(outputs: Outputs, counted: Outputs) -> float:
    total = sum(float((counted[name] * value.double().square()).sum()) for name, value in outputs.items())
    return total / sum(float(each.sum()) for each in counted.values())


def require(data: CertifiedDataset, *names: str) -> None:
    """`SchemaError` unless the dataset has all these fields and constants."""
    missing = [name for name in names if name not in data.spec.names]
    if missing:
        raise SchemaError(
            "this system cannot be trained on this dataset",
            where=Where(path=str(data.path), dataset=data.id, field=missing[0]),
            measured=f"missing {', '.join(missing)}",
            allowed=", ".join(names),
            remedy="name the system that fits the data with --system (tabular takes any inputs and targets)",
        )


def by_role(data: CertifiedDataset, role: str) -> tuple[FieldSpec, ...]:
    """The fields of a role, in stored order."""
    return tuple(spec for spec in data.spec.fields if spec.role == role)


def numpy(tensor: Tensor) -> Array:
    """A tensor as a float64 (or complex128) array on the host."""
    array = tensor.detach().cpu().numpy()
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def score_of_zero(pairs: Iterable[tuple[Array, Array]]) -> float:
    """Mean square of the true values that masks of 0 and 1 count, over batches of (mask, true): what zero scores."""
    square = count = 0.0
    for mask, true in pairs:
        square += float(np.sum(mask * true**2))
        count += float(mask.sum())
    return square / count
