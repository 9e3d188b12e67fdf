"""Certified data in anybody's own Lightning module: the same batches, from any step on, shared by ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

import prep
from prep.errors import CertificateError
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

    def configure_optimizers(self) -> Any:
        self.layer(torch.zeros(1, 16))
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


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
import os, sys
import torch, torch.distributed as dist
import prep
dist.init_process_group("gloo")
data = prep.open(sys.argv[1], lock_path=sys.argv[2])
batches = data.torch("train", batch_size=64, shuffle=True, fields=("inputs",), in_memory=sys.argv[3] == "held")
rows = torch.cat([batch["inputs"] for batch in batches])
sizes = [None, None]
dist.all_gather_object(sizes, rows.tolist())
if dist.get_rank() == 0:
    start, stop = data.bounds("train")
    expected = sorted(map(tuple, data.rows("inputs", start, stop).tolist()))
    assert sorted(map(tuple, sizes[0] + sizes[1])) == expected
    print("ranks", *map(len, sizes))
dist.destroy_process_group()
"""


@pytest.mark.parametrize("way", ["held", "streamed"])
def test_two_processes_share_every_row_without_being_told_their_ranks(
    way: str, data: prep.CertifiedDataset, certified_project: Path, tmp_path: Path
):
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    place = [str(data.path), str(certified_project / "prep.lock"), way]
    options = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]

    done = subprocess.run([*command, *options, str(script), *place], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    first, second = map(int, done.stdout.split("ranks")[1].split())
    assert abs(first - second) <= 1
