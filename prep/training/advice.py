"""The decision table: what the numbers of a run say of it, as pure functions of its columns.

Each rule takes `Curves` and returns an `Advice` (cause, evidence, next step) or None; `advise` asks them all. Nothing
here knows torch, files or terminals: guards ask during a run, `prep diagnose` afterwards and of anybody's log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from prep.training.learning_curves import Curves, finite, held_to_train

Level = Literal["good", "note", "warn", "stop"]

STEP0_FACTOR = 3.0  # first loss and baseline
JUMP, SWING, STILL, RATIO = 0.2, 0.3, 0.01, 1.5
CLIPPED_WARN, CLIPPED_STOP = 5.0, 50.0
NOTHING_LEARNED = 0.95  # share of the baseline
_STAYS, _SUSTAINED = 3, 5  # epochs
_SWINGS = 4  # three in a row were seen in a run that reached its target
_WINDOW = 5


@dataclass(frozen=True, slots=True)
class Advice:
    """What a rule found: whether it is good, worth a note, a warning, or a reason to stop; why; what shows it; and what
    to do next, with the new learning rate and the field where there is one.
    """

    rule: str
    level: Level
    cause: str
    evidence: str
    next_step: str
    learning_rate: float | None = None
    field: str = ""

    def __str__(self) -> str:
        return f"{self.cause}: {self.evidence}; {self.next_step}"


Rule = Callable[[Curves], Advice | None]


def not_finite(curves: Curves) -> Advice | None:
    """A loss that is NaN or infinite."""
    broken = next((place for place, loss in enumerate(curves.train) if not math.isfinite(loss)), None)
    if broken is None:
        return None
    return Advice(
        "not_finite",
        "stop",
        "the training loss is not finite",
        f"{curves.train[broken]} in epoch {broken + 1}",
        f"see that the data are finite, then {_lower(curves, 10)}",
        _scaled(curves, 0.1),
    )


def first_step(curves: Curves) -> Advice | None:
    """The first loss far from what predicting nothing scores: the data or the loss, never the learning rate."""
    bounds = curves.first_range
    if bounds is None and curves.baseline is not None and curves.baseline > 0:
        bounds = curves.baseline / STEP0_FACTOR, curves.baseline * STEP0_FACTOR
    if curves.first is None or bounds is None or bounds[0] <= curves.first <= bounds[1]:
        return None
    off = _most_off(curves.spreads)
    if off:
        name, measured, certified = off
        return Advice(
            "first_step",
            "stop",
            f"{name} is not on the scale that was certified",
            f"first loss {curves.first:.6g}, baseline {_number(curves.baseline)}; root mean square of {name} "
            f"{measured:.3g}, certified {certified:.3g}",
            f"train on {name} as it is stored, or certify what you train on",
            field=name,
        )
    high = curves.first > bounds[1]
    return Advice(
        "first_step",
        "stop",
        "the first loss is far from what predicting nothing scores on these data",
        f"first loss {curves.first:.6g}, allowed {bounds[0]:.3g} to {bounds[1]:.3g}, baseline "
        f"{_number(curves.baseline)}",
        "see that both sides of the loss are normalised the same way, that it is averaged, and that the last layer "
        "begins near zero"
        if high
        else "see that the loss counts every value once and that no input holds the target",
    )


def unlearnable(curves: Curves) -> Advice | None:
    """Neither a simple estimator nor frozen weights beat predicting nothing."""
    if curves.probe is None or curves.baseline is None or curves.baseline <= 0:
        return None
    level = NOTHING_LEARNED * curves.baseline
    if curves.probe < level or min(curves.held, default=math.inf) < level:
        return None
    held = f", best frozen score {min(curves.held):.4g}" if curves.held else ""
    return Advice(
        "unlearnable",
        "stop",
        "the data cannot be learned",
        f"a simple estimator scores {curves.probe:.4g}{held}, predicting nothing {curves.baseline:.4g}",
        "mend the data: see that inputs and targets of a sample belong together and that inputs tell what the target "
        "depends on; no learning rate helps",
    )


def worse_than_baseline(curves: Curves) -> Advice | None:
    """Frozen weights after the warm-up no better than predicting nothing."""
    held = finite(curves.val[curves.warmup :])
    if not held or curves.baseline is None or held[-1] < curves.baseline:
        return None
    return Advice(
        "worse_than_baseline",
        "stop",
        "the model is no better than predicting nothing after its warm-up",
        f"validation {held[-1]:.6g}, predicting nothing {curves.baseline:.6g}",
        "see that inputs and targets of a batch belong together and what the probes of the certificate say; where they "
        f"find a signal, {_lower(curves, 3)}",
        _scaled(curves, 1 / 3),
    )


def clipped(curves: Curves) -> Advice | None:
    """Gradients far longer than what they are clipped to."""
    factors = finite(curves.clip_factor[curves.warmup :])
    if not factors or median(factors[-_WINDOW:]) <= CLIPPED_WARN:
        return None
    middle = median(factors[-_WINDOW:])
    return Advice(
        "clipped",
        "stop" if middle > CLIPPED_STOP else "warn",
        "gradients are far longer than what they are clipped to",
        f"{middle:.3g} x clip, expected below {CLIPPED_WARN:g}",
        f"see that the loss is averaged and that inputs and targets are normalised; else {_lower(curves, 3)}",
        _scaled(curves, 1 / 3),
    )


def rising(curves: Curves) -> Advice | None:
    """A loss that rises epoch by epoch after the second, or does not come down again: the learning rate is too high."""
    losses = curves.losses[max(curves.warmup, 1) :]
    rises = 0
    while rises + 1 < len(losses) and losses[-rises - 1] > losses[-rises - 2]:
        rises += 1
    low = min(losses, default=0.0)
    above = 0
    while above < len(losses) and curves.relative(low, losses[-above - 1]) > JUMP:
        above += 1
    steady = rises >= _STAYS and curves.relative(losses[-rises - 1], losses[-1]) > JUMP / 4
    lasting = above >= _SUSTAINED and curves.lost(low, min(losses[-_SUSTAINED:])) > JUMP
    if not steady and not lasting:
        return None
    since = f"for {rises} epochs in a row" if steady else f"above its lowest for {above} epochs"
    return Advice(
        "rising",
        "stop" if lasting else "warn",
        "the learning rate is too high: the loss rises",
        f"{losses[-rises - 1] if steady else low:.4g} to {losses[-1]:.4g}, {since}",
        _lower(curves, 3),
        _scaled(curves, 1 / 3),
    )


def jumped(curves: Curves) -> Advice | None:
    """A loss 20 % above its lowest that has lost a fifth of all that was gained, or is there for three epochs."""
    losses = curves.losses[max(curves.warmup, 1) :]
    if len(losses) < 2:
        return None
    before = [min(losses[: -back - 1], default=math.inf) for back in range(_STAYS)]
    jumps = [curves.relative(low, losses[-back - 1]) > JUMP for back, low in enumerate(before) if low < math.inf]
    stays = len(jumps) == _STAYS and all(jumps)
    if not stays and not (jumps[0] and curves.lost(before[0], losses[-1]) > JUMP):
        return None
    return Advice(
        "jumped",
        "warn",
        "the loss has jumped",
        f"{before[-1] if stays else before[0]:.4g} to {losses[-1]:.4g}"
        + (f", and it stays there for {_STAYS} epochs" if stays else ""),
        f"if it does not come down again, {_lower(curves, 3)}",
        _scaled(curves, 1 / 3),
    )


def oscillating(curves: Curves) -> Advice | None:
    """A loss that goes up and down by 30 %."""
    losses = curves.losses[max(curves.warmup, 1) :][-_SWINGS - 1 :]
    swings = [curves.swing(before, after) for before, after in pairwise(losses)]
    turning = all(one * other < 0 for one, other in pairwise(swings))
    if len(swings) < _SWINGS or not turning or min(map(abs, swings)) < SWING:
        return None
    return Advice(
        "oscillating",
        "warn",
        "the learning rate is too high: the loss swings",
        f"up and down by {min(map(abs, swings)):.0%} or more over {len(losses)} epochs",
        _lower(curves, 2),
        _scaled(curves, 1 / 2),
    )


def overfitted(curves: Curves) -> Advice | None:
    """Scores on what is not trained on that are far worse than those on what is."""
    ratio = held_to_train(curves)
    if ratio is None or ratio <= RATIO:
        return None
    other = "test" if curves.test is not None and curves.seen is not None else "validation"
    return Advice(
        "overfitted",
        "warn",
        "the model knows its training samples by heart",
        f"{other}/train {ratio:.3g}, allowed {RATIO:g}",
        "regularise: more samples, more weight decay, a smaller model, or stop early (--patience)",
    )


def plateau(curves: Curves) -> Advice | None:
    """A loss that has stopped falling above the target."""
    losses, held = curves.losses, curves.held or curves.losses
    window = max(_WINDOW, math.ceil(len(losses) / 5))
    if len(losses) < curves.warmup + 2 * window:
        return None
    before, now = min(losses[:-window]), min(losses[-window:])
    if curves.relative(now, before) >= STILL or (curves.target is not None and min(held) < curves.target):
        return None
    best = min(held)
    learned = curves.baseline is None or curves.baseline <= 0 or best < NOTHING_LEARNED * curves.baseline
    evidence = f"{before:.4g} before, {now:.4g} in the last {window} epochs"
    known = curves.target is not None
    evidence += f"; target {curves.target:g}" if known else ""
    if learned and curves.annealed(window):
        return Advice(
            "plateau",
            "note",
            "the loss no longer falls: the schedule has brought the learning rate down",
            evidence,
            f"train more epochs, or {_raise(curves)}",
            _scaled(curves, 3.0),
        )
    return Advice(
        "plateau",
        "warn" if known or not learned else "note",
        "the loss no longer falls" + (", and the target is not reached" if known else ""),
        evidence,
        _raise(curves) + ", or train a larger model"
        if learned
        else f"nothing was learned: see what the probes of the certificate say; where they find a signal, "
        f"{_raise(curves)}",
        _scaled(curves, 3.0),
    )


def done(curves: Curves) -> Advice | None:
    """Below the target on what is not trained on, and as good there as on what is."""
    scores = [curves.test] if curves.test is not None else [min(curves.held)] if curves.held else []
    ratio = held_to_train(curves)
    if curves.target is None or not scores or not scores[0] < curves.target or (ratio or 0.0) > RATIO:
        return None
    beside = f", test/train {ratio:.3g}" if ratio is not None else ""
    return Advice(
        "done",
        "good",
        "the target is reached",
        f"{scores[0]:.4g} below {curves.target:g}{beside}",
        "done: evaluate on the test split" if curves.test is None else "done",
    )


def improving(curves: Curves) -> Advice | None:
    """A loss that still falls."""
    losses = curves.held or curves.losses
    window = max(2, math.ceil(len(losses) / 10))
    if len(losses) <= window or min(losses[-window:]) >= min(losses[:-window]):
        return None
    return Advice(
        "improving", "good", "the loss falls", f"{losses[0]:.4g} to {min(losses):.4g}", "go on: train more epochs"
    )


RULES: tuple[Rule, ...] = (
    not_finite,
    first_step,
    unlearnable,
    worse_than_baseline,
    clipped,
    rising,
    oscillating,
    jumped,
    overfitted,
    plateau,
    done,
    improving,
)
# What a rule explains better than others: they say nothing where it speaks.
_COVERS: Mapping[str, frozenset[str]] = {
    "unlearnable": frozenset({"worse_than_baseline", "rising", "oscillating", "jumped", "overfitted", "plateau"}),
    "worse_than_baseline": frozenset({"plateau", "overfitted"}),
    "rising": frozenset({"jumped", "plateau"}),
    "oscillating": frozenset({"jumped", "plateau"}),
    "jumped": frozenset({"plateau"}),
    "done": frozenset({"improving"}),
}


def advise(curves: Curves) -> tuple[Advice, ...]:
    """What the table says, the most important first; nothing good is said beside a warning."""
    found = {advice.rule: advice for advice in (rule(curves) for rule in RULES) if advice is not None}
    covered = frozenset[str]().union(*(_COVERS.get(rule, frozenset()) for rule in found))
    said = [advice for rule, advice in found.items() if rule not in covered]
    wrong = [advice for advice in said if advice.level in ("warn", "stop")]
    return tuple(sorted(wrong, key=lambda advice: advice.level != "stop") or said)


def _most_off(spreads: Mapping[str, tuple[float, float]]) -> tuple[str, float, float] | None:
    """The field whose scale is furthest from the certified one, if by more than the factor that a loss may be off."""
    away = {
        name: abs(math.log(measured / certified)) if measured > 0 < certified else 0.0
        for name, (measured, certified) in spreads.items()
    }
    worst = max(away, key=away.__getitem__, default="")
    return (worst, *spreads[worst]) if worst and away[worst] > math.log(STEP0_FACTOR) / 2 else None


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"


def _scaled(curves: Curves, factor: float) -> float | None:
    return None if curves.rate is None else float(f"{curves.rate * factor:.2g}")


def _lower(curves: Curves, divisor: int) -> str:
    rate = _scaled(curves, 1 / divisor)
    return f"lower the learning rate {divisor}-fold" + ("" if rate is None else f", from {curves.rate:.3g} to {rate:g}")


def _raise(curves: Curves) -> str:
    rate = _scaled(curves, 3.0)
    return "raise the learning rate 3-fold" + ("" if rate is None else f", from {curves.rate:.3g} to {rate:g}")
