"""Before the first step, right after it and after the warm-up: the loss and the metric mean what they say, a step
changes something, and what was learned beats predicting nothing.

A wrong loss trains as happily as a right one. So each system is asked, on one certified batch, what its loss and metric
make of predictions whose scores are known: perfect ones, zero, and perfect ones with unit normal noise.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prep.blocks import Array
from prep.errors import UnfinishedError, Where
from prep.training.systems import System
from prep.training.systems.system import Batch

_EXACT = 1e-3
_FEWEST, _SETTLED = 50, 200


def prove_scores(system: System, batch: Batch) -> None:
    """`UnfinishedError` unless loss and metric score every prediction of `System.known` as they have to."""
    for what, given, wanted in system.known(batch):
        tolerance = _EXACT * max(wanted, 1.0)
        for kind, score in (
            ("loss", float(system.loss(given, batch))),
            (f"metric {system.metric}", system.metrics(system.sums(given, batch))[system.metric]),
        ):
            if not abs(score - wanted) <= tolerance:
                raise _refuse(
                    system,
                    f"the {kind} does not score {what} as it has to",
                    measured=f"{score:.6g}",
                    allowed=f"{wanted:.6g}, within {tolerance:.2g}",
                    remedy="see that it averages over what the mask counts, neither sums nor counts padding, and takes "
                    "prediction and target of the same sample and feature",
                )


def prove_step0(system: System, loss: float) -> None:
    """`UnfinishedError` unless the first loss is what the system says it is before anything is learned."""
    low, high = system.first_loss
    if not low <= loss <= high:
        raise _refuse(
            system,
            "the first loss is far from what predicting nothing scores on these data",
            measured=f"{loss:.6g}",
            allowed=f"{low:.3g} to {high:.3g}, the baseline being {system.baseline:.6g}",
            remedy="see that both sides of the loss are normalised the same way, that it is averaged, and that the "
            "last layer begins near zero",
        )


def fingerprint(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Sums and squares of every parameter: another one after any step that changed something."""
    values = [each.detach().double() for each in parameters]
    return torch.stack([torch.stack([each.sum(), each.square().sum()]) for each in values])


def prove_gradient(system: System, norm: float) -> None:
    """`UnfinishedError` where no gradient reaches the parameters; weight decay alone would still move them."""
    if norm == 0.0:
        raise _refuse(
            system,
            "the first step changed no parameter for the sake of the loss",
            measured="gradient norm 0",
            allowed="a gradient above 0",
            remedy="see that the loss depends on the model's parameters: nothing detached, nothing taken without grad",
        )


def prove_change(system: System, before: Tensor, after: Tensor) -> None:
    """`UnfinishedError` where a step has changed no parameter."""
    if bool((before == after).all()):
        raise _refuse(
            system,
            "the first step changed no parameter",
            measured="‖Δθ‖ = 0",
            allowed="‖Δθ‖ > 0",
            remedy="see that the optimiser holds the model's parameters, that its step is called, and that the rate is "
            "above 0",
        )


def prove_frozen(system: System, before: Tensor, after: Tensor) -> None:
    """`UnfinishedError` where parameters moved while metrics were taken."""
    if not bool((before == after).all()):
        raise _refuse(
            system,
            "parameters changed while the metrics were taken",
            measured=f"{int((before != after).any(dim=1).sum())} parameter tensors changed",
            allowed="frozen weights",
            remedy="take metrics in a pass of their own, without a step; a loss of moving weights flatters",
        )


def score_of_nothing(system: System, batches: Iterable[Batch]) -> float:
    """The metric of predicting zero on ``batches``; the system's baseline where zero is not a prediction of it."""
    sums: dict[str, Array] = {}
    for batch in batches:
        zero = system.nothing(batch)
        if zero is None:
            return system.baseline
        for name, value in system.sums(zero, batch).items():
            sums[name] = sums[name] + value if name in sums else value
    return system.metrics(sums)[system.metric]


def settled(system: System, steps: int, planned: int) -> bool:
    """Whether the rate has risen, and after that 200 steps more were made, or half of all that are left, but 50."""
    warm = system.hyperparameters.warmup * planned
    return steps >= warm + max(_FEWEST, min(_SETTLED, (planned - warm) / 2))


def prove_learning(system: System, score: float, nothing: float) -> None:
    """`UnfinishedError` where the frozen weights are no better on val than predicting nothing."""
    if not score < nothing:
        raise _refuse(
            system,
            "the model has learned nothing: after the warm-up it is no better than predicting zero",
            split="val",
            measured=f"{system.metric} {score:.6g}",
            allowed=f"below {nothing:.6g}, what predicting zero scores on the same rows",
            remedy="see that inputs and targets of a batch belong together and what the probes say of "
            "them (`prep validate PATH --json -`, baselines); where they find a signal, lower the learning rate",
        )


def _refuse(
    system: System, what: str, *, measured: str, allowed: str, remedy: str, split: str = "train"
) -> UnfinishedError:
    where = Where(dataset=system.data.id, split=split, key=type(system).__name__.lower())
    return UnfinishedError(what, where=where, measured=measured, allowed=allowed, remedy=remedy)
