"""What may be trained on: a `CertifiedDataset`, and nothing that merely looks like data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from prep.errors import CertificateError
from prep.gate import CertifiedDataset
from prep.loaders.batches import Batches
from prep.training.systems import System
from prep.training.systems.system import Batch

_EVALUATION_ROWS = 1024
_VERIFIED = "CertifiedData, or the batches of CertifiedDataset.torch(split)"


def demand_certified(data: object) -> CertifiedDataset:
    """``data`` itself if the gate made it; otherwise a `CertificateError` that says why not and what to run."""
    if isinstance(data, CertifiedDataset):
        return data
    raise _refusal("a CertifiedDataset", data, allowed="a CertifiedDataset, as prep.open(path) returns it")


class Pieces:
    """Verified batches, each cut into the pieces in which ``system`` trains on it, one step a piece."""

    def __init__(self, batches: Batches, system: System) -> None:
        if not isinstance(batches, Batches):
            raise _refusal("verified batches", batches, allowed=_VERIFIED)
        self.batches, self.system = batches, system

    def __len__(self) -> int:
        return len(self.batches) * self.system.pieces

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            yield from self.system.cut(batch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next pass."""
        self.batches.set_epoch(epoch)


class CertifiedData(LightningDataModule):
    """Verified batches of the three splits for one system: train shuffled from ``seed``, val and test in stored
    order, as is ``seen``, the train split for metrics of frozen weights. Lightning sees them in pieces (`System.cut`).
    """

    def __init__(self, data: CertifiedDataset, system: System, *, batch_size: int, seed: int) -> None:
        super().__init__()
        data = demand_certified(data)
        self.system = system
        self.train: Batches = data.torch("train", batch_size=batch_size, shuffle=True, seed=seed, fields=system.fields)
        self.seen: Batches = data.torch("train", batch_size=_EVALUATION_ROWS, fields=system.fields)
        self.val: Batches = data.torch("val", batch_size=_EVALUATION_ROWS, fields=system.fields)
        self.test: Batches = data.torch("test", batch_size=_EVALUATION_ROWS, fields=system.fields)

    def train_dataloader(self) -> Pieces:
        """The train split; every epoch has its own permutation."""
        return Pieces(self.train, self.system)

    def val_dataloader(self) -> Pieces:
        """The val split."""
        return Pieces(self.val, self.system)

    def test_dataloader(self) -> Pieces:
        """The test split."""
        return Pieces(self.test, self.system)


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
