"""Batches of certified rows: each row once an epoch, in an order that seed, epoch and rank decide, from any batch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from inspect import signature
from typing import Any

import numpy as np

from prep.errors import CertificateError, UsageError, Where
from prep.gate import CertifiedDataset
from prep.loaders.options import EpochSampler, demand_options, whole_number
from prep.loaders.order import Order, Window
from prep.loaders.placement import Batch, Held, HostPlacement, Placement
from prep.loaders.residency import Memory, Promise, Rows, fits, pieces, resident, streamed

WINDOW_BYTES = 256 << 20
_STATE_VERSION = 1
_PIECE_BYTES = 64 << 20


class Batches:
    """An iterable over one split; each item maps a field to (batch, *shape), as its `Placement` makes them.

    Each pass is an epoch, and the one after it has the next epoch's order, also where a pass was left early. The last
    batch may be short, unless ``drop_last``. With ``shuffle`` the order is drawn from ``seed`` and the epoch: a
    permutation of the whole split where it is held in memory, else one of its chunks and, in windows of
    ``window_bytes``, of the rows of those chunks (docs/loaders.md says how random that is). ``fields`` default to all
    but the split flag.

    ``in_memory`` decides whether the split is held (default: where half of the free memory has room for it); every
    chunk is verified when it is read, once for a split that is held. Of ``ranks`` each takes its own rows; what is held
    is decided by all of them together. `state_dict` says which batch comes next in the pass that moved last, and
    `load_state_dict` goes on there. ``waited`` is for how many seconds those who iterate have waited for batches.

    Raises `CertificateError` for anything but a `CertifiedDataset`, `UsageError` for options that cannot be.
    """

    def __init__(
        self,
        dataset: CertifiedDataset,
        split: str,
        placement: Placement,
        *,
        batch_size: int = 512,
        shuffle: bool = False,
        seed: int = 0,
        fields: Sequence[str] | None = None,
        in_memory: bool | None = None,
        window_bytes: int = WINDOW_BYTES,
        drop_last: bool = False,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if not isinstance(dataset, CertifiedDataset):
            raise CertificateError(
                f"batches are made of certified data only, not of {type(dataset).__name__}",
                remedy="open the data with prep.open(path)",
            )
        known = tuple(spec.name for spec in dataset.spec.fields if spec.role != "split")
        self.fields = tuple(fields) if fields is not None else known
        if not self.fields:
            raise UsageError(
                "a batch needs fields", measured="none", allowed=", ".join(known), remedy="name one or more fields"
            )
        row = sum(dataset.spec[name].row_bytes for name in self.fields)
        start, stop = dataset.bounds(split)
        if start == stop:
            raise UsageError(
                "this split has no samples",
                where=Where(dataset=dataset.id, split=split),
                remedy="train on a split that has samples, or rebuild the dataset with other fractions",
            )
        self.dataset, self.split = dataset, split
        self._placement = placement
        unit = max(dataset.manifest.layouts[name].chunk_rows for name in self.fields)
        streamed_units = max(1, whole_number("window_bytes", window_bytes, 1) // (unit * row))
        order = Order(
            *(start, stop, whole_number("batch_size", batch_size), whole_number("seed", seed)),
            shuffle=bool(shuffle),
            unit=unit,
            rank=whole_number("rank", rank),
            ranks=whole_number("ranks", ranks),
            drop_last=bool(drop_last),
        )
        self._piece = max(1, _PIECE_BYTES // (unit * row)) * unit
        size = (stop - start) * row
        placed = in_memory is not False and placement.room(size)
        held = placed or (fits(size * order.ranks) if in_memory is None else bool(in_memory))
        if in_memory is None and order.shuffle and order.ranks > 1:
            held = self._agreed(held, order.ranks)
        self.in_memory, self._placed = held, placed and held
        self._promise = Promise(size * order.ranks) if held and not placed else None
        self.order = order if held else replace(order, window=streamed_units)
        self.waited = 0.0
        self._held: Held | None = None
        self._memory = Memory()
        self._place = self._start = (0, 0)
        self._pass: object = None
        self._loaded, self._ahead = False, 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None, "_pass": None, "_memory": Memory()}  # no rows: they can be read again

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.order.batches

    @property
    def rows(self) -> int:
        """Rows of an epoch, of this rank."""
        return self.order.rows

    @property
    def batch_size(self) -> int:
        """Rows of a batch."""
        return self.order.batch_size

    @property
    def place(self) -> dict[str, int]:
        """``epoch`` and ``batch`` of the batch that comes next in the pass that moved last."""
        epoch, batch = self._place
        return {"epoch": epoch, "batch": batch}

    @property
    def batch_sampler(self) -> EpochSampler:
        """Through which Lightning says which epoch begins (`follow`)."""
        return EpochSampler(self.follow, self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; where that is the epoch of a state that was loaded, it goes on there."""
        epoch = whole_number("epoch", epoch)
        if epoch != self._start[0]:
            self._start = (epoch, 0)
        self._place, self._pass = self._start, None

    def follow(self, epoch: int) -> None:
        """`set_epoch` for a trainer that counts epochs of its own: where a state was loaded, it counts from there.

        A run that was stopped by a number of steps goes on in the middle of what Lightning takes for a new epoch.
        """
        if self._loaded:
            self._loaded, self._ahead = False, epoch - self._start[0]
        self.set_epoch(epoch - self._ahead)

    def state_dict(self) -> dict[str, Any]:
        """Which batch comes next, and of what order: plain values."""
        order = {name: value for name, value in asdict(self.order).items() if name != "rank"}
        return {
            "version": _STATE_VERSION,
            "root": self.dataset.root,
            "split": self.split,
            "fields": list(self.fields),
            "order": order,
            **self.place,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken: the next pass begins with the batch that would have come next, and its
        order is the one that was begun, also where other memory would make another.

        Raises `CertificateError` for the state of other data, `UsageError` for one of other batches.
        """
        mine = self.state_dict()
        if not isinstance(state, Mapping) or set(state) != set(mine) or not isinstance(state["order"], Mapping):
            raise self._other("is none", str(state)[:80], "what state_dict() returned")
        if state["root"] != self.dataset.root:
            raise CertificateError(
                "this state is of batches of other data",
                where=Where(path=str(self.dataset.path), dataset=self.dataset.id, split=self.split),
                measured=str(state["root"]),
                allowed=self.dataset.root,
                remedy="go on with the very data, or begin anew",
            )
        theirs = {**state, **state["order"]}
        for name, value in {**mine, **mine["order"]}.items():
            if name not in ("order", "epoch", "batch", "window", "unit") and theirs.get(name) != value:
                raise self._other(f"has another {name}", theirs.get(name), value)
        window, epoch, batch = theirs.get("window", -1), state["epoch"], state["batch"]
        if any(type(each) is not int or each < 0 for each in (window, epoch, batch)) or batch >= len(self):
            raise self._other("has no such place", f"epoch {epoch}, batch {batch}", f"0 ≤ batch < {len(self)}")
        if theirs.get("unit") != self.order.unit:
            raise self._other("has another unit", theirs.get("unit"), self.order.unit)
        if self.order.shuffle and window != self.order.window:
            self.order = replace(self.order, window=window)
            self.in_memory = window == 0
            self._placed = self._placed and self.in_memory
            if not self.in_memory:
                self._held = self._promise = None
        self._place = self._start = (epoch, batch)
        self._pass, self._loaded = None, True

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self._start
        self._start, after, self._loaded = (epoch, 0), (epoch + 1, 0), False
        this = self._pass = object()
        found = self._placement.hand_over(self._from(epoch, first))
        try:
            for batch in range(first, len(self)):
                begin = time.perf_counter()
                values = next(found)
                self.waited += time.perf_counter() - begin
                last = batch + 1 == len(self)
                self._place = after if last else (epoch, batch + 1)
                if last and self._pass is this:
                    self._start = after
                yield values
        finally:
            if self._pass is this:  # nobody has chosen an epoch meanwhile, or begun another pass
                self._start = after

    def _from(self, epoch: int, batch: int) -> Iterator[Batch]:
        """The batches of an epoch, from one on, before they are handed over."""
        low, _ = self.order.bounds(batch)
        windows = self.order.windows(epoch, low)
        return self._held_from(next(windows), batch) if self.in_memory else self._streamed_from(windows, batch)

    def _held_from(self, window: Window, batch: int) -> Iterator[Batch]:
        held = self._all
        index = None if window.index is None else self._placement.index(window.index, held)
        for each in range(batch, len(self)):
            yield self._placement.take(held, index, *self.order.bounds(each))

    def _streamed_from(self, windows: Iterator[Window], batch: int) -> Iterator[Batch]:
        low, high = self.order.bounds(batch)
        parts: list[Rows] = []
        for window, rows in streamed(self.dataset, self.fields, windows, self._memory):
            end = window.first + window.rows
            while batch < len(self) and low < end:
                chosen = slice(low - window.first, min(high, end) - window.first)
                parts.append({name: values[chosen] for name, values in rows.items()})
                low = min(high, end)
                if low < high:
                    break  # the rest of the batch lies in the next window
                yield self._placement.own(_joined(parts))
                batch, parts = batch + 1, []
                low, high = self.order.bounds(batch)
            del rows  # so that its memory is used again once its batches are gone
            if batch >= len(self):
                return

    @property
    def _all(self) -> Held:
        if self._held is None:
            (window,) = self.order.windows(0)
            if self._placed:
                parts = streamed(self.dataset, self.fields, pieces(window.runs, self._piece), self._memory)
                rows = sum(stop - start for start, stop in window.runs)
                self._held = self._placement.place((part for _, part in parts), rows)
            else:
                self._held = self._placement.hold(resident(self.dataset, self.fields, window))
            self._promise = None
        return self._held

    def _agreed(self, held: bool, ranks: int) -> bool:
        """What all ranks hold: the order of a split that is held is another than that of one that is streamed."""
        agreed = self._placement.agreed(held, ranks)
        if agreed is None:
            raise UsageError(
                "ranks that shuffle have to agree whether the split is held, and these cannot ask each other",
                where=Where(dataset=self.dataset.id, split=self.split),
                measured=f"in_memory=None with {ranks} ranks",
                allowed="in_memory=True or in_memory=False, the same on every rank",
                remedy="say in_memory, or make the batches where torch.distributed or JAX joins all of the ranks",
            )
        return agreed

    def _other(self, how: str, measured: object, allowed: object) -> UsageError:
        return UsageError(
            f"this state {how}, so these batches cannot go on from it",
            where=Where(dataset=self.dataset.id, split=self.split),
            measured=measured,
            allowed=allowed,
            remedy="make the batches with the options they were begun with, or begin anew",
        )


def _joined(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


OPTIONS = tuple(name for name, each in signature(Batches).parameters.items() if each.kind is each.KEYWORD_ONLY)


def batches(dataset: CertifiedDataset, split: str, **options: Any) -> Batches:
    """Batches of NumPy arrays, C-contiguous and as stored; ``options`` are those of `Batches`."""
    demand_options(options, OPTIONS)
    return Batches(dataset, split, HostPlacement(), **options)
