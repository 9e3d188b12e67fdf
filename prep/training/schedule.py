"""The learning rate of each step: a linear warm-up, then a cosine to zero or less whenever validation stands still."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau

Schedule = Literal["cosine", "plateau"]
KINDS: tuple[Schedule, ...] = get_args(Schedule)

_FACTOR, _PATIENCE = 0.5, 5  # epochs; what swings ask for
_LEAST = 1e-3  # of the rate it began with


def schedules(
    optimizer: Optimizer, kind: Schedule, *, steps: int, warmup: float, batches: int, metric: str
) -> list[dict[str, Any]]:
    """Schedulers as Lightning takes them, for ``steps`` steps, the rate rising over the share ``warmup`` of them.

    ``plateau`` halves the rate when ``metric`` has not improved by 1 % for five epochs of ``batches`` batches, down to
    a thousandth; it is asked after the validation of an epoch and before the epoch is written to a checkpoint.
    """
    rising = max(1, round(warmup * steps))
    if kind == "plateau":
        start = LinearLR(optimizer, start_factor=1.0 / rising, total_iters=rising - 1)
        least = [_LEAST * group["lr"] * rising for group in optimizer.param_groups]
        halved = ReduceLROnPlateau(optimizer, factor=_FACTOR, patience=_PATIENCE, threshold=0.01, min_lr=least)
        return [
            {"scheduler": start, "interval": "step", "name": "warm-up"},
            {"scheduler": halved, "interval": "step", "frequency": batches, "monitor": metric, "name": "plateau"},
        ]

    def rate(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))

    return [{"scheduler": LambdaLR(optimizer, rate), "interval": "step"}]
