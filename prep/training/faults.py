"""Failures of training code (`prep.mutations.TRAINING_FAULTS`), planted on a system that is named ``system+fault``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from prep.blocks import Array
from prep.errors import UsageError, Where
from prep.registry import Table
from prep.training.systems.system import Batch, System

FAULTS = Table(
    "training faults",
    {
        "summed_loss": "prep.training.faults:summed_loss",
        "no_updates": "prep.training.faults:no_updates",
        "wrong_index": "prep.training.faults:wrong_index",
        "one_sided_scale": "prep.training.faults:one_sided_scale",
        "moving_weights": "prep.training.faults:moving_weights",
        "turned_sign": "prep.training.faults:turned_sign",
    },
)


def summed_loss(system: System) -> System:
    """The loss was summed over batch and features instead of averaged."""
    average = system.loss

    def loss(outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return average(outputs, batch) * sum(value.numel() for value in outputs.values())

    return _with(system, loss=loss)


def no_updates(system: System) -> System:
    """The optimiser was never given the model's parameters: nothing moved, and the loss only wavered."""
    right = system.loss

    def loss(outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return right(outputs, batch) * 0.0 + right(outputs, batch).detach()

    return _with(system, loss=loss)


def wrong_index(system: System) -> System:
    """The metric compared each prediction with the target of its neighbour."""
    right = system.sums

    def sums(outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Array]:
        return right({name: value.roll(1, 0) for name, value in outputs.items()}, batch)

    return _with(system, sums=sums)


def one_sided_scale(system: System) -> System:
    """The loss scaled one of its sides back to original units: the target was 72 times larger than the prediction."""
    _demand_target(system)
    right = system.loss

    def loss(outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        scaled = {name: 72.0 * value if name in outputs else value for name, value in batch.items()}
        return right(outputs, scaled)

    return _with(system, loss=loss)


def moving_weights(system: System) -> System:
    """Metrics were taken while weights moved, so that chasing the last target looked like learning."""
    right, networks = system.sums, []
    make = system.model

    def model() -> torch.nn.Module:
        networks.append(make())
        return networks[-1]

    def sums(outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Array]:
        with torch.no_grad():
            for parameter in networks[-1].parameters():
                parameter.mul_(0.999)
        return right(outputs, batch)

    return _with(system, model=model, sums=sums)


def turned_sign(system: System) -> System:
    """The target's sign was turned on its way into the batch: training fitted it, and nothing else agreed."""
    _demand_target(system)
    right = system.augment

    def augment(batch: Batch) -> Batch:
        perfect = system.perfect(batch)
        assert perfect is not None
        return right({name: -value if name in perfect[0] else value for name, value in batch.items()})

    return _with(system, augment=augment)


def _demand_target(system: System) -> None:
    if type(system).perfect is System.perfect:
        raise UsageError(
            "the code of this system cannot have this failure",
            where=Where(dataset=system.data.id, key=type(system).__name__.lower()),
            measured="no target that the loss reads as it is stored",
            allowed="a system with such a target",
            remedy="plant another failure, or plant this one in control, regression or tones",
        )


def _with(system: System, **methods: object) -> System:
    for name, method in methods.items():
        setattr(system, name, method)
    return system
