"""How much memory and time the reading of one file may take in the child."""

from __future__ import annotations

from dataclasses import dataclass

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """For one question: bytes of memory, seconds of processor time, seconds until the answer."""

    memory: int
    processor: float
    wall: float

    def __str__(self) -> str:
        return f"{self.memory // MIB} MiB of memory, {self.processor:.0f} s of processor time, {self.wall:.0f} s in all"


@dataclass(frozen=True, slots=True)
class Allowance:
    """Limits that grow with the file: a large one may take longer than a small one that claims to be large.

    ``seconds`` are for any file, ``seconds_per_gib`` come on top; waiting for a disk or for other programs may take
    ``patience`` times as long.
    """

    memory: int
    seconds: float
    seconds_per_gib: float
    patience: float = 4.0

    def limits(self, size: int) -> Limits:
        """For one question about a file of ``size`` bytes."""
        seconds = self.seconds + self.seconds_per_gib * size / GIB
        return Limits(self.memory, seconds, self.patience * seconds)


# Measured: the structure of 262 144 chunks takes 1.5 s and 250 MiB.
OWN = Allowance(2 * GIB, 30, 0.5)
# Every value may have to be decoded for one answer, of 1 MiB a second at the least; one chunk is decoded as a whole.
FOREIGN = Allowance(4 * GIB, 120, 1024)
# Above every limit, so that a child can serve all of them.
MOST_MEMORY = 4 * GIB
