"""The decision table: what the numbers of a run say of it, as pure functions of its columns.

Each rule takes `Curves` and returns an `Advice` (cause, evidence, next step) or None; `advise` asks them all. Nothing
here knows torch, files or terminals: guards ask during a run, `prep diagnose` afterwards and of anybody's log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

from prep.training.course import NOTHING_LEARNED, improving, jumped, oscillating, plateau, rising
from prep.training.learning_curves import Column, Curves, finite, held_to_train
from prep.training.next_step import WINDOW, Advice, Rule, lower, other_rate, scaled

STEP0_FACTOR = 3.0  # first loss and baseline
RATIO = 1.5
CLIPPED_WARN, CLIPPED_STOP = 5.0, 50.0


def not_finite(curves: Curves) -> Advice | None:
    """A training loss that is NaN or infinite, or scores on what is not trained on that have become so for good."""
    broken = next((place for place, loss in enumerate(curves.train) if _broken(loss)), None)
    if broken is not None:
        return Advice(
            "not_finite",
            "stop",
            "the training loss is not finite",
            _where(curves, curves.train, broken),
            f"see that the data are finite, then {lower(curves, 10)}",
            scaled(curves, 0.1),
        )
    known = [place for place, score in enumerate(curves.val) if score is not None]
    whole = max((place for place in known if not _broken(curves.val[place])), default=-1)
    if (known and known[-1] > whole) or _broken(curves.test):
        since = next((place for place in known if place > whole), None)
        evidence = f"{curves.test} on test" if since is None else f"{_where(curves, curves.val, since)}, and ever after"
        return Advice(
            "not_finite",
            "stop",
            "the scores on what is not trained on are not finite",
            evidence,
            "see that these data are finite, and look for a division or a logarithm of 0 in the metric",
        )
    return None


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
    nothing = curves.baseline if curves.nothing is None else curves.nothing
    if not held or nothing is None or held[-1] < nothing:
        return None
    seen = finite(curves.train)[-WINDOW:]
    by_heart = bool(seen) and curves.baseline is not None and median(seen) < NOTHING_LEARNED * curves.baseline
    step, rate = ("regularise", None) if by_heart else other_rate(curves)
    return Advice(
        "worse_than_baseline",
        "stop",
        "the model has learned nothing: after the warm-up it is no better than predicting nothing",
        f"validation {held[-1]:.6g}, predicting nothing {nothing:.6g}",
        "see that inputs and targets of a batch belong together and what the probes of the certificate say; where they "
        f"find a signal, {step}",
        rate,
    )


def clipped(curves: Curves) -> Advice | None:
    """Gradients far longer than what they are clipped to."""
    factors = finite(curves.clip_factor[curves.warmup :])
    if not factors or median(factors[-WINDOW:]) <= CLIPPED_WARN:
        return None
    middle = median(factors[-WINDOW:])
    return Advice(
        "clipped",
        "stop" if middle > CLIPPED_STOP else "warn",
        "gradients are far longer than what they are clipped to",
        f"{middle:.3g} x clip, expected below {CLIPPED_WARN:g}",
        f"see that the loss is averaged and that inputs and targets are normalised; else {lower(curves, 3)}",
        scaled(curves, 1 / 3),
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


def done(curves: Curves) -> Advice | None:
    """Below the target on what is not trained on, and as good there as on what is; if nothing else was scored, a note
    that the training loss is.
    """
    ratio = held_to_train(curves)
    score = curves.test if curves.test is not None else min(curves.held or curves.losses, default=math.inf)
    if curves.target is None or not score < curves.target or (ratio or 0.0) > RATIO:
        return None
    unseen = curves.test is None and not finite(curves.val)
    beside = f", test/train {ratio:.3g}" if ratio is not None else ""
    return Advice(
        "done",
        "note" if unseen else "good",
        "the training loss is below the target" if unseen else "the target is reached",
        f"{score:.4g} below {curves.target:g}{beside}" + (", on what was trained on" if unseen else ""),
        "done"
        if curves.test is not None
        else "score what is not trained on"
        if unseen
        else "done: evaluate on the test split",
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
# Those on the course of the loss, which are asked after every epoch of a run.
COURSE: tuple[Rule, ...] = (rising, oscillating, jumped, overfitted, plateau)
# What a rule explains better than others: they say nothing where it speaks.
_COVERS: Mapping[str, frozenset[str]] = {
    "unlearnable": frozenset({"worse_than_baseline", "rising", "oscillating", "jumped", "overfitted", "plateau"}),
    "worse_than_baseline": frozenset({"plateau", "overfitted"}),
    "rising": frozenset({"oscillating", "jumped", "plateau"}),
    "oscillating": frozenset({"jumped", "plateau"}),
    "jumped": frozenset({"plateau"}),
    "plateau": frozenset({"improving"}),
    "done": frozenset({"improving"}),
}


def advise(curves: Curves, rules: Sequence[Rule] = RULES) -> tuple[Advice, ...]:
    """What the table (or ``rules`` of it) says, the most important first; nothing good is said beside a warning."""
    found = {advice.rule: advice for advice in (rule(curves) for rule in rules) if advice is not None}
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


def _broken(value: float | None) -> bool:
    return value is not None and not math.isfinite(value)


def _where(curves: Curves, column: Column, place: int) -> str:
    one, _, rest = curves.unit.partition(" ")
    return f"{column[place]} in {one} {place + 1}" + (f", a {curves.unit}" if rest else "")
