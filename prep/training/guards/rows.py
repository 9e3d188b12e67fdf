"""Which stored rows a batch holds: computed from the order of the batches, so that nothing has to be kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from prep.gate import CertifiedDataset
from prep.loaders.batches import Batches
from prep.loaders.order import Order
from prep.training.data import Pieces

_NAMED = 8


def rows_of(loader: object, index: int) -> NDArray[np.int64] | None:
    """The stored rows of batch ``index`` of the pass that ``loader`` is in; None for a loader that is not ours."""
    if isinstance(loader, Pieces):
        index //= loader.system.pieces
        loader = loader.batches
    if not isinstance(loader, Batches) or not 0 <= index < len(loader):
        return None
    place = loader.place
    # That is the batch that comes next: after the last one, the first of the next epoch.
    epoch = place["epoch"] - (place["batch"] == 0)
    return batch_rows(loader.order, epoch, index) if epoch >= 0 else None


def batch_rows(order: Order, epoch: int, batch: int) -> NDArray[np.int64]:
    """The stored rows of a batch, in its order."""
    low, high = order.bounds(batch)
    return np.concatenate(list(_parts(order, epoch, low, high)))


def identities(data: CertifiedDataset, rows: NDArray[np.int64]) -> str:
    """What the id fields say of the first of these rows, as text; empty where the dataset has no id."""
    names = [spec.name for spec in data.spec.fields if spec.role == "id"]
    return "; ".join(
        f"{name} " + ", ".join(str(data.rows(name, row, row + 1)[0]) for row in rows[:_NAMED].tolist())
        for name in names
    )


def _parts(order: Order, epoch: int, low: int, high: int) -> Iterator[NDArray[np.int64]]:
    for window in order.windows(epoch, low):
        if window.first >= high:
            return
        held = np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in window.runs])
        taken = held if window.index is None else held[window.index]
        yield taken[max(low - window.first, 0) : high - window.first]
