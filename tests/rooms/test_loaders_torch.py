"""Tensors: types are cast where they are wanted, complex values come as pairs, the GPU gets its own copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import prep
from prep.errors import UsageError
from prep.loaders.torch import TorchPlacement
from tests.conftest import dataset_of

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(scope="module")
def covariance(certified_project: Path) -> prep.CertifiedDataset:
    return prep.open(dataset_of(certified_project, "covariance"), lock_path=certified_project / "prep.lock")


def of_role(data: prep.CertifiedDataset, kind: str) -> str:
    return next(spec.name for spec in data.spec.fields if spec.dtype.kind == kind and spec.role != "split")


def test_tensors_are_as_stored_where_nothing_is_asked(covariance: prep.CertifiedDataset):
    batch = next(iter(covariance.torch("train", batch_size=4)))

    for name, values in batch.items():
        assert torch.from_numpy(np.zeros(1, covariance.spec[name].dtype)).dtype == values.dtype
        np.testing.assert_array_equal(values.numpy(), covariance.rows(name, *_first(covariance, 4)))


def test_complex_fields_come_as_pairs_and_floats_as_the_type_that_is_asked(covariance: prep.CertifiedDataset):
    name = of_role(covariance, "c")
    stored = covariance.rows(name, *_first(covariance, 4))

    (batch,) = [next(iter(covariance.torch("train", batch_size=4, dtype=torch.bfloat16, complex_pairs=True)))]

    assert batch[name].dtype == torch.bfloat16
    assert batch[name].shape == (*stored.shape, 2)
    np.testing.assert_allclose(batch[name].float().numpy()[..., 1], stored.imag, rtol=0.01)
    for field, values in batch.items():
        assert values.is_floating_point() == (covariance.spec[field].dtype.kind in "fc")


def test_complex_fields_stay_complex_where_pairs_are_not_asked(covariance: prep.CertifiedDataset):
    name = of_role(covariance, "c")
    batch = next(iter(covariance.torch("train", batch_size=4, dtype=torch.float64)))

    assert batch[name].is_complex()


def test_one_field_can_have_a_type_of_its_own(covariance: prep.CertifiedDataset):
    name = next(spec.name for spec in covariance.spec.fields if spec.dtype.kind in "iu" and spec.role != "split")
    batch = next(iter(covariance.torch("train", batch_size=4, dtype={name: torch.int64})))

    assert batch[name].dtype == torch.int64
    assert batch[of_role(covariance, "c")].is_complex()


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "nonsense:1", "meta", ""])
def test_a_device_that_is_not_here_is_refused(device: str, covariance: prep.CertifiedDataset):
    with pytest.raises(UsageError, match="no such device"):
        covariance.torch("train", device=device)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        *((each, "without losing") for each in ("bfloat16", np.float32, torch.int8, torch.complex64)),
        ({"snapshots": torch.float32}, "without losing"),
        ({"snapshots": "c8"}, "without losing"),
        ({"log_rms": torch.int32}, "without losing"),
        ({"nope": torch.float16}, "not among those of the batches"),
    ],
    ids=str,
)
def test_a_type_that_is_none_or_would_lose_values_is_refused_at_once(
    dtype: Any, said: str, covariance: prep.CertifiedDataset
):
    with pytest.raises(UsageError, match=said):
        covariance.torch("train", dtype=dtype, fields=("snapshots", "log_rms"))


@cuda
def test_a_device_without_a_number_is_the_current_one():
    assert TorchPlacement("cuda").device == torch.device("cuda", torch.cuda.current_device())


def test_a_device_without_64_bits_says_so(covariance: prep.CertifiedDataset):
    placement = TorchPlacement("cpu", {"log_rms": torch.float64})
    placement.device = torch.device("mps")
    with pytest.raises(UsageError, match="no numbers of 64 bits"):
        placement.demand_types(covariance, ("log_rms",))
    TorchPlacement("cpu", {"log_rms": torch.float32}).demand_types(covariance, ("log_rms",))


@cuda
@pytest.mark.parametrize("in_memory", [None, True, False])
def test_batches_on_a_gpu_are_those_on_the_cpu(in_memory: bool | None, covariance: prep.CertifiedDataset):
    here = covariance.torch("train", batch_size=16, shuffle=True, in_memory=in_memory is not False)
    there = covariance.torch("train", batch_size=16, shuffle=True, in_memory=in_memory, device="cuda")
    if in_memory is False:
        here = covariance.torch("train", batch_size=16, shuffle=True, in_memory=False)
    for _ in range(2):
        for one, two in zip(here, there, strict=True):
            for name, values in one.items():
                assert two[name].device.type == "cuda"
                assert torch.equal(values, two[name].cpu())


def _first(data: prep.CertifiedDataset, rows: int) -> tuple[int, int]:
    start, _ = data.bounds("train")
    return start, start + rows
