"""The table: what is compared with whom on which data, which ratio is wanted, and how both have to agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks import ours, peers, references
from benchmarks.agreement import Close, below, same_values
from benchmarks.data import Batched, Made, ManyChunks, Matrices, Recipe, Table, Windows
from benchmarks.measure import Job

Prepare = Callable[[Made], Job]
Unit = Literal["GB/s", "matrices/s", "s", "MiB"]
SAME, FLOAT32 = Close(), Close(1e-4, "sums in float32")


@dataclass(frozen=True, slots=True)
class Goal:
    """``ratio >= limit`` or ``ratio <= limit``."""

    sense: Literal[">=", "<="]
    limit: float

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:g}"

    def met(self, ratio: float) -> bool:
        """Whether a ratio is as wanted."""
        return ratio >= self.limit if self.sense == ">=" else ratio <= self.limit


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row: ``ours`` and ``peer`` on ``data``, each measured in ``unit``; the ratio is ours over peer.

    Without a peer the ratio is ours itself, and the goal speaks of it. ``peer_data`` is what the peer reads where that
    is another dataset: then the row compares speeds, not results. ``agree(ours, peer)`` demands the same results of
    both, ``right(ours, reference)`` of ours and ``reference``. ``small`` takes the place of ``data`` in the tests: the
    same with defects that both have to find.
    """

    name: str
    data: Recipe
    ours: Prepare
    peer: Prepare | None
    unit: Unit
    goal: Goal | None = None
    agree: Callable[[Any, Any], None] = SAME
    reference: Prepare | None = None
    right: Callable[[Any, Any], None] = SAME
    peer_data: Recipe | None = None
    small: Recipe | None = None

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The datasets that have to be there, ours first."""
        return (self.data,) if self.peer_data is None else (self.data, self.peer_data)


_TABLE, _QUARTER = Table(), Table(share=0.25)


def _statistics(
    name: str, peer: Prepare, goal: Goal | None, agree: Callable[[Any, Any], None], exact: Prepare | None = None
) -> tuple[Comparison, Comparison]:
    """Moments to the fourth order without and with quantiles of all values, beside what a peer has of them: ``exact``
    where that has quantiles as well, from memory and of a quarter of the rows.
    """
    data, right = _TABLE if exact is None else _QUARTER, references.moments()
    return (
        Comparison(f"moments, {name}", data, ours.moments(), peer, "GB/s", goal, agree, right),
        Comparison(
            f"moments + quantiles of all values, {name}",
            *(data, ours.moments(quantiles=True), exact or peer, "GB/s", goal, agree, right),
        ),
    )


def _narrow(width: int) -> Comparison:
    return Comparison(
        name=f"moments of {width} columns, beside 16",
        data=Table(width, 0.25),
        ours=ours.moments(),
        peer=ours.moments(),
        peer_data=_QUARTER,
        unit="GB/s",
        goal=Goal(">=", 0.5),
        reference=references.moments(),
    )


def _variant(name: str, data: Table) -> Comparison:
    masked = bool(data.mask)
    return Comparison(
        name=f"moments, {name}, beside plain",
        data=data,
        ours=ours.moments(masked=masked, grouped=data.grouped),
        peer=ours.moments(),
        peer_data=data,
        unit="GB/s",
        goal=Goal(">=", 0.5),
        reference=references.moments(masked=masked, grouped=data.grouped),
    )


def _reads(name: str, data: Recipe, *, cold: bool = False) -> Comparison:
    return Comparison(
        f"verified reads of {name}, beside the same unverified",
        *(data, ours.reads(verified=True, cold=cold), ours.reads(verified=False, cold=cold)),
        "GB/s",
        Goal(">=", 0.8),
    )


def _batches(name: str, mine: Prepare, peer: Prepare, least: float, data: Recipe | None = None) -> Comparison:
    agree = SAME if peer is not peers.read_and_hash else lambda ours, other: None  # which hands out no samples
    return Comparison(
        f"verified random batches {name}", data or Batched(), mine, peer, "GB/s", Goal(">=", least), agree
    )


def _memory(verb: str, data: Recipe, size: str) -> Comparison:
    goal = Goal("<=", 512)
    return Comparison(
        f"memory of {verb} on {size}, beyond imports", data, ours.memory(verb), None, "MiB", goal, below(512)
    )


COMPARISONS: tuple[Comparison, ...] = (
    *_statistics("dask.array", peers.dask_array, Goal(">=", 15), FLOAT32),
    *_statistics("scikit-learn partial_fit", peers.scikit_learn, Goal(">=", 10), SAME),
    *_statistics("xarray", peers.xarray, None, FLOAT32),
    *_statistics("LeRobot's algorithm", peers.lerobot, None, FLOAT32),
    *_statistics(
        *("polars in memory (a quarter of the rows)", peers.polars(quantiles=False), None),
        Close(1e-4, FLOAT32.why, quantiles=0.03),  # it takes a neighbour of the order statistic
        peers.polars(quantiles=True),
    ),
    *_statistics(
        *("duckdb in memory (a quarter of the rows)", peers.duckdb(quantiles=False), None),
        SAME,
        peers.duckdb(quantiles=True),
    ),
    Comparison(
        "moments, 2 workers beside 1",
        _TABLE,
        ours.moments(),
        ours.moments(workers=1),
        "GB/s",
        Goal(">=", 1.8),
        Close(0.0, "not one bit depends on the number of workers"),
    ),
    *map(_narrow, (1, 3, 6, 12)),
    _variant("padding masked", Table(share=0.25, mask="padding")),
    _variant("a quarter masked at random", Table(share=0.25, mask="random")),
    _variant("in 30 groups", Table(share=0.25, grouped=True)),
    Comparison(
        "hermitian + trace_n + psd, batched Cholesky alone",
        Matrices(),
        ours.matrices,
        peers.cholesky,
        "matrices/s",
        Goal(">=", 0.8),
        reference=references.matrices,
        right=Close(1e-6, "the residual of rounding is summed in another order"),
        small=Matrices(planted=3),
    ),
    Comparison(
        "hermitian + trace_n + psd, batched eigvalsh (a sixteenth of the matrices)",
        Matrices(share=1 / 48),
        ours.matrices,
        peers.eigenvalues,
        "matrices/s",
        small=Matrices(planted=3),
    ),
    _reads("plain chunks in the page cache", _QUARTER),
    _reads("plain chunks on disk", _QUARTER, cold=True),
    _reads("zstd chunks", Table(share=0.25, compression="zstd")),
    _batches("held in memory, gathering from RAM", ours.batches(held=True), peers.gather, 0.7),
    _batches("streamed, bare loop of read + BLAKE3", ours.batches(held=False), peers.read_and_hash, 0.7),
    _batches(
        *("streamed in order, bare loop of read + BLAKE3", ours.batches(held=False, shuffle=False)),
        *(peers.read_and_hash, 0.7),
    ),
    *(
        _batches(f"{how}, DataLoader over h5py, {workers} workers", ours.batches(held=held), peer, 50, Batched(1 / 16))
        for workers, peer in ((0, peers.data_loader(0)), (2, peers.data_loader(2)))
        for how, held in (("held in memory", True), ("streamed", False))
    ),
    Comparison(
        "admission of 262,144 chunks",
        ManyChunks(),
        ours.admission,
        None,
        "s",
        Goal("<=", 0.05),
        reference=references.manifest,
    ),
    Comparison(
        "validate, pandera in memory (an eighth of the rows)",
        Windows(share=0.125),
        ours.validate(),
        peers.pandera,
        "s",
        small=Windows(share=0.125, planted=True),
    ),
    Comparison(
        "validate, bare loop of read + BLAKE3",
        Windows(),
        ours.validate(),
        peers.read_and_hash,
        "s",
        Goal("<=", 1.5),
        reference=references.passed,
    ),
    Comparison(
        "validate's pass, quantiles of all values, bare loop of read + BLAKE3",
        Windows(),
        ours.validate_every_value,
        peers.read_and_hash,
        "s",
        Goal("<=", 3),
    ),
    Comparison(
        "normalize, copy of the file through one buffer",
        Windows(),
        ours.normalize,
        peers.copy,
        "s",
        Goal("<=", 1.5),
        agree=lambda ours, other: None,  # the copy is not normalised
        reference=references.standardised,
        right=same_values,
    ),
    Comparison(
        "validate, 2 workers beside 1",
        Windows(),
        ours.validate(),
        ours.validate(workers=1),
        "GB/s",
        Goal(">=", 1.8),
    ),
    Comparison(
        "validate 2 GiB, beside 1 GiB",
        Windows(share=2),
        ours.validate(),
        ours.validate(),
        "GB/s",
        Goal(">=", 0.95),
        peer_data=Windows(),
        reference=references.passed,
    ),
    *(_memory(verb, Windows(share=2), "2 GiB") for verb in ("stats", "validate", "normalize")),
)
"""Names of sizes are those of the default, a table of 1 GiB; ``--rows`` scales them all."""

LARGE: tuple[Comparison, ...] = tuple(
    _memory(verb, Windows(share=32, raw=True), "32 GiB") for verb in ("stats", "validate")
)
"""What `make bench-large` adds: memory does not grow with the dataset (raw, so that one copy of it is enough)."""
