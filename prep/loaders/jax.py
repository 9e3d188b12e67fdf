"""Certified batches as JAX arrays, on any device or sharding; resident there when the split fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from numpy.typing import NDArray

from prep.blocks import FieldSpec
from prep.errors import UsageError, Where
from prep.gate import CertifiedDataset
from prep.loaders.batches import OPTIONS, Batches
from prep.loaders.options import demand_options, demand_types
from prep.loaders.placement import Batch, Held, HostPlacement
from prep.loaders.residency import SHARE_OF_FREE_MEMORY, Rows

_HOST = HostPlacement()


class JaxPlacement:
    """Arrays on ``device`` (a `jax.Device`, its name as ``"cuda:1"``, or a `jax.sharding.Sharding` of whole batches;
    default: JAX's own).

    They are as stored, or every floating field is of ``dtype`` (or each of its own, by name), and complex fields are
    pairs of real numbers, (..., 2), where ``complex_pairs``.
    """

    def __init__(self, device: Any = None, dtype: Any = None, *, complex_pairs: bool = False) -> None:
        self._device = _device(device)
        self._dtype, self._complex_pairs = dtype, complex_pairs

    def demand_types(self, dataset: CertifiedDataset, fields: Sequence[str]) -> None:
        """`UsageError` for a dtype that is none or would cut values, and for 64 bits where JAX would make 32 of them
        unasked.
        """

        def fits(spec: FieldSpec, wanted: Any) -> bool:
            if not _is_type(wanted):
                return False
            if spec.dtype.kind == "c" and not self._complex_pairs:
                return jnp.issubdtype(wanted, jnp.complexfloating)
            return spec.dtype.kind not in "fc" or jnp.issubdtype(wanted, jnp.inexact)

        def floating(wanted: Any) -> bool:
            return _is_type(wanted) and jnp.issubdtype(wanted, jnp.floating)

        demand_types(dataset, fields, self._dtype, fits, floating, known="a floating dtype of JAX")
        if _wide():
            return
        for name in fields:
            stored = dataset.spec[name].dtype
            wanted = self._wanted(name, stored)
            if np.dtype(stored if wanted is None else wanted) in (np.float64, np.complex128, np.int64, np.uint64):
                raise UsageError(
                    "JAX would cut these values to 32 bits without a word",
                    where=Where(dataset=dataset.id, field=name),
                    measured=f"{stored if wanted is None else np.dtype(wanted)} with jax_enable_x64 off",
                    allowed="types of 32 bits and less, or a dtype that you name",
                    remedy='jax.config.update("jax_enable_x64", True), or dtype=jnp.float32 (by field: '
                    "{name: dtype}), or name only the fields that are needed with fields=",
                )

    def demand_shards(self, batches: Batches) -> None:
        """`UsageError` where a sharding does not divide every batch."""
        if isinstance(self._device, jax.Device):
            return
        order = batches.order
        for low, high in {order.bounds(0), order.bounds(order.batches - 1)}:
            for name in batches.fields:
                spec = batches.dataset.spec[name]
                pair = (2,) if self._complex_pairs and spec.dtype.kind == "c" else ()
                shape = (high - low, *spec.shape, *pair)
                try:
                    self._device.shard_shape(shape)
                except ValueError as error:
                    raise UsageError(
                        "this sharding does not divide every batch",
                        where=Where(dataset=batches.dataset.id, field=name, split=batches.split),
                        measured=f"a batch of shape {shape}: {(str(error).splitlines() or [''])[0]}"[:300],
                        allowed="a batch_size that the devices divide, and with a short last batch drop_last=True",
                        remedy="choose such a batch_size, with drop_last=True or a sharding without its first axis",
                    ) from error

    def room(self, size: int) -> bool:
        """Whether half of the free memory of the device is enough; never on a CPU, whose memory is the host's."""
        if not isinstance(self._device, jax.Device) or self._device.platform == "cpu":
            return False
        stats = self._device.memory_stats() or {}
        free = stats.get("bytes_limit", 0) - stats.get("bytes_in_use", 0)
        return bool(size <= SHARE_OF_FREE_MEMORY * free)

    def agreed(self, held: bool, ranks: int) -> bool | None:
        """What all processes of JAX hold, where they are the ranks."""
        if jax.process_count() != ranks:
            return None
        return bool(np.min(process_allgather(np.asarray(held))))

    def hold(self, rows: Rows) -> Held:
        """The arrays themselves."""
        return rows

    def place(self, parts: Iterator[Rows], rows: int) -> Held:
        """Arrays on the device."""
        found: dict[str, jax.Array] = {}
        low = 0
        for part in map(self._move, parts):
            if not found:
                found = {
                    name: jnp.empty((rows, *values.shape[1:]), values.dtype, device=self._device)
                    for name, values in part.items()
                }
            found = {name: _put(found[name], values, low) for name, values in part.items()}
            low += len(next(iter(part.values())))
        return found

    def index(self, index: NDArray[np.int64], held: Held) -> Any:
        """The index where the rows are."""
        return jax.device_put(index.astype(np.int32), self._device) if _placed(held) else index

    def take(self, held: Held, index: Any, low: int, high: int) -> Batch:
        """New arrays where the rows are."""
        if not _placed(held):
            return _HOST.take(held, index, low, high)
        if index is None:
            return {name: values[low:high] for name, values in held.items()}
        return {name: jnp.take(values, index[low:high], axis=0) for name, values in held.items()}

    def own(self, rows: Rows) -> Batch:
        """The arrays themselves."""
        return rows

    def hand_over(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """On the device; JAX copies while it computes, one batch ahead of the one that is computed on."""
        waiting: Batch | None = None
        for batch in batches:
            moved = self._move(batch)
            if waiting is not None:
                yield waiting
            waiting = moved
        if waiting is not None:
            yield waiting

    def _move(self, rows: Rows) -> Batch:
        return {name: self._typed(name, values) for name, values in rows.items()}

    def _typed(self, name: str, values: Any) -> jax.Array:
        if isinstance(values, jax.Array):
            return values
        wanted = self._wanted(name, values.dtype)
        if self._complex_pairs and np.iscomplexobj(values):
            values = values.view(values.real.dtype).reshape(*values.shape, 2)
        # Wider types than JAX has are made narrower here, all others there.
        if wanted is not None and values.dtype.itemsize > 4 and not _wide():
            values = values.astype(np.dtype(wanted))
        placed: jax.Array = jax.device_put(values, self._device)
        return placed if wanted is None else placed.astype(wanted)

    def _wanted(self, name: str, stored: np.dtype[Any]) -> Any:
        if isinstance(self._dtype, Mapping):
            return self._dtype.get(name)
        real = stored.kind == "f" or (stored.kind == "c" and self._complex_pairs)
        return self._dtype if real else None


@partial(jax.jit, donate_argnums=0)
def _put(whole: jax.Array, part: jax.Array, low: int) -> jax.Array:
    """``whole`` with ``part`` from row ``low`` on, in its own memory."""
    return jax.lax.dynamic_update_slice_in_dim(whole, part, low, 0)


def _device(device: Any) -> Any:
    """A `jax.Device` or `Sharding`; `UsageError` where there is none such."""
    if device is None:
        return jax.devices()[0]
    if isinstance(device, jax.Device | jax.sharding.Sharding):
        return device
    try:
        kind, _, number = device.partition(":")
        return jax.local_devices(backend=kind)[int(number or 0)]
    except (AttributeError, RuntimeError, ValueError, IndexError) as error:
        raise UsageError(
            "there is no such device here",
            measured=repr(device),
            allowed=", ".join(map(str, jax.devices())) + ", or a sharding",
            remedy="leave device out, or use a JAX build for the device on a machine that has it",
        ) from error


def _is_type(wanted: Any) -> bool:
    try:
        np.dtype(wanted)
    except TypeError:
        return False
    return True


def _wide() -> bool:
    return bool(jax.dtypes.canonicalize_dtype(np.float64) == np.float64)


def _placed(held: Held) -> bool:
    return isinstance(next(iter(held.values())), jax.Array)


def batches(
    dataset: CertifiedDataset,
    split: str,
    *,
    device: Any = None,
    dtype: Any = None,
    complex_pairs: bool = False,
    rank: int | None = None,
    ranks: int | None = None,
    **options: Any,
) -> Batches:
    """Batches of JAX arrays: `JaxPlacement` tells of ``device``, ``dtype``, ``complex_pairs``, `Batches` of the rest.

    ``rank`` of ``ranks`` are by default the process and the number of processes of JAX. Raises `UsageError` where JAX
    would cut stored values to 32 bits.
    """
    demand_options(options, ("device", "dtype", "complex_pairs", *OPTIONS))
    placement = JaxPlacement(device, dtype, complex_pairs=complex_pairs)
    found = Batches(
        dataset,
        split,
        placement,
        rank=jax.process_index() if rank is None else rank,
        ranks=jax.process_count() if ranks is None else ranks,
        **options,
    )
    placement.demand_types(dataset, found.fields)
    placement.demand_shards(found)
    return found
