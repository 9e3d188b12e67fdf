"""What may be trained on: a `CertifiedDataset`, and nothing that merely looks like data."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from prep.errors import CertificateError
from prep.gate import CertifiedDataset
from prep.loaders.torch import TorchBatches
from prep.training.systems import System

_EVALUATION_ROWS = 1024


def demand_certified(data: object) -> CertifiedDataset:
    """``data`` itself if the gate made it; otherwise a `CertificateError` that says why not and what to run."""
    if isinstance(data, CertifiedDataset):
        return data
    raise _refusal("a CertifiedDataset", data, allowed="a CertifiedDataset, as prep.open(path) returns it")


class CertifiedData(LightningDataModule):
    """Verified batches of the three splits for one system: train shuffled from ``seed``, val and test in stored
    order.
    """

    def __init__(self, data: CertifiedDataset, system: System, *, batch_size: int, seed: int) -> None:
        super().__init__()
        data = demand_certified(data)
        self.train: TorchBatches = data.torch(
            "train", batch_size=batch_size, shuffle=True, seed=seed, fields=system.fields
        )
        self.val: TorchBatches = data.torch("val", batch_size=_EVALUATION_ROWS, fields=system.fields)
        self.test: TorchBatches = data.torch("test", batch_size=_EVALUATION_ROWS, fields=system.fields)

    def train_dataloader(self) -> TorchBatches:
        """Batches of the train split; every epoch has its own permutation."""
        return self.train

    def val_dataloader(self) -> TorchBatches:
        """Batches of the val split."""
        return self.val

    def test_dataloader(self) -> TorchBatches:
        """Batches of the test split."""
        return self.test


def demand_verified(loader: object) -> TorchBatches:
    """``loader`` itself; `CertificateError` unless batches come from certified data, chunk by chunk verified."""
    if isinstance(loader, TorchBatches):
        return loader
    raise _refusal("verified batches", loader, allowed="CertifiedData, or the batches of CertifiedDataset.torch(split)")


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
