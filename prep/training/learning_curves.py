"""A run as columns of numbers, and what can be read off them: how far a loss rose, how it swings, test against train.

How far a loss rose is told in two ways: relative to what it was, where losses are positive, and relative to what was
gained since the baseline. A loss near zero wavers by more than itself in a healthy run, and one that may be negative
has no size of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median, pstdev

Column = Sequence[float | None]

_STAYS = 3  # epochs
_ANNEALED = 0.2  # of the highest rate


@dataclass(frozen=True, slots=True)
class Curves:
    """A run as columns of numbers, one value an epoch (or ``unit``); what is not known is empty or None.

    ``val`` are scores of frozen weights, None where none was taken and NaN where it was none. ``baseline`` is what
    predicting nothing scores on train, ``nothing`` the same on the rows of val (default: the baseline). ``first`` is
    the very first loss and ``first_range`` where it may lie (default: within a factor of three of the baseline).
    ``seen`` and ``test`` are final scores of the same frozen weights on the train and the test split. ``warmup`` is in
    epochs. ``probe`` is what a simple estimator scores in the metric. ``spreads`` are, by field, the root mean square
    in the first batches and the certified one.
    """

    train: Column = ()
    val: Column = ()
    learning_rate: Column = ()
    clip_factor: Column = ()
    unit: str = "epoch"
    warmup: int = 0
    baseline: float | None = None
    nothing: float | None = None
    target: float | None = None
    first: float | None = None
    first_range: tuple[float, float] | None = None
    seen: float | None = None
    test: float | None = None
    probe: float | None = None
    spreads: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def losses(self) -> tuple[float, ...]:
        """Train losses that are finite; val scores where there are none."""
        return finite(self.train) or finite(self.val)

    @property
    def held(self) -> tuple[float, ...]:
        """Scores on what is not trained on."""
        return finite(self.val)

    @property
    def rate(self) -> float | None:
        """The highest learning rate."""
        return max(finite(self.learning_rate), default=None)

    @property
    def start(self) -> float:
        """Where the loss begins: at the baseline, else at its first value."""
        return self.losses[0] if self.baseline is None else self.baseline

    @property
    def units(self) -> str:
        """What a value stands for, in the plural."""
        return f"{self.unit.partition(' ')[0]}s"

    def relative(self, low: float, high: float) -> float:
        """How far ``high`` is above ``low``, relative to ``low`` where all losses are positive, else to the gain."""
        positive = min((*self.losses, *self.held), default=0.0) > 0
        return (high - low) / low if positive else self.lost(low, high)

    def lost(self, low: float, high: float) -> float:
        """Which share of what had been gained since the baseline (or the first epoch) a rise has lost."""
        losses = self.losses
        gain = max(self.start, losses[0]) - min(losses)
        return (high - low) / gain if gain > 0 else math.copysign(math.inf, high - low) if high != low else 0.0

    def swing(self, before: float, after: float) -> float:
        """How far the loss went up or down, relative to the middle where all are positive, else to the gain."""
        positive = min((*self.losses, *self.held)) > 0
        return (after - before) / ((before + after) / 2) if positive else self.lost(before, after)

    def amplitude(self, losses: Sequence[float]) -> float:
        """That of a sine of the same variance, relative to the mean where all are positive, else to the gain."""
        size = math.sqrt(2) * pstdev(losses)
        positive = min((*self.losses, *self.held)) > 0
        return size / fmean(losses) if positive else self.lost(0.0, size)

    def turns(self, losses: Sequence[float], least: float) -> list[int]:
        """Where the loss turned: the places of highs and lows that are ``least`` or more apart, one after the other."""
        found = [0]
        for place, loss in enumerate(losses):
            last = losses[found[-1]]
            if len(found) > 1 and (last - losses[found[-2]]) * (loss - last) >= 0:
                found[-1] = place
            elif abs(self.swing(last, loss)) >= least:
                found.append(place)
        return found

    def annealed(self, window: int) -> bool:
        """Whether the rate of the last epochs is a small part of the highest."""
        rates = finite(self.learning_rate)
        return len(rates) >= len(self.losses) and max(rates[-window:]) < _ANNEALED * max(rates)


def held_to_train(curves: Curves) -> float | None:
    """The test/train ratio of final scores; without them that of val and train, the median of three epochs after the
    warm-up. Of scores that may be negative it is the ratio of what was gained. None where it says nothing.
    """
    if curves.test is not None and curves.seen is not None:
        return _ratio(curves, curves.seen, curves.test)
    pairs = [
        pair
        for pair in zip(curves.train[curves.warmup :], curves.val[curves.warmup :], strict=False)
        if len(finite(pair)) == 2
    ]
    ratios = [_ratio(curves, *finite(pair)) for pair in pairs[-_STAYS:]]
    known = [ratio for ratio in ratios if ratio is not None]
    return median(known) if len(known) == _STAYS else None


def condensed(column: Column, points: int = 40) -> tuple[float | None, ...]:
    """A long, noisy column as means of ``points`` blocks, so that rules see its course and not its noise."""
    if len(column) <= points:
        return tuple(column)
    edges = [round(place * len(column) / points) for place in range(points + 1)]
    blocks = [[each for each in column[start:stop] if each is not None] for start, stop in pairwise(edges)]
    return tuple(fmean(block) if block else None for block in blocks)


def _ratio(curves: Curves, seen: float, held: float) -> float | None:
    if seen > 0 and held > 0:
        return held / seen
    if curves.baseline is None or seen >= curves.baseline or held >= curves.baseline:
        return None
    return (curves.baseline - seen) / (curves.baseline - held)


def finite(column: Column) -> tuple[float, ...]:
    """The values of a column that are numbers."""
    return tuple(value for value in column if value is not None and math.isfinite(value))
