"""What may be trained on: a `CertifiedDataset`, and nothing that merely looks like data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from prep.errors import CertificateError
from prep.gate import CertifiedDataset
from prep.loaders.batches import Batches
from prep.loaders.options import EpochSampler, demand_options
from prep.training.checkpoint import demand_checkpoint, demand_own, identity
from prep.training.systems import System
from prep.training.systems.system import Batch

_EVALUATION = {"batch_size": 1024}
_OPTIONS = ("device", "dtype", "complex_pairs", "in_memory", "window_bytes", "rank", "ranks")
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

    def __len__(self) -> int:
        return len(self.batches) * self.system.pieces

    def __iter__(self) -> Iterator[Batch]:
        first, self._first = self._first, 0
        for batch in self.batches:
            for piece, values in enumerate(self.system.cut(batch)):
                if piece >= first:
                    self._piece = (piece + 1) % self.system.pieces
                    yield values
            first = 0

    @property
    def batch_sampler(self) -> EpochSampler:
        """Through which Lightning says which epoch begins."""
        return EpochSampler(partial(self._choose, self.batches.follow), self.batches.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next pass."""
        self._choose(self.batches.set_epoch, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Which piece of which batch comes next: plain values."""
        state = self.batches.state_dict()
        if self._piece and not self._first:  # in the midst of the batch before the next
            epoch, batch = state["epoch"], state["batch"]
            state |= {"batch": batch - 1} if batch else {"epoch": epoch - 1, "batch": len(self.batches) - 1}
        return {"batches": state, "piece": self._piece}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there; raises as `Batches.load_state_dict`."""
        self.batches.load_state_dict(state["batches"])
        self._piece = self._first = state["piece"]

    def _choose(self, choose: Callable[[int], None], epoch: int) -> None:
        before = self.batches.place
        choose(epoch)
        if not self._first or self.batches.place != before:
            self._piece = self._first = 0


class CertifiedDataModule(LightningDataModule):
    """Verified batches of certified data for Lightning: train shuffled from ``seed``, val and test in stored order.

    Batches arrive on the device of the trainer, each rank gets its own share, and a checkpoint holds which batch comes
    next and on which data it was trained (identity and transforms). With a ``system`` batches have its fields and come
    in the pieces in which it trains (`System.cut`). ``batch_size``, ``shuffle``, ``seed`` and ``drop_last`` are of the
    train split; val and test are whole. ``options`` are the others of `prep.loaders.torch.batches`.

    Raises `CertificateError` for anything but a `CertifiedDataset`, and for a checkpoint of other data.
    """

    def __init__(
        self,
        data: CertifiedDataset,
        system: System | None = None,
        *,
        batch_size: int = 512,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        fields: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.data = demand_certified(data)
        self.system = system
        demand_options(options, _OPTIONS)
        self._fields = system.fields if system is not None and fields is None else fields
        self._options = options
        self._order = {"batch_size": batch_size, "shuffle": shuffle, "seed": seed, "drop_last": drop_last}
        self._compared: Any = None
        self._made: dict[str, tuple[dict[str, Any], Batches]] = {}

    @property
    def train(self) -> Batches:
        """The train split; every epoch has its own permutation, unless the trainer is to overfit its batches."""
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        return self._batches("train", "train", self._order | ({"shuffle": False} if overfit else {}))

    @property
    def seen(self) -> Batches:
        """The train split in stored order, for metrics of frozen weights."""
        return self._batches("seen", "train", _EVALUATION)

    @property
    def val(self) -> Batches:
        """The val split."""
        return self._batches("val", "val", _EVALUATION)

    @property
    def test(self) -> Batches:
        """The test split."""
        return self._batches("test", "test", _EVALUATION)

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
        demand_own(self.data, state_dict)

    def _cut(self, batches: Batches) -> Batches | Pieces:
        return batches if self.system is None else Pieces(batches, self.system)

    def _compare(self, checkpoint: Any) -> None:
        """Lightning compares where a data module of the same class wrote the checkpoint; this does it for all."""
        if checkpoint != self._compared:
            demand_checkpoint(self.data, checkpoint)
            self._compared = checkpoint

    def _batches(self, name: str, split: str, order: Mapping[str, Any]) -> Batches:
        """The batches of this name, made again for another trainer: they are of its device and its ranks."""
        placed: dict[str, Any] = {}
        if self.trainer is not None:
            self._compare(self.trainer.ckpt_path)
            placed = {
                "device": self.trainer.strategy.root_device,
                "rank": self.trainer.global_rank,
                "ranks": self.trainer.world_size,
            }
        options = {"fields": self._fields, **placed, **order, **self._options}
        if name not in self._made or self._made[name][0] != options:
            self._made.pop(name, None)  # its rows are let go of before others are held
            self._made[name] = options, self.data.torch(split, **options)
        return self._made[name][1]


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
