"""Where batches are wanted: how rows are held, taken and handed over; a framework is one such placement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prep.loaders.residency import Rows

Held = Mapping[str, Any]
Batch = Mapping[str, Any]


class Placement(Protocol):
    """One framework's memory. ``Held`` rows are whatever the placement makes of arrays; a batch taken out of them is a
    copy, so that whoever changes one changes nothing else.
    """

    def room(self, size: int) -> bool:
        """Whether rows of ``size`` bytes may be held where batches are wanted, other than in the host's memory."""

    def agreed(self, held: bool, ranks: int) -> bool | None:
        """Whether each of ``ranks`` says ``held``, which all of them ask at once; None where nobody can be asked."""

    def hold(self, rows: Rows) -> Held:
        """Keep rows in the host's memory."""

    def place(self, parts: Iterator[Rows], rows: int) -> Held:
        """Keep ``rows`` rows where batches are wanted, in their final type; they come in parts, so that the host never
        has them all.
        """

    def index(self, index: NDArray[np.int64], held: Held) -> Any:
        """An order of rows, where it is needed to take them."""

    def take(self, held: Held, index: Any, low: int, high: int) -> Batch:
        """Rows ``index[low:high]`` (``low:high`` where ``index`` is None), copied."""

    def own(self, rows: Rows) -> Batch:
        """A batch of rows that are nobody else's."""

    def hand_over(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Batches where they are wanted and of the type that is wanted, one ahead where that helps."""


class HostPlacement:
    """NumPy arrays in the memory of this machine."""

    def room(self, size: int) -> bool:
        """There is no other memory."""
        return False

    def agreed(self, held: bool, ranks: int) -> bool | None:
        """Nobody can be asked."""
        return None

    def hold(self, rows: Rows) -> Rows:
        """The arrays themselves."""
        return rows

    def place(self, parts: Iterator[Rows], rows: int) -> Rows:
        """There is no other memory (`room`)."""
        raise NotImplementedError

    def index(self, index: NDArray[np.int64], held: Held) -> NDArray[np.int64]:
        """The index itself."""
        return index

    def take(self, held: Held, index: Any, low: int, high: int) -> Batch:
        """New arrays, C-contiguous."""
        if index is None:
            return {name: values[low:high].copy() for name, values in held.items()}
        return {name: np.take(values, index[low:high], axis=0) for name, values in held.items()}

    def own(self, rows: Rows) -> Batch:
        """The rows themselves."""
        return rows

    def hand_over(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """As they are."""
        return batches
