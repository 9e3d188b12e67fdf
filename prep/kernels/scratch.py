"""Memory that is used again: fresh pages cost more than what is done with them."""

from __future__ import annotations

import numpy as np


class Scratch:
    """Memory that one thread reuses for one piece of work after the other; it grows to the largest."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8).data

    def take(self, size: int) -> memoryview:
        """``size`` bytes, writable; what was taken before is overwritten from now on."""
        if len(self._memory) < size:
            self._memory = np.empty(size, np.uint8).data
        return self._memory[:size]
