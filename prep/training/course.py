"""Rules of the decision table on the course of a loss: it rises, jumps, swings, stands still or falls."""

from __future__ import annotations

import math

from prep.training.learning_curves import Curves
from prep.training.next_step import JUMP, WINDOW, Advice, Level, astray, longer, lower, other_rate, scaled

SWING, STILL = 0.3, 0.01
NOTHING_LEARNED = 0.95  # share of the baseline
_STAYS, _SUSTAINED = 3, 5  # epochs
_SWINGS = 4  # three in a row were seen in a run that reached its target
_RECENT = 20  # epochs


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
    since = f"for {rises} {curves.units} in a row" if steady else f"above its lowest for {above} {curves.units}"
    return Advice(
        "rising",
        "stop" if lasting else "warn",
        "the learning rate is too high: the loss rises",
        f"{losses[-rises - 1] if steady else low:.4g} to {losses[-1]:.4g}, {since}",
        lower(curves, 3),
        scaled(curves, 1 / 3),
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
    far = astray(curves, losses[-1])
    return Advice(
        "jumped",
        "warn",
        "the learning rate is too high: the loss has jumped above where it began" if far else "the loss has jumped",
        f"{before[-1] if stays else before[0]:.4g} to {losses[-1]:.4g}"
        + (f", and it stays there for {_STAYS} {curves.units}" if stays else ""),
        ("" if far else "if it does not come down again, ") + lower(curves, 3),
        scaled(curves, 1 / 3),
    )


def oscillating(curves: Curves) -> Advice | None:
    """A loss that goes up and down by ±30 %, however fast, and gets nowhere by it."""
    losses = curves.losses[max(curves.warmup, 1) :][-_RECENT:]
    turns = curves.turns(losses, SWING)[-_SWINGS - 1 :] if losses else []
    if len(turns) <= _SWINGS or abs(curves.swing(losses[turns[0]], losses[turns[-1]])) >= SWING:
        return None
    amplitude = curves.amplitude(losses[turns[0] : turns[-1] + 1])
    if amplitude < SWING:
        return None
    return Advice(
        "oscillating",
        "warn",
        "the learning rate is too high: the loss swings",
        f"up and down by ±{amplitude:.0%}, {_SWINGS} swings in {turns[-1] - turns[0]} {curves.units}",
        lower(curves, 2),
        scaled(curves, 1 / 2),
    )


def plateau(curves: Curves) -> Advice | None:
    """A loss that has stopped falling above the target."""
    losses, held = curves.losses, curves.held or curves.losses
    window = max(WINDOW, math.ceil(len(losses) / 5))
    if len(losses) < curves.warmup + 2 * window:
        return None
    before, now = min(losses[:-window]), min(losses[-window:])
    if curves.relative(now, before) >= STILL or (curves.target is not None and min(held) < curves.target):
        return None
    known = curves.target is not None
    level: Level = "warn" if known else "note"
    cause = "the loss no longer falls" + (", and the target is not reached" if known else "")
    step, rate = other_rate(curves)
    if curves.baseline is not None and curves.baseline > 0 and min(held) >= NOTHING_LEARNED * curves.baseline:
        level = "warn"
        step = f"nothing was learned: see what the probes of the certificate say; where they find a signal, {step}"
    elif curves.annealed(window):
        level, cause = "note", "the loss no longer falls: the schedule has brought the learning rate down"
        step = f"{longer(curves)}, or {step}"
    else:
        step += ", or train a larger model"
    evidence = f"{before:.4g} before, {now:.4g} in the last {window} {curves.units}"
    return Advice("plateau", level, cause, evidence + (f"; target {curves.target:g}" if known else ""), step, rate)


def improving(curves: Curves) -> Advice | None:
    """A loss that still falls."""
    losses = curves.held or curves.losses
    window = max(2, math.ceil(len(losses) / 10))
    if len(losses) <= window or min(losses[-window:]) >= min(losses[:-window]):
        return None
    return Advice(
        "improving", "good", "the loss falls", f"{losses[0]:.4g} to {min(losses):.4g}", f"go on: {longer(curves)}"
    )
