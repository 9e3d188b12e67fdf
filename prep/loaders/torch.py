"""Certified batches as torch tensors: from pinned memory to the GPU beside the computation, or resident there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prep.errors import UsageError
from prep.gate import CertifiedDataset
from prep.loaders.batches import Batches
from prep.loaders.placement import Batch, Held
from prep.loaders.residency import SHARE_OF_FREE_MEMORY, Rows


class TorchPlacement:
    """Tensors on ``device``, as stored, or with every floating field as ``dtype`` (or each by its name), and complex
    fields as pairs of real numbers, (..., 2), where ``complex_pairs``. Casts happen on the device.
    """

    def __init__(
        self,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | Mapping[str, torch.dtype] | None = None,
        *,
        complex_pairs: bool = False,
    ) -> None:
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError, TypeError) as error:
            raise UsageError(
                "there is no such device here",
                measured=str(device),
                allowed=f"cpu, or one of {torch.cuda.device_count()} CUDA devices",
                remedy='leave device="cpu", or use a torch build for the device on a machine that has it',
            ) from error
        self._dtype, self._complex_pairs = dtype, complex_pairs
        self._cuda = self.device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        if self._cuda:
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def room(self, size: int) -> bool:
        """Whether half of the GPU's free memory is enough."""
        return self._cuda and size <= SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(self.device)[0]

    def hold(self, rows: Rows, *, placed: bool) -> Held:
        """Tensors that share the arrays' memory, or tensors on the device, in their final type."""
        tensors = {name: torch.from_numpy(array) for name, array in rows.items()}
        if not placed:
            return tensors
        return {name: self._typed(name, values.to(self.device)) for name, values in tensors.items()}

    def index(self, index: NDArray[np.int64], held: Held) -> Any:
        """The index where the rows are."""
        device = next(iter(held.values())).device
        return index if device.type == "cpu" else torch.from_numpy(index).to(device)

    def take(self, held: Held, index: Any, low: int, high: int) -> Batch:
        """New tensors where the rows are; in pinned memory, where they are to be copied to a GPU."""
        return {name: self._taken(values, index, low, high) for name, values in held.items()}

    def own(self, rows: Rows) -> Batch:
        """Tensors of the same memory; in pinned memory, where they are to be copied to a GPU."""
        return {name: self._pinned(torch.from_numpy(values)) for name, values in rows.items()}

    def hand_over(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """On the device; on CUDA copied on a stream of its own, one batch ahead of the one that is computed on."""
        if self._stream is None:
            return map(self._moved, batches)
        return self._ahead(batches, self._stream)

    def _ahead(self, batches: Iterator[Batch], stream: torch.cuda.Stream) -> Iterator[Batch]:
        waiting: tuple[Batch, torch.cuda.Event] | None = None
        for batch in batches:
            if next(iter(batch.values())).device == self.device:  # resident: it was taken there
                yield batch
                continue
            with torch.cuda.stream(stream):
                moved = self._moved(batch)
                ready = stream.record_event()
            if waiting is not None:
                yield self._arrived(*waiting)
            waiting = moved, ready
        if waiting is not None:
            yield self._arrived(*waiting)

    def _moved(self, batch: Batch) -> Batch:
        return {name: self._typed(name, each.to(self.device, non_blocking=self._cuda)) for name, each in batch.items()}

    def _arrived(self, batch: Batch, ready: torch.cuda.Event) -> Batch:
        current = torch.cuda.current_stream(self.device)
        current.wait_event(ready)
        for values in batch.values():
            values.record_stream(current)
        return batch

    def _taken(self, values: torch.Tensor, index: Any, low: int, high: int) -> torch.Tensor:
        if values.device.type != "cpu":
            return values[low:high].clone() if index is None else torch.index_select(values, 0, index[low:high])
        out = torch.empty((high - low, *values.shape[1:]), dtype=values.dtype, pin_memory=self._cuda)
        if index is None:
            return out.copy_(values[low:high])
        # On one thread: torch would wait for all of its own, which others may be using.
        np.take(values.numpy(), index[low:high], axis=0, out=out.numpy(), mode="clip")
        return out

    def _pinned(self, values: torch.Tensor) -> torch.Tensor:
        return values.pin_memory() if self._cuda and values.device.type == "cpu" else values

    def _typed(self, name: str, values: torch.Tensor) -> torch.Tensor:
        if self._complex_pairs and values.is_complex():
            values = torch.view_as_real(values)
        dtype = self._dtype.get(name) if isinstance(self._dtype, Mapping) else self._dtype
        if dtype is None or not (values.is_floating_point() or isinstance(self._dtype, Mapping)):
            return values
        return values.to(dtype)


def batches(
    dataset: CertifiedDataset,
    split: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | Mapping[str, torch.dtype] | None = None,
    complex_pairs: bool = False,
    rank: int | None = None,
    ranks: int | None = None,
    **options: Any,
) -> Batches:
    """Batches of tensors; see `TorchPlacement` for ``device``, ``dtype`` and ``complex_pairs``, `Batches` for the rest.

    ``rank`` of ``ranks`` are by default those of `torch.distributed` where it is initialised.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return Batches(
        dataset,
        split,
        TorchPlacement(device, dtype, complex_pairs=complex_pairs),
        rank=rank if rank is not None else torch.distributed.get_rank() if distributed else 0,
        ranks=ranks if ranks is not None else torch.distributed.get_world_size() if distributed else 1,
        **options,
    )
