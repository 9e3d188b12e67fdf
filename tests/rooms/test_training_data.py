"""Certified data in anybody's own Lightning module: the same batches, from any step on, shared by ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

import prep
from prep.errors import CertificateError, IntegrityError, UsageError
from prep.training.checkpoint import demand_checkpoint
from prep.training.data import CertifiedDataModule, Pieces
from prep.training.systems import SYSTEMS
from tests.conftest import dataset_of


@pytest.fixture(scope="module")
def data(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "regression"), lock_path=certified_project / "prep.lock")


class Own(LightningModule):
    """A user's module, which writes down what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.LazyLinear(1)
        self.seen: list[Tensor] = []

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        inputs = batch["inputs"]
        self.seen.append(inputs.clone())
        loss: Tensor = self.layer(inputs).square().mean()
        return loss

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        raise AssertionError("tested on data that it was not trained on")

    def configure_optimizers(self) -> Any:
        self.layer(torch.zeros(1, 16))
        return torch.optim.SGD(self.parameters(), lr=0.0)


QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(**QUIET, default_root_dir=folder, **options)


@pytest.mark.filterwarnings("ignore:::lightning", "ignore::FutureWarning")
def test_a_run_that_stopped_in_the_middle_of_an_epoch_goes_on_with_the_next_batch(
    data: prep.CertifiedDataset, tmp_path: Path
):
    def batches() -> CertifiedDataModule:
        return CertifiedDataModule(data, batch_size=100, seed=4, fields=("inputs",))

    class Keep(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 5:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    whole, rest = Own(), Own()
    trainer(tmp_path, max_epochs=2, callbacks=[Keep()]).fit(whole, batches())
    trainer(tmp_path, max_epochs=2).fit(rest, batches(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)

    assert len(batches().train) > 5
    assert len(rest.seen) == len(whole.seen) - 5
    assert all(torch.equal(one, two) for one, two in zip(rest.seen, whole.seen[5:], strict=True))


SOURCES = {
    "data module": lambda data: CertifiedDataModule(data, batch_size=100, seed=4, fields=("inputs",)),
    "loader": lambda data: data.torch("train", batch_size=100, seed=4, fields=("inputs",), shuffle=True),
}


@pytest.mark.filterwarnings("ignore:::lightning", "ignore::FutureWarning")
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("limit", [None, 3])
def test_a_run_that_stopped_at_the_end_of_an_epoch_goes_on_with_the_next_one(
    source: str, limit: int | None, data: prep.CertifiedDataset, tmp_path: Path
):
    def batches() -> Any:
        return SOURCES[source](data)

    keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    whole, rest = Own(), Own()
    saving = {**QUIET, "enable_checkpointing": True, "callbacks": [keep]}
    Trainer(**saving, max_epochs=3, limit_train_batches=limit).fit(whole, batches())
    trainer(tmp_path, max_epochs=3, limit_train_batches=limit).fit(
        rest, batches(), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True
    )

    third = len(whole.seen) // 3
    assert third == (limit or len(data.torch("train", batch_size=100)))
    assert [len(each) for each in rest.seen] == [len(each) for each in whole.seen[third:]]
    assert all(torch.equal(one, two) for one, two in zip(rest.seen, whole.seen[third:], strict=True))
    assert not torch.equal(whole.seen[0], whole.seen[third])


@pytest.mark.filterwarnings("ignore:::lightning", "ignore::FutureWarning")
def test_a_run_of_so_many_steps_goes_on_with_the_next_batch(data: prep.CertifiedDataset, tmp_path: Path):
    whole, begun, rest = Own(), Own(), Own()
    steps = len(data.torch("train", batch_size=100)) + 2
    trainer(tmp_path, max_epochs=3).fit(whole, SOURCES["loader"](data))
    first = trainer(tmp_path, max_steps=steps)
    first.fit(begun, SOURCES["loader"](data))
    first.save_checkpoint(tmp_path / "steps.ckpt")
    trainer(tmp_path, max_steps=len(whole.seen)).fit(
        rest, SOURCES["loader"](data), ckpt_path=tmp_path / "steps.ckpt", weights_only=True
    )

    assert len(rest.seen) == len(whole.seen) - steps
    assert all(torch.equal(one, two) for one, two in zip(rest.seen, whole.seen[steps:], strict=True))


@pytest.mark.filterwarnings("ignore:::lightning", "ignore::FutureWarning")
def test_batches_to_overfit_stay_the_same(data: prep.CertifiedDataset, tmp_path: Path):
    own = Own()
    trainer(tmp_path, max_epochs=2, overfit_batches=2).fit(own, SOURCES["data module"](data))

    assert torch.equal(own.seen[0], own.seen[2])


def test_batches_are_of_the_trainer_that_asks(data: prep.CertifiedDataset):
    module = CertifiedDataModule(data, batch_size=50, fields=("inputs",), in_memory=True)
    alone = module.train
    module.trainer = ranked(0)  # type: ignore[assignment]
    first = module.train
    module.trainer = ranked(1)  # type: ignore[assignment]
    second = module.train
    start, stop = data.bounds("train")

    assert alone.rows == stop - start == first.rows + second.rows
    assert (first.order.rank, second.order.rank, second.order.ranks) == (0, 1, 2)
    assert module.train is second


def ranked(rank: int) -> Any:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(strategy=strategy, global_rank=rank, world_size=2, ckpt_path=None, overfit_batches=0)


def test_what_orders_the_train_split_leaves_val_and_test_whole(data: prep.CertifiedDataset):
    module = CertifiedDataModule(data, batch_size=90, drop_last=True, shuffle=False, fields=("inputs",))

    assert module.train.rows % 90
    assert sum(len(batch["inputs"]) for batch in module.train) == module.train.rows // 90 * 90
    for batches in (module.seen, module.val, module.test):
        assert sum(len(batch["inputs"]) for batch in batches) == data.row_count(batches.split)


def test_an_option_that_there_is_not_is_refused_when_the_module_is_made(data: prep.CertifiedDataset):
    with pytest.raises(UsageError, match="no option num_workers"):
        CertifiedDataModule(data, num_workers=2)


class Named(CertifiedDataModule):
    """A user's own."""


@pytest.mark.filterwarnings("ignore:::lightning", "ignore::FutureWarning")
@pytest.mark.parametrize("source", SOURCES)
def test_data_of_another_root_are_refused_whoever_wrote_the_checkpoint(
    source: str, data: prep.CertifiedDataset, certified_project: Path, tmp_path: Path
):
    done = trainer(tmp_path, max_epochs=1)
    done.fit(Own(), SOURCES[source](data))
    done.save_checkpoint(tmp_path / "one.ckpt")
    other = prep.open(dataset_of(certified_project, "tones"), lock_path=certified_project / "prep.lock")
    options = {"ckpt_path": tmp_path / "one.ckpt", "weights_only": True}

    with pytest.raises(CertificateError, match="trained on other data"):
        trainer(tmp_path).test(Own(), Named(other), **options)
    with pytest.raises(CertificateError, match="trained on other data"):
        trainer(tmp_path, max_epochs=2).fit(Own(), Named(other), **options)
    trainer(tmp_path, max_epochs=2).fit(Own(), Named(data, batch_size=100, seed=4, fields=("inputs",)), **options)


@pytest.mark.filterwarnings("ignore:::lightning", "ignore::FutureWarning")
def test_a_checkpoint_of_ones_own_module_is_not_called_damaged(data: prep.CertifiedDataset, tmp_path: Path):
    done = trainer(tmp_path, max_steps=1)
    done.fit(Own(), SOURCES["data module"](data))
    done.save_checkpoint(tmp_path / "own.ckpt")
    torch.save({"path": tmp_path}, tmp_path / "objects.ckpt")

    with pytest.raises(UsageError, match="no checkpoint of prep train") as refusal:
        prep.predict(tmp_path / "own.ckpt", tmp_path / "in.npz", output=tmp_path / "out.npz")
    assert "load_from_checkpoint" in refusal.value.remedy
    with pytest.raises(IntegrityError, match="holds objects") as refused:
        prep.predict(tmp_path / "objects.ckpt", tmp_path / "in.npz", output=tmp_path / "out.npz")
    assert "remove" not in refusal.value.remedy + refused.value.remedy


def scaled(found: Any, factor: float) -> Any:
    """Transforms with every standard deviation ``factor`` times as large."""
    if isinstance(found, dict):
        return {
            name: (np.asarray(value) * factor).tolist() if name == "std" else scaled(value, factor)
            for name, value in found.items()
        }
    return [scaled(each, factor) for each in found] if isinstance(found, list) else found


@pytest.mark.filterwarnings("ignore:::lightning", "ignore::FutureWarning")
def test_a_checkpoint_says_on_which_data_and_refuses_others(
    data: prep.CertifiedDataset, certified_project: Path, tmp_path: Path
):
    done = trainer(tmp_path, max_steps=1)
    done.fit(Own(), CertifiedDataModule(data, fields=("inputs",)))
    done.save_checkpoint(tmp_path / "one.ckpt")
    kept = torch.load(tmp_path / "one.ckpt", weights_only=True)["CertifiedDataModule"]
    other = prep.open(dataset_of(certified_project, "tones"), lock_path=certified_project / "prep.lock")

    assert kept["root"] == data.root
    assert kept["certificate"] == data.certificate_digest
    assert kept["transforms"] == data.documents["transforms"]
    with pytest.raises(CertificateError, match="trained on other data"):
        CertifiedDataModule(other).load_state_dict(kept)

    # Standardised values of raw data in other units can be bit-equal: then the root is the same, and the units are not.
    transforms = json.loads(kept["transforms"])
    kept["transforms"] = json.dumps(scaled(transforms, 1024.0))
    with pytest.raises(CertificateError, match="trained on other data") as caught:
        CertifiedDataModule(data).load_state_dict(kept)
    assert "std" in str(caught.value.measured)
    checkpoint = torch.load(tmp_path / "one.ckpt", weights_only=True) | {"CertifiedDataModule": kept}
    torch.save(checkpoint, tmp_path / "one.ckpt")
    with pytest.raises(CertificateError, match="trained on other data"):
        demand_checkpoint(data, tmp_path / "one.ckpt")


def test_pieces_of_batches_go_on_with_the_next_piece(certified_project: Path):
    data = prep.open(dataset_of(certified_project, "tones"), lock_path=certified_project / "prep.lock")
    system = SYSTEMS.load("tones")(data)

    def pieces() -> Pieces:
        found = CertifiedDataModule(data, system, batch_size=3, seed=1).train_dataloader()
        assert isinstance(found, Pieces)
        return found

    whole = list(pieces())
    assert system.pieces > 2
    for taken in (1, system.pieces, system.pieces + 2):
        begun, other = pieces(), pieces()
        for _, _piece in zip(range(taken), begun, strict=False):
            pass
        other.load_state_dict(begun.state_dict())
        rest = list(other)
        assert len(rest) == len(whole) - taken
        for one, two in zip(rest, whole[taken:], strict=True):
            assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_is_not_certified_makes_no_data_module():
    with pytest.raises(CertificateError, match="not a tensor"):
        CertifiedDataModule(torch.zeros(3))  # type: ignore[arg-type]


RANKS = """
import sys
import torch, torch.distributed as dist
import prep
from prep.loaders import residency
dist.init_process_group("gloo")
residency.free_memory = lambda: (1 << 40) * dist.get_rank()  # only the second one has room
data = prep.open(sys.argv[1], lock_path=sys.argv[2])
for way in (True, False, None):
    batches = data.torch("train", batch_size=64, shuffle=True, fields=("inputs",), in_memory=way)
    rows = torch.cat([batch["inputs"] for batch in batches])
    found = [None, None]
    dist.all_gather_object(found, rows.tolist())
    if dist.get_rank() == 0:
        start, stop = data.bounds("train")
        expected = sorted(map(tuple, data.rows("inputs", start, stop).tolist()))
        assert sorted(map(tuple, found[0] + found[1])) == expected, way
        print("ranks", *map(len, found))
dist.destroy_process_group()
"""


def test_two_processes_share_every_row_without_being_told_their_ranks(
    data: prep.CertifiedDataset, certified_project: Path, tmp_path: Path
):
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    options = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    place = [str(data.path), str(certified_project / "prep.lock")]

    done = subprocess.run([*command, *options, str(script), *place], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    sizes = [list(map(int, line.split()[1:])) for line in done.stdout.splitlines() if line.startswith("ranks")]
    assert len(sizes) == 3
    assert all(abs(first - second) <= 1 for first, second in sizes)
