"""Equal rows, within a split and, which is a leak, across two: every row's hash is kept and compared at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from prep.blocks import Array, Block
from prep.canonical import canonical_json
from prep.folds.spill import Run, ranges, spill
from prep.kernels.hashing import row_hashes

KEEP = 10
_ROWS_IN_MEMORY = 1 << 20
# A content of so many rows is a copy; what rests, or starts in one state, has more.
_FEW = 3
# Columns of a record: the two halves of the hash, the sample, and how many samples the record stands for.
_LOW, _HIGH, _ROW, _COUNT = range(4)
# What rows that are no evidence are hashed with, beside their number: equal to nothing.
_ALONE = 0x452821E638D01377


@dataclass(frozen=True, slots=True)
class Part:
    """What is hashed of each row of a block: the ``values`` (rows, …), where they are ``telling`` (rows,) bool.

    Rows that are not telling equal no other; None stands for all of them telling.
    """

    values: Array
    telling: Array | None = None


Parts = Callable[..., Sequence[Part]]


@dataclass(frozen=True, slots=True)
class DuplicatesResult:
    """Equal rows among ``rows`` rows; the rows that are equal to each other are one content. Of rows hashed by parts,
    every part is a row here, but for ``across`` and ``shared``, which name a sample once.

    ``distinct`` counts the contents of each split, ``within_count`` the rows that equal an earlier one of their own
    split. ``across_count`` counts the rows that equal one of an earlier split, ``across`` are the first ten of them as
    (first equal row, this row). ``shared_count`` counts the contents of two splits or more, ``shared`` are the ten
    whose later sample comes first, as (first sample in one split, first sample in the next). Indices are sample
    indices.

    ``repeated`` counts the contents of two rows or more. ``by_chance`` is how many of them would be shared if rows were
    independent: of a content of m rows (1 − Σ fᵢᵐ), fᵢ the shares of the splits, but not less than 1 − 1/k of k splits,
    which two rows reach at most whatever the splits are drawn from (Cauchy and Schwarz). ``few_shared`` counts the
    shared contents of three rows or fewer.
    """

    rows: int
    distinct: Mapping[str, int]
    within_count: int
    across: tuple[tuple[int, int], ...]
    across_count: int
    shared: tuple[tuple[int, int], ...]
    shared_count: int
    repeated: int = 0
    by_chance: float = 0.0
    few_shared: int = 0


@dataclass(frozen=True, slots=True)
class HashesState:
    """``fresh`` are hashes (n, 2) uint64 of samples in a row and the first of these; of what was merged, records
    (n, 4) uint64: ``recent`` ones in memory, those before in temporary files.
    """

    fresh: tuple[tuple[int, Array], ...] = ()
    recent: tuple[Array, ...] = ()
    spilled: tuple[Run, ...] = ()


@dataclass(frozen=True)
class RowHashes:
    """Hashes each row over the values of all fields ``names`` (`prep.kernels.hashing`) and finds equal ones; 0.0 and
    -0.0 are equal.

    ``splits`` maps a split to its half-open row range; rows outside all of them form one more split. Equal hashes are
    taken for equal rows. Memory is bounded: beyond a million records, 32 bytes each, merged ones wait in a temporary
    file.
    Of equal rows of one split only ten stay records of their own.

    With ``parts``, a module-level function ``parts(arrays, **arguments) -> [Part, …]`` (as many for every block, named
    by ``label``), each part of a row is hashed for itself and compared with every part of all others; ``arguments`` are
    JSON-ready.

    Beyond 1 only one content of ``every`` is looked at, chosen by its hash, so that equal rows are looked at together:
    ``rows`` and all counts are those of this sample.
    """

    # A record a row is more than it costs to hash the row again.
    journaled: ClassVar[bool] = False

    names: tuple[str, ...]
    splits: Mapping[str, tuple[int, int]]
    label: str = ""
    parts: Parts | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    every: int = 1

    @property
    def key(self) -> str:
        splits = canonical_json({name: list(bounds) for name, bounds in self.splits.items()}).decode()
        arguments = canonical_json(dict(self.arguments)).decode() if self.parts else ""
        return f"row_hashes/{self.label}/{','.join(self.names)}/{splits}/{arguments}" + (
            f"/{self.every}" if self.every > 1 else ""
        )

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(self.names)

    def empty(self) -> HashesState:
        return HashesState()

    def absorb(self, state: HashesState, block: Block) -> HashesState:
        for hashes in self._hashes(block):
            if self.every > 1:
                chosen = np.flatnonzero(hashes[:, _HIGH] < np.uint64((1 << 64) // self.every))
                records = _records(block.start, hashes, chosen)
                state = self._with_records(state, records)
                continue
            ascending = np.sort(hashes[:, _LOW])
            if np.count_nonzero(ascending[1:] != ascending[:-1]) * 2 * KEEP >= len(hashes):
                state = HashesState((*state.fresh, (block.start, hashes)), state.recent, state.spilled)
            else:
                records = self._collapsed(_records(block.start, hashes))
                state = HashesState(state.fresh, (*state.recent, records), state.spilled)
        return state

    def _hashes(self, block: Block) -> Iterator[Array]:
        """Hashes (rows, 2) of whole rows, or of each part in turn."""
        if self.parts is None:
            yield row_hashes([block[name] for name in self.names], same_zero=True)
            return
        for part in self.parts({name: block[name] for name in self.names}, **self.arguments):
            hashes = row_hashes([part.values], same_zero=True)
            if part.telling is not None and not part.telling.all():
                alone = np.arange(block.start, block.stop, dtype=np.uint64)[~part.telling]
                hashes[~part.telling] = row_hashes([alone, np.full(len(alone), _ALONE, np.uint64)])
            yield hashes

    def merge(self, left: HashesState, right: HashesState) -> HashesState:
        state = HashesState((), left.recent, left.spilled)
        for first, hashes in left.fresh:
            state = self._with_hashes(state, first, hashes)
        state = HashesState((), state.recent, (*state.spilled, *right.spilled))
        for records in right.recent:
            state = self._with_records(state, records)
        for first, hashes in right.fresh:
            state = self._with_hashes(state, first, hashes)
        return state

    def finish(self, state: HashesState) -> DuplicatesResult:
        whole = self.merge(state, self.empty())
        pieces = [np.concatenate(whole.recent)] if whole.recent else []
        if whole.spilled:
            runs = (*whole.spilled, *(spill(piece, whole.spilled) for piece in pieces))
            return self._result([self._judged(part) for part in ranges(runs, _ROWS_IN_MEMORY)])
        return self._result([self._judged(piece) for piece in pieces])

    def _with_hashes(self, state: HashesState, first: int, hashes: Array) -> HashesState:
        step = max(_ROWS_IN_MEMORY // 4, 1)
        for start in range(0, len(hashes), step):
            state = self._with_records(state, _records(first + start, hashes[start : start + step]))
        return state

    def _with_records(self, state: HashesState, records: Array) -> HashesState:
        recent = (*state.recent, records)
        # Pieces double in size, so that many small ones cost no more than a few large ones.
        while len(recent) > 1 and len(recent[-1]) >= len(recent[-2]):
            recent = (*recent[:-2], np.concatenate(recent[-2:]))
        if sum(map(len, recent)) > _ROWS_IN_MEMORY:
            kept = self._collapsed(np.concatenate(recent))
            if len(kept) > _ROWS_IN_MEMORY // 2:
                return HashesState((), (), (*state.spilled, spill(kept, state.spilled)))
            recent = (kept,)
        return HashesState((), recent, state.spilled)

    def _collapsed(self, records: Array) -> Array:
        """The records with those beyond the tenth of each content and split counted in the tenth; in another order."""
        lone, sorted_ = self._sorted(records)
        starts = _starts(sorted_[:, [_LOW, _HIGH]], self._split_of(sorted_))
        ranks = np.arange(len(sorted_)) - np.repeat(starts, np.diff(starts, append=len(sorted_)))
        kept = np.flatnonzero(ranks < KEEP)
        if len(kept) == len(sorted_):
            return records
        counts = np.add.reduceat(sorted_[:, _COUNT], kept)
        result = np.concatenate([lone, sorted_[kept]])
        result[len(lone) :, _COUNT] = counts
        return result

    def _sorted(self, records: Array) -> tuple[Array, Array]:
        """Records that no other equals, and the others sorted by content, split and sample."""
        order = np.argsort(records[:, _LOW])
        low = records[order, _LOW]
        equal = low[1:] == low[:-1]
        repeated = np.append(equal, False) | np.append(False, equal) if len(low) else np.zeros(0, bool)
        others = records[order[repeated]]
        others = others[np.lexsort((others[:, _ROW], self._split_of(others), others[:, _HIGH], others[:, _LOW]))]
        return records[order[~repeated]], others

    def _judged(self, records: Array) -> DuplicatesResult:
        """The result over ``records``, in which every content is whole."""
        lone, others = self._sorted(records)
        splits, rows = self._split_of(others), others[:, _ROW].astype(np.int64)
        counts = others[:, _COUNT].astype(np.int64)
        contents = _starts(others[:, [_LOW, _HIGH]])
        first = np.repeat(contents, np.diff(contents, append=len(others)))
        own = _starts(others[:, [_LOW, _HIGH]], splits)
        across = splits != splits[first]
        # The second split of a content: it starts in another split than the content, and the one before it does not.
        later = own[across[own]]
        second = later[~across[later - 1]]
        tally = np.bincount(np.append(splits[own], self._split_of(lone)) + 1, minlength=len(self.splits) + 1)[1:]
        total = int(counts.sum()) + int(lone[:, _COUNT].sum())
        copies = np.add.reduceat(counts, contents) if len(contents) else counts
        held = np.asarray([stop - start for start, stop in self.splits.values() if stop > start], np.float64)
        shares, most = held / max(held.sum(), 1.0), 1 - 1 / max(len(held), 1)
        apart = np.maximum(1 - np.sum(shares ** np.minimum(copies, 1 << 20)[:, np.newaxis], axis=1), most)
        is_shared = np.zeros(len(contents), bool)
        is_shared[np.searchsorted(contents, second, side="right") - 1] = True
        return DuplicatesResult(
            rows=total,
            distinct=dict(zip(self.splits, tally.tolist(), strict=True)),
            within_count=total - len(own) - len(lone),
            across=_first_pairs(rows[first[across]], rows[across]),
            across_count=int(counts[across].sum()),
            shared=_first_pairs(rows[first[second]], rows[second]),
            shared_count=len(second),
            repeated=len(contents),
            # In units that floats add up exactly, in whatever order.
            by_chance=float((np.ceil(apart * 2.0**20) / 2.0**20).sum()),
            few_shared=int(np.count_nonzero(is_shared & (copies <= _FEW))),
        )

    def _result(self, parts: list[DuplicatesResult]) -> DuplicatesResult:
        """Parts with no content in common, together."""
        return DuplicatesResult(
            rows=sum(part.rows for part in parts),
            distinct={name: sum(part.distinct[name] for part in parts) for name in self.splits},
            within_count=sum(part.within_count for part in parts),
            across=_earliest(pair for part in parts for pair in part.across),
            across_count=sum(part.across_count for part in parts),
            shared=_earliest(pair for part in parts for pair in part.shared),
            shared_count=sum(part.shared_count for part in parts),
            repeated=sum(part.repeated for part in parts),
            by_chance=sum(part.by_chance for part in parts),
            few_shared=sum(part.few_shared for part in parts),
        )

    def _split_of(self, records: Array) -> Array:
        """Place of each record's split in ``splits``, -1 for rows in none."""
        rows = records[:, _ROW].astype(np.int64)
        numbers = np.full(len(rows), -1)
        for number, (start, stop) in enumerate(self.splits.values()):
            numbers[(rows >= start) & (rows < stop)] = number
        return numbers


