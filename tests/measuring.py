"""How tests run a fold and a transform: as the engine does, over any cut of the rows, in any order of the workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from prep.blocks import Array, Block, DatasetSpec, FieldSpec
from prep.folds import Fold
from prep.folds.states import decode_states, encode_states
from prep.transforms import Transform


def measure(fold: Fold, arrays: Mapping[str, Array], cuts: Iterable[int] = (), order: Sequence[int] = ()) -> Any:
    """The measurement over all rows cut before each of ``cuts``: absorbed in ``order``, merged in row order.

    As in the engine the memory of a block holds other bytes once it was absorbed, and states come back from a journal.
    """
    rows = len(next(iter(arrays.values())))
    bounds = [0, *sorted({cut for cut in cuts if 0 < cut < rows}), rows]
    segments = list(pairwise(bounds))
    states: dict[int, Any] = {}
    for place in order or range(len(segments)):
        start, stop = segments[place]
        memory = {name: array[start:stop].copy() for name, array in arrays.items()}
        block = Block(start, stop, {name: array.view() for name, array in memory.items()})
        states[place] = fold.absorb(fold.empty(), block)
        for array in memory.values():
            array.reshape(-1).view(np.uint8)[:] = 0xA5
        if getattr(fold, "journaled", True):
            states[place] = decode_states(encode_states({"state": states[place]}))["state"]
    state = states[0]
    for place in range(1, len(segments)):
        state = fold.merge(state, states[place])
    return fold.finish(state)


def fitted(
    transform: Transform, spec: DatasetSpec, field: FieldSpec, options: Mapping[str, Any], arrays: Mapping[str, Array]
) -> dict[str, Any]:
    """The parameters that `prep stats` would find."""
    folds = transform.folds(spec, field, options)
    return transform.fit(spec, field, options, {fold.key: measure(fold, arrays) for fold in folds})


def dataset(*fields: FieldSpec, rows: int, train: int | None = None) -> DatasetSpec:
    """A dataset of ``rows`` samples, the first ``train`` of them (or all) in the train split, the others in val."""
    bound = rows if train is None else train
    return DatasetSpec("test", fields, {"train": (0, bound), "val": (bound, rows), "test": (rows, rows)})


def field(name: str, dtype: str, *dims: tuple[str, int], role: Any = "input", **more: Any) -> FieldSpec:
    """A field of samples with named and sized further dims."""
    return FieldSpec(
        name, np.dtype(dtype), ("sample", *(dim for dim, _ in dims)), tuple(n for _, n in dims), role, **more
    )
