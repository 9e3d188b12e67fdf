"""Contiguous torch batches of certified data: shuffled per epoch by seed, verified chunk by chunk, no worker
processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from prep.blocks import Array
from prep.errors import CertificateError, UsageError, Where
from prep.gate import CertifiedDataset
from prep.loaders.residency import fits, free_memory, resident, windows


class TorchBatches:
    """An iterable over one split: each item maps a field to a tensor of shape (batch, *shape), dtype as stored.

    Every row comes once an epoch; the last batch may be short. With ``shuffle`` the order is a permutation drawn from
    ``seed`` and the epoch (`set_epoch`): over the whole split when it fits in memory, else over windows of randomly
    ordered segments. Without it, stored order. ``fields`` default to all but the split flag. Tensors are moved to
    ``device``.
    """

    def __init__(
        self,
        dataset: CertifiedDataset,
        split: str,
        *,
        batch_size: int = 512,
        shuffle: bool = False,
        seed: int = 0,
        device: str | torch.device = "cpu",
        fields: Sequence[str] | None = None,
        in_memory: bool | None = None,
    ) -> None:
        if not isinstance(dataset, CertifiedDataset):
            raise CertificateError(
                f"batches are made of certified data only, not of {type(dataset).__name__}",
                remedy="open the data with prep.open(path)",
            )
        if batch_size < 1:
            raise UsageError(
                "a batch needs samples", measured=batch_size, allowed="1 or more", remedy="raise batch_size"
            )
        known = tuple(spec.name for spec in dataset.spec.fields if spec.role != "split")
        self.fields = tuple(fields) if fields is not None else known
        if not self.fields:
            raise UsageError(
                "a batch needs fields", measured="none", allowed=", ".join(known), remedy="name one or more fields"
            )
        for name in self.fields:
            _ = dataset.spec[name]
        self.dataset, self.split, self.batch_size, self.shuffle, self.seed = dataset, split, batch_size, shuffle, seed
        self.device = torch.device(device)
        self.rows = dataset.row_count(split)
        if self.rows == 0:
            raise UsageError(
                "this split has no samples",
                where=Where(dataset=dataset.id, split=split),
                remedy="train on a split that has samples, or rebuild the dataset with other fractions",
            )
        self.in_memory = fits(dataset, split, self.fields) if in_memory is None else in_memory
        self._epoch = 0

    def __len__(self) -> int:
        return (self.rows + self.batch_size - 1) // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next pass."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        order = np.random.default_rng([self.seed, self._epoch]) if self.shuffle else None
        pieces = iter([self._resident]) if self.in_memory else self._streamed(order)
        left: dict[str, torch.Tensor] | None = None
        for piece in pieces:
            tensors = piece if left is None else {name: torch.cat([left[name], piece[name]]) for name in self.fields}
            count = len(next(iter(tensors.values())))
            index = None if order is None else torch.from_numpy(order.permutation(count))
            whole = count if self.in_memory else count // self.batch_size * self.batch_size
            for low in range(0, whole, self.batch_size):
                yield self._batch(tensors, index, low, min(low + self.batch_size, whole))
            if whole < count:
                left = {
                    name: values[whole:] if index is None else values[index[whole:]] for name, values in tensors.items()
                }
            else:
                left = None
        if left is not None:
            yield self._batch(left, None, 0, len(next(iter(left.values()))))

    def _batch(
        self, tensors: Mapping[str, torch.Tensor], index: torch.Tensor | None, low: int, high: int
    ) -> dict[str, torch.Tensor]:
        # Always a copy: a batch that is changed in place must not change what the next pass sees.
        chosen = torch.arange(low, high) if index is None else index[low:high]
        return {name: values[chosen].to(self.device, non_blocking=True) for name, values in tensors.items()}

    @cached_property
    def _resident(self) -> dict[str, torch.Tensor]:
        return _tensors(resident(self.dataset, self.split, self.fields))

    def _streamed(self, order: np.random.Generator | None) -> Iterator[dict[str, torch.Tensor]]:
        memory = min(free_memory() // 8, 1 << 30)
        for piece in windows(self.dataset, self.split, self.fields, order, memory):
            yield _tensors(piece)


def _tensors(arrays: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
