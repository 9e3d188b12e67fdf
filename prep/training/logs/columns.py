"""Which column of a log is what, guessed from its name as people spell it, and its rows as one value an epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from prep.training.learning_curves import condensed

Row = Mapping[str, float]

_SPLITS = {
    **dict.fromkeys(("train", "training", "tr", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "evaluation", "dev", "heldout"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# What is minimised, the likeliest first; a score that is to rise (accuracy, R²) is none.
_MEASURES = (
    *("loss", "cost", "objective", "mse", "nmse", "rmse", "nll", "mae", "error", "err"),
    *("crossentropy", "xent", "ce", "bce", "logloss", "perplexity"),
)
_COUNTERS = {
    "epoch": ("epoch", "epochs", "ep"),
    "step": ("step", "global_step", "steps", "iteration", "iter", "batch"),
}
_RATES = ("lr", "learning_rate", "learningrate")
_NORMS = ("grad_norm", "gradient_norm", "gradnorm", "grad_2_0_norm_total", "grad_2_norm_total", "grad_norm_total")
_BLOCKS = 40
# As in trainloss and lossval.
_GLUED = re.compile(rf"\b({'|'.join(_SPLITS)})({'|'.join(_MEASURES)})\b")


@dataclass(frozen=True, slots=True)
class Guess:
    """Columns by what they are; empty where a log has none. ``epoch`` and ``step`` count, the others are plotted."""

    epoch: str = ""
    step: str = ""
    train: str = ""
    val: str = ""
    test: str = ""
    learning_rate: str = ""
    gradient_norm: str = ""
    clip_factor: str = ""

    @property
    def held(self) -> str:
        """The column of what is not trained on: that of val, else that of test."""
        return self.val or self.test

    def named(self) -> dict[str, str]:
        """What was found, by what it is."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: column for name, column in found.items() if column}


@dataclass(frozen=True, slots=True)
class Series:
    """One value an epoch (or a block of rows), None where there is none; ``unit`` says which of them."""

    unit: str
    columns: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[float | None, ...]:
        """A column, empty where nothing is known."""
        return self.columns.get(name, ())


def guess(names: Iterable[str]) -> Guess:
    """What each column is, by its name: in snake_case, CamelCase, with slashes, dots or dashes, in either order."""
    names = list(names)
    if names[:2] == ["epoch", "train_loss"] and "clip_factor" in names:  # metrics.csv of `prep train`
        return Guess(*("epoch", "", "train_loss", names[2], "", "learning_rate", "gradient_norm", "clip_factor"))
    known = {name: _tokens(name) for name in names}
    joined = {name: "_".join(tokens) for name, tokens in known.items()}
    return Guess(
        epoch=next((name for name, text in joined.items() if text in _COUNTERS["epoch"]), ""),
        step=next((name for name, text in joined.items() if text in _COUNTERS["step"]), ""),
        learning_rate=_first(joined, _RATES),
        gradient_norm=_first(joined, _NORMS),
        clip_factor=_first(joined, ("clip_factor",)),
        **_losses(known),
    )


def series(rows: Sequence[Row], columns: Guess) -> Series:
    """The rows of a log, sparse or not, by epoch: train as the mean of an epoch, all others as its last value.

    Where epochs are not counted, or not whole, or too few for what is known, a row of the result is what lies between
    two validations, else one of forty blocks of rows.
    """
    named = {what: name for what, name in columns.named().items() if what not in _COUNTERS}
    groups, unit = _groups(rows, columns)
    lines = _trained(
        [
            {what: _value(what, [row[name] for row in group if name in row]) for what, name in named.items()}
            for group in groups
        ]
    )
    found = {what: tuple(line.get(what) for line in lines) for what in named}
    if len(lines) > 10 * _BLOCKS and not columns.held:
        found = {what: condensed(values, _BLOCKS) for what, values in found.items()}
        unit = f"block of {len(lines) // _BLOCKS} rows"
    return Series(unit, found)


def _groups(rows: Sequence[Row], columns: Guess) -> tuple[list[list[Row]], str]:
    """Rows that belong together, and what they are."""
    epochs = [row[columns.epoch] for row in rows if columns.epoch in row]
    if epochs and all(value.is_integer() for value in epochs):
        groups: dict[float, list[Row]] = {}
        last = epochs[0]
        for row in rows:
            last = row.get(columns.epoch, last)
            groups.setdefault(last, []).append(row)
        if len(groups) > 2 or len(rows) <= 3 * len(groups):
            return list(groups.values()), "epoch"
    validated = [place for place, row in enumerate(rows) if columns.held in row]
    if len(validated) > 2 and len(validated) < len(rows):
        starts = [0, *(place + 1 for place in validated)]
        parts = [list(rows[start:stop]) for start, stop in pairwise(starts)]
        return parts, "validation"
    counted = [row for row in rows if columns.train in row or columns.held in row]
    if len(counted) > _BLOCKS and not validated:
        edges = [round(place * len(counted) / _BLOCKS) for place in range(_BLOCKS + 1)]
        blocks = [counted[start:stop] for start, stop in pairwise(edges)]
        return blocks, f"block of {len(counted) // _BLOCKS} rows"
    return [[row] for row in counted], "row"


def _trained(lines: Iterable[dict[str, float | None]]) -> list[dict[str, float]]:
    """Lines in which something was trained; what others hold belongs to the line before, if that has none of it."""
    found: list[dict[str, float]] = []
    for line in lines:
        known = {what: value for what, value in line.items() if value is not None}
        if "train" in line and "train" not in known:
            if found:
                found[-1] = {**known, **found[-1]}
        elif known:
            found.append(known)
    return found


def _value(what: str, values: Sequence[float]) -> float | None:
    if not values:
        return None
    return sum(values) / len(values) if what == "train" else values[-1]


def _tokens(name: str) -> list[str]:
    """The words of a name, in lower case."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    words = " ".join(word for word in re.split(r"[^a-z0-9]+", spaced) if word)
    for one, whole in (("cross entropy", "crossentropy"), ("log loss", "logloss")):
        words = words.replace(one, whole)
    return _GLUED.sub(r"\1 \2", words).split()


def _measure(tokens: Sequence[str]) -> str:
    return next((measure for measure in _MEASURES if measure in tokens), "")


def _split(tokens: Sequence[str]) -> str:
    return next((_SPLITS[token] for token in tokens if token in _SPLITS), "")


def _losses(known: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The column of each split, all of one measure: of those that train has, else val, else test, the likeliest of
    those that the others have too.
    """
    found = [{split: _best_loss(known, split, measure) for split in ("train", "val", "test")} for measure in _MEASURES]
    return max(found, key=lambda columns: [bool(column) for column in columns.values()])


def _best_loss(known: Mapping[str, Sequence[str]], split: str, measure: str) -> str:
    """The likeliest column: of the split by name, the overall one before its terms, means of epochs before steps."""
    best, least = "", (math.inf,) * 4
    for name, tokens in known.items():
        owner = _split(tokens)
        if _measure(tokens) != measure or (owner or "train") != split:
            continue
        rank = (float(not owner), float("step" in tokens), float("epoch" not in tokens), float(len(tokens)))
        if rank < least:
            best, least = name, rank
    return best


def _first(joined: Mapping[str, str], wanted: Sequence[str]) -> str:
    """The column of one of these names, else one that begins or ends so, as ``lr-AdamW`` and ``train/lr`` do."""
    for test in (str.__eq__, lambda text, each: text.startswith(f"{each}_") or text.endswith(f"_{each}")):
        for each in wanted:
            for name, text in joined.items():
                if test(text, each):
                    return name
    return ""
