"""Everything learned about data is a fold: create, absorb blocks, merge in row order, finish.

A fold is an immutable description of what to measure; its state is a plain value that it creates and updates. Folds
with equal `key` are computed once. Merging is associative over adjacent row ranges and always done in row order, so a
result does not depend on the number of workers. Folds are plain picklable values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from prep.blocks import Block, DatasetSpec


@runtime_checkable
class Fold(Protocol):
    """Measures something over rows. ``fields`` are the fields it has to be offered.

    A state keeps no view of a block: its memory holds other rows soon. Where a class says ``journaled = False``, its
    states are not kept for a pass that goes on later; ``first = True`` lets it see a block before others, so that they
    find in ``Block.shared`` what it noticed.
    """

    @property
    def key(self) -> str: ...

    @property
    def fields(self) -> frozenset[str]: ...

    def empty(self) -> Any:
        """The state that has seen nothing."""

    def absorb(self, state: Any, block: Block) -> Any:
        """The state after also seeing ``block``; may reuse ``state``."""

    def merge(self, left: Any, right: Any) -> Any:
        """The state of two adjacent row ranges, ``left`` first."""

    def finish(self, state: Any) -> Any:
        """The measurement."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows a fold looks at: one split, or all of them (``split == ""``)."""

    split: str
    start: int
    stop: int

    def __str__(self) -> str:
        """The scope as the keys of folds name it."""
        return f"{self.split}[{self.start}:{self.stop}]"

    @classmethod
    def of(cls, spec: DatasetSpec, split: str = "") -> Scope:
        """The range of ``split`` in ``spec``; an absent split is an empty range."""
        if not split:
            return cls("", 0, spec.rows)
        return cls(split, *spec.splits.get(split, (0, 0)))


def meets(fold: Fold, start: int, stop: int) -> bool:
    """Whether ``fold`` looks at any of the rows ``start:stop``."""
    scope = getattr(fold, "scope", None)
    return not isinstance(scope, Scope) or max(scope.start, start) < min(scope.stop, stop)
