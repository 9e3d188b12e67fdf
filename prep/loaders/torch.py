"""Certified batches as torch tensors: from pinned memory to the GPU beside the computation, or resident there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prep.blocks import FieldSpec
from prep.errors import UsageError, Where
from prep.gate import CertifiedDataset
from prep.loaders.batches import OPTIONS, Batches
from prep.loaders.options import demand_options, demand_types
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
            self.device = torch.empty(0, device=device).device  # with its index: "cuda" is the current one
        except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
            raise _no_device(device) from error
        if self.device.type == "meta":
            raise _no_device(device)
        self._dtype, self._complex_pairs = dtype, complex_pairs
        self._cuda = self.device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        if self._cuda:
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def demand_types(self, dataset: CertifiedDataset, fields: Sequence[str]) -> None:
        """`UsageError` for a dtype that is none, that would cut values, or that the device has not."""

        def fits(spec: FieldSpec, wanted: Any) -> bool:
            if not isinstance(wanted, torch.dtype):
                return False
            if spec.dtype.kind == "c" and not self._complex_pairs:
                return wanted.is_complex
            return spec.dtype.kind not in "fc" or wanted.is_floating_point or wanted.is_complex

        def floating(wanted: Any) -> bool:
            return isinstance(wanted, torch.dtype) and wanted.is_floating_point

        demand_types(dataset, fields, self._dtype, fits, floating, known="a floating torch.dtype")
        if self.device.type != "mps":
            return
        for name in fields:
            stored = dataset.spec[name].dtype
            wanted = self._wanted(name, stored.kind == "f" or self._complex_pairs)
            if stored in (np.float64, np.complex128) and wanted in (None, torch.float64, torch.complex128):
                raise UsageError(
                    "this device has no numbers of 64 bits",
                    where=Where(dataset=dataset.id, field=name),
                    measured=f"{wanted or stored} on {self.device}",
                    allowed="types of 32 bits and less",
                    remedy="name one: dtype=torch.float32, or by field dtype={name: torch.complex64}",
                )

    def room(self, size: int) -> bool:
        """Whether half of the GPU's free memory is enough."""
        return self._cuda and size <= SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(self.device)[0]

    def agreed(self, held: bool, ranks: int) -> bool | None:
        """What all ranks of `torch.distributed` hold, where they are the ranks."""
        if not _distributed() or torch.distributed.get_world_size() != ranks:
            return None
        device = torch.device("cpu")
        if torch.distributed.get_backend() == "nccl":
            device = self.device if self._cuda else torch.device("cuda", torch.cuda.current_device())
        found = torch.tensor(int(held), device=device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)
        return bool(found)

    def hold(self, rows: Rows) -> Held:
        """Tensors that share the arrays' memory."""
        return {name: torch.from_numpy(array) for name, array in rows.items()}

    def place(self, parts: Iterator[Rows], rows: int) -> Held:
        """Tensors on the device."""
        found: dict[str, torch.Tensor] = {}
        low = 0
        for part in parts:
            moved = self._moved(self.own(part))
            if not found:
                found = {name: values.new_empty((rows, *values.shape[1:])) for name, values in moved.items()}
            high = low + len(next(iter(moved.values())))
            for name, values in moved.items():
                found[name][low:high] = values
            low = high
        return found

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
        if self.device.type == "mps":  # which has no 64 bits: the cast comes first
            return {name: self._typed(name, each).to(self.device) for name, each in batch.items()}
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
        dtype = self._wanted(name, values.is_floating_point())
        return values if dtype is None else values.to(dtype)

    def _wanted(self, name: str, floating: bool) -> torch.dtype | None:
        if isinstance(self._dtype, Mapping):
            return self._dtype.get(name)
        return self._dtype if floating else None


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
    demand_options(options, ("device", "dtype", "complex_pairs", *OPTIONS))
    placement = TorchPlacement(device, dtype, complex_pairs=complex_pairs)
    found = Batches(
        dataset,
        split,
        placement,
        rank=rank if rank is not None else torch.distributed.get_rank() if _distributed() else 0,
        ranks=ranks if ranks is not None else torch.distributed.get_world_size() if _distributed() else 1,
        **options,
    )
    placement.demand_types(dataset, found.fields)
    return found


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _no_device(device: object) -> UsageError:
    return UsageError(
        "there is no such device here",
        measured=str(device),
        allowed=f"cpu, or one of {torch.cuda.device_count()} CUDA devices",
        remedy='leave device="cpu", or use a torch build for the device on a machine that has it',
    )
