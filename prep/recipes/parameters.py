"""Reads recipe parameters strictly: every name known, every value within its range, or a `ConfigError`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prep.errors import ConfigError, Where


class Rule(Protocol):
    """What one parameter may be."""

    def describe(self) -> str:
        """The allowed values, as a person reads them."""

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number in ``low..high``."""

    low: int
    high: int

    def describe(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Real:
    """A finite number in ``low..high``; ``above`` excludes ``low`` itself."""

    low: float
    high: float
    above: bool = False

    def describe(self) -> str:
        if self.above:
            return f"a number above {self.low:g} and at most {self.high:g}"
        return f"a number from {self.low:g} to {self.high:g}"

    def accepts(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high and not (self.above and value == self.low)


@dataclass(frozen=True, slots=True)
class Interval:
    """Two numbers [from, to] in order, both in ``low..high``; equal ends fix the value."""

    low: float
    high: float

    def describe(self) -> str:
        return f"two numbers [from, to], from ≤ to, within {self.low:g} to {self.high:g}"

    def accepts(self, value: Any) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) == 2
            and all(_is_number(end) and self.low <= end <= self.high for end in value)
            and value[0] <= value[1]
        )


@dataclass(frozen=True, slots=True)
class Numbers:
    """A non-empty list of finite numbers in ``low..high``."""

    low: float
    high: float

    def describe(self) -> str:
        return f"a list of numbers within {self.low:g} to {self.high:g}"

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, list | tuple) or not value:
            return False
        return all(_is_number(item) and self.low <= item <= self.high for item in value)


@dataclass(frozen=True, slots=True)
class Wholes:
    """A list of exactly ``count`` whole numbers in ``low..high``."""

    low: int
    high: int
    count: int

    def describe(self) -> str:
        return f"a list of {self.count} whole numbers from {self.low} to {self.high}"

    def accepts(self, value: Any) -> bool:
        item = Whole(self.low, self.high)
        return isinstance(value, list | tuple) and len(value) == self.count and all(map(item.accepts, value))


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of train, val and test: three numbers above 0 that sum to 1."""

    def describe(self) -> str:
        return "three numbers above 0 that sum to 1: the shares of train, val and test"

    def accepts(self, value: Any) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) == 3
            and all(_is_number(share) and share > 0 for share in value)
            and math.isclose(sum(value), 1.0, abs_tol=1e-9)
        )


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    def describe(self) -> str:
        return "true or false"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def describe(self) -> str:
        return "one of " + ", ".join(self.words)

    def accepts(self, value: Any) -> bool:
        return value in self.words


@dataclass(frozen=True, slots=True)
class Names:
    """A list of distinct names out of ``known``; an empty list stands for all of them."""

    known: Collection[str]

    def describe(self) -> str:
        return "a list of distinct names (empty for all) out of " + ", ".join(self.known)

    def accepts(self, value: Any) -> bool:
        return (
            isinstance(value, list | tuple)
            and all(isinstance(item, str) and item in self.known for item in value)
            and len(set(value)) == len(value)
        )


def check_parameters(recipe: str, parameters: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raise `ConfigError`, naming the parameter, unless the names are those of ``rules`` and every value fits."""
    for name in parameters:
        if name not in rules:
            close = difflib.get_close_matches(name, rules, n=1)
            raise ConfigError(
                f"the recipe {recipe!r} has no parameter {name!r}",
                where=Where(dataset=recipe, key=name),
                measured=name,
                allowed=", ".join(rules),
                remedy=f"did you mean {close[0]!r}?" if close else "remove it or use one of the listed names",
            )
    for name, rule in rules.items():
        if name not in parameters:
            raise ConfigError(
                f"the recipe {recipe!r} needs the parameter {name!r}",
                where=Where(dataset=recipe, key=name),
                measured="missing",
                allowed=rule.describe(),
                remedy="start from the parameters of a scale and override single values",
            )
        if not rule.accepts(parameters[name]):
            raise bad_value(recipe, name, parameters[name], rule.describe())


def bad_value(recipe: str, name: str, value: Any, allowed: str, *, remedy: str = "") -> ConfigError:
    """The `ConfigError` for a parameter whose value makes no sense; for use where two parameters have to agree."""
    return ConfigError(
        f"the recipe {recipe!r} cannot use this value of {name!r}",
        where=Where(dataset=recipe, key=name),
        measured=repr(value),
        allowed=allowed,
        remedy=remedy or f"set {name} to {allowed}",
    )


def split_rows(recipe: str, rows: int, fractions: Sequence[float]) -> tuple[int, int, int]:
    """Rows of train, val and test; raises `ConfigError` where a split would be empty."""
    train, val = round(rows * fractions[0]), round(rows * fractions[1])
    test = rows - train - val
    if min(train, val, test) < 1:
        raise bad_value(
            recipe,
            "fractions",
            list(fractions),
            f"shares that leave at least one of {rows} rows for each split",
            remedy="ask for more samples or for less uneven shares",
        )
    return train, val, test