def _records(first: int, hashes: Array, chosen: Array | None = None) -> Array:
    """Records of the samples from ``first`` on, or of those ``chosen``."""
    rows = np.arange(len(hashes)) if chosen is None else chosen
    records = np.empty((len(rows), 4), np.uint64)
    records[:, :_ROW] = hashes if chosen is None else hashes[chosen]
    records[:, _ROW] = rows + first
    records[:, _COUNT] = 1
    return records


def _starts(*columns: Array) -> Array:
    """Places at which any of the sorted columns (n,) or (n, k) changes."""
    changed = np.ones(len(columns[0]), bool)
    changed[1:] = np.logical_or.reduce(
        [np.any(each[1:] != each[:-1], axis=tuple(range(1, each.ndim))) for each in columns]
    )
    return np.flatnonzero(changed)


def _first_pairs(first: Array, second: Array) -> tuple[tuple[int, int], ...]:
    """The pairs of the ten smallest second samples, each once."""
    order = np.lexsort((first, second))
    order = order[_starts(second[order])][:KEEP]
    return tuple(zip(first[order].tolist(), second[order].tolist(), strict=True))


def _earliest(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    once: dict[int, tuple[int, int]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair[1], pair[0])):
        once.setdefault(pair[1], pair)
    return tuple(list(once.values())[:KEEP])
