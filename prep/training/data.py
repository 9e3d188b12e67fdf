"""What may be trained on: a `CertifiedDataset`, and nothing that merely looks like data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from prep.errors import CertificateError
from prep.gate import CertifiedDataset
from prep.loaders.batches import Batches
from prep.training.checkpoint import demand_data, identity
from prep.training.systems import System
from prep.training.systems.system import Batch

_EVALUATION_ROWS = 1024
_VERIFIED = "CertifiedDataModule, or the batches of CertifiedDataset.torch(split)"


def demand_certified(data: object) -> CertifiedDataset:
    """``data`` itself if the gate made it; otherwise a `CertificateError` that says why not and what to run."""
    if isinstance(data, CertifiedDataset):
        return data
    raise _refusal("a CertifiedDataset", data, allowed="a CertifiedDataset, as prep.open(path) returns it")


class Pieces:
    """Verified batches, each cut into the pieces in which ``system`` trains on it, one step a piece.

    `state_dict` says which piece comes next, as that of `Batches` does for batches.
    """

    def __init__(self, batches: Batches, system: System) -> None:
        if not isinstance(batches, Batches):
            raise _refusal("verified batches", batches, allowed=_VERIFIED)
        self.batches, self.system = batches, system
        self._piece = self._first = 0
        self._place = batches.place

    def __len__(self) -> int:
        return len(self.batches) * self.system.pieces

    def __iter__(self) -> Iterator[Batch]:
        first, self._first = self._first, 0
        before = self.batches.place
        for batch in self.batches:
            after = self.batches.place
            for piece, values in enumerate(self.system.cut(batch)):
                if piece >= first:
                    last = piece + 1 == self.system.pieces
                    self._place, self._piece = (after, 0) if last else (before, piece + 1)
                    yield values
            before, first = after, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next pass."""
        if epoch != self.batches.place["epoch"]:
            self._first = 0
        self.batches.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Which piece of which batch comes next: plain values."""
        return {"batches": {**self.batches.state_dict(), **self._place}, "piece": self._piece}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there; raises as `Batches.load_state_dict`."""
        self.batches.load_state_dict(state["batches"])
        self._place = self.batches.place
        self._piece = self._first = state["piece"]


class CertifiedDataModule(LightningDataModule):
    """Verified batches of certified data for Lightning: train shuffled from ``seed``, val and test in stored order.

    Batches arrive on the device of the trainer, each rank gets its own share, and a checkpoint holds which batch comes
    next and on which data it was trained (identity and transforms). With a ``system`` batches have its fields and come
    in the pieces in which it trains (`System.cut`). ``options`` are those of `prep.loaders.torch.batches`.

    Raises `CertificateError` for anything but a `CertifiedDataset`, and for a checkpoint of other data.
    """

    def __init__(
        self,
        data: CertifiedDataset,
        system: System | None = None,
        *,
        batch_size: int = 512,
        seed: int = 0,
        fields: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.data = demand_certified(data)
        self.system = system
        self._fields = system.fields if system is not None and fields is None else fields
        self._batch_size, self._seed, self._options = batch_size, seed, options

    @cached_property
    def train(self) -> Batches:
        """The train split; every epoch has its own permutation."""
        return self._batches("train", self._batch_size, shuffle=True, seed=self._seed)

    @cached_property
    def seen(self) -> Batches:
        """The train split in stored order, for metrics of frozen weights."""
        return self._batches("train", _EVALUATION_ROWS)

    @cached_property
    def val(self) -> Batches:
        """The val split."""
        return self._batches("val", _EVALUATION_ROWS)

    @cached_property
    def test(self) -> Batches:
        """The test split."""
        return self._batches("test", _EVALUATION_ROWS)

    def train_dataloader(self) -> Batches | Pieces:
        """The train split, in pieces."""
        return self._cut(self.train)

    def val_dataloader(self) -> Batches | Pieces:
        """The val split, in pieces."""
        return self._cut(self.val)

    def test_dataloader(self) -> Batches | Pieces:
        """The test split, in pieces."""
        return self._cut(self.test)

    predict_dataloader = test_dataloader

    def state_dict(self) -> dict[str, Any]:
        """On which data a checkpoint was trained, and what gives original units."""
        return identity(self.data)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """`CertificateError` for a checkpoint of other data, with the statistics that differ."""
        demand_data(
            Path(self.data.path),
            state_dict,
            identity(self.data),
            what="this checkpoint was trained on other data",
            remedy="restore that dataset, or train anew",
        )

    def _cut(self, batches: Batches) -> Batches | Pieces:
        return batches if self.system is None else Pieces(batches, self.system)

    def _batches(self, split: str, batch_size: int, **order: Any) -> Batches:
        placed: dict[str, Any] = {}
        if self.trainer is not None:
            placed = {
                "device": self.trainer.strategy.root_device,
                "rank": self.trainer.global_rank,
                "ranks": self.trainer.world_size,
            }
        options = {"batch_size": batch_size, "fields": self._fields, **placed, **order, **self._options}
        found: Batches = self.data.torch(split, **options)
        return found


def demand_verified(loader: object) -> Batches | Pieces:
    """``loader`` itself; `CertificateError` unless batches come from certified data, chunk by chunk verified."""
    if isinstance(loader, Batches | Pieces):
        return loader
    raise _refusal("verified batches", loader, allowed=_VERIFIED)


def _refusal(wanted: str, found: object, *, allowed: str) -> CertificateError:
    return CertificateError(
        f"training takes {wanted}, not {_described(found)}",
        measured=f"{type(found).__module__}.{type(found).__qualname__}",
        allowed=allowed,
        remedy=_remedy(found),
    )


def _described(data: Any) -> str:
    if isinstance(data, torch.utils.data.DataLoader):
        return "a DataLoader, whose data nobody has checked"
    if isinstance(data, torch.utils.data.Dataset):
        return "a torch Dataset, whose data nobody has checked"
    if isinstance(data, torch.Tensor):
        return "a tensor, of which nobody knows where it comes from"
    if type(data).__module__ == "numpy":
        return "a NumPy array, of which nobody knows where it comes from"
    return f"{type(data).__name__}"


def _remedy(data: Any) -> str:
    if isinstance(data, str) or hasattr(data, "__fspath__"):
        return f"open it: prep.open({str(data)!r}), or run `prep train {data}`"
    return (
        "bring the data in once (`prep ingest` takes .npz, .npy, HDF5 and Zarr), then `prep stats`, `prep normalize`,"
        " `prep validate`, `prep certify`, and train on prep.open(path)"
    )
