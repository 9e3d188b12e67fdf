"""Before the first step and right after it: the loss and the metric mean what they say, and a step changes something.

A wrong loss trains as happily as a right one. So each system is asked, on one certified batch, what its loss and metric
make of predictions whose scores are known: perfect ones, zero, and perfect ones with unit normal noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prep.errors import UnfinishedError, Where
from prep.training.systems import System
from prep.training.systems.system import Batch, Outputs

_EXACT = 1e-3
STEP0_FACTOR = 3.0


def prove_scores(system: System, batch: Batch) -> None:
    """`UnfinishedError` unless loss and metric of a system that can say what a perfect prediction is score it 0, zero
    as its mean square, and unit noise on all that counts 1. A system that cannot is left alone.
    """
    perfect = system.perfect(batch)
    if perfect is None:
        return
    outputs, counted = perfect
    generator = torch.Generator().manual_seed(0)
    noisy = {
        name: value + torch.randn(value.shape, generator=generator, dtype=value.dtype).to(value.device)
        for name, value in outputs.items()
    }
    zero = {name: torch.zeros_like(value) for name, value in outputs.items()}
    square = _mean_square(outputs, counted)
    unit = _mean_square({name: noisy[name] - outputs[name] for name in outputs}, counted)
    for what, given, wanted in (
        ("a perfect prediction", outputs, 0.0),
        ("predicting zero", zero, square),
        ("unit normal noise", noisy, unit),
    ):
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
                    allowed=f"{wanted:.6g} (the mean square of what counts), within {tolerance:.2g}",
                    remedy="see that it averages over what the mask counts, neither sums nor counts padding, and takes "
                    "prediction and target of the same sample and feature",
                )


def prove_step0(system: System, loss: float) -> None:
    """`UnfinishedError` unless the first loss is within a factor of three of the certified baseline."""
    baseline = system.baseline
    if baseline <= 0 or not math.isfinite(baseline):
        return
    if not baseline / STEP0_FACTOR <= loss <= baseline * STEP0_FACTOR:
        raise _refuse(
            system,
            "the first loss is far from what predicting nothing scores on these data",
            measured=f"{loss:.6g}",
            allowed=f"{baseline / STEP0_FACTOR:.3g} to {baseline * STEP0_FACTOR:.3g}, the certified baseline being "
            f"{baseline:.6g}",
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


def _mean_square(outputs: Outputs, counted: Outputs) -> float:
    total = sum(float((counted[name] * value.double().square()).sum()) for name, value in outputs.items())
    return total / sum(float(each.sum()) for each in counted.values())


def _refuse(system: System, what: str, *, measured: str, allowed: str, remedy: str) -> UnfinishedError:
    where = Where(dataset=system.data.id, split="train", key=type(system).__name__.lower())
    return UnfinishedError(what, where=where, measured=measured, allowed=allowed, remedy=remedy)
