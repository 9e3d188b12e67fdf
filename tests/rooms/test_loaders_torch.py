"""Batches: every certified row once an epoch, in a stated order, and never changed by who uses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import prep
from prep.errors import UsageError
from tests.conftest import dataset_of


@pytest.fixture(scope="module")
def data(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "control"), lock_path=certified_project / "prep.lock")


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_row_comes_once_an_epoch(in_memory: bool, shuffle: bool, data: prep.CertifiedDataset):
    batches = data.torch("train", batch_size=100, shuffle=shuffle, in_memory=in_memory, fields=("controls", "system"))
    start, stop = data.bounds("train")

    rows = torch.cat([batch["controls"] for batch in batches]).numpy()
    expected = data.rows("controls", start, stop)

    assert len(batches) == -(-len(expected) // 100)
    if not shuffle:
        np.testing.assert_array_equal(rows, expected)
    else:
        assert not np.array_equal(rows, expected)
        np.testing.assert_array_equal(*(each[np.lexsort(each.T)] for each in (rows, expected)))


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_order_depends_on_seed_and_epoch_alone(in_memory: bool, data: prep.CertifiedDataset):
    def first(seed: int, epoch: int) -> torch.Tensor:
        batches = data.torch("train", batch_size=64, shuffle=True, seed=seed, in_memory=in_memory, fields=("states",))
        batches.set_epoch(epoch)
        return next(iter(batches))["states"]

    assert torch.equal(first(0, 1), first(0, 1))
    assert not torch.equal(first(0, 1), first(0, 2))
    assert not torch.equal(first(0, 1), first(1, 1))


@pytest.mark.parametrize("in_memory", [True, False])
def test_changing_a_batch_does_not_change_the_next_pass(in_memory: bool, data: prep.CertifiedDataset):
    batches = data.torch("val", batch_size=64, in_memory=in_memory, fields=("controls",))
    before = [batch["controls"].clone() for batch in batches]

    for batch in batches:
        batch["controls"].add_(1000.0)

    for batch, expected in zip(batches, before, strict=True):
        assert torch.equal(batch["controls"], expected)


def test_fields_of_one_row_stay_together_when_shuffled(data: prep.CertifiedDataset):
    start, stop = data.bounds("train")
    known = {
        row.tobytes(): int(system)
        for row, system in zip(data.rows("states", start, stop), data.rows("system", start, stop), strict=True)
    }
    for batch in data.torch("train", batch_size=200, shuffle=True, fields=("states", "system")):
        for row, system in zip(batch["states"].numpy(), batch["system"].tolist(), strict=True):
            assert known[row.tobytes()] == system


def test_no_fields_and_no_batch_size_are_refused(data: prep.CertifiedDataset):
    with pytest.raises(UsageError, match="needs fields"):
        data.torch("train", fields=())
    with pytest.raises(UsageError, match="needs samples"):
        data.torch("train", batch_size=0)
